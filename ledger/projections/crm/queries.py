"""Reads the CRM views: pages of them, single rows, a customer's story."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg.rows import dict_row

from ledger.errors import RequestInvalid, ViewsBehind
from ledger.log import Log
from ledger.moments import Moment
from ledger.privacy.keys import KeyRing, opened, subject_of, whole
from ledger.projections.crm.derive import owned_then, search_hash
from ledger.projections.crm.sentences import sentence_for
from ledger.stripe_objects.contacts import Contact, contact_of, normalised, words
from ledger.stripe_objects.fields import nested

Connection = psycopg.Connection[tuple[Any, ...]]
Row = dict[str, Any]


@dataclass(frozen=True)
class Listing:
    """A view that can be paged through, newest first: its sort columns end in its id."""

    source: str
    columns: str
    sort: tuple[str, str]
    filters: Mapping[str, str] = field(default_factory=dict)


CUSTOMERS = Listing(
    "customers",
    "*",
    ("created", "id"),
    {
        "status": "status = %(status)s",
        "delinquent": "delinquent = %(delinquent)s",
        "owner": "id IN (SELECT customer_id FROM customer_work WHERE owner = %(owner)s)",
        "tag": "id IN (SELECT customer_id FROM customer_work WHERE tags @> ARRAY[%(tag)s])",
        "found": "id IN (SELECT customer_id FROM customer_search WHERE hash = %(found)s)",
    },
)
SUBSCRIPTIONS = Listing(
    "subscriptions",
    "*",
    ("created", "id"),
    {"customer": "customer_id = %(customer)s", "status": "status = %(status)s"},
)
INVOICES = Listing(
    "invoices",
    "*",
    ("created", "id"),
    {
        "customer": "customer_id = %(customer)s",
        "status": "status = %(status)s",
        "subscription": "canonical ->> 'subscription' = %(subscription)s",
    },
)
PAYMENTS = Listing(
    "payments",
    "*",
    ("created", "id"),
    {
        "customer": "customer_id = %(customer)s",
        "invoice": "invoice_id = %(invoice)s",
        "status": "status = %(status)s",
    },
)


@dataclass(frozen=True)
class Page:
    """Part of a list."""

    rows: list[Row]
    has_more: bool


def page(
    connection: Connection,
    listing: Listing,
    *,
    limit: int,
    starting_after: str | None = None,
    ending_before: str | None = None,
    **filters: Any,
) -> Page:
    """Return a page, newest first; the cursors are ids. Raises RequestInvalid for unknown ones."""
    order, own_id = listing.sort
    chosen = {name: value for name, value in filters.items() if value is not None}
    conditions = [listing.filters[name] for name in chosen]
    parameters = {**chosen, "limit": limit + 1}
    backward = ending_before is not None
    if cursor := ending_before or starting_after:
        parameters["cursor"] = cursor
        conditions.append(
            f"({order}, {own_id}) {'>' if backward else '<'}"  # noqa: S608 — constants of ours
            f" (SELECT {order}, {own_id} FROM {listing.source} WHERE {own_id} = %(cursor)s)"
        )
        _must_exist(connection, listing, cursor)
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    direction = "ASC" if backward else "DESC"
    with connection.cursor(row_factory=dict_row) as rows_of:
        rows = rows_of.execute(
            f"SELECT {listing.columns} FROM {listing.source} {where}"  # noqa: S608 — constants of ours
            f" ORDER BY {order} {direction}, {own_id} {direction} LIMIT %(limit)s",
            parameters,
        ).fetchall()
    has_more = len(rows) > limit
    rows = rows[:limit]
    return Page(rows[::-1] if backward else rows, has_more)


def _must_exist(connection: Connection, listing: Listing, cursor: str) -> None:
    if one(connection, listing, cursor) is None:
        raise RequestInvalid(f"The cursor {cursor!r} is not in this list.")


def one(connection: Connection, listing: Listing, own_id: str) -> Row | None:
    """Return one row of a view, or None."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            f"SELECT {listing.columns} FROM {listing.source}"  # noqa: S608 — constants of ours
            f" WHERE {listing.sort[1]} = %s",
            [own_id],
        ).fetchone()


def many(connection: Connection, listing: Listing, ids: Sequence[str]) -> list[Row]:
    """Return those rows of a view that there are."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            f"SELECT {listing.columns} FROM {listing.source}"  # noqa: S608 — constants of ours
            f" WHERE {listing.sort[1]} = ANY (%s)",
            [list(ids)],
        ).fetchall()


def contacts(connection: Connection, keys: KeyRing, customers: Sequence[Row]) -> dict[str, Contact]:
    """Return who these customers are, opened for the occasion; erased ones are nobody."""
    at = {row["id"]: row["contact_position"] for row in customers if row["contact_position"]}
    events = Log(connection).at(sorted(at.values()))
    ciphers = keys.for_reading(
        (subject_of(e.customer_id, e.object_id) for e in events.values()), connection
    )
    found = {}
    for customer, position in at.items():
        event = events.get(position)
        if event is None:
            continue
        subject = subject_of(event.customer_id, event.object_id)
        leaves = opened(ciphers, subject, event.stripe_event_id or "", event.personal)
        found[customer] = contact_of(nested(whole(event.data, leaves), "data", "object"))
    return found


def search_filter(search_key: bytes, *, email: str | None, query: str | None) -> bytes | None:
    """Return the hash that finds customers by e-mail, mail domain or one word of their name."""
    if email:
        return search_hash(search_key, "email", normalised(email))
    if not query:
        return None
    if "@" in query:
        kind = "domain" if query.startswith("@") else "email"
        return search_hash(search_key, kind, normalised(query).removeprefix("@"))
    found = sorted(words(query))
    if len(found) != 1:
        raise RequestInvalid(
            "Search for one whole word of a name, a whole e-mail address, or `@domain`: names "
            "are stored encrypted, parts of words cannot be found."
        )
    return search_hash(search_key, "word", found[0])


def require_seen(connection: Connection, moment: Moment) -> None:
    """Raise ViewsBehind if these views do not know yet what was known at that moment."""
    if moment.known_at is None:
        return
    seen = connection.execute("SELECT position FROM bookmarks WHERE projection = 'crm'").fetchone()
    if seen is not None and seen[0] < moment.known_at:
        raise ViewsBehind(
            f"The views are at position {seen[0]}, not at {moment.known_at} yet; try again."
        )


_OWNED = "SELECT object_id FROM owners WHERE customer_id = %s"
_LINES = """
WITH lines AS (
    SELECT position, object_id, occurred_at, stripe_event_id, type, CASE
        WHEN type LIKE '%%.created' THEN 0 WHEN type LIKE '%%.deleted' THEN 2 ELSE 1 END AS step
    FROM facts
    WHERE (customer_id = %(customer)s OR object_id = ANY (%(owned)s) AND customer_id IS NULL)
        AND occurred_at <= %(until)s AND position <= %(known_at)s
)
"""
# B608 — constants of ours
_IS_A_LINE = f"{_LINES} SELECT FROM lines WHERE position = %(after)s"
_STORY = f"""{_LINES}
SELECT position, object_id, occurred_at, stripe_event_id, type FROM lines
WHERE %(after)s::bigint IS NULL OR (occurred_at, step, coalesce(stripe_event_id, '')) < (
    SELECT occurred_at, step, coalesce(stripe_event_id, '') FROM lines WHERE position = %(after)s
)
ORDER BY occurred_at DESC, step DESC, coalesce(stripe_event_id, '') DESC LIMIT %(limit)s
"""  # noqa: S608 — constants of ours


def story(
    connection: Connection,
    customer_id: str,
    moment: Moment,
    *,
    limit: int,
    after: int | None = None,
) -> Page:
    """Return what happened to a customer, newest first, a sentence and its event per line.

    `after` is the position of the last line already read. Within one second the order is:
    created first, deleted last, then by event id — the same however the events arrived.
    """
    require_seen(connection, moment)
    if moment.known_at is None:
        owned = [row[0] for row in connection.execute(_OWNED, [customer_id]).fetchall()]
    else:
        owned = list(owned_then(connection, [customer_id], moment.position))
    asked = {
        "customer": customer_id,
        "owned": owned,
        "after": after,
        "limit": limit + 1,
        "until": moment.until,
        "known_at": moment.position,
    }
    with connection.cursor(row_factory=dict_row) as cursor:
        if after is not None and cursor.execute(_IS_A_LINE, asked).rowcount == 0:
            raise RequestInvalid(f"The cursor {after} is not in this customer's story.")
        lines = cursor.execute(_STORY, asked).fetchall()
    has_more = len(lines) > limit
    lines = lines[:limit]
    events = Log(connection).at([line["position"] for line in lines])
    for line in lines:
        event = events[line["position"]]
        line["sentence"] = sentence_for(event.topic, event.data)
    return Page(lines, has_more)


def last_failures(connection: Connection, invoices: Sequence[str]) -> dict[str, Row]:
    """Return per invoice the last failed payment on it, with its decline and advice codes."""
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(
            "SELECT DISTINCT ON (invoice_id) invoice_id, id, failed_at, failure_code,"
            " decline_code, advice_code, network_decline_code"
            " FROM payments WHERE invoice_id = ANY(%s) AND failed_at IS NOT NULL"
            " ORDER BY invoice_id, failed_at DESC, id",
            [list(invoices)],
        ).fetchall()
    return {row["invoice_id"]: row for row in rows}
