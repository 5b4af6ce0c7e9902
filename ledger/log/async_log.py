"""Appends while the event loop goes on: one connection, its socket watched by the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from psycopg import errors, pq
from psycopg.pq import Format

from ledger.log.log import (
    APPEND,
    APPEND_FORMATS,
    APPEND_SQL,
    NewEvent,
    append_parameters,
    appended,
    checked,
)

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[tuple[Any, ...]]

APPEND_SECONDS_MAX = 20.0  # Stripe gives a delivery up about then


class AsyncLog:
    """One batch at a time over one connection; the running loop hears of its answer.

    psycopg's asynchronous connection would do the same with a task switch and several calls into
    libpq for each step, and takes the interpreter's time where there is none to spare.
    """

    def __init__(self, connection: Connection) -> None:
        self._loop = asyncio.get_running_loop()
        self._connection = connection
        self._pgconn = connection.pgconn
        self._pgconn.nonblocking = 1
        self._socket = self._pgconn.socket
        self._result: pq.abc.PGresult | None = None
        self._answer: asyncio.Future[pq.abc.PGresult] | None = None
        self._is_prepared = False
        self.is_open = True
        self._loop.add_reader(self._socket, self._on_readable)

    async def append(self, events: Sequence[NewEvent]) -> list[int]:
        """Append a batch in one commit, answering as `Log.append` does.

        Raises OperationalError where the connection is gone or does not answer in time; whether
        the batch was appended is then unknown.
        """
        if not self._is_prepared:
            self._pgconn.send_prepare(APPEND, APPEND_SQL)
            checked(await self._answered(), self._pgconn)
            self._is_prepared = True
        self._pgconn.send_query_prepared(
            APPEND, append_parameters(events), APPEND_FORMATS, result_format=Format.BINARY
        )
        return appended(await self._answered(), self._pgconn)

    async def _answered(self) -> pq.abc.PGresult:
        """Return the result of what was just sent."""
        self._answer = self._loop.create_future()
        self._flush()
        try:
            async with asyncio.timeout(APPEND_SECONDS_MAX):
                return await self._answer
        except TimeoutError as error:
            self.close()
            raise errors.OperationalError("PostgreSQL does not answer in time") from error
        finally:
            self._answer = None

    def _flush(self) -> None:
        """Send what libpq holds; where the socket takes no more, go on when it does."""
        try:
            is_unfinished = self._pgconn.flush()
        except errors.OperationalError as error:
            self._lost(error)
            return
        if is_unfinished:
            self._loop.add_writer(self._socket, self._flush)
        else:
            self._loop.remove_writer(self._socket)

    def _on_readable(self) -> None:
        try:
            self._pgconn.consume_input()
        except errors.OperationalError as error:
            self._lost(error)
            return
        while not self._pgconn.is_busy():
            result = self._pgconn.get_result()
            if result is None:
                break
            self._result = result
        else:
            return  # the rest is still on its way
        if self._result is not None and self._answer is not None and not self._answer.done():
            self._answer.set_result(self._result)
        self._result = None

    def _lost(self, error: Exception) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)
        self.close()

    def close(self) -> None:
        """Let go of the connection."""
        if self.is_open:
            self.is_open = False
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
            self._connection.close()
