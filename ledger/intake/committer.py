"""Group commit: one batch is on its way, whoever arrives meanwhile is in the next.

There is no timer: a lone event is committed at once, thirty-two at once share a few commits.
Under load the batch grows while the disk syncs the one before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import psycopg

from ledger.errors import DatabaseUnavailable, VersionConflict
from ledger.log import Log, NewEvent
from ledger.log.async_log import AsyncLog

if TYPE_CHECKING:
    from ledger.database import type_of_pool

BATCH_MAX = 256
ASIDE_SECONDS_MAX = 20.0

T = TypeVar("T")
Connect = Callable[[], psycopg.Connection[tuple[Any, ...]]]


class Committer(Protocol):
    """Takes an event into the log, and does what blocks where it holds nobody up."""

    async def submit(self, event: NewEvent) -> int:
        """Return `Log.append`'s answer for an event, after the commit.

        Raises DatabaseUnavailable if it is not known to be committed; asking again is safe.
        """

    async def aside(self, work: Callable[[], T]) -> T:
        """Return what this blocking work returns."""


class DirectCommitter:
    """Commits each event at once and blocks meanwhile: for whoever has no event loop."""

    def __init__(self, pool: type_of_pool, committed: Callable[[], None]) -> None:
        self._pool = pool
        self._committed = committed

    async def submit(self, event: NewEvent) -> int:
        """Append one event."""
        try:
            with self._pool.connection() as connection:
                (outcome,) = Log(connection).append([event])
        except psycopg.Error as error:
            if _is_of_the_event(error):
                raise
            raise _unavailable(error) from error
        self._committed()
        return outcome

    async def aside(self, work: Callable[[], T]) -> T:
        """Do it here and now."""
        return work()


class GroupCommitter:
    """Commits what many requests submit on one event loop, batch by batch."""

    def __init__(self, connect: Connect, committed: Callable[[], None]) -> None:
        self._connect = connect
        self._committed = committed
        self._connecting = ThreadPoolExecutor(1, "connect")  # waits behind nobody else's work
        self._log: AsyncLog | None = None
        self._waiting: list[tuple[NewEvent, asyncio.Future[int]]] = []
        self._commits: asyncio.Task[None] | None = None

    async def submit(self, event: NewEvent) -> int:
        """Append one event together with those that arrive at the same time."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[int] = loop.create_future()
        self._waiting.append((event, answer))
        if self._commits is None:
            self._commits = loop.create_task(self._commit_waiting())
        return await answer

    async def aside(self, work: Callable[[], T]) -> T:
        """Do it in a thread; raise DatabaseUnavailable if that takes too long."""
        try:
            async with asyncio.timeout(ASIDE_SECONDS_MAX):
                return await asyncio.to_thread(work)
        except TimeoutError as error:
            raise _unavailable(error) from error

    async def _commit_waiting(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:BATCH_MAX], self._waiting[BATCH_MAX:]
            await self._commit(batch)
            self._committed()
        self._commits = None

    async def _commit(self, batch: list[tuple[NewEvent, asyncio.Future[int]]]) -> None:
        """Append a batch and give each who waits the outcome or the error."""
        try:
            outcomes = await self._append([event for event, _ in batch])
            for (_, answer), outcome in zip(batch, outcomes, strict=True):
                if not answer.done():  # whoever asked may have gone
                    answer.set_result(outcome)
        except Exception as error:  # noqa: BLE001 — each waiter is told, nobody waits for ever
            if not _is_of_the_event(error):
                self._disconnect()
                for _, answer in batch:
                    _tell(answer, _unavailable(error))
            elif len(batch) == 1:
                _tell(batch[0][1], error)
            else:
                for one in batch:  # one of them is at fault; the others shall not suffer for it
                    await self._commit([one])

    async def _append(self, events: list[NewEvent]) -> list[int]:
        """Append a batch; try once more on a new connection if the one at hand was lost."""
        if self._log is not None and self._log.is_open:
            try:
                return await self._log.append(events)
            except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                # The server may have gone away between two requests. Whether the append reached it
                # is unknown, but appending again is safe: what is in the log answers its place.
                if _is_of_the_event(error):
                    raise
        self._disconnect()
        loop = asyncio.get_running_loop()
        self._log = AsyncLog(await loop.run_in_executor(self._connecting, self._connect))
        return await self._log.append(events)

    def _disconnect(self) -> None:
        if self._log is not None:
            self._log.close()
        self._log = None

    async def close(self) -> None:
        """Commit what waits and let go of the connection."""
        if self._commits is not None:
            await self._commits
        self._disconnect()
        self._connecting.shutdown(wait=False)


def _tell(answer: asyncio.Future[int], error: Exception) -> None:
    if not answer.done():
        answer.set_exception(error)


def _unavailable(error: Exception) -> DatabaseUnavailable:
    made = DatabaseUnavailable(f"PostgreSQL cannot append: {error or type(error).__name__}")
    made.__cause__ = error
    return made


def _is_of_the_event(error: Exception) -> bool:
    """Return whether an event is at fault and not the database: its data, size or complexity."""
    if isinstance(error, psycopg.Error) and (error.sqlstate or "").startswith("54"):
        return True  # program limit exceeded
    return isinstance(
        error, (psycopg.DataError, psycopg.IntegrityError, VersionConflict, UnicodeEncodeError)
    )
