"""What became of the customers there were at the start of a period: kept, shrunk, grown, lost."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from ledger.metrics.question import Period, Question
from ledger.projections.projection import Connection

# As known now, of whole months, quarters and years.
_KEPT = """
SELECT start, currency, count(*) FILTER (WHERE is_lost),
    coalesce(sum(greatest(start_minor - end_minor, 0)), 0),
    coalesce(sum(end_minor - start_minor) FILTER (WHERE start_minor > 0), 0)
FROM mrr_periods
WHERE series = %(series)s AND grain = %(grain)s AND start = ANY (%(starts)s)
GROUP BY 1, 2
"""

# Of any periods and any past: those who moved in the period, and what they were before it.
_RECKONED = """
WITH asked (number, starts, ends) AS (
    SELECT * FROM unnest(%(numbers)s::int[], %(starts)s::timestamptz[], %(ends)s::timestamptz[])
), moved AS (
    SELECT a.number, a.starts, e.customer_id, e.currency, sum(e.amount_minor) AS change,
        coalesce(sum(e.movements) FILTER (WHERE e.kind = 'churn'), 0) AS churns
    FROM asked AS a JOIN mrr_entries AS e ON e.series = %(series)s
        AND e.valid_at >= a.starts AND e.valid_at < a.ends AND e.position <= %(position)s
    {filters}
    GROUP BY 1, 2, 3, 4
), whole AS (
    SELECT m.number, m.currency, m.change, m.churns, coalesce(sum(b.amount_minor), 0) AS start,
        coalesce(sum(b.customers), 0) AS active
    FROM moved AS m LEFT JOIN mrr_entries AS b ON b.series = %(series)s
        AND b.customer_id = m.customer_id AND b.currency = m.currency AND b.valid_at < m.starts
        AND b.position <= %(position)s
    GROUP BY m.number, m.customer_id, m.currency, m.change, m.churns
)
SELECT number, currency, count(*) FILTER (WHERE active > 0 AND churns > 0),
    coalesce(sum(greatest(-change, 0)) FILTER (WHERE start > 0), 0),
    coalesce(sum(change) FILTER (WHERE start > 0), 0)
FROM whole GROUP BY 1, 2
"""
_COUNTRY = """JOIN customers AS c ON c.id = e.customer_id AND c.country = %(country)s"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of those who were customers at the start: how many were lost, and what became of their MRR.

    `lost` who churned in the period. `shrunk_minor`: what those who pay less at its end pay less.
    `change_minor`: what all of them pay more or less. Minor units.
    """

    lost: int = 0
    shrunk_minor: int = 0
    change_minor: int = 0


def outcomes(connection: Connection, asked: Question) -> dict[tuple[Period, str], Outcome]:
    """Return the outcomes of each period and currency in which anybody moved."""
    found: dict[tuple[Period, str], Outcome] = {}
    kept = [one for one in asked.periods if _is_kept(asked, one)]
    if kept:
        rows = connection.execute(
            _KEPT,
            {
                "series": asked.series.number,
                "grain": asked.interval,
                "starts": [one.start for one in kept],
            },
        ).fetchall()
        by_start = {one.start: one for one in kept}
        for start, currency, lost, shrunk, change in rows:
            found[by_start[start], currency] = Outcome(lost, int(shrunk), int(change))
    if others := [one for one in asked.periods if not _is_kept(asked, one)]:
        found.update(reckoned(connection, asked, others))
    wanted = asked.filters.get("currency")
    return {key: one for key, one in found.items() if wanted in (None, key[1])}


def _is_kept(asked: Question, period: Period) -> bool:
    return (
        asked.is_present
        and not asked.filters.keys() - {"currency"}
        and period.interval != "day"
        and period.is_whole
        and asked.is_over(period)
    )


def reckoned(
    connection: Connection, asked: Question, periods: list[Period]
) -> dict[tuple[Period, str], Outcome]:
    """Return the outcomes of any periods as known at the question's position."""
    joins = _COUNTRY if "country" in asked.filters else ""
    cohort = " WHERE e.cohort = %(cohort)s" if "cohort" in asked.filters else ""
    bounds: dict[str, Any] = {
        **asked.filters,
        "series": asked.series.number,
        "position": asked.position,
        "numbers": list(range(len(periods))),
        "starts": [asked.begins(one.start) for one in periods],
        "ends": [min(asked.begins(one.end), asked.until) for one in periods],
    }
    query = _RECKONED.format(filters=joins + cohort)
    found: dict[tuple[Period, str], Outcome] = defaultdict(Outcome)
    for number, currency, lost, shrunk, change in connection.execute(
        query.encode(), bounds
    ).fetchall():
        found[periods[number], currency] = Outcome(lost, int(shrunk), int(change))
    return found
