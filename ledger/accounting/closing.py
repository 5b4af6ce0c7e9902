"""Closing a month: what it was is recorded as an event; what is learnt of it later comes after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import msgspec
from psycopg import IsolationLevel

from ledger.accounting.books import Books, open_books, require_balanced
from ledger.accounting.evidence import month_of
from ledger.accounting.reports import trial_balance
from ledger.aggregates import Account
from ledger.aggregates.base import PERIODS_STREAM
from ledger.errors import RequestInvalid, VersionConflict, ViewsBehind
from ledger.log import Log, NewEvent
from ledger.log.log import prepare
from ledger.log.seals import seal
from ledger.metrics import telling
from ledger.metrics.answers import answer
from ledger.metrics.metrics import METRICS
from ledger.metrics.question import (
    Question,
    now_of,
    numbers_position,
    period_of,
    question,
)
from ledger.moments import Moment
from ledger.periods import next_of
from ledger.projections.projection import Connection
from ledger.projections.waiting import wait_for

if TYPE_CHECKING:
    from ledger.application import Ledger

_encode = msgspec.json.Encoder().encode
WAIT_SECONDS = 10.0
KEPT_AS_KNOWN_NOW = frozenset({"trials"})

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
        _require_next(known, month, start)
        last = Log(connection).last_position()
        seal(connection)
    if (seen := wait_for(ledger, last, WAIT_SECONDS)) < last:
        raise ViewsBehind(f"The books are at {seen} of {last}: let `ledger worker` catch up first.")
    with ledger.database.connect(ledger.schema) as connection:
        # One snapshot: whatever is projected meanwhile, balances and metrics are of one moment.
        connection.isolation_level = IsolationLevel.REPEATABLE_READ
        with connection.transaction():
            prepare(connection)
            data = {**_closed(ledger, connection, known, month, start, end), "actor": actor}
    event = NewEvent(
        PERIODS_STREAM,
        Account.PeriodClosed.TOPIC,
        ledger.clock.now(),
        _encode(data),
        version=known[-1].version + 1 if known else 1,
    )
    with ledger.pool.connection() as connection:
        try:
            Log(connection).append([event])
        except VersionConflict as error:
            raise RequestInvalid("Somebody else is closing a month just now; try again.") from error
        found = closings(connection)[-1]
    ledger.announce()
    return found, True


def _closed(
    ledger: Ledger,
    connection: Connection,
    known: Sequence[Closing],
    month: str,
    start: date,
    end: date,
) -> dict[str, Any]:
    """Return what is recorded of a month that is closed now."""
    books = open_books(connection)
    books = replace(books, position=min(books.position, numbers_position(connection)))
    starts_at, ends_at = books.begins(start), books.begins(end)
    if ends_at > now_of(ledger, connection):
        raise RequestInvalid(f"{month} is not over: it ends at {ends_at:%F %T} UTC.")
    if not known and not books.balances(ends_at):
        raise RequestInvalid(f"Nothing was booked until the end of {month}: is it this ledger?")
    return {
        "type": "period.closed",
        "period": month,
        "starts_at": starts_at.isoformat(),
        "ends_at": ends_at.isoformat(),
        "zone": str(books.zone),
        "closed_until": books.position,
        "seal": _seal(connection),
        "tables": month_of(books, starts_at, ends_at).digests,
        **_numbers(ledger, connection, month, books, ends_at),
    }


def _require_next(known: Sequence[Closing], month: str, start: date) -> None:
    if known:
        following = next_of(_month(known[-1].period)[0], "month")
        if start != following:
            raise RequestInvalid(
                f"Months are closed one after the other: the next one is {following:%Y-%m}."
            )


def _month(month: str) -> tuple[date, date]:
    start, end = period_of(month, "PERIOD")
    if month != f"{start:%Y-%m}":
        raise RequestInvalid(f"Months are closed: {start:%Y-%m}, not {month!r}.")
    return start, end


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
        connection,
        now=now_of(ledger, connection),
        start=month,
        end=month,
        interval="month",
        moment=moment,
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
        "metrics": _metrics(connection, asked),
    }


def _metrics(connection: Connection, asked: Question) -> list[dict[str, Any]]:
    """Return every metric of a month; one that is kept as known now only, as that."""
    now = replace(asked, is_present=True)
    told = []
    for metric in METRICS.values():
        of = now if metric.needs & KEPT_AS_KNOWN_NOW else asked
        for one in answer(connection, of, metric.name, None):
            if one.value.reason and one.value.reason.startswith("no rate"):
                raise RequestInvalid(
                    f"`{metric.name}` cannot be told: {one.value.reason}. Import rates first."
                )
            told.append({"metric": metric.name, **telling.told_answer(of, metric, one)})
    return told
