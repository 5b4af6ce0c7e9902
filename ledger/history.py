"""Reads the log for people: filtered, newest first, in the words of the API."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg
from msgspec.structs import replace
from psycopg.rows import class_row

from ledger.log import Log, RecordedEvent
from ledger.log.log import COLUMNS
from ledger.moments import PRESENT, Moment
from ledger.privacy.keys import KeyRing, opened, subject_of, whole
from ledger.stripe_objects.fields import nested, text

Connection = psycopg.Connection[tuple[Any, ...]]


@dataclass(frozen=True)
class Filter:
    """Which events, as of which moment; None means any. `type` is a topic or a Stripe type."""

    stream: str | None = None
    customer: str | None = None
    type: str | None = None
    stripe_event_id: str | None = None
    moment: Moment = PRESENT
    actor: str | None = None

    @property
    def parameters(self) -> dict[str, Any]:
        """What is asked for, by the names of `_CONDITIONS`."""
        asked = {
            "stream": self.stream,
            "customer": self.customer,
            "type": self.type,
            "stripe_event_id": self.stripe_event_id,
            "as_of": self.moment.as_of,
            "known_at": self.moment.known_at,
            "actor": self.actor,
        }
        return {name: value for name, value in asked.items() if value is not None}


_CONDITIONS = {
    "stream": "stream = %(stream)s",
    # A customer's events: those that name them, and those traced to them by links.
    "customer": "position IN (SELECT position FROM timeline WHERE customer_id = %(customer)s"
    " UNION SELECT position FROM events WHERE stream = %(customer)s)",
    "type": "(topic = %(type)s OR data ->> 'type' = %(type)s)",
    "stripe_event_id": "stripe_event_id = %(stripe_event_id)s",
    "as_of": "occurred_at <= %(as_of)s",
    "known_at": "position <= %(known_at)s",
    # What somebody decided or was told, and how they came in.
    "actor": "stripe_event_id IS NULL AND (data ->> 'actor' = %(actor)s"
    " OR stream = 'user:' || %(actor)s)",
}


def select(
    connection: Connection,
    chosen: Filter,
    *,
    limit: int,
    before: int | None = None,
    after: int | None = None,
) -> tuple[list[RecordedEvent], bool]:
    """Return up to `limit` events, newest first, and whether there are more that way.

    `before` and `after` are positions; with `after` alone the page starts right behind it.
    """
    parameters = chosen.parameters
    conditions = [_CONDITIONS[name] for name in parameters]
    if before is not None:
        conditions.append("position < %(before)s")
    if after is not None:
        conditions.append("position > %(after)s")
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    forward = after is not None and before is None
    with connection.cursor(binary=True, row_factory=class_row(RecordedEvent)) as cursor:
        found = cursor.execute(
            f"SELECT {COLUMNS} FROM events {where}"  # noqa: S608 — conditions are our own
            f" ORDER BY position {'ASC' if forward else 'DESC'} LIMIT %(limit)s",
            {**parameters, "before": before, "after": after, "limit": limit + 1},
        ).fetchall()
    has_more = len(found) > limit
    found = found[:limit]
    return (found[::-1] if forward else found), has_more


def at(connection: Connection, position: int) -> RecordedEvent | None:
    """Return the event at a position."""
    return Log(connection).at([position]).get(position)


def opened_event(connection: Connection, keys: KeyRing, event: RecordedEvent) -> RecordedEvent:
    """Return the event with its personal leaves in place, as far as a key still exists."""
    subject = subject_of(event.customer_id, event.object_id)
    ciphers = keys.for_reading([subject], connection)
    leaves = opened(ciphers, subject, event.box_id, event.personal)
    return replace(event, data=whole(event.data, leaves))


def as_json(event: RecordedEvent) -> dict[str, Any]:
    """Return an event as the API tells it: `data` is Stripe's `data`, or the body of ours."""
    stripe_type = text(event.data, "type")
    return {
        "id": event.position,
        "object": "event",
        "position": event.position,
        "stream": event.stream,
        "version": event.version,
        "type": event.topic,
        "stripe_type": stripe_type,
        "stripe_event_id": event.stripe_event_id,
        "api_version": text(event.data, "api_version"),
        "customer": event.customer_id,
        "object_id": event.object_id,
        "occurred_at": event.occurred_at.isoformat(),
        "recorded_at": event.recorded_at.isoformat(),
        "created": int(event.occurred_at.timestamp()),
        "correlation_id": event.correlation_id,
        "causation_id": event.causation_id,
        "has_personal": event.personal is not None,
        "ledger": nested(event.data, "_ledger") or None,
        "data": nested(event.data, "data") or event.data,
    }
