"""What became of the customers there were at the start of a period: kept, shrunk, grown, lost."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Hashable
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Lock
from typing import Any

from ledger.metrics.question import Period, Question
from ledger.periods import first_of, next_of
from ledger.projections.projection import Connection

# As known now, of whole months, quarters and years.
_KEPT = """
SELECT start, currency, lost, shrunk_minor, change_minor FROM mrr_outcomes
WHERE series = %(series)s AND grain = %(grain)s AND start = ANY (%(starts)s)
"""
# Of the one that has not ended, without those to whom something known is still to happen in it.
_CURRENT = """
SELECT start, currency, count(*) FILTER (WHERE is_lost),
    coalesce(sum(greatest(start_minor - end_minor, 0)), 0),
    coalesce(sum(end_minor - start_minor) FILTER (WHERE start_minor > 0), 0)
FROM mrr_periods
WHERE series = %(series)s AND grain = %(grain)s AND start = %(current)s
    AND NOT customer_id = ANY (%(others)s)
GROUP BY 1, 2
"""
_TO_COME = """
SELECT DISTINCT customer_id FROM mrr_entries
WHERE series = %(series)s AND valid_at > %(until)s AND valid_at < %(end)s
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
        AND (%(customers)s::text[] IS NULL OR e.customer_id = ANY (%(customers)s)) {conditions}
    GROUP BY 1, 2, 3, 4
), whole AS (
    SELECT m.number, m.currency, m.change, m.churns, b.start, b.active
    FROM moved AS m CROSS JOIN LATERAL (
        SELECT coalesce(sum(amount_minor), 0) AS start, coalesce(sum(customers), 0) AS active
        FROM mrr_entries AS b WHERE b.series = %(series)s AND b.customer_id = m.customer_id
            AND b.currency = m.currency AND b.valid_at < m.starts AND b.position <= %(position)s
    ) AS b
)
SELECT number, currency, count(*) FILTER (WHERE active > 0 AND churns > 0),
    coalesce(sum(greatest(-change, 0)) FILTER (WHERE start > 0), 0),
    coalesce(sum(change) FILTER (WHERE start > 0), 0)
FROM whole GROUP BY 1, 2
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of those who were customers at the start: how many were lost, and what became of their MRR.

    `lost` who churned in the period. `shrunk_minor`: what those who pay less at its end pay less.
    `change_minor`: what all of them pay more or less. Minor units.
    """

    lost: int = 0
    shrunk_minor: int = 0
    change_minor: int = 0

    def plus(self, other: Outcome) -> Outcome:
        """Return the outcome of both groups of customers together."""
        return Outcome(
            self.lost + other.lost,
            self.shrunk_minor + other.shrunk_minor,
            self.change_minor + other.change_minor,
        )


def outcomes(connection: Connection, asked: Question) -> dict[tuple[Period, str], Outcome]:
    """Return the outcomes of each period and currency in which anybody moved."""
    found: dict[tuple[Period, str], Outcome] = defaultdict(Outcome)
    kept = {one.start: one for one in asked.periods if _is_kept(asked, one)}
    over = [start for start, one in kept.items() if asked.is_over(one)]
    bounds: dict[str, Any] = {"series": asked.series.number, "grain": asked.interval}
    for start, currency, *told in connection.execute(_KEPT, {**bounds, "starts": over}).fetchall():
        found[kept[start], currency] = Outcome(*map(int, told))
    for current in set(kept.values()) - {kept[start] for start in over}:
        others = _to_come(connection, asked, current)
        now = {**bounds, "current": current.start, "others": others}
        for _, currency, *told in connection.execute(_CURRENT, now).fetchall():
            found[current, currency] = Outcome(*map(int, told))
        if others:
            for key, one in reckoned(connection, asked, [current], others).items():
                found[key] = found[key].plus(one)
    if rest := [one for one in asked.periods if one.start not in kept]:
        found.update(reckoned(connection, asked, rest))
    wanted = asked.filters.get("currency")
    return {key: one for key, one in found.items() if wanted in (None, key[1])}


def _is_kept(asked: Question, period: Period) -> bool:
    """Whether what became of customers is kept for a period: whole, or whole but for the future."""
    if period.interval == "day" or not asked.is_present or asked.filters.keys() - {"currency"}:
        return False
    if period.start != first_of(period.start, period.interval):
        return False
    return period.is_whole or not asked.is_over(period)


def _to_come(connection: Connection, asked: Question, period: Period) -> list[str]:
    end = asked.begins(next_of(period.start, period.interval))
    bounds = {"series": asked.series.number, "until": asked.until, "end": end}
    return [row[0] for row in connection.execute(_TO_COME, bounds).fetchall()]


def reckoned(
    connection: Connection,
    asked: Question,
    periods: list[Period],
    customers: list[str] | None = None,
) -> dict[tuple[Period, str], Outcome]:
    """Return the outcomes of any periods as known at the question's position, maybe of some only.

    What happens at the very instant up to which is asked has happened. What was known at a past
    position never changes: it is reckoned once.
    """
    if asked.is_present or customers is not None or "country" in asked.filters:
        return _reckoned(connection, asked, periods, customers)
    epoch = connection.execute(_EPOCH, [asked.position]).fetchone()
    series = asked.series
    about = (
        epoch, series.number, series.definitions.hash, series.calculation,
        tuple(sorted(asked.filters.items())),
    )  # fmt: skip
    keys = {one: (*about, *_span(asked, one)) for one in periods}
    known = {one: found for one, key in keys.items() if (found := _known.get(key)) is not None}
    rest = [one for one in periods if one not in known]
    if rest:
        made = _reckoned(connection, asked, rest)
        for one in rest:
            known[one] = {key[1]: outcome for key, outcome in made.items() if key[0] == one}
            _known.put(keys[one], known[one])
    return {
        (period, currency): outcome
        for period, of_period in known.items()
        for currency, outcome in of_period.items()
    }


class _Remembered:
    """What was reckoned last, for as many periods as are kept; shared by threads."""

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._lock = Lock()
        self._known: OrderedDict[Hashable, dict[str, Outcome]] = OrderedDict()

    def get(self, key: Hashable) -> dict[str, Outcome] | None:
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
            return self._known.get(key)

    def put(self, key: Hashable, found: dict[str, Outcome]) -> None:
        with self._lock:
            self._known[key] = found
            if len(self._known) > self._kept:
                self._known.popitem(last=False)


_known = _Remembered(20_000)
# Which log it is: no other has recorded something at that position at that microsecond.
_EPOCH = "SELECT current_schema(), position, recorded_at FROM events WHERE position = %s"


def _span(asked: Question, period: Period) -> tuple[datetime, datetime]:
    """Return from when until before when a period is reckoned."""
    instant = timedelta(microseconds=1)
    return asked.begins(period.start), min(asked.begins(period.end), asked.until + instant)


def _reckoned(
    connection: Connection,
    asked: Question,
    periods: list[Period],
    customers: list[str] | None = None,
) -> dict[tuple[Period, str], Outcome]:
    spans = [_span(asked, one) for one in periods]
    bounds: dict[str, Any] = {
        **asked.bounds,
        "customers": customers,
        "numbers": list(range(len(periods))),
        "starts": [start for start, _ in spans],
        "ends": [end for _, end in spans],
    }
    query = _RECKONED.format(conditions=asked.conditions)
    return {
        (periods[number], currency): Outcome(lost, int(shrunk), int(change))
        for number, currency, lost, shrunk, change in connection.execute(
            query.encode(), bounds
        ).fetchall()
    }
