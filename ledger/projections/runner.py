"""Takes each projection through the log: batch by batch, rows and bookmark in one transaction."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from threading import Event
from typing import TYPE_CHECKING, Any

import psycopg

from ledger.errors import DatabaseUnavailable, NotMigrated
from ledger.log import Log
from ledger.projections import generations
from ledger.projections.projection import Projection

if TYPE_CHECKING:
    from ledger.application import Ledger

logger = logging.getLogger("ledger.projections")

BATCH_EVENTS = 1000
POLL_SECONDS = 1.0
BACKOFF_SECONDS_MAX = 30.0
FAULTS_IN_A_ROW_MAX = 10
# The database is away, or lacks a table, a column or a right: no event is to blame for that.
NOT_OF_AN_EVENT = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.ProgrammingError,
    DatabaseUnavailable,
    NotMigrated,
)


class Runner:
    """Runs projections of one ledger until told to stop."""

    def __init__(
        self,
        ledger: Ledger,
        projections: Sequence[type[Projection]],
        batch_events: int = BATCH_EVENTS,
        search_path: str | None = None,
    ) -> None:
        self._ledger = ledger
        self._search_path = search_path or ledger.schema
        self._projections = [projection(ledger) for projection in projections]
        self._batch_events = batch_events
        self._faults_in_a_row = 0
        self._failing = 0  # the first position of the batch at hand

    def catch_up(self) -> int:
        """Project everything the log holds now; return how many events were read."""
        total = 0
        with self._ledger.database.connect(self._search_path) as connection:
            for projection in self._projections:
                while done := self.step(connection, projection):
                    total += done
        return total

    def step(
        self,
        connection: psycopg.Connection[tuple[Any, ...]],
        projection: Projection,
        until: int | None = None,
    ) -> int:
        """Project the next batch in one transaction; return how many events it held.

        An event that cannot be projected is found, noted as a fault and passed over. With
        `until` no event after that position is read.
        """
        try:
            return self._step(connection, projection, self._batch_events, until)
        except NOT_OF_AN_EVENT:
            raise
        except Exception as error:  # noqa: BLE001 — find the event that it is about
            logger.warning("projecting by single events after: %s", told(error))
        done = 0
        for _ in range(self._batch_events):
            try:
                one = self._step(connection, projection, 1, until)
                self._faults_in_a_row = 0
            except NOT_OF_AN_EVENT:
                raise
            except Exception as error:
                if self._faults_in_a_row >= FAULTS_IN_A_ROW_MAX:
                    raise  # not the events are at fault: pass over no more of them
                self._faults_in_a_row += 1
                one = self._pass_over(connection, projection, self._failing, told(error))
            done += one
            if not one:
                break
        return done

    def _pass_over(
        self,
        connection: psycopg.Connection[tuple[Any, ...]],
        projection: Projection,
        position: int,
        fault: str,
    ) -> int:
        """Note that an event cannot be projected, and move past it unless somebody has."""
        with connection.transaction():
            moved = connection.execute(
                "UPDATE bookmarks SET position = %s WHERE projection = %s AND position = %s",
                [position, projection.name, position - 1],
            )
            if moved.rowcount:
                connection.execute(
                    "INSERT INTO projection_faults VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
                    [projection.name, position, fault],
                )
        logger.error("event %s passed over by %s: %s", position, projection.name, fault)
        return moved.rowcount

    def _step(
        self,
        connection: psycopg.Connection[tuple[Any, ...]],
        projection: Projection,
        limit: int,
        until: int | None,
    ) -> int:
        log = Log(connection)
        with connection.transaction():
            row = _bookmark(connection, projection)
            if row is None:
                raise NotMigrated(
                    f"The tables of the projection {projection.name} are not of this release:"
                    " `ledger worker` rebuilds them when it starts, `ledger rebuild` at any time."
                )
            if projection.follows is not None:
                live = generations.live(self._ledger)
                ahead = generations.position_of(connection, live, projection.follows) or 0
                until = ahead if until is None else min(until, ahead)
            if until is not None:
                limit = min(limit, until - row[0])
            events = log.after(row[0], limit) if limit > 0 else []
            if events:
                self._failing = events[0].position
                projection.apply(connection, events)
                connection.execute(
                    "UPDATE bookmarks SET position = %s WHERE projection = %s",
                    [events[-1].position, projection.name],
                )
        return len(events)

    def run(self, stop: Event) -> None:
        """Follow the log until `stop` is set: woken by NOTIFY, polling in any case."""
        backoff = POLL_SECONDS
        while not stop.is_set():
            try:
                with self._ledger.database.connect(self._search_path) as connection:
                    connection.execute(f"LISTEN {self._ledger.wake_channel}")
                    while not stop.is_set():
                        while sum(self.step(connection, one) for one in self._projections):
                            if stop.is_set():
                                return
                        backoff = POLL_SECONDS
                        for _ in connection.notifies(timeout=POLL_SECONDS, stop_after=1):
                            pass
            except Exception as error:  # noqa: BLE001 — a worker outlives any failure, loudly
                logger.error(
                    "projecting %s stopped: %s; trying again in %.0f s",
                    self._ledger.name,
                    told(error),
                    backoff,
                )
                stop.wait(backoff)
                backoff = min(backoff * 2, BACKOFF_SECONDS_MAX)


def _bookmark(
    connection: psycopg.Connection[tuple[Any, ...]], projection: Projection
) -> tuple[int] | None:
    """Lock and return the bookmark.

    Who waits for one that a swap takes away finds none; the next statement sees the new one.
    """
    for _ in range(2):
        row = connection.execute(
            "SELECT position FROM bookmarks WHERE projection = %s AND version = %s FOR UPDATE",
            [projection.name, projection.version],
        ).fetchone()
        if row is not None:
            return (row[0],)
    return None


def told(error: Exception) -> str:
    """Return what may be logged of a failure: where, and the text only of database errors."""
    where = error.__traceback__
    while where is not None and where.tb_next is not None:
        where = where.tb_next
    place = f"{where.tb_frame.f_code.co_filename}:{where.tb_lineno}" if where else "?"
    told = error.diag.message_primary if isinstance(error, psycopg.Error) else ""
    return f"{type(error).__name__} at {place} {told or ''}".strip()
