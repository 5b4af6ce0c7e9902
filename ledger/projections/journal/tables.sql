-- The journal: all of it can be dropped and made again from the log.

-- What events tell of documents, each telling once: at the first position that told it.
CREATE TABLE journal_notes (
    document text COLLATE "C" NOT NULL,
    position bigint NOT NULL,
    recorded_at timestamptz NOT NULL,
    customer_id text COLLATE "C",
    digest bytea NOT NULL,
    content jsonb NOT NULL
);

-- Postings, append-only: where an event changes what was known, the old ones reversed and the new
-- ones made, with that event's position. Debits are positive; per position, source, currency and
-- moment they add up to 0. `booked_at`: valid_at, or the end of the last month that was closed
-- when the event was recorded, whichever is later.
CREATE TABLE journal_entries (
    position bigint NOT NULL,
    recorded_at timestamptz NOT NULL,
    valid_at timestamptz NOT NULL,
    booked_at timestamptz NOT NULL,
    document text COLLATE "C" NOT NULL,
    source text COLLATE "C" NOT NULL,
    customer_id text COLLATE "C",
    reason text NOT NULL,
    account text NOT NULL,
    currency text NOT NULL,
    amount_minor numeric NOT NULL
);

-- When deferred revenue is earned, append-only: `amount_minor` evenly over [starts_at, ends_at),
-- counted from `since` on; what is over of the period by then is earned at that moment.
CREATE TABLE journal_schedules (
    position bigint NOT NULL,
    valid_at timestamptz NOT NULL,
    since timestamptz NOT NULL,
    document text COLLATE "C" NOT NULL,
    source text COLLATE "C" NOT NULL,
    line text COLLATE "C" NOT NULL,
    customer_id text COLLATE "C",
    currency text NOT NULL,
    amount_minor numeric NOT NULL,
    starts_at timestamptz NOT NULL,
    ends_at timestamptz NOT NULL,
    price text COLLATE "C",
    product text COLLATE "C"
);

-- Months that were closed, and the last position of the log that they hold.
CREATE TABLE closings (
    period text NOT NULL,
    starts_at timestamptz NOT NULL,
    ends_at timestamptz NOT NULL,
    closed_until bigint NOT NULL,
    position bigint NOT NULL
);
