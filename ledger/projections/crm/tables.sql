-- The CRM read models: all of it can be dropped and made again from the log. Made in whatever
-- schema comes first on the search path; indexes are in indexes.sql, made after a bulk load. Ids are
-- in C order whatever the database is in: a bulk load takes them range by range.

-- Step 1, what each event says, of what object, and whom it names. Step 2, settle: which of them
-- shows its object as it was at the end of its second. `mark`: null where no object that lasts is
-- shown; overtaken, if another fact of the second came after it; else clear, gap or assumed.
-- `canonical`: what it shows, in one shape for every API version; null if overtaken (but for
-- failed payments, each of which counts). `doubtful`: leaves that are assumed.
CREATE TABLE facts (
    position bigint NOT NULL,
    object_id text COLLATE "C",
    kind text NOT NULL,
    customer_id text COLLATE "C",
    occurred_at timestamptz NOT NULL,
    stripe_event_id text COLLATE "C",
    type text NOT NULL,
    canonical jsonb,
    mark text,
    doubtful text[] NOT NULL,
    is_deleted boolean NOT NULL
);

-- Which fact shows what an object is now.
CREATE TABLE objects (
    object_id text COLLATE "C" NOT NULL,
    kind text NOT NULL,
    customer_id text COLLATE "C",
    created bigint NOT NULL,
    position bigint NOT NULL
) WITH (fillfactor = 80);

-- Object names object: how an event finds its owner when it does not name one itself. `position`:
-- of the first event recorded that told of it.
CREATE TABLE links (
    from_id text COLLATE "C" NOT NULL,
    to_id text COLLATE "C" NOT NULL,
    relation text NOT NULL,
    position bigint NOT NULL
);

-- Step 3, derived: whose an object is, following links.
CREATE TABLE owners (
    object_id text COLLATE "C" NOT NULL,
    customer_id text COLLATE "C" NOT NULL
);

CREATE TABLE customers (
    id text COLLATE "C" NOT NULL,
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

-- Keyed hashes of e-mail, mail domain and name words: equality can be asked, nothing read.
CREATE TABLE customer_search (
    customer_id text COLLATE "C" NOT NULL,
    kind text NOT NULL,
    hash bytea NOT NULL
);

-- One row per payment: a payment intent with its charges, or a charge that has none.
CREATE TABLE payments (
    id text COLLATE "C" NOT NULL,
    customer_id text COLLATE "C",
    invoice_id text COLLATE "C",
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

-- Which events tell a customer's story: those that name them, and those about objects that are
-- traced to them. The sentences are made from the events when read.
CREATE VIEW timeline AS
SELECT position, customer_id, object_id, occurred_at, stripe_event_id, type
FROM facts WHERE customer_id IS NOT NULL
UNION ALL
SELECT f.position, o.customer_id, f.object_id, f.occurred_at, f.stripe_event_id, f.type
FROM owners AS o JOIN facts AS f ON f.object_id = o.object_id AND f.customer_id IS NULL;

CREATE VIEW current_objects AS
SELECT o.object_id AS id, o.kind, o.customer_id, f.canonical ->> 'status' AS status, f.occurred_at,
    o.position, o.created, f.canonical, f.doubtful AS provisional, f.is_deleted
FROM objects AS o JOIN facts AS f ON f.position = o.position;

CREATE VIEW subscriptions AS SELECT * FROM current_objects WHERE kind = 'subscription';

CREATE VIEW invoices AS SELECT * FROM current_objects WHERE kind = 'invoice';

CREATE VIEW catalogue AS
SELECT * FROM current_objects
WHERE kind IN ('product', 'price', 'plan', 'coupon', 'promotion_code', 'tax_rate');
