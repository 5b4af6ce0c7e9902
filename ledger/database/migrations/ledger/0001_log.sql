-- The log: facts from Stripe and our own decisions, numbered without gaps, for ever.

CREATE TABLE events (
    position bigint PRIMARY KEY,
    stream text NOT NULL,
    version bigint NOT NULL,  -- a fact's is its position; a decision stream counts 1, 2, 3 …
    topic text NOT NULL,
    customer_id text,
    object_id text,
    stripe_event_id text UNIQUE,
    occurred_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    correlation_id text,
    causation_id text,
    data jsonb NOT NULL,
    personal bytea,  -- one AES-256-GCM box: path -> value, under the subject's key
    UNIQUE (stream, version)
);

-- What Stripe did not give an id of its own to: once per delivery key, however often delivered.
CREATE UNIQUE INDEX events_delivery_key ON events ((data ->> 'delivery_key'))
WHERE topic IN ('Account.ConflictingDelivery', 'Account.DeliveryUnreadable');

-- What is recorded but in no view: events of the other mode or of a foreign account.
CREATE INDEX events_set_aside ON events (position)
WHERE topic = 'Account.StripeEventNoted' AND data -> '_ledger' ? 'set_aside';

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% of % refused: the log only grows', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END
$$;

CREATE TRIGGER events_only_grow BEFORE UPDATE OR DELETE ON events
FOR EACH ROW EXECUTE FUNCTION refuse_change();

CREATE TRIGGER events_never_truncated BEFORE TRUNCATE ON events
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- One key per subject (customer, else object, else `account`), wrapped by the master key.
-- A tombstone (no key) means: erased; nothing personal is kept for this subject any more.
CREATE TABLE subject_keys (
    subject text PRIMARY KEY,
    wrapped_key bytea,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    erased_at timestamptz,
    CHECK ((wrapped_key IS NULL) = (erased_at IS NOT NULL))
);

CREATE INDEX subject_keys_erased ON subject_keys (subject) WHERE wrapped_key IS NULL;

-- SHA-256 chain over the log, block by block. `leaves` holds the 32-byte hash of each event.
CREATE TABLE seals (
    block bigint PRIMARY KEY,
    first_position bigint NOT NULL UNIQUE,
    last_position bigint NOT NULL UNIQUE,
    leaves bytea NOT NULL,
    hash bytea NOT NULL,
    sealed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TRIGGER seals_only_grow BEFORE UPDATE OR DELETE ON seals
FOR EACH ROW EXECUTE FUNCTION refuse_change();

CREATE TRIGGER seals_never_truncated BEFORE TRUNCATE ON seals
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TABLE settings (
    key text PRIMARY KEY,
    value bytea NOT NULL,  -- encrypted under the master key
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE api_tokens (
    id text PRIMARY KEY,
    name text NOT NULL,
    scopes text[] NOT NULL,
    token_hash bytea NOT NULL UNIQUE,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    revoked_at timestamptz
);

-- Deliveries that added nothing to the log, by what they were: duplicate, other_rendering.
CREATE TABLE delivery_counts (
    outcome text PRIMARY KEY,
    deliveries bigint NOT NULL
);

-- The one way into the log. Takes a batch, one array element per event, and answers one number
-- per event: its new position; minus the position of the event that has this Stripe event id or
-- delivery key already; or 0 where a subject's key was made elsewhere meanwhile (encrypt again).
-- Under the ledger's advisory lock there is nothing but dedupe, numbering and insert, so that
-- positions are gapless and commit in order; what belongs to an erased subject loses its box.
CREATE FUNCTION append(
    streams text[], versions bigint[], topics text[], customer_ids text[], object_ids text[],
    stripe_event_ids text[], delivery_keys text[], occurred timestamptz[],
    correlation_ids text[], causation_ids text[], bodies jsonb[], boxes bytea[],
    subjects text[], new_keys bytea[]
) RETURNS bigint[] LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    last_position bigint;
    last_recorded timestamptz;
    known bigint;
    stale bigint[];
    erased text[];
    positions bigint[] := '{}';
BEGIN
    IF array_remove(new_keys, NULL) <> '{}' THEN
        -- Sorted, so that two processes that meet the same subjects wait in the same order.
        INSERT INTO subject_keys (subject, wrapped_key)
        SELECT DISTINCT ON (s) s, k FROM unnest(subjects, new_keys) AS fresh (s, k)
        WHERE k IS NOT NULL ORDER BY s
        ON CONFLICT DO NOTHING;
        -- An event is stale if its box was made with another new key than the one that stands.
        SELECT array_agg(n) INTO stale
        FROM unnest(subjects, new_keys) WITH ORDINALITY AS fresh (s, k, n)
        JOIN subject_keys ON subject = s
        WHERE k IS NOT NULL AND wrapped_key IS DISTINCT FROM k;
    END IF;

    PERFORM pg_advisory_xact_lock(1818518117, current_schema()::regnamespace::oid::integer);

    SELECT array_agg(subject) INTO erased
    FROM subject_keys WHERE wrapped_key IS NULL AND subject = ANY (subjects);
    SELECT position, recorded_at INTO last_position, last_recorded
    FROM events ORDER BY position DESC LIMIT 1;
    last_position := coalesce(last_position, 0);

    FOR i IN 1 .. cardinality(streams) LOOP
        known := NULL;
        IF stripe_event_ids[i] IS NOT NULL THEN
            SELECT position INTO known FROM events WHERE stripe_event_id = stripe_event_ids[i];
        ELSIF delivery_keys[i] IS NOT NULL THEN
            SELECT position INTO known FROM events
            WHERE data ->> 'delivery_key' = delivery_keys[i]
                AND topic IN ('Account.ConflictingDelivery', 'Account.DeliveryUnreadable');
        END IF;
        IF known IS NOT NULL THEN
            positions := positions || -known;
        ELSIF stale IS NOT NULL AND i = ANY (stale) THEN
            positions := positions || 0::bigint;
        ELSE
            last_position := last_position + 1;
            last_recorded := greatest(clock_timestamp(), last_recorded);
            INSERT INTO events VALUES (
                last_position, streams[i], coalesce(versions[i], last_position), topics[i],
                customer_ids[i], object_ids[i], stripe_event_ids[i], occurred[i], last_recorded,
                correlation_ids[i], causation_ids[i], bodies[i],
                CASE WHEN erased IS NULL OR subjects[i] <> ALL (erased) THEN boxes[i] END
            );
            positions := positions || last_position;
        END IF;
    END LOOP;
    RETURN positions;
END
$$;

-- Tombstone the keys of these subjects. Under the same lock as `append`: an event is either
-- before the erasure (and its key is gone) or after it (and its box is dropped).
CREATE FUNCTION erase_subjects(erased text[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    -- Keys first and sorted, then the lock, as `append` does: neither waits for the other in turn.
    INSERT INTO subject_keys (subject, wrapped_key, erased_at)
    SELECT s, NULL, clock_timestamp() FROM unnest(erased) AS s ORDER BY s
    ON CONFLICT (subject) DO UPDATE SET wrapped_key = NULL, erased_at = clock_timestamp()
    WHERE subject_keys.erased_at IS NULL;
    PERFORM pg_advisory_xact_lock(1818518117, current_schema()::regnamespace::oid::integer);
END
$$;

REVOKE ALL ON FUNCTION append FROM PUBLIC;

REVOKE ALL ON FUNCTION erase_subjects FROM PUBLIC;

GRANT EXECUTE ON FUNCTION append, erase_subjects TO ledger_runtime;

GRANT SELECT ON events, subject_keys TO ledger_runtime;

GRANT SELECT, INSERT ON seals TO ledger_runtime;

GRANT SELECT, INSERT, UPDATE, DELETE ON settings, api_tokens, delivery_counts TO ledger_runtime;
