-- How far each policy has read the log, and by which version it decides.
CREATE TABLE policy_bookmarks (
    policy text PRIMARY KEY,
    version integer NOT NULL,
    position bigint NOT NULL
);

-- Decisions and what else is ours, apart from the facts: a read model of them need not read all.
CREATE INDEX events_ours ON events (position) WHERE stripe_event_id IS NULL;

-- Which decisions there are about a customer: the first event of each stream of ours.
CREATE INDEX events_decided_about ON events (customer_id) WHERE stripe_event_id IS NULL
    AND version = 1;

GRANT SELECT, INSERT, UPDATE, DELETE ON policy_bookmarks TO ledger_runtime;

-- What was answered to a request with an Idempotency-Key, for a day.
CREATE TABLE idempotency_keys (
    token_id text NOT NULL,
    key text NOT NULL,
    fingerprint bytea NOT NULL,
    status integer,
    body bytea,  -- encrypted under the master key: an answer may hold what is personal
    created_at timestamptz NOT NULL,
    PRIMARY KEY (token_id, key)
);

CREATE INDEX idempotency_keys_created ON idempotency_keys (created_at);

GRANT SELECT, INSERT, UPDATE, DELETE ON idempotency_keys TO ledger_runtime;
