"""Rows that are changed together with the events that say so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ledger.application import Ledger
from ledger.decisions import Connection, Decisions
from ledger.errors import VersionConflict

TRIES = 10


class Changing:
    """Reads and changes rows of one ledger; `connection` is that of a transaction to be part of."""

    def __init__(self, ledger: Ledger, connection: Connection | None = None) -> None:
        self.ledger = ledger
        self.master = ledger.master
        self._connection = connection

    @contextmanager
    def connected(self) -> Iterator[Connection]:
        """Give a connection to read with."""
        if self._connection is not None:
            yield self._connection
            return
        with self.ledger.pool.connection() as connection:
            yield connection

    def saved(self, change: Callable[[Connection, Decisions], None]) -> None:
        """Make a change and save its events with it; again, if somebody else was quicker.

        As part of a transaction it is made once: whoever began that begins anew.
        """
        if self._connection is not None:
            self._save(self._connection, change)
            return
        for attempt in range(TRIES):
            try:
                with self.ledger.pool.connection() as connection, connection.transaction():
                    self._save(connection, change)
            except VersionConflict:
                if attempt == TRIES - 1:
                    raise
                continue
            self.ledger.announce()
            return

    def _save(
        self, connection: Connection, change: Callable[[Connection, Decisions], None]
    ) -> None:
        decisions = Decisions(connection, self.ledger.keys)
        change(connection, decisions)
        decisions.save()
