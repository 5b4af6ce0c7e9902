"""Where books come from: the facts about customers' subscriptions, and the terms they cost by."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Any

import msgspec
from psycopg.rows import class_row

from ledger.log import Log
from ledger.projections.crm.facts import Row
from ledger.projections.numbers.book import Book, Learnt
from ledger.projections.numbers.history import Bodies, bodies_needed
from ledger.projections.numbers.series import Series
from ledger.projections.numbers.terms import Held, held_by
from ledger.projections.projection import Connection
from ledger.stripe_objects.fields import nested
from ledger.stripe_objects.readers import view_of
from ledger.stripe_objects.references import terms_key
from ledger.stripe_objects.views import (
    CatalogueItem,
    Customer,
    Discount,
    Subscription,
)

Payment = tuple[int, str, int]  # position, subscription, when (unix seconds)
BOOKS = 500  # that are open at once

_COLUMNS = (
    "f.position, f.object_id, f.kind, f.customer_id, f.occurred_at, f.stripe_event_id, f.type,"
    " f.mark, f.doubtful, f.is_deleted, convert_to(f.canonical::text, 'UTF8') AS canonical"
)
_OWN = f"""
SELECT {_COLUMNS} FROM objects AS o JOIN facts AS f ON f.object_id = o.object_id
WHERE o.customer_id = ANY (%(ids)s) AND o.kind IN ('subscription', 'discount')
    AND f.mark IS NOT NULL AND f.position <= %(until)s
ORDER BY f.position
"""  # noqa: S608 — constants of ours
# Whether a trial is of somebody who has paid before is asked of invoices; nothing else is. Of those
# that tell of a subscription's payments only what is earlier than all that was recorded before.
_PAID = """
SELECT customer_id, subscription, position, occurred_at FROM (
    SELECT o.customer_id, now.canonical ->> 'subscription' AS subscription, f.position,
        f.occurred_at, min(f.occurred_at) OVER (
            PARTITION BY now.canonical ->> 'subscription' ORDER BY f.position
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ) AS before
    FROM objects AS o JOIN facts AS now ON now.position = o.position
    JOIN facts AS f ON f.object_id = o.object_id AND f.type = ANY (%(types)s)
        AND f.position <= %(until)s
    WHERE o.customer_id = ANY (%(ids)s) AND o.kind = 'invoice'
        AND now.canonical ->> 'subscription' = ANY (%(subscriptions)s)
        AND (now.canonical ->> 'amount_paid')::numeric > 0
) AS told
WHERE before IS NULL OR occurred_at < before
"""
PAID_TYPES = ("invoice.paid", "invoice.payment_succeeded")
_CUSTOMERS = f"""
SELECT {_COLUMNS} FROM facts AS f
WHERE f.object_id = ANY (%(ids)s) AND f.kind = 'customer' AND f.mark IS NOT NULL
    AND f.position <= %(until)s
ORDER BY f.position
"""  # noqa: S608 — constants of ours
DISCOUNTED = """
SELECT DISTINCT object_id FROM facts
WHERE object_id = ANY (%(ids)s) AND kind = 'customer' AND canonical ? 'discount'
UNION
SELECT DISTINCT customer_id FROM facts
WHERE customer_id = ANY (%(ids)s) AND kind = 'discount'
    AND (canonical IS NULL OR NOT canonical ? 'subscription')
"""
_TERMS = """
SELECT key, position, convert_to(terms::text, 'UTF8') FROM catalogue_terms
WHERE key = ANY (%(keys)s) AND position <= %(until)s
"""
_USES = """
INSERT INTO catalogue_uses (key, customer_id)
SELECT * FROM unnest(%s::text[], %s::text[]) ON CONFLICT DO NOTHING
"""


_SHAPES: Mapping[str, Callable[[bytes], Any]] = {
    "subscription": msgspec.json.Decoder(Subscription).decode,
    "discount": msgspec.json.Decoder(Discount).decode,
    "customer": msgspec.json.Decoder(Customer).decode,
}
_item = msgspec.json.Decoder(CatalogueItem).decode


@dataclass(slots=True)
class Opened:
    """A book that has taken in all that is known, and what each fact changed: by position."""

    book: Book
    learnt: list[tuple[int, Learnt]] = field(default_factory=list)


def open_books(
    connection: Connection, customers: Sequence[str], series: Sequence[Series], until: int
) -> Iterator[Opened]:
    """Yield the books of these customers as known at a position; note by which terms they cost."""
    bounds: dict[str, Any] = {"ids": list(customers), "until": until}
    own = _rows(connection, _OWN, bounds)
    bodies: dict[int, Mapping[str, Any]] = _bodies(connection, own)
    names = _Names(bodies)
    for row in own:
        names.read(row)
    payments: dict[str, list[Payment]] = defaultdict(list)
    if names.trials:
        asked = {"ids": [*names.on_trial], "subscriptions": [*names.trials], "until": until}
        for customer, subscription, position, at in connection.execute(
            _PAID, {**asked, "types": list(PAID_TYPES)}
        ).fetchall():
            payments[customer].append((position, subscription, int(at.timestamp())))
    discounted = [row[0] for row in connection.execute(DISCOUNTED, bounds).fetchall()]
    customers_facts = _rows(connection, _CUSTOMERS, {**bounds, "ids": discounted})
    bodies.update(_bodies(connection, customers_facts))
    for row in customers_facts:
        names.read(row)
    _note_uses(connection, names.keys)
    terms = _terms(connection, set(chain(*names.keys.values())), until)
    by_customer: dict[str, list[Row]] = defaultdict(list)
    for row in (*own, *customers_facts):
        if row.customer_id is not None:
            by_customer[row.customer_id].append(row)
    for customer in customers:
        if facts := by_customer.get(customer):
            told = [terms[key] for key in names.keys.get(customer, ()) if key in terms]
            book = Book(customer, series, bodies)
            yield _read(book, facts, told, payments.get(customer, ()))


def _read(
    book: Book,
    facts: Sequence[Row],
    terms: Sequence[tuple[int, CatalogueItem]],
    payments: Sequence[Payment],
) -> Opened:
    """Let a book take in everything, in the order of positions."""
    opened = Opened(book)
    todo: list[tuple[int, Callable[[], Iterator[Learnt]]]] = [
        *((fact.position, partial(book.learn, fact)) for fact in facts),
        *((position, partial(book.know, item)) for position, item in terms),
        *((position, partial(book.paid, who, at)) for position, who, at in payments),
    ]
    for position, take_in in sorted(todo, key=lambda one: one[0]):
        opened.learnt += ((position, one) for one in take_in())
    return opened


class _Names:
    """What the facts of some customers name: terms by customer, and subscriptions in a trial."""

    def __init__(self, bodies: Bodies) -> None:
        self._bodies = bodies
        self.keys: dict[str, set[str]] = defaultdict(set)
        self.trials: set[str] = set()
        self.on_trial: set[str] = set()

    def read(self, row: Row) -> None:
        """Take notice of what a fact names."""
        if row.kind not in _SHAPES:
            return
        assert row.customer_id is not None
        if row.canonical is None:
            shown: Any = view_of(nested(self._bodies[row.position], "data", "object"))
        else:
            shown = _SHAPES[row.kind](row.canonical)
        held: Iterable[Held | None] = ()
        if isinstance(shown, Customer):
            held = [shown.discount]
        elif isinstance(shown, Discount):
            held = [shown]
        elif isinstance(shown, Subscription):
            held = held_by(shown)
            self._read_subscription(row, shown)
        self.keys[row.customer_id].update(
            terms_key("coupon", one.coupon)
            for one in held
            if one is not None and one.terms is None and one.coupon
        )

    def _read_subscription(self, row: Row, shown: Subscription) -> None:
        assert row.customer_id is not None
        assert row.object_id is not None
        if shown.status == "trialing":
            self.trials.add(row.object_id)
            self.on_trial.add(row.customer_id)
        self.keys[row.customer_id].update(
            terms_key("price", item.price) for item in shown.items if item.tiers_mode and item.price
        )


def _rows(connection: Connection, query: str, bounds: Mapping[str, Any]) -> list[Row]:
    with connection.cursor(binary=True, row_factory=class_row(Row)) as cursor:
        cursor.execute(query.encode(), bounds)
        return cursor.fetchall()


def _bodies(connection: Connection, rows: Sequence[Row]) -> dict[int, Mapping[str, Any]]:
    needed = bodies_needed(rows)
    found = Log(connection).at(sorted(needed)) if needed else {}
    return {position: event.data for position, event in found.items()}


def _terms(
    connection: Connection, keys: set[str], until: int
) -> dict[str, tuple[int, CatalogueItem]]:
    if not keys:
        return {}
    with connection.cursor(binary=True) as cursor:
        rows = cursor.execute(_TERMS, {"keys": sorted(keys), "until": until}).fetchall()
    return {key: (position, _item(terms)) for key, position, terms in rows}


def _note_uses(connection: Connection, keys: Mapping[str, set[str]]) -> None:
    uses = sorted((key, customer) for customer, named in keys.items() for key in named)
    if uses:
        connection.execute(_USES, [[key for key, _ in uses], [customer for _, customer in uses]])
