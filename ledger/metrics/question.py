"""What is asked of the numbers: which series, which periods, what is left out, as known when."""

from __future__ import annotations

import re
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from ledger.errors import RequestInvalid, ViewsBehind
from ledger.metrics.definitions import chosen_series
from ledger.moments import Moment
from ledger.money import is_currency
from ledger.periods import INTERVALS, Interval, first_of, months_later, next_of
from ledger.projections import Numbers, Projection
from ledger.projections.numbers.series import Series
from ledger.projections.projection import Connection

if TYPE_CHECKING:
    from ledger.application import Ledger

PERIODS_MAX = 1100  # three years of days
FILTERS = ("currency", "product", "price", "interval", "cohort", "country")
OF_ITEMS = frozenset({"product", "price", "interval"})  # not of a customer as a whole
_NEWEST = """
SELECT max(occurred_at) FROM (
    SELECT occurred_at FROM events WHERE stripe_event_id IS NOT NULL
    ORDER BY position DESC LIMIT 100
) AS newest
"""
_MONTH = re.compile(r"(\d{4})-(\d{2})").fullmatch
_QUARTER = re.compile(r"(\d{4})-[Qq]([1-4])").fullmatch
_YEAR = re.compile(r"\d{4}").fullmatch


@dataclass(frozen=True)
class Period:
    """One period of a series of numbers: from the day `start` until before `end`."""

    start: date
    end: date
    interval: Interval

    @property
    def label(self) -> str:
        """How people name it: 2026, 2026-Q4, 2026-11, 2026-11-28."""
        if self.interval == "year":
            return f"{self.start:%Y}"
        if self.interval == "quarter":
            return f"{self.start:%Y}-Q{(self.start.month + 2) // 3}"
        return f"{self.start:%Y-%m}" if self.interval == "month" else f"{self.start:%F}"

    @property
    def is_whole(self) -> bool:
        """Whether it is a whole calendar period, not cut at one of its ends."""
        return (
            self.start == first_of(self.start, self.interval)
            and self.end == next_of(self.start, self.interval)
        )  # fmt: skip


@dataclass(frozen=True)
class Question:
    """A question about a series: every number that answers it follows from this alone.

    `until` is the instant after which nothing has happened yet, `position` what is known;
    `is_present` tells that this is all the views know.
    """

    series: Series
    periods: tuple[Period, ...]
    interval: Interval
    until: datetime
    position: int
    is_present: bool
    filters: Mapping[str, str] = field(default_factory=dict)
    convert_to: str | None = None

    @property
    def reporting_currency(self) -> str | None:
        """The one currency amounts are told in: what was asked for, or what the set says."""
        return self.convert_to or self.series.definitions.reporting.currency

    @property
    def zone(self) -> ZoneInfo:
        """The reporting zone."""
        return self.series.definitions.zone

    def begins(self, day: date) -> datetime:
        """Return when a day begins."""
        return datetime.combine(day, time.min, self.zone).astimezone(UTC)

    def is_over(self, period: Period) -> bool:
        """Whether a period has ended."""
        return self.begins(period.end) <= self.until

    @property
    def conditions(self) -> str:
        """The filters as conditions of SQL on entries or sums, each after an AND."""
        return "".join(
            " AND customer_id IN (SELECT id FROM customers WHERE country = %(of_country)s)"
            if name == "country"
            else f' AND "{name}" = %(of_{name})s'
            for name in self.filters
        )

    @property
    def bounds(self) -> dict[str, Any]:
        """What the queries about this question are bound to, the filters included."""
        return {
            **{f"of_{name}": value for name, value in self.filters.items()},
            "series": self.series.number,
            "position": self.position,
            "until": self.until,
            "start": self.begins(self.periods[0].start),
            "end": self.begins(self.periods[-1].end),
        }

    def require_whole_customers(self, name: str) -> None:
        """Raise RequestInvalid if only some of a customer's items are asked about."""
        if chosen := OF_ITEMS & self.filters.keys():
            raise RequestInvalid(
                f"`{name}` is about customers as a whole; it cannot be filtered by"
                f" {', '.join(sorted(chosen))}."
            )

    def require_filters(self, name: str, known: Set[str]) -> None:
        """Raise RequestInvalid if a filter is given that an answer does not know."""
        if odd := self.filters.keys() - known:
            raise RequestInvalid(f"`{name}` cannot be filtered by {', '.join(sorted(odd))}.")

    def require_as_it_is(self, name: str) -> None:
        """Raise RequestInvalid if one currency is asked of what is told in each."""
        if self.convert_to is not None:
            raise RequestInvalid(f"`{name}` is told per currency: `convert_to` cannot be asked.")

    def require_present(self, name: str) -> None:
        """Raise RequestInvalid if the past is asked of what is kept as known now."""
        if not self.is_present:
            raise RequestInvalid(f"`{name}` is kept as known now: `known_at` cannot be asked.")


def question(
    connection: Connection,
    *,
    now: datetime,
    start: str | None = None,
    end: str | None = None,
    interval: str = "month",
    definitions: str | None = None,
    moment: Moment | None = None,
    filters: Mapping[str, str] | None = None,
    convert_to: str | None = None,
) -> Question:
    """Return the question that is meant; raise RequestInvalid naming what cannot be meant.

    `start` and `end` are days, months (2026-11), quarters (2026-Q4) or years, both included; twelve
    months up to now where nothing is said.
    """
    if interval not in INTERVALS:
        raise RequestInvalid(f"`interval` is one of {', '.join(INTERVALS)}, not {interval!r}.")
    chosen: Interval = interval
    convert_to = convert_to and convert_to.lower()
    if convert_to is not None and not is_currency(convert_to):
        raise RequestInvalid(
            f"`convert_to` is a currency as Stripe spells it (usd), not {convert_to!r}."
        )
    moment = moment or Moment()
    seen = numbers_position(connection)
    position = seen if moment.known_at is None else moment.known_at
    if position > seen:
        raise ViewsBehind(f"The numbers are at {seen}, not at {position} yet; try again.")
    series = chosen_series(connection, definitions, seen, position)
    until = moment.as_of or now
    today = until.astimezone(series.definitions.zone).date()
    last = period_of(end, "to")[1] if end else today + timedelta(days=1)
    first = period_of(start, "from")[0] if start else _year_before(last, chosen)
    last = min(last, today + timedelta(days=1))
    if first >= last:
        raise RequestInvalid(f"`from` {first} is not before `to`, or in the future.")
    known = {name: value for name, value in (filters or {}).items() if value is not None}
    if unknown := known.keys() - set(FILTERS):
        raise RequestInvalid(
            f"There is no filter {min(unknown)!r}; there are {', '.join(FILTERS)}."
        )
    if "currency" in known:
        known["currency"] = known["currency"].lower()
        if not is_currency(known["currency"]):
            raise RequestInvalid(f"`currency` is three letters (usd), not {known['currency']!r}.")
    if "cohort" in known:
        known["cohort"] = str(period_of(known["cohort"], "cohort")[0])
    periods = tuple(_between(first, last, chosen))
    return Question(series, periods, chosen, until, position, position == seen, known, convert_to)


def now_of(ledger: Ledger, connection: Connection) -> datetime:
    """Return what is now for a ledger: the made-up business of a demo lives ahead of the clock."""
    now = ledger.clock.now()
    if not ledger.settings.is_demo:
        return now
    newest = connection.execute(_NEWEST).fetchone()
    return max(now, newest[0]) if newest and newest[0] else now


def numbers_position(connection: Connection) -> int:
    """Return how far the numbers have read the log; raise ViewsBehind while they are remade."""
    return position_of_views(connection, Numbers)


def position_of_views(connection: Connection, projection: type[Projection]) -> int:
    """Return how far a projection has read the log; raise ViewsBehind while it is remade."""
    row = connection.execute(
        "SELECT position FROM bookmarks WHERE projection = %s AND version = %s",
        [projection.name, projection.version],
    ).fetchone()
    if row is None:
        raise ViewsBehind(f"The {projection.name} are being rebuilt for this release; try again.")
    return int(row[0])


def period_of(text: str, name: str) -> tuple[date, date]:
    """Return the first day of what is named, and the day after its last; raise RequestInvalid."""
    try:
        if found := _MONTH(text):
            start = date(int(found[1]), int(found[2]), 1)
            return start, next_of(start, "month")
        if found := _QUARTER(text):
            start = date(int(found[1]), int(found[2]) * 3 - 2, 1)
            return start, next_of(start, "quarter")
        if _YEAR(text):
            start = date(int(text), 1, 1)
            return start, next_of(start, "year")
        start = date.fromisoformat(text)
        return start, start + timedelta(days=1)
    except (ValueError, OverflowError) as error:
        raise RequestInvalid(
            f"`{name}` {text!r} is no day, month, quarter or year: use 2026-11-28, 2026-11,"
            " 2026-Q4 or 2026."
        ) from error


def _between(first: date, last: date, interval: Interval) -> list[Period]:
    found: list[Period] = []
    while first < last:
        end = min(next_of(first, interval), last)
        found.append(Period(first, end, interval))
        first = end
        if len(found) > PERIODS_MAX:
            raise RequestInvalid(
                f"That are more than {PERIODS_MAX} periods: choose a longer `interval`."
            )
    return found


def _year_before(last: date, interval: Interval) -> date:
    """Return where a series begins if nobody says: a year, or a month of days, before its end."""
    day = last - timedelta(days=1)
    if interval == "day":
        return day - timedelta(days=29)
    return first_of(months_later(day, -11), interval)
