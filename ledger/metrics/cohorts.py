"""Cohorts: the customers first worth something in a month, and what became of them since."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import date
from typing import Any

from ledger.metrics.frames import Source
from ledger.metrics.question import Question
from ledger.periods import next_of
from ledger.projections.projection import Connection

_NONE = "-infinity"
_COLUMNS = "currency, kind, amount_minor, movements, customers"


@dataclass(frozen=True, slots=True)
class Age:
    """A cohort so many months after its first: customers and MRR (minor units) at the end."""

    months: int
    customers: int
    mrr_minor: int


@dataclass(frozen=True, slots=True)
class Cohort:
    """The customers of one month and currency. Who came back counts again: it need not fall."""

    month: date
    currency: str
    size: int
    ages: tuple[Age, ...]

    def told(self) -> dict[str, Any]:
        """Return it as JSON; shares are of the first month."""
        first = self.ages[0].mrr_minor if self.ages else 0
        return {
            "cohort": f"{self.month:%Y-%m}",
            "currency": self.currency,
            "size": self.size,
            "months": [
                {
                    "month": age.months,
                    "customers": age.customers,
                    "customers_share": round(age.customers / self.size, 6) if self.size else None,
                    "mrr": age.mrr_minor,
                    "mrr_share": round(age.mrr_minor / first, 6) if first else None,
                }
                for age in self.ages
            ],
        }


def cohorts(connection: Connection, asked: Question) -> list[Cohort]:
    """Return the cohorts that began in the question's periods, each until the question's end."""
    asked.require_as_it_is("cohorts")
    asked.require_filters("cohorts", {"currency", "cohort", "country"})
    known = asked.filters.keys() <= {"currency", "cohort"}
    source = Source(
        "mrr_entries", _COLUMNS, "mrr_cohort_months" if known else None, by_months=known
    )
    told, bounds = source.query(asked, "cohort")
    query = (
        "SELECT value::date, currency, date_trunc('month', day::timestamp)::date,"  # noqa: S608 — constants of ours
        " sum(amount_minor), sum(customers),"
        f" coalesce(sum(movements) FILTER (WHERE kind = 'new'), 0) FROM ({told}) AS told"
        " WHERE value NOT IN ('', %(none)s) GROUP BY 1, 2, 3"
    )
    bounds["none"] = _NONE
    changes: dict[tuple[date, str], dict[date, tuple[int, int]]] = defaultdict(dict)
    sizes: dict[tuple[date, str], int] = defaultdict(int)
    for month, currency, of, amount, customers, new in connection.execute(
        query.encode(), bounds
    ).fetchall():
        changes[month, currency][of] = int(amount), int(customers)
        sizes[month, currency] += int(new)
    start, end = asked.periods[0].start, asked.periods[-1].end
    last = min(end, asked.until.astimezone(asked.zone).date())
    return [
        Cohort(month, currency, sizes[month, currency], tuple(_ages(month, last, by_month)))
        for (month, currency), by_month in sorted(changes.items())
        if start <= month < end
    ]


def _ages(month: date, last: date, by_month: dict[date, tuple[int, int]]) -> list[Age]:
    amount = customers = months = 0
    ages = []
    while month <= last:
        more, came = by_month.get(month, (0, 0))
        amount, customers = amount + more, customers + came
        ages.append(Age(months, customers, amount))
        months += 1
        month = next_of(month, "month")
    return ages
