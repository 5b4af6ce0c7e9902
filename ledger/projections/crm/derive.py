"""Step 3: what follows for owners, payments, customers and search from what was settled."""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from typing import Any

import psycopg
from psycopg import sql

from ledger.log import Log
from ledger.privacy.keys import KeyRing, opened, subject_of, whole
from ledger.projections.crm.facts import Rows
from ledger.projections.crm.payments import derive_payments
from ledger.stripe_objects.contacts import contact_of, search_terms
from ledger.stripe_objects.fields import nested

# Objects that may have found their owner: the touched ones, and backward from them whatever
# names no customer itself.
_WAITING = """
WITH RECURSIVE waiting (object_id) AS (
    SELECT unnest(%(ids)s::text[]) COLLATE "C"
    UNION
    SELECT l.from_id FROM waiting
    JOIN links AS l ON l.to_id = waiting.object_id
    WHERE NOT EXISTS (
        SELECT FROM links AS direct
        WHERE direct.from_id = l.from_id AND direct.relation = 'customer'
    )
)
SELECT object_id FROM waiting
"""

# The owner is the customer reached over the fewest links, of those known up to a position.
_REACHED = """
WITH RECURSIVE reached (origin, id, relation, distance) AS (
    SELECT id COLLATE "C", id COLLATE "C", '', 0 FROM unnest(%(ids)s::text[]) AS id
    UNION
    SELECT origin, l.to_id, l.relation, distance + 1 FROM reached
    JOIN links AS l ON l.from_id = reached.id AND l.position <= %(position)s
    WHERE reached.relation <> 'customer' AND distance < 6
), nearest (object_id, customer_id) AS (
    SELECT DISTINCT ON (origin) origin, id FROM reached WHERE relation = 'customer'
    ORDER BY origin, distance, id
)"""
# Returns those whose owner changed, with the one before: the statement still sees the rows as they
# were.
_OWNERS = f"""
{_REACHED}, changed AS (
    INSERT INTO owners (object_id, customer_id) SELECT * FROM nearest
    ON CONFLICT (object_id) DO UPDATE SET customer_id = EXCLUDED.customer_id
    WHERE owners.customer_id <> EXCLUDED.customer_id
    RETURNING object_id
)
SELECT changed.object_id, former.customer_id
FROM changed LEFT JOIN owners AS former ON former.object_id = changed.object_id
"""  # noqa: S608 — a constant of ours

# What may have been these customers' by the links known then: who names them, and backward from
# there whatever named no customer itself.
_NEAR = """
WITH RECURSIVE near (id, steps) AS (
    SELECT from_id, 1 FROM links
    WHERE to_id = ANY (%(customers)s) AND relation = 'customer' AND position <= %(position)s
    UNION
    SELECT l.from_id, steps + 1 FROM near
    JOIN links AS l ON l.to_id = near.id AND l.position <= %(position)s
    WHERE steps < 6 AND NOT EXISTS (
        SELECT FROM links AS direct
        WHERE direct.from_id = l.from_id AND direct.relation = 'customer'
            AND direct.position <= %(position)s
    )
)
SELECT DISTINCT id FROM near
"""
_NEAREST = f"{_REACHED} SELECT object_id, customer_id FROM nearest"  # noqa: S608 — constants of ours
_END = 2**63 - 1  # after every position

# The best of a customer's subscriptions says what they are; without any they are a lead. (Also
# asked of the past, where the names mean what was known then.)
CUSTOMER_ROWS = """
SELECT c.id,
    coalesce(subscribed.status, 'lead') AS status,
    (own.canonical ->> 'delinquent')::boolean AS delinquent,
    coalesce(own.canonical ->> 'currency', subscribed.currency) AS currency,
    own.canonical ->> 'country' AS country,
    coalesce(
        to_timestamp((own.canonical ->> 'created')::bigint),
        (SELECT min(t.occurred_at) FROM timeline AS t WHERE t.customer_id = c.id),
        'epoch'
    ) AS created,
    coalesce(subscribed.subscriptions, 0) AS subscriptions,
    EXISTS (
        SELECT FROM subject_keys AS k WHERE k.subject = c.id AND k.wrapped_key IS NULL
    ) AS erased,
    coalesce(own.is_deleted, false) AS deleted,
    coalesce(own.provisional, '{}') || coalesce(subscribed.provisional, '{}') AS provisional,
    coalesce(own.position, (
        SELECT o.position FROM objects AS o JOIN facts AS f ON f.position = o.position
        WHERE o.customer_id = c.id AND o.kind IN ('checkout.session', 'invoice', 'charge')
        ORDER BY o.kind = 'checkout.session' DESC, o.kind = 'invoice' DESC, f.occurred_at DESC,
            f.stripe_event_id DESC
        LIMIT 1
    )) AS contact_position
FROM unnest(%(ids)s::text[]) AS c (id)
LEFT JOIN current_objects AS own ON own.id = c.id AND own.kind = 'customer'
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
        CASE WHEN bool_or(s.provisional && ARRAY[
            'status', 'pause_collection', 'pause_collection.behavior'
        ]) THEN ARRAY['subscriptions.status'] END AS provisional
    FROM subscriptions AS s WHERE s.customer_id = c.id
) AS subscribed ON true
"""

# B608 — constants of ours
_CUSTOMERS = f"""
INSERT INTO customers AS known (
    id, status, delinquent, currency, country, created, subscriptions, erased, deleted,
    provisional, contact_position
)
{CUSTOMER_ROWS}
ON CONFLICT (id) DO UPDATE SET
    status = EXCLUDED.status, delinquent = EXCLUDED.delinquent, currency = EXCLUDED.currency,
    country = EXCLUDED.country, created = EXCLUDED.created,
    subscriptions = EXCLUDED.subscriptions, erased = EXCLUDED.erased,
    deleted = EXCLUDED.deleted, provisional = EXCLUDED.provisional,
    contact_position = EXCLUDED.contact_position
WHERE known IS DISTINCT FROM EXCLUDED
"""

# What the search terms of these customers follow from.
_CONTACTS = """
SELECT id, ARRAY[contact_position, erased::integer] FROM customers WHERE id = ANY (%(ids)s)
"""


# Objects of an erased customer whose own key still is there.
_LATE = """
SELECT o.object_id FROM subject_keys AS k JOIN owners AS o ON o.customer_id = k.subject
LEFT JOIN subject_keys AS own ON own.subject = o.object_id
WHERE k.wrapped_key IS NULL AND (own.subject IS NULL OR own.wrapped_key IS NOT NULL)
    AND (%(all)s OR o.object_id = ANY (%(ids)s))
"""


def derive(
    connection: psycopg.Connection[tuple[Any, ...]], rows: Rows, keys: KeyRing, search_key: bytes
) -> None:
    """Bring owners, payments, customers and their search terms up to date with a batch."""
    touched = {row.object_id for row in rows.versions if row.object_id and row.kind != "customer"}
    touched |= {source for source, _, _ in rows.links}
    ids = sorted(touched)
    waiting = connection.execute(_WAITING, {"ids": ids}).fetchall()
    former = derive_owners(connection, [row[0] for row in waiting])
    ids = sorted({*ids, *former})
    derive_payments(connection, ids)
    of_touched = connection.execute(
        "SELECT DISTINCT customer_id FROM owners WHERE object_id = ANY(%s)", [ids]
    ).fetchall()
    customers = {row.customer_id for row in rows.facts} | {*former.values()}
    customers |= {customer for (customer,) in of_touched}
    if named := sorted(customer for customer in customers if customer):
        derive_customers(connection, named, keys, search_key)
    erase_linked(connection, ids)  # last: it takes the lock that webhooks wait for


def derive_owners(
    connection: psycopg.Connection[tuple[Any, ...]], ids: Sequence[str]
) -> dict[str, str | None]:
    """Find the owners of these objects; return those that changed, with the owner before."""
    asked = {"ids": list(ids), "position": _END}
    return dict(connection.execute(_OWNERS, asked).fetchall())


def owned_then(
    connection: psycopg.Connection[tuple[Any, ...]], customers: Sequence[str], position: int
) -> dict[str, str]:
    """Return what was traced to these customers when the log ended there: object → customer."""
    bounds = {"customers": list(customers), "position": position}
    near = [row[0] for row in connection.execute(_NEAR, bounds).fetchall()]
    found = connection.execute(_NEAREST, {"ids": near, "position": position}).fetchall()
    return {object_id: owner for object_id, owner in found if owner in customers}


def derive_customers(
    connection: psycopg.Connection[tuple[Any, ...]],
    ids: Sequence[str],
    keys: KeyRing,
    search_key: bytes,
) -> None:
    """Make these customers' rows and search terms again."""
    before = dict(connection.execute(_CONTACTS, {"ids": list(ids)}).fetchall())
    connection.execute(_CUSTOMERS, {"ids": list(ids)})
    now = dict(connection.execute(_CONTACTS, {"ids": list(ids)}).fetchall())
    changed = {id_: told[0] for id_, told in now.items() if before.get(id_) != told}
    if changed:
        _index_for_search(connection, changed, keys, search_key)


def erase_linked(
    connection: psycopg.Connection[tuple[Any, ...]], objects: Sequence[str] | None = None
) -> None:
    """Erase the keys of objects, of these or of all, that belong to an erased customer."""
    late = connection.execute(_LATE, {"all": objects is None, "ids": list(objects or ())})
    if subjects := [row[0] for row in late.fetchall()]:
        connection.execute("SELECT erase_subjects(%s)", [subjects])


def forget(
    connection: psycopg.Connection[tuple[Any, ...]], schema: str, customers: Sequence[str | None]
) -> None:
    """Remove erased customers' search terms from a generation that nobody keeps up to date."""
    table = sql.Identifier(schema, "customer_search").as_string(connection)
    there = connection.execute("SELECT to_regclass(%s)", [table]).fetchone()
    if there and there[0]:
        connection.execute(
            sql.SQL("DELETE FROM {} WHERE customer_id = ANY(%s)").format(
                sql.Identifier(schema, "customer_search")
            ),
            [list(customers)],
        )


def _index_for_search(
    connection: psycopg.Connection[tuple[Any, ...]],
    contacts: Mapping[str, int | None],
    keys: KeyRing,
    search_key: bytes,
) -> None:
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
    connection.execute("DELETE FROM customer_search WHERE customer_id = ANY(%s)", [list(contacts)])
    if rows:
        ids, kinds, hashes = zip(*rows, strict=True)
        connection.execute(
            "INSERT INTO customer_search"
            " SELECT * FROM unnest(%s::text[], %s::text[], %s::bytea[]) ON CONFLICT DO NOTHING",
            [list(ids), list(kinds), list(hashes)],
        )


def search_hash(key: bytes, kind: str, term: str) -> bytes:
    """Return the keyed hash under which a search term is kept: HMAC-SHA-256, 16 bytes."""
    return hmac.digest(key, f"{kind}|{term}".encode("utf-8", "replace"), "sha256")[:16]
