"""How customers stood at the end of each period: active, trialing, past due, paused, gone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from ledger.metrics.frames import BUCKET, Source
from ledger.metrics.question import Period, Question
from ledger.metrics.telling import decimal, told_period
from ledger.projections.projection import Connection

PREFIX = "status:"


@dataclass(frozen=True, slots=True)
class Standing:
    """How many customers were in a status at the end of a period, and their share of all."""

    period: Period
    status: str
    customers: int
    share: Fraction

    def told(self, asked: Question) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            **told_period(asked, self.period),
            "status": self.status,
            "customers": self.customers,
            "share": decimal(self.share),
        }


def statuses(connection: Connection, asked: Question) -> list[Standing]:
    """Return how customers with a subscription, now or once, stood at the end of each period.

    A customer has one status, that of the best of their subscriptions, whatever they pay in.
    """
    asked.require_as_it_is("statuses")
    asked.require_filters("statuses", {"country"})
    source = Source(
        "level_entries", "measure, customers", None if asked.filters else "level_days"
    )  # fmt: skip
    told, bounds = source.query(asked)
    query = (
        f"SELECT {BUCKET} AS first, measure, sum(customers) FROM ({told}) AS told"  # noqa: S608 — constants of ours
        " WHERE measure LIKE 'status:%%' GROUP BY 1, 2"
    )
    changes: dict[str, dict[Any, int]] = defaultdict(dict)
    for first, measure, count in connection.execute(query.encode(), bounds).fetchall():
        changes[measure.removeprefix(PREFIX)][first] = int(count)
    standing = {status: by_start.get(None, 0) for status, by_start in changes.items()}
    found: list[Standing] = []
    for period in asked.periods:
        for status, by_start in changes.items():
            standing[status] += by_start.get(period.start, 0)
        found += _shares(period, sorted(standing.items(), key=lambda one: (-one[1], one[0])))
    return found


def _shares(period: Period, standing: Sequence[tuple[str, int]]) -> list[Standing]:
    total = sum(count for _, count in standing)
    return [
        Standing(period, status, count, Fraction(count, total))
        for status, count in standing
        if count
    ]
