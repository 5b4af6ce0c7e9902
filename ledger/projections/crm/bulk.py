"""The same three steps for a whole log: facts with their states at once, then what follows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ledger.database import wire
from ledger.log import RecordedEvent
from ledger.privacy.keys import KeyRing
from ledger.projections.crm.derive import derive_customers, derive_owners
from ledger.projections.crm.facts import Row, Rows, copy_facts, rows_of
from ledger.projections.crm.payments import make_payments, payments_between
from ledger.projections.crm.settle import by_object, settle_object
from ledger.projections.projection import Connection, Derivation

_OBJECTS = (
    b"COPY objects (object_id, kind, customer_id, created, position) FROM STDIN (FORMAT binary)"
)
_LINKS = b"COPY links (from_id, to_id, relation, position) FROM STDIN (FORMAT binary)"

_EVERY_LINKED = """
SELECT from_id FROM (
    SELECT from_id, row_number() OVER (ORDER BY from_id) AS number
    FROM (SELECT DISTINCT from_id FROM links) AS known
) AS numbered WHERE number %% %(every)s = 0 ORDER BY from_id
"""
# Who names a customer is theirs: `derive_owners` would find the same over one link.
_NAMED_OWNERS = """
INSERT INTO owners (object_id, customer_id)
SELECT DISTINCT ON (from_id) from_id, to_id FROM links
WHERE from_id > %(low)s AND from_id <= %(high)s AND relation = 'customer'
ORDER BY from_id, to_id
"""
_OWNERLESS_BETWEEN = """
SELECT DISTINCT from_id FROM links
WHERE from_id > %(low)s AND from_id <= %(high)s AND NOT EXISTS (
    SELECT FROM owners
    WHERE object_id > %(low)s AND object_id <= %(high)s AND object_id = from_id
)
"""

_EVERY_PAYMENT = """
SELECT object_id FROM (
    SELECT object_id, row_number() OVER (ORDER BY object_id) AS number FROM (
        SELECT object_id FROM objects WHERE kind IN ('payment_intent', 'charge')
        UNION SELECT to_id FROM links WHERE relation = 'payment_intent'
    ) AS known
) AS numbered WHERE number %% %(every)s = 0 ORDER BY object_id
"""

_EVERY_CUSTOMER = """
SELECT customer_id FROM (
    SELECT customer_id, row_number() OVER (ORDER BY customer_id) AS number FROM (
        SELECT customer_id FROM facts WHERE customer_id IS NOT NULL
        UNION SELECT customer_id FROM owners
    ) AS known
) AS numbered WHERE number %% %(every)s = 0 ORDER BY customer_id
"""
_CUSTOMERS_BETWEEN = """
SELECT customer_id FROM facts WHERE customer_id > %(low)s AND customer_id <= %(high)s
UNION SELECT customer_id FROM owners WHERE customer_id > %(low)s AND customer_id <= %(high)s
"""


def load(connection: Connection, events: Sequence[RecordedEvent]) -> None:
    """Write facts, settled, with links and current objects: all events of some objects at once."""
    rows = rows_of(events)
    bodies = {event.position: event.data for event in events}
    current = [settle_object(seconds, bodies) for seconds in by_object(rows.versions).values()]
    copy_facts(connection, rows.facts)
    wire.copy_in(connection, _OBJECTS, _objects(current))
    wire.copy_in(connection, _LINKS, _links(rows))


def _objects(current: Iterable[Row]) -> Iterable[wire.Row]:
    for row in current:
        yield (
            wire.text(row.object_id),
            row.kind.encode(),
            wire.text(row.customer_id),
            wire.bigint(row.created),
            wire.bigint(row.position),
        )


def _links(rows: Rows) -> Iterable[wire.Row]:
    for (source, target, relation), position in rows.links.items():
        yield source.encode(), target.encode(), relation.encode(), wire.bigint(position)


def derive_between(keys: KeyRing, search_key: bytes) -> Sequence[Derivation]:
    """Return the derivations of the CRM views, range by range."""

    def between(connection: Connection, query: str, low: str, high: str) -> list[str]:
        return [row[0] for row in connection.execute(query, {"low": low, "high": high}).fetchall()]

    def owners(connection: Connection, low: str, high: str) -> None:
        connection.execute(_NAMED_OWNERS, {"low": low, "high": high})
        derive_owners(connection, between(connection, _OWNERLESS_BETWEEN, low, high))

    def payments(connection: Connection, low: str, high: str) -> None:
        make_payments(connection, payments_between(connection, low, high))

    def customers(connection: Connection, low: str, high: str) -> None:
        ids = between(connection, _CUSTOMERS_BETWEEN, low, high)
        derive_customers(connection, ids, keys, search_key)

    return (
        Derivation("owners", _EVERY_LINKED, owners),
        Derivation("payments", _EVERY_PAYMENT, payments),
        Derivation("customers", _EVERY_CUSTOMER, customers),
    )
