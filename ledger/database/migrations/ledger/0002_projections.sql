-- What every projection has: how far it is, and what it could not read. Their own tables come from
-- their own files (`tables.sql` beside the projection), for they are made anew with each version.

CREATE TABLE IF NOT EXISTS bookmarks (
    projection text PRIMARY KEY,
    position bigint NOT NULL
);

-- Which version of the projection made the tables that this bookmark is for, and which they are.
ALTER TABLE bookmarks ADD COLUMN IF NOT EXISTS version integer NOT NULL DEFAULT 1;

ALTER TABLE bookmarks ADD COLUMN IF NOT EXISTS relations text[] NOT NULL DEFAULT '{
    object_versions, links, owners, customers, customer_search, payments, timeline, subscriptions,
    invoices, catalogue
}';

-- Where the tables of version 1 stand that nothing was projected into yet.
INSERT INTO bookmarks (projection, position)
SELECT 'crm', 0 WHERE to_regclass('object_versions') IS NOT NULL
ON CONFLICT DO NOTHING;

-- Events that a projection could not read: passed over, so that the rest goes on, and shown by
-- `ledger doctor`.
CREATE TABLE IF NOT EXISTS projection_faults (
    projection text NOT NULL,
    position bigint NOT NULL,
    fault text NOT NULL,
    PRIMARY KEY (projection, position)
);

-- A rebuild under way (or ended unfinished), and what of it is done.
CREATE TABLE rebuilds (
    projection text PRIMARY KEY,
    run text NOT NULL,
    version integer NOT NULL,
    target bigint NOT NULL,
    parts integer NOT NULL,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE rebuild_tasks (
    run text NOT NULL,
    task text NOT NULL,
    PRIMARY KEY (run, task)
);

GRANT SELECT, INSERT, UPDATE, DELETE ON rebuilds, rebuild_tasks TO ledger_runtime;

GRANT SELECT, INSERT, UPDATE, DELETE ON bookmarks, projection_faults TO ledger_runtime;
