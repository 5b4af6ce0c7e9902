"""What is told beside MRR at the end of each period: at risk, in trials, set to end, by status."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from ledger.metrics.frames import Sums, source_of
from ledger.metrics.question import Period, Question
from ledger.projections.projection import Connection

_COLUMNS = "measure, currency, amount_minor, customers"


def levels(
    connection: Connection, asked: Question, measures: str
) -> dict[tuple[Period, str, str], tuple[int, int]]:
    """Return (amount in minor units, customers) by period, measure and currency, at its end.

    `measures` is a pattern of SQL's LIKE. Statuses have no currency: ''.
    """
    known = asked.filters.keys() <= {"currency"}
    sums = Sums("level_days", "level_entries") if known else None
    source, bounds = source_of(asked, sums, "level_entries", _COLUMNS)
    bounds["measures"] = measures
    bucket = "greatest((date_trunc(%(interval)s, day::timestamp))::date, %(start)s)"
    query = (
        f"SELECT CASE WHEN day >= %(start)s THEN {bucket} END AS first,"  # noqa: S608 — our words
        " measure, coalesce(currency, ''), sum(amount_minor), sum(customers)"
        f" FROM ({source}) AS told WHERE measure LIKE %(measures)s GROUP BY 1, 2, 3"
    )
    changes: dict[tuple[str, str], dict[Any, tuple[int, int]]] = defaultdict(dict)
    for first, measure, currency, amount, customers in connection.execute(
        query.encode(), bounds
    ).fetchall():
        changes[measure, currency][first] = int(amount), int(customers)
    found: dict[tuple[Period, str, str], tuple[int, int]] = {}
    for (measure, currency), by_start in changes.items():
        amount, customers = by_start.get(None, (0, 0))
        for period in asked.periods:
            more, came = by_start.get(period.start, (0, 0))
            amount, customers = amount + more, customers + came
            found[period, measure, currency] = amount, customers
    return found
