"""Takes each policy through the log: what it decides and how far it has read are one commit."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from threading import Event
from typing import TYPE_CHECKING

import psycopg

from ledger.decisions import Connection
from ledger.errors import DatabaseUnavailable, VersionConflict
from ledger.log import Log, RecordedEvent
from ledger.policies.desk import Site, log_desk
from ledger.policies.policy import Policy

if TYPE_CHECKING:
    from ledger.application import Ledger

logger = logging.getLogger("ledger.policies")

BATCH_EVENTS = 200
POLL_SECONDS = 1.0
BACKOFF_SECONDS_MAX = 30.0
FAULTS_IN_A_ROW_MAX = 10
# The database is away, or lacks a table, a column or a right: no event is to blame for that.
NOT_OF_AN_EVENT = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.ProgrammingError,
    DatabaseUnavailable,
)

_BOOKMARK = "SELECT position, version FROM policy_bookmarks WHERE policy = %s FOR UPDATE"
_BEGIN = "INSERT INTO policy_bookmarks VALUES (%s, %s, %s) ON CONFLICT DO NOTHING"
_MOVE = "UPDATE policy_bookmarks SET position = %s, version = %s WHERE policy = %s"
_FAULT = "INSERT INTO projection_faults VALUES (%s, %s, %s) ON CONFLICT DO NOTHING"


class PolicyRunner:
    """Runs the policies of one ledger."""

    def __init__(self, ledger: Ledger, policies: Sequence[Policy], site: Site) -> None:
        self._ledger = ledger
        self._policies = policies
        self._site = site
        self._faults_in_a_row = 0

    def catch_up(self, batch_events: int = BATCH_EVENTS) -> int:
        """Answer everything the log holds now; return how many events were read."""
        total = 0
        with self._ledger.database.connect(self._ledger.schema) as connection:
            for policy in self._policies:
                while done := self.step(connection, policy, batch_events):
                    total += done
        return total

    def step(self, connection: Connection, policy: Policy, batch_events: int) -> int:
        """Answer the next batch in one transaction; return how many events it held.

        If somebody has decided about the same meanwhile it is answered anew. An event that cannot
        be answered is noted as a fault and passed over, as a projection does.
        """
        try:
            done = self._step(connection, policy, batch_events)
        except VersionConflict:
            return self._step(connection, policy, 1)
        except NOT_OF_AN_EVENT:
            raise
        except Exception as error:
            if self._faults_in_a_row >= FAULTS_IN_A_ROW_MAX:
                raise  # not the events are at fault: pass over no more of them
            logger.warning("%s answers single events after %s", policy.name, type(error).__name__)
            return self._singly(connection, policy, batch_events)
        self._faults_in_a_row = 0
        return done

    def _singly(self, connection: Connection, policy: Policy, events: int) -> int:
        """Answer so many events one by one, passing over what cannot be answered."""
        done = 0
        for _ in range(events):
            before = self._faults_in_a_row
            one = self._step(connection, policy, 1, passing_over=True)
            if self._faults_in_a_row == before:
                self._faults_in_a_row = 0
            done += one
            if not one:
                break
        return done

    def _step(
        self, connection: Connection, policy: Policy, limit: int, *, passing_over: bool = False
    ) -> int:
        with connection.transaction():
            position = _bookmark(connection, policy)
            events = Log(connection).after(position, limit)
            if not events:
                return 0
            last = events[-1].position
            connection.execute(_MOVE, [last, policy.version, policy.name])
            try:
                with connection.transaction():
                    self._react(connection, policy, events)
            except (*NOT_OF_AN_EVENT, VersionConflict):
                raise
            except Exception as error:
                if not passing_over or self._faults_in_a_row >= FAULTS_IN_A_ROW_MAX:
                    raise
                self._faults_in_a_row += 1
                # Only where it happened: an error's text may quote what is personal.
                fault = f"{type(error).__name__} in the policy {policy.name}"
                connection.execute(_FAULT, [f"policy:{policy.name}", last, fault])
                logger.error("event %s passed over: %s", last, fault)
        return len(events)

    def _react(
        self, connection: Connection, policy: Policy, events: Sequence[RecordedEvent]
    ) -> None:
        read = [event for event in events if event.topic in policy.reads]
        if not read:
            return
        desk, store = log_desk(connection, self._ledger.keys, self._site, self._ledger.clock.now())
        policy.react(desk, read)
        store.save(causation_id=str(read[-1].position) if len(read) == 1 else None)

    def run(self, stop: Event) -> None:
        """Follow the log until `stop` is set: woken by NOTIFY, polling in any case."""
        backoff = POLL_SECONDS
        while not stop.is_set():
            try:
                with self._ledger.database.connect(self._ledger.schema) as connection:
                    connection.execute(f"LISTEN {self._ledger.wake_channel}")
                    while not stop.is_set():
                        while sum(
                            self.step(connection, one, BATCH_EVENTS) for one in self._policies
                        ):
                            self._ledger.announce()
                            if stop.is_set():
                                return
                        backoff = POLL_SECONDS
                        for _ in connection.notifies(timeout=POLL_SECONDS, stop_after=1):
                            pass
            except Exception as error:  # noqa: BLE001 — a worker outlives any failure, loudly
                logger.error(
                    "policies of %s stopped: %s; again in %.0f s",
                    self._ledger.name,
                    type(error).__name__,
                    backoff,
                )
                stop.wait(backoff)
                backoff = min(backoff * 2, BACKOFF_SECONDS_MAX)


def _bookmark(connection: Connection, policy: Policy) -> int:
    """Lock and return how far a policy has read; a new one begins at the head of the log."""
    row = connection.execute(_BOOKMARK, [policy.name]).fetchone()
    if row is None:
        head = Log(connection).last_position()
        connection.execute(_BEGIN, [policy.name, policy.version, head])
        row = connection.execute(_BOOKMARK, [policy.name]).fetchone()
    assert row is not None
    return int(row[0])
