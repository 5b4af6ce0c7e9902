"""The views as they were: what was true at an instant, what was known at a position.

As of an instant it is the settled facts until then. As known at a position the facts recorded
until then are settled again, by the same rule. What follows for a customer is asked of these
objects with the query that makes the present row: a name in a WITH stands for the view.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import psycopg
from psycopg.rows import class_row, dict_row
from psycopg.types.json import Jsonb

from ledger.errors import RequestInvalid
from ledger.log import Log
from ledger.moments import Moment
from ledger.projections.crm import queries
from ledger.projections.crm.derive import CUSTOMER_ROWS, owned_then
from ledger.projections.crm.facts import OVERTAKEN, Row
from ledger.projections.crm.queries import CUSTOMERS, Listing, Page
from ledger.projections.crm.settle import by_object, settle_object

Connection = psycopg.Connection[tuple[Any, ...]]
CHUNK = 100
FIXED = ("customer", "subscription")  # what a subscription or an invoice belongs to never changes

_SETTLED = """
SELECT f.object_id AS id, f.kind, f.customer_id, f.canonical ->> 'status' AS status,
    f.occurred_at, f.position, coalesce((f.canonical ->> 'created')::bigint, 0) AS created,
    f.canonical, f.doubtful AS provisional, f.is_deleted
FROM unnest(%(ids)s::text[]) AS asked (id)
CROSS JOIN LATERAL (
    SELECT * FROM facts
    WHERE object_id = asked.id AND mark <> 'overtaken' AND occurred_at <= %(until)s
    ORDER BY occurred_at DESC LIMIT 1
) AS f
"""

_RECORDED = """
SELECT position, object_id, kind, customer_id, occurred_at, stripe_event_id, type, mark
FROM facts WHERE object_id = ANY (%(ids)s) AND position <= %(position)s AND mark IS NOT NULL
"""

_OF_CUSTOMERS = """
SELECT DISTINCT object_id FROM facts
WHERE customer_id = ANY (%(ids)s) AND occurred_at <= %(until)s AND position <= %(position)s
    AND kind IN ('customer', 'subscription', 'checkout.session', 'invoice', 'charge')
    AND mark IS NOT NULL
"""

# Of facts that name these customers, and of those about what was traced to them then.
_TIMELINE_THEN = """
SELECT customer_id, occurred_at FROM facts
WHERE customer_id = ANY (%(ids)s) AND occurred_at <= %(until)s AND position <= %(position)s
UNION ALL
SELECT o.customer_id, f.occurred_at
FROM unnest(%(owned)s::text[], %(owners)s::text[]) AS o (object_id, customer_id)
JOIN facts AS f ON f.object_id = o.object_id AND f.customer_id IS NULL
    AND f.occurred_at <= %(until)s AND f.position <= %(position)s
"""

_OWNED = "SELECT object_id, customer_id FROM owners WHERE customer_id = ANY (%s)"

_CUSTOMERS_THEN = f"""
WITH current_objects AS (
    SELECT * FROM jsonb_to_recordset(%(states)s) AS then_ (
        id text, kind text, customer_id text, status text, position bigint, created bigint,
        canonical jsonb, provisional text[], is_deleted boolean
    )
), subscriptions AS (
    SELECT * FROM current_objects WHERE kind = 'subscription'
), objects AS (
    SELECT id AS object_id, kind, customer_id, position FROM current_objects
), timeline AS (
    {_TIMELINE_THEN}
)
{CUSTOMER_ROWS}
"""  # noqa: S608 — a constant of ours


def states(connection: Connection, ids: Sequence[str], moment: Moment) -> dict[str, queries.Row]:
    """Return these objects as they were, as `current_objects` has them; who was not is absent."""
    if moment.known_at is None:
        with connection.cursor(row_factory=dict_row) as cursor:
            cursor.execute(_SETTLED, {"ids": list(ids), "until": moment.until})
            return {row["id"]: row for row in cursor.fetchall()}
    with connection.cursor(row_factory=class_row(Row)) as cursor:
        cursor.execute(_RECORDED, {"ids": list(ids), "position": moment.position})
        recorded = cursor.fetchall()
    events = Log(connection).at([row.position for row in recorded])
    bodies = {position: event.data for position, event in events.items()}
    found = {}
    for object_id, seconds in by_object(recorded).items():
        settle_object(seconds, bodies)
        shown = [
            row
            for second in seconds
            for row in second
            if row.mark != OVERTAKEN and row.occurred_at <= moment.until
        ]
        if shown:
            found[object_id] = _state(object_id, shown[-1])
    return found


def _state(object_id: str, row: Row) -> queries.Row:
    assert row.canonical is not None
    canonical = msgspec.json.decode(row.canonical)
    return {
        "id": object_id,
        "kind": row.kind,
        "customer_id": row.customer_id,
        "status": canonical.get("status"),
        "occurred_at": row.occurred_at,
        "position": row.position,
        "created": row.created,
        "canonical": canonical,
        "provisional": list(row.doubtful),
        "is_deleted": row.is_deleted,
    }


def customers(connection: Connection, ids: Sequence[str], moment: Moment) -> dict[str, queries.Row]:
    """Return these customers as they were, as `customers` has them; who was unknown is absent."""
    if moment.known_at is None:
        owned = dict(connection.execute(_OWNED, [list(ids)]).fetchall())
    else:
        owned = owned_then(connection, ids, moment.position)
    asked = {
        "ids": list(ids),
        "until": moment.until,
        "position": moment.position,
        "owned": list(owned),
        "owners": list(owned.values()),
    }
    known = [
        row[0]
        for row in connection.execute(
            f"SELECT DISTINCT customer_id FROM ({_TIMELINE_THEN}) AS told",  # noqa: S608 — constants of ours
            asked,
        ).fetchall()
    ]
    if not known:
        return {}
    asked["ids"] = known
    objects = connection.execute(_OF_CUSTOMERS, asked).fetchall()
    found = states(connection, [*known, *(row[0] for row in objects)], moment)
    told = [{k: v for k, v in row.items() if k != "occurred_at"} for row in found.values()]
    with connection.cursor(row_factory=dict_row) as cursor:
        cursor.execute(_CUSTOMERS_THEN, {**asked, "states": Jsonb(told)})
        return {row["id"]: row for row in cursor.fetchall()}


def one(
    connection: Connection, listing: Listing, own_id: str, moment: Moment
) -> queries.Row | None:
    """Return one row of a view as it was, or None."""
    if not moment.is_past:
        return queries.one(connection, listing, own_id)
    queries.require_seen(connection, moment)
    return _rows(connection, listing, [own_id], moment).get(own_id)


def many(
    connection: Connection, listing: Listing, ids: Sequence[str], moment: Moment
) -> list[queries.Row]:
    """Return those rows of a view that there were."""
    if not moment.is_past:
        return queries.many(connection, listing, ids)
    queries.require_seen(connection, moment)
    return list(_rows(connection, listing, list(ids), moment).values())


def page(
    connection: Connection,
    listing: Listing,
    moment: Moment,
    *,
    limit: int,
    starting_after: str | None = None,
    ending_before: str | None = None,
    **filters: Any,
) -> Page:
    """Return a page of a view as it was; order and cursors are those of the present view.

    Raises RequestInvalid for a search by name or address: the hashes are those of the present.
    """
    if not moment.is_past:
        return queries.page(
            connection, listing, limit=limit, starting_after=starting_after,
            ending_before=ending_before, **filters,
        )  # fmt: skip
    queries.require_seen(connection, moment)
    wanted = {name: value for name, value in filters.items() if value is not None}
    if "found" in wanted:
        raise RequestInvalid("Names and addresses can be searched in the present only.")
    if noted := wanted.keys() & {"tag", "owner"}:
        raise RequestInvalid(f"`{min(noted)}` can be asked of the present only.")
    fixed = {name: wanted[name] for name in FIXED if name in wanted}
    backward = ending_before is not None
    cursors = {"ending_before": ending_before} if backward else {"starting_after": starting_after}
    found: list[queries.Row] = []
    more = True
    while more and len(found) <= limit:
        candidates = queries.page(connection, listing, limit=CHUNK, **cursors, **fixed)
        more = candidates.has_more
        ids = [row["id"] for row in candidates.rows]
        then = _rows(connection, listing, ids, moment)
        kept = [then[id_] for id_ in ids if id_ in then and _matches(then[id_], wanted)]
        found = [*kept, *found] if backward else [*found, *kept]
        if more:
            cursors = {"ending_before": ids[0]} if backward else {"starting_after": ids[-1]}
    has_more = len(found) > limit
    return Page(found[-limit:] if backward else found[:limit], has_more)


def _rows(
    connection: Connection, listing: Listing, ids: Sequence[str], moment: Moment
) -> dict[str, queries.Row]:
    if listing is CUSTOMERS:
        return customers(connection, ids, moment)
    kind = listing.source.removesuffix("s")
    found = states(connection, ids, moment)
    return {id_: row for id_, row in found.items() if row["kind"] == kind}


def _matches(row: queries.Row, wanted: dict[str, Any]) -> bool:
    told = {**row.get("canonical", {}), **row, "customer": row.get("customer_id")}
    return all(told.get(name) == value for name, value in wanted.items())
