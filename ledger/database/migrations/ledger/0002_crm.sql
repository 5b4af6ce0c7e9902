-- The CRM read models: all of it can be dropped and made again from the log.

CREATE TABLE bookmarks (
    projection text PRIMARY KEY,
    position bigint NOT NULL
);

-- Events that a projection could not read: passed over, so that the rest goes on, and shown by
-- `ledger doctor`.
CREATE TABLE projection_faults (
    projection text NOT NULL,
    position bigint NOT NULL,
    fault text NOT NULL,
    PRIMARY KEY (projection, position)
);

-- Step 1, rows: what each fact says of its object, insert-only; step 2, settle: which of them is
-- the state at the end of its second (`mark`: clear, gap or assumed; `doubtful`: leaves assumed).
CREATE TABLE object_versions (
    position bigint PRIMARY KEY,
    object_id text NOT NULL,
    kind text NOT NULL,
    customer_id text,
    occurred_at timestamptz NOT NULL,
    stripe_event_id text NOT NULL,
    type text NOT NULL,
    canonical jsonb NOT NULL,  -- one shape for every API version, see ledger/stripe_objects
    mark text,
    doubtful text[] NOT NULL DEFAULT '{}',
    is_current boolean NOT NULL DEFAULT false,
    is_deleted boolean NOT NULL DEFAULT false
);

CREATE INDEX object_versions_seconds ON object_versions (object_id, occurred_at);

CREATE UNIQUE INDEX object_versions_current ON object_versions (object_id) WHERE is_current;

CREATE INDEX object_versions_list ON object_versions
(kind, coalesce((canonical ->> 'created')::bigint, 0) DESC, object_id DESC) WHERE is_current;

CREATE INDEX object_versions_customer ON object_versions (customer_id, kind) WHERE is_current;

CREATE INDEX object_versions_unsure ON object_versions (mark) WHERE mark <> 'clear';

-- Object names object: how an event finds its owner when it does not name one itself.
CREATE TABLE links (
    from_id text NOT NULL,
    to_id text NOT NULL,
    relation text NOT NULL,
    PRIMARY KEY (from_id, to_id, relation)
);

CREATE INDEX links_backward ON links (to_id);

-- Step 3, derived: whose an object is, following links.
CREATE TABLE owners (
    object_id text PRIMARY KEY,
    customer_id text NOT NULL
);

CREATE INDEX owners_customer ON owners (customer_id);

CREATE TABLE customers (
    id text PRIMARY KEY,
    status text NOT NULL,
    delinquent boolean,
    currency text,
    country text,
    created timestamptz NOT NULL,
    subscriptions integer NOT NULL,
    erased boolean NOT NULL,
    deleted boolean NOT NULL,
    provisional text[] NOT NULL,
    contact_position bigint  -- the event whose box holds name, e-mail, phone
);

CREATE INDEX customers_list ON customers (created DESC, id DESC);

CREATE INDEX customers_status ON customers (status);

-- Keyed hashes of e-mail, mail domain and name words: equality can be asked, nothing read.
CREATE TABLE customer_search (
    customer_id text NOT NULL,
    kind text NOT NULL,
    hash bytea NOT NULL,
    PRIMARY KEY (customer_id, kind, hash)
);

CREATE INDEX customer_search_hash ON customer_search (hash);

-- One row per payment: a payment intent with its charges, or a charge that has none.
CREATE TABLE payments (
    id text PRIMARY KEY,
    customer_id text,
    invoice_id text,
    invoice_join text NOT NULL,  -- how the invoice was found: link, order_reference, unknown
    status text NOT NULL,
    currency text,
    amount_minor numeric,
    amount_received_minor numeric,
    amount_refunded_minor numeric,
    disputed boolean NOT NULL,
    attempt integer,
    failed_at timestamptz,
    failure_code text,
    decline_code text,
    advice_code text,
    network_decline_code text,
    method_type text,
    brand text,
    last4 text,
    order_reference text,
    created timestamptz NOT NULL,
    provisional text[] NOT NULL
);

CREATE INDEX payments_list ON payments (created DESC, id DESC);

CREATE INDEX payments_customer ON payments (customer_id);

CREATE INDEX payments_invoice ON payments (invoice_id);

CREATE INDEX payments_order_reference ON payments (left(order_reference, 25));

-- Which events tell a customer's story; the sentences are made from the events when read.
CREATE TABLE timeline (
    position bigint PRIMARY KEY,
    object_id text,
    customer_id text,  -- whom the event names, else whom its object is traced to
    is_named boolean NOT NULL,
    occurred_at timestamptz NOT NULL,
    stripe_event_id text,
    type text NOT NULL
);

CREATE INDEX timeline_customer ON timeline (customer_id, occurred_at DESC);

CREATE INDEX timeline_traced ON timeline (object_id) WHERE NOT is_named;

CREATE VIEW subscriptions AS
SELECT object_id AS id, customer_id, canonical ->> 'status' AS status, occurred_at, position,
    coalesce((canonical ->> 'created')::bigint, 0) AS created, canonical, doubtful AS provisional, is_deleted
FROM object_versions WHERE is_current AND kind = 'subscription';

CREATE VIEW invoices AS
SELECT object_id AS id, customer_id, canonical ->> 'status' AS status, occurred_at, position,
    coalesce((canonical ->> 'created')::bigint, 0) AS created, canonical, doubtful AS provisional, is_deleted
FROM object_versions WHERE is_current AND kind = 'invoice';

CREATE VIEW catalogue AS
SELECT object_id AS id, kind, occurred_at, position,
    coalesce((canonical ->> 'created')::bigint, 0) AS created, canonical, doubtful AS provisional, is_deleted
FROM object_versions
WHERE is_current AND kind IN ('product', 'price', 'plan', 'coupon', 'promotion_code', 'tax_rate');

GRANT SELECT, INSERT, UPDATE, DELETE ON
bookmarks, projection_faults, object_versions, links, owners, customers, customer_search, payments, timeline
TO ledger_runtime;

GRANT SELECT ON subscriptions, invoices, catalogue TO ledger_runtime;
