"""The log in the order of its objects: a table of positions, and the events read along it.

A bulk load needs all facts about an object at once, and the log has them in the order of arrival.
Beside the new tables lies, until they are complete, one of two numbers per event: where its object
appears in the log first, and where it is itself. Read along these, the facts of an object follow
each other, and most of them lie close together in the log, for what happens to an invoice happens
within days.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from struct import Struct
from typing import Any

import msgspec
import psycopg
from psycopg import sql

from ledger.database import RUNTIME_ROLE, wire
from ledger.log import RecordedEvent

BYTES_PER_EVENT = 80  # of the table and its index

# An event about no object comes alone.
_MAKE = """
CREATE TABLE rebuild_order AS
SELECT min(position) OVER (
    PARTITION BY coalesce(object_id, position::text) COLLATE "C"
) AS first, position
FROM events WHERE position <= {target:d};
CREATE INDEX ON rebuild_order (first, position);
ANALYZE rebuild_order;
GRANT SELECT ON rebuild_order TO {role};
"""
_READ = """
COPY (
    SELECT o.first, e.position, e.version, e.occurred_at, e.recorded_at, e.object_id, e.stream,
        e.topic, e.customer_id, e.stripe_event_id, e.correlation_id, e.causation_id, e.data
    FROM rebuild_order AS o JOIN events AS e USING (position)
    WHERE o.first > {after:d} AND o.first <= {until:d} {only} ORDER BY o.first, o.position
) TO STDOUT (FORMAT binary)
"""
_NUMBERS = Struct("!iqiqiqiqiq").unpack_from  # each behind its length
_NUMBERS_AT, _TEXTS_AT, _TEXTS = 2, 62, 7
_LENGTH = Struct("!i").unpack_from
_decode = msgspec.json.Decoder().decode

Connection = psycopg.Connection[tuple[Any, ...]]


def statement(target: int) -> str:
    """Return what makes the table, for the log up to a position."""
    return _MAKE.format(target=target, role=RUNTIME_ROLE)


def read(
    connection: Connection,
    after: int,
    until: int,
    events_max: int,
    topics: Collection[str] | None = None,
) -> Iterator[list[RecordedEvent]]:
    """Yield all facts about the objects that appear first in (after, until], object by object.

    Only those of some topics if any are named. A batch ends with the object that fills it. The
    encrypted column is not read.
    """
    batch: list[RecordedEvent] = []
    last = 0
    only = "" if topics is None else f"AND e.topic IN ({', '.join(map(_quoted, topics))})"
    query = _READ.format(after=after, until=until, only=only)
    for row in wire.copy_out(connection, query.encode()):
        first, event = _event(row)
        if len(batch) >= events_max and first != last:
            yield batch
            batch = []
        last = first
        batch.append(event)
    if batch:
        yield batch


def _quoted(topic: str) -> str:
    return sql.Literal(topic).as_string()


def _event(row: memoryview) -> tuple[int, RecordedEvent]:
    _, first, _, position, _, version, _, occurred, _, recorded = _NUMBERS(row, _NUMBERS_AT)
    texts: list[Any] = []
    at = _TEXTS_AT
    for _ in range(_TEXTS):
        (length,) = _LENGTH(row, at)
        at += 4
        if length < 0:
            texts.append(None)
        else:
            texts.append(str(row[at : at + length], "utf-8"))
            at += length
    object_id, stream, topic, customer_id, stripe_event_id, correlation_id, causation_id = texts
    return first, RecordedEvent(
        position,
        stream,
        version,
        topic,
        customer_id,
        object_id,
        stripe_event_id,
        wire.as_instant(occurred),
        wire.as_instant(recorded),
        correlation_id,
        causation_id,
        _decode(row[at + 5 :]),  # behind its length and the version of jsonb's format
        None,
    )
