"""MRR period by period: what it was at both ends, and by which movements it went from one to other.

Sums answer, and single entries at the edges: of the day or month in which `until` lies, and of the
block of positions in which `position` lies.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from ledger.metrics.question import OF_ITEMS, Period, Question
from ledger.periods import first_of
from ledger.projections.numbers.entries import BLOCK
from ledger.projections.projection import Connection

KINDS = ("new", "expansion", "contraction", "churn", "reactivation", "transfer")
NO_BLOCK = 2**31 - 1  # after all blocks

_COLUMNS = "currency, kind, amount_minor, movements, customers, unknowns"
# The first day of the period that a day is in, null before all of them.
BUCKET = (
    "CASE WHEN day >= %(first)s"
    " THEN greatest((date_trunc(%(interval)s, day::timestamp))::date, %(first)s) END"
)
_DAY = "(valid_at AT TIME ZONE %(zone)s)::date"


@dataclass(slots=True)
class Frame:
    """One period of one currency; amounts in minor units.

    `amounts` and `movements` are by kind, signed: a contraction is negative. `unknowns`: items at
    the end that no amount is known of, left out of every sum. `fx_minor`: in a reporting currency,
    what rates did; else 0.
    """

    period: Period
    currency: str
    start_minor: int = 0
    end_minor: int = 0
    customers_start: int = 0
    customers_end: int = 0
    unknowns: int = 0
    amounts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    movements: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    fx_minor: int = 0

    @property
    def lost_minor(self) -> int:
        """What churn and contraction took away."""
        return -self.amounts["churn"] - self.amounts["contraction"]

    @property
    def won_minor(self) -> int:
        """What expansion and reactivation brought."""
        return self.amounts["expansion"] + self.amounts["reactivation"]


Key = tuple[str, str]  # currency, and the value of the dimension that is asked for


def frames(
    connection: Connection, asked: Question, by: str | None = None
) -> dict[Key, list[Frame]]:
    """Return the frames of every currency, in order, per value of a dimension if one is given."""
    query, bounds = _query(asked, by)
    opening: dict[Key, list[int]] = defaultdict(lambda: [0, 0, 0])
    inside: dict[Key, dict[date, list[tuple[Any, ...]]]] = defaultdict(lambda: defaultdict(list))
    for currency, value, first, kind, amount, movements, customers, unknowns in connection.execute(
        query.encode(), bounds
    ).fetchall():
        if first is None:
            for index, one in enumerate((amount, customers, unknowns)):
                opening[currency, value][index] += int(one)
        else:
            inside[currency, value][first].append(
                (kind, int(amount), int(movements), int(customers), int(unknowns))
            )
    return {
        key: _followed(asked, key[0], opening[key], inside[key])
        for key in sorted(opening.keys() | inside.keys())
    }


def _followed(
    asked: Question,
    currency: str,
    opening: list[int],
    inside: Mapping[date, list[tuple[Any, ...]]],
) -> list[Frame]:
    amount, customers, unknowns = opening
    made = []
    for period in asked.periods:
        frame = Frame(period, currency, amount, amount, customers, customers, unknowns)
        for kind, change, movements, came, unknown in inside.get(period.start, ()):
            frame.end_minor += change
            frame.customers_end += came
            frame.unknowns += unknown
            if kind in frame.amounts:
                frame.amounts[kind] += change
                frame.movements[kind] += movements
        amount, customers, unknowns = frame.end_minor, frame.customers_end, frame.unknowns
        made.append(frame)
    return made


def _query(asked: Question, by: str | None) -> tuple[str, dict[str, Any]]:
    """Return the query for (currency, value, first day or null before, kind, sums)."""
    source, bounds = mrr(asked, by).query(asked, by)
    return (
        f"SELECT currency, value, {BUCKET} AS first, kind, sum(amount_minor),"  # noqa: S608 — constants of ours
        f" sum(movements), sum(customers), sum(unknowns) FROM ({source}) AS told"
        " GROUP BY 1, 2, 3, 4",
        bounds,
    )


@dataclass(frozen=True, slots=True)
class Source:
    """Entries, and the sums of them that know what is asked, if any do.

    `by_months`: the sums are by month, not by day.
    """

    entries: str
    columns: str
    sums: str | None = None
    by_months: bool = False

    def query(self, asked: Question, by: str | None = None) -> tuple[str, dict[str, Any]]:
        """Return a query for rows (day, value, …columns) of all that counts until the end.

        From sums where these say all; from single entries at the edges (the day or month in which
        `until` lies, the block in which `position` lies), and where no sums know what is asked.
        """
        last = asked.periods[-1].end
        edge = min(last, asked.until.astimezone(asked.zone).date())
        if self.by_months:
            edge = first_of(edge, "month")
        block = NO_BLOCK if asked.is_present else asked.position // BLOCK
        bounds: dict[str, Any] = {
            **asked.bounds,
            "zone": asked.zone.key,
            "interval": asked.interval,
            "first": asked.periods[0].start,
            "edge": edge,
            "edge_at": asked.begins(edge),
            "block": block,
            "before": block * BLOCK,
        }
        where = f"series = %(series)s{asked.conditions}"
        value = f"coalesce(\"{by}\"::text, '')" if by else "''"
        told = (  # every word of it is ours
            f"SELECT {_DAY} AS day, {value} AS value, {self.columns}"  # noqa: S608 — constants of ours
            f" FROM {self.entries} WHERE {where} AND position <= %(position)s"
        )
        ends = "valid_at < %(end)s AND valid_at <= %(until)s"
        if self.sums is None:
            return f"{told} AND {ends}", bounds
        parts = [
            f"SELECT valid_day AS day, {value} AS value, {self.columns}"  # noqa: S608 — constants of ours
            f" FROM {self.sums} WHERE {where} AND valid_day < %(edge)s AND block < %(block)s"
        ]
        if edge < last:
            parts.append(f"{told} AND valid_at >= %(edge_at)s AND {ends}")
        if not asked.is_present:
            parts.append(f"{told} AND valid_at < %(edge_at)s AND position > %(before)s")
        return " UNION ALL ".join(parts), bounds


def mrr(asked: Question, by: str | None = None) -> Source:
    """Return the entries of MRR with the smallest sums that know everything that is asked."""
    wanted = (asked.filters.keys() | ({by} if by else set())) - {"currency"}
    by_months = asked.interval != "day" and all(one.start.day == 1 for one in asked.periods)
    if not wanted:
        return Source("mrr_entries", _COLUMNS, "mrr_days")
    if wanted <= OF_ITEMS:
        table = "mrr_price_months" if by_months else "mrr_price_days"
        return Source("mrr_entries", _COLUMNS, table, by_months)
    if wanted == {"cohort"} and by_months:
        return Source("mrr_entries", _COLUMNS, "mrr_cohort_months", by_months)
    return Source("mrr_entries", _COLUMNS)
