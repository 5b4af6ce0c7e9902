-- One row per ledger of this installation: one Stripe account in one mode, in one schema.
-- Its secrets live encrypted in its own schema; the one named `default` is configured by the
-- environment.

CREATE TABLE ledgers (
    name text PRIMARY KEY,
    schema_name text NOT NULL UNIQUE,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

GRANT USAGE ON SCHEMA ledger_installation TO ledger_runtime;

GRANT SELECT ON ledgers TO ledger_runtime;
