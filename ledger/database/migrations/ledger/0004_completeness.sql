-- How far the log was compared with Stripe's own list of events. One row, of the last comparison;
-- instants are Stripe's `created`.
CREATE TABLE completeness (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    checked_at timestamptz NOT NULL,
    complete_from timestamptz NOT NULL,  -- since then, without interruption
    complete_until timestamptz NOT NULL,
    listed bigint NOT NULL,
    missing bigint NOT NULL,  -- of all comparisons, what had not arrived
    filled bigint NOT NULL,
    newest_at_stripe timestamptz,
    error text
);

GRANT SELECT, INSERT, UPDATE, DELETE ON completeness TO ledger_runtime;
