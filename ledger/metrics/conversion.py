"""Amounts in one reporting currency: never added without a rate, and what rates did is told apart.

Balances are valued at the last day of their period, movements at their own day; what remains
between them is `fx`. What became of customers is valued at the rate of the start: rates moving
make nobody grow or shrink.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from fractions import Fraction
from typing import Any

from ledger.metrics.frames import KINDS, Frame, Key, mrr
from ledger.metrics.levels import MEASURES
from ledger.metrics.metrics import Facts, half_up
from ledger.metrics.question import Period, Question
from ledger.money import decimals
from ledger.projections.projection import Connection

RATE_DAYS_MAX = 7  # a rate holds over a weekend and holidays, not longer

# What was imported last counts, of what was known at the position.
_RATES = """
SELECT DISTINCT ON (base, quote, day) base, quote, day, rate::text FROM exchange_rates
WHERE (quote = %(to)s OR base = %(to)s) AND day >= %(first)s AND day <= %(last)s
    AND position <= %(position)s
ORDER BY base, quote, day, position DESC
"""


@dataclass(slots=True)
class Rates:
    """What a minor unit of each currency is worth in minor units of `to`, day by day."""

    to: str
    days: dict[str, list[date]] = field(default_factory=lambda: defaultdict(list))
    worth: dict[str, list[Fraction]] = field(default_factory=lambda: defaultdict(list))

    def at(self, currency: str, day: date) -> Fraction | None:
        """Return the worth of a minor unit on a day, None if nobody said it within a week."""
        if currency == self.to:
            return Fraction(1)
        known = self.days.get(currency, [])
        index = bisect_right(known, day)
        if not index or (day - known[index - 1]).days > RATE_DAYS_MAX:
            return None
        return self.worth[currency][index - 1]


def rates(connection: Connection, asked: Question, to: str) -> Rates:
    """Return the rates to a currency for the days of a question; those to it before those from."""
    first = asked.periods[0].start - timedelta(days=RATE_DAYS_MAX + 1)
    bounds = {
        "to": to, "first": first, "last": asked.periods[-1].end, "position": asked.position,
    }  # fmt: skip
    told: dict[tuple[str, date], Fraction] = {}
    for base, quote, day, text in connection.execute(_RATES, bounds).fetchall():
        if quote == to:
            told[base, day] = Fraction(text)
        else:
            told.setdefault((quote, day), 1 / Fraction(text))
    found = Rates(to)
    for (currency, day), rate in sorted(told.items(), key=lambda one: one[0]):
        found.days[currency].append(day)
        found.worth[currency].append(rate * Fraction(10) ** (decimals(to) - decimals(currency)))
    return found


class _Sum:
    """Amounts valued at rates and added up, exactly; rounded once, at the end."""

    def __init__(self, known: Rates) -> None:
        self._known = known
        self.lacking: dict[str, set[tuple[str, date]]] = defaultdict(set)
        self._parts: dict[str, dict[int, int]] = defaultdict(lambda: defaultdict(int))

    def add(self, name: str, currency: str, amount: int, day: date) -> None:
        if not amount:
            return
        rate = self._known.at(currency, day)
        if rate is None:
            self.lacking[name].add((currency, day))
        else:  # by denominator: adding fractions one by one takes ten times as long
            self._parts[name][rate.denominator] += amount * rate.numerator

    def __getitem__(self, name: str) -> int:
        parts = self._parts[name].items()
        return half_up(sum((Fraction(part, whole) for whole, part in parts), Fraction(0)))


Daily = Mapping[tuple[str, str], Sequence[tuple[date, str, int]]]  # day, kind, amount


def converted(
    connection: Connection,
    asked: Question,
    facts: Mapping[Key, Sequence[Facts]],
    to: str,
    churn: Mapping[tuple[Period, str], Fraction],
    by: str | None = None,
) -> dict[Key, list[Facts]]:
    """Return facts of all currencies as facts of one; where a rate lacks, they say so.

    `churn`: the daily sums of customers' churn, over all currencies.
    """
    known = rates(connection, asked, to)
    daily = _daily(connection, asked, by)
    found: dict[Key, list[Facts]] = {}
    for group in sorted({group for _, group in facts}):
        of_group = {currency: told for (currency, value), told in facts.items() if value == group}
        found[to, group] = [
            _one(known, asked, period, {c: told[index] for c, told in of_group.items()},
                 {c: daily.get((c, group), ()) for c in of_group}, churn.get((period, to)))
            for index, period in enumerate(asked.periods)
        ]  # fmt: skip
    return found


def _daily(connection: Connection, asked: Question, by: str | None) -> Daily:
    """Return what moved on each day, by currency and value of the dimension."""
    whole = replace(asked, interval="day")
    told, bounds = mrr(whole, by).query(whole, by)
    query = (
        f"SELECT currency, value, day, kind, sum(amount_minor) FROM ({told}) AS told"  # noqa: S608 — constants of ours
        " WHERE day >= %(first)s GROUP BY 1, 2, 3, 4 HAVING sum(amount_minor) <> 0"
    )
    found: dict[tuple[str, str], list[tuple[date, str, int]]] = defaultdict(list)
    for currency, value, day, kind, amount in connection.execute(query.encode(), bounds):
        found[currency, value].append((day, kind, int(amount)))
    return found


def _one(
    known: Rates,
    asked: Question,
    period: Period,
    facts: Mapping[str, Facts],
    daily: Mapping[str, Sequence[tuple[date, str, int]]],
    daily_churn: Fraction | None,
) -> Facts:
    """Return the facts of one period in the reporting currency."""
    today = asked.until.astimezone(asked.zone).date()
    before, last = period.start - timedelta(days=1), min(period.end - timedelta(days=1), today)
    amounts = _Sum(known)
    movements = dict.fromkeys(KINDS, 0)
    for currency, one in facts.items():
        amounts.add("start", currency, one.frame.start_minor, before)
        amounts.add("end", currency, one.frame.end_minor, last)
        amounts.add("shrunk", currency, one.shrunk_minor, before)
        amounts.add("change", currency, one.change_minor, before)
        for measure in MEASURES:
            amounts.add(measure, currency, getattr(one, f"{measure}_minor"), last)
        for day, kind, amount in daily[currency]:
            if period.start <= day < period.end and kind in movements:
                amounts.add(kind, currency, amount, day)
        for kind, count in one.frame.movements.items():
            movements[kind] += count

    def total(name: str) -> int:
        return sum(getattr(one, name) for one in facts.values())

    def customers(name: str) -> int:
        return sum(getattr(one.frame, name) for one in facts.values())

    moved = {kind: amounts[kind] for kind in KINDS}
    frame = Frame(
        period, known.to, amounts["start"], amounts["end"], customers("customers_start"),
        customers("customers_end"), customers("unknowns"), moved, movements,
    )  # fmt: skip
    frame.fx_minor = frame.end_minor - frame.start_minor - sum(moved.values())
    sums: dict[str, Any] = {f"{measure}_minor": amounts[measure] for measure in MEASURES}
    counts = ("lost", "trials_ended", "trials_converted", "churned_30_days", "customers_30_days")
    sums |= {name: total(name) for name in counts}
    sums["daily_churn"] = daily_churn
    return Facts(
        frame,
        shrunk_minor=amounts["shrunk"],
        change_minor=amounts["change"],
        lacking={name: _told(days, known.to) for name, days in amounts.lacking.items()},
        **sums,
    )


def _told(lacking: set[tuple[str, date]], to: str) -> str:
    currency, day = min(lacking, key=lambda one: (one[1], one[0]))
    more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
    return f"no rate from {currency} to {to} for {day}{more}"
