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
