"""Aggregates that decide, read from the log and saved to it: several of them in one commit."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

import psycopg
from eventsourcing.application import AggregateNotFoundError, Repository
from eventsourcing.persistence import EventStore, IntegrityError

from ledger.aggregates.decision import Decision
from ledger.errors import VersionConflict
from ledger.log.recorder import LedgerMapper, LedgerRecorder
from ledger.privacy.keys import KeyRing

D = TypeVar("D", bound=Decision)
Connection = psycopg.Connection[tuple[Any, ...]]


_ABOUT = """
SELECT stream FROM events
WHERE stripe_event_id IS NULL AND version = 1 AND customer_id = ANY (%s) AND starts_with(stream, %s)
ORDER BY position
"""


class Decisions:
    """The decisions of one ledger, through one connection; each aggregate is read once.

    Those after the position `until` are as if they were not there.
    """

    def __init__(self, connection: Connection, keys: KeyRing, until: int | None = None) -> None:
        self._connection = connection
        self._store: EventStore[str] = EventStore(
            LedgerMapper(), LedgerRecorder(connection, keys, until)
        )
        self._repository: Repository[str] = Repository(self._store)
        self._found: dict[str, Decision | None] = {}

    def find(self, kind: type[D], stream: str) -> D | None:
        """Return the aggregate of a stream, None if there is none yet."""
        if stream not in self._found:
            try:
                self._found[stream] = self._repository.get(stream)
            except AggregateNotFoundError:
                self._found[stream] = None
        found = self._found[stream]
        assert found is None or isinstance(found, kind)
        return found

    def add(self, made: Decision) -> None:
        """Let a new aggregate be found and saved."""
        self._found[made.id] = made

    def about(self, customers: Iterable[str], prefix: str) -> list[str]:
        """Return the streams that decide about these customers and are called like that."""
        rows = self._connection.execute(_ABOUT, [sorted(set(customers)), prefix]).fetchall()
        return [row[0] for row in rows]

    def save(self, causation_id: str | None = None) -> list[int]:
        """Append what was decided, all of it or nothing; return the positions.

        Raises VersionConflict if one of the streams has moved on.
        """
        pending = [event for one in self._found.values() if one for event in one.collect_events()]
        if not pending:
            return []
        try:
            stored = self._store.put(pending, causation_id=causation_id)
        except IntegrityError as error:
            raise VersionConflict(str(error)) from error
        return [one.notification.id for one in stored]
