"""Step 3: what follows for owners, payments, customers and search from what was settled."""

from __future__ import annotations

import hmac
from hashlib import sha256
from typing import Any

import psycopg

from ledger.log import Log
from ledger.privacy.keys import KeyRing, opened, subject_of, whole
from ledger.projections.crm.payments import derive_payments
from ledger.projections.crm.rows import Rows
from ledger.stripe_objects.contacts import contact_of, search_terms
from ledger.stripe_objects.fields import nested

# Objects that may have found their owner: the touched ones, and backward from them whatever
# names no customer itself. The owner is the customer reached over the fewest links. Returns those
# whose owner changed, with the one before: the statement still sees the rows as they were.
_OWNERS = """
WITH RECURSIVE waiting (object_id) AS (
    SELECT unnest(%(ids)s::text[])
    UNION
    SELECT l.from_id FROM waiting
    JOIN links AS l ON l.to_id = waiting.object_id
    WHERE NOT EXISTS (
        SELECT FROM links AS direct
        WHERE direct.from_id = l.from_id AND direct.relation = 'customer'
    )
), reached (origin, id, relation, distance) AS (
    SELECT object_id, object_id, '', 0 FROM waiting
    UNION
    SELECT origin, l.to_id, l.relation, distance + 1 FROM reached
    JOIN links AS l ON l.from_id = reached.id
    WHERE reached.relation <> 'customer' AND distance < 6
), changed AS (
    INSERT INTO owners (object_id, customer_id)
    SELECT DISTINCT ON (origin) origin, id FROM reached WHERE relation = 'customer'
    ORDER BY origin, distance, id
    ON CONFLICT (object_id) DO UPDATE SET customer_id = EXCLUDED.customer_id
    WHERE owners.customer_id <> EXCLUDED.customer_id
    RETURNING object_id
)
SELECT changed.object_id, former.customer_id
FROM changed LEFT JOIN owners AS former ON former.object_id = changed.object_id
"""

_TIMELINE = """
UPDATE timeline SET customer_id = owners.customer_id
FROM owners
WHERE owners.object_id = timeline.object_id AND NOT timeline.is_named
    AND timeline.customer_id IS DISTINCT FROM owners.customer_id
    AND timeline.object_id = ANY (%(ids)s)
"""

_PAYMENT_OWNERS = """
UPDATE payments SET customer_id = owners.customer_id
FROM owners
WHERE owners.object_id = payments.id AND payments.customer_id IS NULL
    AND payments.id = ANY (%(ids)s)
"""

# The best of a customer's subscriptions says what they are; without any they are a lead.
_CUSTOMERS = """
INSERT INTO customers AS known (
    id, status, delinquent, currency, country, created, subscriptions, erased, deleted,
    provisional, contact_position
)
SELECT c.id,
    coalesce(subscribed.status, 'lead'),
    (own.canonical ->> 'delinquent')::boolean,
    coalesce(own.canonical ->> 'currency', subscribed.currency),
    own.canonical ->> 'country',
    coalesce(
        to_timestamp((own.canonical ->> 'created')::bigint),
        (SELECT min(t.occurred_at) FROM timeline AS t WHERE t.customer_id = c.id),
        'epoch'
    ),
    coalesce(subscribed.subscriptions, 0),
    EXISTS (SELECT FROM subject_keys AS k WHERE k.subject = c.id AND k.wrapped_key IS NULL),
    coalesce(own.is_deleted, false),
    coalesce(own.doubtful, '{}') || coalesce(subscribed.provisional, '{}'),
    coalesce(own.position, (
        SELECT v.position FROM object_versions AS v
        WHERE v.customer_id = c.id AND v.is_current
            AND v.kind IN ('checkout.session', 'invoice', 'charge')
        ORDER BY v.kind = 'checkout.session' DESC, v.kind = 'invoice' DESC, v.occurred_at DESC,
            v.stripe_event_id DESC
        LIMIT 1
    ))
FROM unnest(%(ids)s::text[]) AS c (id)
LEFT JOIN object_versions AS own
    ON own.object_id = c.id AND own.kind = 'customer' AND own.is_current
LEFT JOIN LATERAL (
    SELECT count(*) AS subscriptions,
        min(s.canonical ->> 'currency') AS currency,
        CASE min(
            CASE
                WHEN s.canonical ->> 'status' IN ('active', 'trialing', 'past_due', 'paused')
                    AND s.canonical ->> 'pause_behavior' IS NOT NULL THEN 4
                WHEN s.canonical ->> 'status' = 'active' THEN 1
                WHEN s.canonical ->> 'status' = 'trialing' THEN 2
                WHEN s.canonical ->> 'status' = 'past_due' THEN 3
                WHEN s.canonical ->> 'status' = 'paused' THEN 4
                WHEN s.canonical ->> 'status' = 'incomplete' THEN 5
                WHEN s.canonical ->> 'status' = 'incomplete_expired' THEN 7
                ELSE 6
            END
        )
            WHEN 1 THEN 'active' WHEN 2 THEN 'trialing' WHEN 3 THEN 'past_due'
            WHEN 4 THEN 'paused' WHEN 5 THEN 'pending' WHEN 6 THEN 'inactive'
            WHEN 7 THEN 'expired'
        END AS status,
        CASE WHEN bool_or(s.doubtful && ARRAY[
            'status', 'pause_collection', 'pause_collection.behavior'
        ]) THEN ARRAY['subscriptions.status'] END AS provisional
    FROM object_versions AS s
    WHERE s.customer_id = c.id AND s.kind = 'subscription' AND s.is_current
) AS subscribed ON true
ON CONFLICT (id) DO UPDATE SET
    status = EXCLUDED.status, delinquent = EXCLUDED.delinquent, currency = EXCLUDED.currency,
    country = EXCLUDED.country, created = EXCLUDED.created,
    subscriptions = EXCLUDED.subscriptions, erased = EXCLUDED.erased,
    deleted = EXCLUDED.deleted, provisional = EXCLUDED.provisional,
    contact_position = EXCLUDED.contact_position
"""

_NOT_INDEXED = """
SELECT id, contact_position FROM customers WHERE id = ANY (%(ids)s)
"""


def derive(
    connection: psycopg.Connection[tuple[Any, ...]], rows: Rows, keys: KeyRing, search_key: bytes
) -> None:
    """Bring owners, payments, customers and their search terms up to date with a batch."""
    touched = {row.object_id for row in rows.versions if row.kind != "customer"}
    touched |= {source for source, _, _ in rows.links}
    ids = sorted(touched)
    found = connection.execute(_OWNERS, {"ids": ids}).fetchall()
    owned = [object_id for object_id, _ in found]
    connection.execute(_TIMELINE, {"ids": sorted({*ids, *owned})})
    paid = derive_payments(connection, sorted({*ids, *owned}))
    connection.execute(_PAYMENT_OWNERS, {"ids": sorted({*ids, *owned, *paid})})
    of_touched = connection.execute(
        "SELECT DISTINCT customer_id FROM owners WHERE object_id = ANY(%s)", [[*ids, *owned]]
    ).fetchall()
    former = {customer for _, customer in found if customer}
    customers = sorted(rows.customers | former | {customer for (customer,) in of_touched})
    if customers:
        connection.execute(_CUSTOMERS, {"ids": customers})
        _index_for_search(connection, customers, keys, search_key)
    _erase_linked(connection, {*ids, *owned})  # last: it takes the lock that webhooks wait for


def _erase_linked(connection: psycopg.Connection[tuple[Any, ...]], objects: set[str]) -> None:
    """Erase the keys of objects that turn out to belong to an erased customer."""
    late = connection.execute(
        "SELECT o.object_id FROM owners AS o"
        " JOIN subject_keys AS k ON k.subject = o.customer_id AND k.wrapped_key IS NULL"
        " LEFT JOIN subject_keys AS own ON own.subject = o.object_id"
        " WHERE o.object_id = ANY(%s) AND (own.subject IS NULL OR own.wrapped_key IS NOT NULL)",
        [sorted(objects)],
    ).fetchall()
    if late:
        connection.execute("SELECT erase_subjects(%s)", [[row[0] for row in late]])


def _index_for_search(
    connection: psycopg.Connection[tuple[Any, ...]],
    customers: list[str],
    keys: KeyRing,
    search_key: bytes,
) -> None:
    contacts = dict(connection.execute(_NOT_INDEXED, {"ids": customers}).fetchall())
    events = Log(connection).at([at for at in contacts.values() if at is not None])
    ciphers = keys.for_reading(
        (subject_of(e.customer_id, e.object_id) for e in events.values()), connection
    )
    rows: list[tuple[str, str, bytes]] = []
    for customer, position in contacts.items():
        event = events.get(position) if position is not None else None
        if event is None:
            continue
        subject = subject_of(event.customer_id, event.object_id)
        leaves = opened(ciphers, subject, event.stripe_event_id or "", event.personal)
        contact = contact_of(nested(whole(event.data, leaves), "data", "object"))
        rows.extend(
            (customer, kind, search_hash(search_key, kind, term))
            for kind, term in search_terms(contact)
        )
    connection.execute("DELETE FROM customer_search WHERE customer_id = ANY(%s)", [customers])
    if rows:
        ids, kinds, hashes = zip(*rows, strict=True)
        connection.execute(
            "INSERT INTO customer_search"
            " SELECT * FROM unnest(%s::text[], %s::text[], %s::bytea[]) ON CONFLICT DO NOTHING",
            [list(ids), list(kinds), list(hashes)],
        )


def search_hash(key: bytes, kind: str, term: str) -> bytes:
    """Return the keyed hash under which a search term is kept: HMAC-SHA-256, 16 bytes."""
    return hmac.new(key, f"{kind}|{term}".encode("utf-8", "replace"), sha256).digest()[:16]
