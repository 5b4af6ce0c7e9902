"""Appends to the log and reads it back, by position."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import msgspec
from psycopg import errors, pq
from psycopg.pq import Format
from psycopg.rows import class_row
from psycopg.types.json import set_json_loads

from ledger.database import wire
from ledger.errors import VersionConflict

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[tuple[Any, ...]]

STALE_KEY = 0


class NewEvent(msgspec.Struct, frozen=True):
    """An event on its way into the log.

    `version` is None for facts (it becomes the position). `delivery_key` makes an event of ours
    unique where Stripe gave no id. `box` is encrypted under the key of `subject`; `new_key` is
    that key, wrapped, where the database does not have it yet.
    """

    stream: str
    topic: str
    occurred_at: datetime
    data: bytes
    customer_id: str | None = None
    object_id: str | None = None
    stripe_event_id: str | None = None
    delivery_key: str | None = None
    version: int | None = None
    correlation_id: str | None = None
    causation_id: str | None = None
    subject: str = "account"
    box: bytes | None = None
    new_key: bytes | None = None


class RecordedEvent(msgspec.Struct, frozen=True):
    """A row of the log; `data` is the clear part, `personal` the encrypted box."""

    position: int
    stream: str
    version: int
    topic: str
    customer_id: str | None
    object_id: str | None
    stripe_event_id: str | None
    occurred_at: datetime
    recorded_at: datetime
    correlation_id: str | None
    causation_id: str | None
    data: dict[str, Any]
    personal: bytes | None

    @property
    def box_id(self) -> str:
        """What the box of this event is bound to."""
        delivery: str | None = self.data.get("delivery_key")
        return self.stripe_event_id or delivery or f"{self.stream}/{self.version}"


COLUMNS = (
    "position, stream, version, topic, customer_id, object_id, stripe_event_id, occurred_at, "
    "recorded_at, correlation_id, causation_id, data, personal"
)

APPEND = b"ledger_append"
APPEND_SQL = b"""
SELECT append(
    $1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
    $8::timestamptz[], $9::text[], $10::text[], $11::jsonb[], $12::bytea[], $13::text[],
    $14::bytea[]
)
"""
APPEND_FORMATS = [Format.BINARY] * 14
_prepared: WeakSet[Connection] = WeakSet()  # connections that know the statement


def prepare(connection: Connection) -> None:
    """Teach a connection to decode JSON fast, and integers of any size exactly."""
    set_json_loads(msgspec.json.decode, connection)


class Log:
    """The log of one ledger, through a connection whose search path is the ledger's schema."""

    def __init__(self, connection: Connection) -> None:
        prepare(connection)
        self._connection = connection

    def append(self, events: Sequence[NewEvent]) -> list[int]:
        """Append a batch in one commit; return per event what the SQL function `append` answers.

        A position if it was appended; minus a position if the log has that Stripe event id or
        delivery key already; STALE_KEY if its box must be made again. Raises VersionConflict if
        a decision's stream has moved on (then nothing of the batch is appended).
        """
        pgconn = self._connection.pgconn
        parameters = append_parameters(events)
        # Blocking, in one call of libpq: psycopg's own way waits in Python, giving the interpreter
        # lock up and taking it again several times for each statement.
        if pgconn.transaction_status != pq.TransactionStatus.IDLE:
            # A transaction that is rolled back makes psycopg forget all prepared statements.
            result = pgconn.exec_params(APPEND_SQL, parameters, None, APPEND_FORMATS, Format.BINARY)
            return appended(result, pgconn)
        if self._connection not in _prepared:
            self._prepare()
        try:
            return appended(self._execute(parameters), pgconn)
        except errors.InvalidSqlStatementName:
            self._prepare()
            return appended(self._execute(parameters), pgconn)

    def _prepare(self) -> None:
        pgconn = self._connection.pgconn
        checked(pgconn.prepare(APPEND, APPEND_SQL), pgconn)
        _prepared.add(self._connection)

    def _execute(self, parameters: list[bytes]) -> pq.abc.PGresult:
        pgconn = self._connection.pgconn
        return pgconn.exec_prepared(APPEND, parameters, APPEND_FORMATS, Format.BINARY)

    def last_position(self) -> int:
        """Return the position of the newest event, 0 for an empty log."""
        row = self._connection.execute(
            "SELECT position FROM events ORDER BY position DESC LIMIT 1"
        ).fetchone()
        return row[0] if row else 0

    def position_at(self, instant: datetime) -> int:
        """Return the last position recorded until an instant, 0 if there was none yet.

        `recorded_at` never falls as positions rise, so that halving finds it.
        """
        low, high = 0, self.last_position()
        while low < high:
            middle = (low + high + 1) // 2
            row = self._connection.execute(
                "SELECT recorded_at FROM events WHERE position = %s", [middle]
            ).fetchone()
            if row is not None and row[0] <= instant:
                low = middle
            else:
                high = middle - 1
        return low

    def after(self, position: int, limit: int) -> list[RecordedEvent]:
        """Return the next events after a position, in order."""
        return self._select("WHERE position > %s ORDER BY position LIMIT %s", [position, limit])

    def at(self, positions: Sequence[int]) -> dict[int, RecordedEvent]:
        """Return the events at these positions."""
        found = self._select("WHERE position = ANY(%s)", [list(positions)])
        return {event.position: event for event in found}

    def known(self, stripe_event_ids: Iterable[str]) -> set[str]:
        """Return those of these ids that the log has."""
        found = self._connection.execute(
            "SELECT stripe_event_id FROM events WHERE stripe_event_id = ANY(%s)",
            [list(stripe_event_ids)],
        )
        return {row[0] for row in found.fetchall()}

    def stream(self, name: str) -> list[RecordedEvent]:
        """Return a stream's events in the order of their versions."""
        return self._select("WHERE stream = %s ORDER BY version", [name])

    def _select(self, clause: str, parameters: Sequence[Any]) -> list[RecordedEvent]:
        with self._connection.cursor(binary=True, row_factory=class_row(RecordedEvent)) as cursor:
            return cursor.execute(
                f"SELECT {COLUMNS} FROM events {clause}",  # noqa: S608 — clauses are our own
                parameters,
            ).fetchall()

    def blocks(self, after: int, until: int, size: int) -> Iterator[list[RecordedEvent]]:
        """Yield the events of (after, until] in blocks, each read in a short transaction."""
        while after < until:
            events = self.after(after, min(size, until - after))
            if not events:
                return
            yield events
            after = events[-1].position


def append_parameters(events: Sequence[NewEvent]) -> list[bytes]:
    """Return a batch as the binary parameters of the prepared append."""
    return [
        wire.texts([event.stream for event in events]),
        wire.bigints([event.version for event in events]),
        wire.texts([event.topic for event in events]),
        wire.texts([event.customer_id for event in events]),
        wire.texts([event.object_id for event in events]),
        wire.texts([event.stripe_event_id for event in events]),
        wire.texts([event.delivery_key for event in events]),
        wire.instants([event.occurred_at for event in events]),
        wire.texts([event.correlation_id for event in events]),
        wire.texts([event.causation_id for event in events]),
        wire.array(wire.JSONB, [b"\x01" + event.data for event in events]),
        wire.array(wire.BYTEA, [event.box for event in events]),
        wire.texts([event.subject for event in events]),
        wire.array(wire.BYTEA, [event.new_key for event in events]),
    ]


def appended(result: pq.abc.PGresult, pgconn: pq.abc.PGconn) -> list[int]:
    """Return what the append answered; raise what PostgreSQL said against it."""
    try:
        checked(result, pgconn)
    except errors.UniqueViolation as error:
        if error.diag.constraint_name == "events_stream_version_key":
            raise VersionConflict(
                f"The stream has moved on: {error.diag.message_detail}"
            ) from error
        raise
    answer = result.get_value(0, 0)
    assert answer is not None
    return wire.read_bigints(answer)


def checked(result: pq.abc.PGresult, pgconn: pq.abc.PGconn) -> None:
    """Raise what PostgreSQL said; OperationalError where the connection is gone."""
    if result.status in (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK):
        return
    if pgconn.status != pq.ConnStatus.OK:
        raise errors.OperationalError(pgconn.get_error_message())
    raise errors.error_from_result(result)
