"""Closing a month: what it was is recorded as an event; what is learnt of it later comes after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from ledger.accounting.books import Books, open_books, require_balanced
from ledger.accounting.evidence import month_of
from ledger.accounting.reports import trial_balance
from ledger.aggregates import Account
from ledger.aggregates.base import PERIODS_STREAM
from ledger.errors import RequestInvalid, VersionConflict, ViewsBehind
from ledger.log import Log, NewEvent
from ledger.log.seals import seal
from ledger.metrics import telling
from ledger.metrics.answers import answer
from ledger.metrics.metrics import METRICS
from ledger.metrics.question import period_of, question
from ledger.moments import Moment
from ledger.periods import next_of
from ledger.projections.projection import Connection

if TYPE_CHECKING:
    from ledger.application import Ledger

_encode = msgspec.json.Encoder().encode

_SEALED = "SELECT block, last_position, hash FROM seals ORDER BY block DESC LIMIT 1"


@dataclass(frozen=True)
class Closing:
    """A closed month as it was recorded: the event's position and its body."""

    position: int
    version: int
    data: Mapping[str, Any]

    @property
    def period(self) -> str:
        """The month, as 2026-10."""
        return str(self.data["period"])

    @property
    def closed_until(self) -> int:
        """The last position of the log that the month holds."""
        return int(self.data["closed_until"])


def closings(connection: Connection) -> list[Closing]:
    """Return the months that were closed, in the order of the log."""
    return [
        Closing(event.position, event.version, event.data)
        for event in Log(connection).stream(PERIODS_STREAM)
        if event.topic == Account.PeriodClosed.TOPIC
    ]


def close(ledger: Ledger, month: str, *, actor: str) -> tuple[Closing, bool]:
    """Close a month; return its closing, and whether it was closed by this.

    Raises RequestInvalid for what is no month, a month that is not over or does not follow the
    last closed one, and ViewsBehind while the journal has not read the whole log.
    """
    start, end = _month(month)
    with ledger.pool.connection() as connection:
        known = closings(connection)
        for one in known:
            if one.period == month:
                return one, False
        books = open_books(connection)
        starts_at, ends_at = _bounds(ledger, books, known, month, start, end)
        seal(connection)
        data = {
            "type": "period.closed",
            "period": month,
            "starts_at": starts_at.isoformat(),
            "ends_at": ends_at.isoformat(),
            "zone": str(books.zone),
            "closed_until": books.position,
            "seal": _seal(connection),
            "tables": month_of(books, starts_at, ends_at).digests,
            **_numbers(ledger, connection, month, books, ends_at),
            "actor": actor,
        }
        event = NewEvent(
            PERIODS_STREAM,
            Account.PeriodClosed.TOPIC,
            ledger.clock.now(),
            _encode(data),
            version=known[-1].version + 1 if known else 1,
        )
        try:
            Log(connection).append([event])
        except VersionConflict as error:
            raise RequestInvalid("Somebody else is closing a month just now; try again.") from error
        found = closings(connection)[-1]
    ledger.announce()
    return found, True


def _month(month: str) -> tuple[date, date]:
    start, end = period_of(month, "PERIOD")
    if month != f"{start:%Y-%m}":
        raise RequestInvalid(f"Months are closed: {start:%Y-%m}, not {month!r}.")
    return start, end


def _bounds(
    ledger: Ledger, books: Books, known: Sequence[Closing], month: str, start: date, end: date
) -> tuple[datetime, datetime]:
    """Return when a month begins and ends; it begins where the last closed one ended."""
    starts_at, ends_at = books.begins(start), books.begins(end)
    if known:
        following = next_of(_month(known[-1].period)[0], "month")
        if start != following:
            raise RequestInvalid(
                f"Months are closed one after the other: the next one is {following:%Y-%m}."
            )
        starts_at = datetime.fromisoformat(known[-1].data["ends_at"])
    if ends_at > ledger.clock.now():
        raise RequestInvalid(f"{month} is not over: it ends at {ends_at:%F %T} UTC.")
    last = Log(books.connection).last_position()
    if books.position < last:
        raise ViewsBehind(
            f"The journal is at {books.position} of {last}: let `ledger worker` catch up first."
        )
    return starts_at, ends_at


def _seal(connection: Connection) -> dict[str, Any] | None:
    row = connection.execute(_SEALED).fetchone()
    if row is None:
        return None
    return {"block": row[0], "last_position": row[1], "hash": row[2].hex()}


def _numbers(
    ledger: Ledger, connection: Connection, month: str, books: Books, ends_at: datetime
) -> dict[str, Any]:
    """Return the month's trial balance, and every metric by the adopted definitions."""
    require_balanced(books.balances(ends_at))
    moment = Moment(ends_at, books.position)
    asked = question(
        connection, now=ledger.clock.now(), start=month, end=month, interval="month", moment=moment
    )
    series = asked.series
    return {
        "trial_balance": [
            {key: row[key] for key in ("account", "currency", "balance")}
            for row in trial_balance(books, ends_at)
            if row["account"] != "(sum)"
        ],
        "definitions": {
            "name": series.definitions.name,
            "hash": series.definitions.hash,
            "calculation": series.calculation,
        },
        "metrics": [
            {"metric": metric.name, **telling.told_answer(asked, metric, one)}
            for metric in METRICS.values()
            for one in answer(connection, asked, metric.name, None)
        ],
    }
