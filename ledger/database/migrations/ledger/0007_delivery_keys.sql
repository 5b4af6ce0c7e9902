-- Whatever is not Stripe's is once per delivery key, not only deliveries that could not be read:
-- what was observed, imported, closed. The lock of `append` makes it so; the index finds it.
DROP INDEX events_delivery_key;

CREATE INDEX events_delivery_key ON events ((data ->> 'delivery_key'))
WHERE stripe_event_id IS NULL;

CREATE OR REPLACE FUNCTION append(
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
            WHERE data ->> 'delivery_key' = delivery_keys[i] AND events.stripe_event_id IS NULL
            LIMIT 1;
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
