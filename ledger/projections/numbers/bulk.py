"""The same numbers for a whole log: every book is opened once, and gives all of its entries."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from ledger.projections.numbers import catalogue
from ledger.projections.numbers.categories import load_categories
from ledger.projections.numbers.collections import make_between
from ledger.projections.numbers.entries import (
    sum_up,
    sum_up_outcomes,
    write_learnt,
    write_outcomes,
)
from ledger.projections.numbers.exchange import load_rates
from ledger.projections.numbers.series import Series, series_until, write_series
from ledger.projections.numbers.shelf import BOOKS, Opened, open_books
from ledger.projections.projection import ONCE, Connection, Derivation

_EVERY_CUSTOMER = """
SELECT customer_id FROM (
    SELECT customer_id, row_number() OVER (ORDER BY customer_id) AS number
    FROM (
        SELECT DISTINCT customer_id FROM objects
        WHERE kind = 'subscription' AND customer_id IS NOT NULL
    ) AS known
) AS numbered WHERE number %% %(every)s = 0 ORDER BY customer_id
"""
_EVERY_INVOICE = """
SELECT object_id FROM (
    SELECT object_id, row_number() OVER (ORDER BY object_id) AS number
    FROM objects WHERE kind = 'invoice'
) AS numbered WHERE number %% %(every)s = 0 ORDER BY object_id
"""
_BETWEEN = """
SELECT DISTINCT customer_id FROM objects
WHERE customer_id > %(low)s AND customer_id <= %(high)s AND kind IN ('subscription', 'discount')
ORDER BY customer_id
"""


def derive_between(until: int) -> Sequence[Derivation]:
    """Return the derivations of the numbers: first the terms, then all books, then the sums."""

    def terms(connection: Connection, _low: str, _high: str) -> None:
        write_series(connection, series_until(connection, until))
        catalogue.load(connection, until)
        load_rates(connection, until)
        load_categories(connection, until)

    def books(connection: Connection, low: str, high: str) -> None:
        ids = customers_between(connection, low, high)
        enter_all(connection, ids, series_until(connection, until), until)

    def sums(connection: Connection, _low: str, _high: str) -> None:
        series = [one.number for one in series_until(connection, until)]
        sum_up(connection, series, 0, until)
        sum_up_outcomes(connection, series)

    return (
        Derivation("terms", ONCE, terms),
        Derivation("books", _EVERY_CUSTOMER, books),
        Derivation("sums", ONCE, sums),
        Derivation("collections", _EVERY_INVOICE, make_between),
    )


def customers_between(connection: Connection, low: str, high: str) -> list[str]:
    """Return who has or had a subscription or a discount, low < id ≤ high."""
    rows = connection.execute(_BETWEEN, {"low": low, "high": high}).fetchall()
    return [row[0] for row in rows]


def enter_all(
    connection: Connection, customers: Sequence[str], series: Sequence[Series], until: int
) -> None:
    """Write all entries of these customers in these series, of whom there are none."""
    for first in range(0, len(customers), BOOKS):
        ids = customers[first : first + BOOKS]
        opened = list(open_books(connection, ids, series, until))
        recorded = _recorded(connection, opened)
        write_learnt(connection, opened, recorded)
        write_outcomes(connection, opened, {one.number for one in series})


def _recorded(connection: Connection, opened: Sequence[Opened]) -> dict[int, datetime]:
    positions = sorted({position for one in opened for position, _ in one.learnt})
    rows = connection.execute(
        "SELECT position, recorded_at FROM events WHERE position = ANY (%s)", [positions]
    ).fetchall()
    return dict(rows)
