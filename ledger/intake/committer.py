"""Group commit: whoever comes first commits for all who wait, then hands leadership on.

There is no committer thread and no timer: a lone request commits at once, thirty-two at once
share a few commits. Under load the batch grows while the disk syncs the one before.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import psycopg

from ledger.errors import DatabaseUnavailable
from ledger.log import Log, NewEvent

BATCH_MAX = 256
LANES = 1

Connect = Callable[[], psycopg.Connection[tuple[object, ...]]]


class _Lane:
    """One connection to append over, opened when first needed and again when it was lost."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._connection: psycopg.Connection[tuple[object, ...]] | None = None
        self._log: Log | None = None

    def append(self, events: list[NewEvent]) -> list[int]:
        """Append a batch; try once more on a new connection if the one at hand was lost."""
        had_connection = self._log is not None
        try:
            return self._connected().append(events)
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            if _is_of_the_event(error):
                raise
            # The server may have gone away between two requests. Whether the append reached it
            # is unknown, but appending again is safe: what is in the log answers with its place.
            self.close()
            if not had_connection:
                raise
            return self._connected().append(events)

    def _connected(self) -> Log:
        if self._log is None:
            self._connection = self._connect()
            self._log = Log(self._connection)
        return self._log

    def close(self) -> None:
        """Let go of the connection."""
        if self._connection is not None:
            self._connection.close()
        self._connection = self._log = None


class _Waiter:
    """One event on its way, and the thread that waits for its answer."""

    __slots__ = ("error", "event", "lane", "led", "outcome", "turn")

    def __init__(self, event: NewEvent) -> None:
        self.event = event
        self.outcome = 0
        self.error: BaseException | None = None
        self.lane: _Lane | None = None
        self.led: list[_Waiter] = []
        self.turn = threading.Lock()
        self.turn.acquire()

    def lead(self, batch: list[_Waiter], lane: _Lane) -> None:
        """Take over a lane and the events to commit on it; the first of them is our own."""
        self.led, self.lane = batch, lane


class Committer:
    """Appends events of many threads; `submit` returns when the event is committed.

    Up to `lanes` batches are on their way at once, each on a connection of its own. The log's
    lock makes them commit one after the other, but the second is at the server already when
    the first is done: it need not wait for this process's interpreter to send it.
    """

    def __init__(
        self, connect: Connect, committed: Callable[[], None] = lambda: None, lanes: int = LANES
    ) -> None:
        self._committed = committed
        self._mutex = threading.Lock()
        self._lanes = [_Lane(connect) for _ in range(lanes)]
        self._free = list(self._lanes)
        self._waiting: list[_Waiter] = []  # never anybody while a lane is free

    def submit(self, event: NewEvent) -> int:
        """Append an event and return `Log.append`'s answer for it, after the commit.

        Raises DatabaseUnavailable if it is not known to be committed; asking again is safe.
        """
        waiter = _Waiter(event)
        with self._mutex:
            if self._free:
                waiter.lead([waiter], self._free.pop())
            else:
                self._waiting.append(waiter)
        if waiter.lane is None:
            waiter.turn.acquire()  # until somebody has committed for us, or made us leader
        if waiter.lane is not None:
            self._commit_and_hand_on(waiter.lane, waiter.led)
        if waiter.error is not None:
            raise waiter.error
        return waiter.outcome

    def _commit_and_hand_on(self, lane: _Lane, batch: list[_Waiter]) -> None:
        try:
            _commit(lane, batch)
        finally:
            with self._mutex:
                following, self._waiting = self._waiting[:BATCH_MAX], self._waiting[BATCH_MAX:]
                if following:
                    following[0].lead(following, lane)
                else:
                    self._free.append(lane)
            if following:
                following[0].turn.release()
            for waiter in batch[1:]:
                waiter.turn.release()
        self._committed()

    def close(self) -> None:
        """Close the connections; nobody may be waiting any more."""
        for lane in self._lanes:
            lane.close()


def _commit(lane: _Lane, batch: list[_Waiter]) -> None:
    """Append a batch and give each waiter its outcome or its error."""
    try:
        outcomes = lane.append([waiter.event for waiter in batch])
    except Exception as error:  # noqa: BLE001 — each waiter is told, nobody waits for ever
        if not _is_of_the_event(error):
            # Away, read-only after a failover, not migrated: another connection may do better.
            lane.close()
            for waiter in batch:
                waiter.error = DatabaseUnavailable(f"PostgreSQL cannot append: {error}")
        elif len(batch) == 1:
            batch[0].error = error
        else:
            for waiter in batch:  # one of them is at fault; the others shall not suffer for it
                _commit(lane, [waiter])
    else:
        for waiter, outcome in zip(batch, outcomes, strict=True):
            waiter.outcome = outcome


def _is_of_the_event(error: Exception) -> bool:
    """Return whether an event is at fault and not the database: its data, size or complexity."""
    if isinstance(error, psycopg.Error):
        limit = (error.sqlstate or "").startswith("54")  # program limit exceeded
        return limit or isinstance(error, (psycopg.DataError, psycopg.IntegrityError))
    return not isinstance(error, DatabaseUnavailable)
