"""The journal as of a moment on two axes: booked before an instant, as known at a position."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from ledger.errors import RequestInvalid, ViewsBehind
from ledger.metrics.question import position_of_views
from ledger.moments import Moment
from ledger.periods import next_of
from ledger.projections import Journal
from ledger.projections.journal.accounts import Account
from ledger.projections.numbers.series import adopted_until
from ledger.projections.projection import Connection

TICK = timedelta(microseconds=1)  # the resolution of instants
Balances = Mapping[tuple[str, str], int]  # (account, currency): minor units, debit positive

# What of a schedule is earned before an instant, rounded half away from zero on its running total,
# so that the parts of a period always add up to the whole.
EARNED = """
CASE WHEN since >= %(at)s THEN 0
    WHEN ends_at <= %(at)s OR ends_at <= starts_at THEN amount_minor
    WHEN starts_at >= %(at)s THEN 0
    ELSE sign(amount_minor) * div(
        2 * abs(amount_minor) * extract(epoch FROM %(at)s::timestamptz - starts_at)
            + extract(epoch FROM ends_at - starts_at),
        2 * extract(epoch FROM ends_at - starts_at)
    )
END
"""
_EDGES = "SELECT period, starts_at, ends_at FROM closings ORDER BY ends_at"
_ENTERED = """
SELECT account, currency, sum(amount_minor) FROM journal_entries
WHERE booked_at < %(at)s AND position <= %(position)s GROUP BY 1, 2
"""
_ALL_EARNED = f"""
SELECT currency, sum({EARNED}) FROM journal_schedules
WHERE since < %(at)s AND position <= %(position)s GROUP BY 1
"""  # noqa: S608 — a constant of ours


@dataclass(frozen=True)
class Books:
    """The books of a ledger as known at a position; days are those of `zone`."""

    connection: Connection
    position: int
    zone: ZoneInfo
    edges: Mapping[date, datetime] = field(default_factory=dict)

    def begins(self, day: date) -> datetime:
        """Return when a day begins; where a closed month began or ended, that is when."""
        if day in self.edges:
            return self.edges[day]
        return datetime.combine(day, time.min, self.zone).astimezone(UTC)

    def balances(self, before: datetime) -> Balances:
        """Return what stands on each account at the end of the time before an instant."""
        bounds = {"at": before, "position": self.position}
        found: dict[tuple[str, str], int] = defaultdict(int)
        for account, currency, amount in self.connection.execute(_ENTERED, bounds).fetchall():
            found[account, currency] += int(amount)
        for currency, amount in self.earned(before).items():
            found[Account.DEFERRED_REVENUE, currency] += amount
            found[Account.REVENUE, currency] -= amount
        return {key: amount for key, amount in sorted(found.items()) if amount}

    def earned(self, before: datetime) -> Mapping[str, int]:
        """Return what of deferred revenue is earned before an instant, by currency."""
        return {currency: int(amount) for currency, amount in self.rows(_ALL_EARNED, at=before)}

    def rows(self, query: str, **bounds: Any) -> list[tuple[Any, ...]]:
        """Return what a query on the journal finds, as known at the position."""
        return self.connection.execute(
            query.encode(), {"position": self.position, **bounds}
        ).fetchall()


def open_books(connection: Connection, moment: Moment | None = None) -> Books:
    """Return the books as known at a moment's position; raise ViewsBehind while they are remade.

    Days are those of the reporting zone of the definitions that were adopted then.
    """
    seen = position_of_views(connection, Journal)
    position = seen if moment is None or moment.known_at is None else moment.known_at
    if position > seen:
        raise ViewsBehind(f"The journal is at {seen}, not at {position} yet; try again.")
    zone = adopted_until(connection, position).definitions.zone
    edges: dict[date, datetime] = {}
    for period, starts_at, ends_at in connection.execute(_EDGES).fetchall():
        first = date.fromisoformat(f"{period}-01")
        edges |= {first: starts_at, next_of(first, "month"): ends_at}
    return Books(connection, position, zone, edges)


def require_balanced(balances: Balances) -> None:
    """Raise RequestInvalid if debits and credits differ in a currency: then this code is wrong."""
    totals: dict[str, int] = defaultdict(int)
    for (_, currency), amount in balances.items():
        totals[currency] += amount
    if odd := {currency: amount for currency, amount in totals.items() if amount}:
        raise RequestInvalid(f"The journal does not balance: {odd}. Please report this.")
