"""Step 1: what each event says — of its object, of whom it names, of a customer's story."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec
import psycopg

from ledger.aggregates import BY_TOPIC, Account
from ledger.aggregates.base import is_set_aside
from ledger.log import RecordedEvent
from ledger.stripe_objects.fields import nested, text
from ledger.stripe_objects.readers import view_of
from ledger.stripe_objects.references import CATALOGUE_KINDS, kind_of, links_of, object_key

_encode = msgspec.json.Encoder().encode

# Recorded, but nothing that happened to anybody.
NOT_PROJECTED = frozenset({Account.ConflictingDelivery.TOPIC, Account.DeliveryUnreadable.TOPIC})


@dataclass(frozen=True, slots=True)
class VersionRow:
    """What one event says of its object."""

    position: int
    object_id: str
    kind: str
    customer_id: str | None
    occurred_at: datetime
    stripe_event_id: str
    type: str
    canonical: bytes


@dataclass(frozen=True, slots=True)
class TimelineRow:
    """That an event belongs to somebody's story."""

    position: int
    object_id: str | None
    customer_id: str | None
    occurred_at: datetime
    stripe_event_id: str | None
    type: str


@dataclass(slots=True)
class Rows:
    """What a batch of events says."""

    versions: list[VersionRow] = field(default_factory=list)
    timeline: list[TimelineRow] = field(default_factory=list)
    links: set[tuple[str, str, str]] = field(default_factory=set)
    customers: set[str] = field(default_factory=set)


def rows_of(events: Iterable[RecordedEvent]) -> Rows:
    """Return the rows of a batch; needs nothing but the events."""
    rows = Rows()
    for event in events:
        if event.topic in NOT_PROJECTED or is_set_aside(event.data):
            continue
        _add(rows, event)
    return rows


def _add(rows: Rows, event: RecordedEvent) -> None:
    obj = nested(event.data, "data", "object")
    previous = nested(event.data, "data", "previous_attributes")
    stripe_type = text(event.data, "type") or event.topic
    kind = kind_of(obj)
    key = object_key(kind, event.object_id) if event.object_id else None
    if event.customer_id:
        rows.customers.add(event.customer_id)
    fact = BY_TOPIC.get(event.topic)
    if key and fact and fact.has_state:
        rows.versions.append(
            VersionRow(
                event.position,
                key,
                kind,
                event.customer_id,
                event.occurred_at,
                event.stripe_event_id or "",
                stripe_type,
                _encode(view_of(obj)),
            )
        )
    if key:
        rows.links.update((key, target, relation) for relation, target in links_of(obj, previous))
    if event.customer_id or (kind not in CATALOGUE_KINDS and fact and fact.owner != "account"):
        rows.timeline.append(
            TimelineRow(
                event.position,
                key,
                event.customer_id,
                event.occurred_at,
                event.stripe_event_id,
                stripe_type,
            )
        )


def insert_rows(connection: psycopg.Connection[tuple[Any, ...]], rows: Rows) -> None:
    """Write the rows of a batch."""
    with (
        connection.cursor() as cursor,
        cursor.copy(
            "COPY object_versions (position, object_id, kind, customer_id, occurred_at,"
            " stripe_event_id, type, canonical) FROM STDIN"
        ) as copy,
    ):
        for row in rows.versions:
            copy.write_row(
                (
                    row.position,
                    row.object_id,
                    row.kind,
                    row.customer_id,
                    row.occurred_at,
                    row.stripe_event_id,
                    row.type,
                    row.canonical.decode(),
                )
            )
    with (
        connection.cursor() as cursor,
        cursor.copy(
            "COPY timeline (position, object_id, customer_id, is_named, occurred_at,"
            " stripe_event_id, type) FROM STDIN"
        ) as copy,
    ):
        for line in rows.timeline:
            copy.write_row(
                (
                    line.position,
                    line.object_id,
                    line.customer_id,
                    line.customer_id is not None,
                    line.occurred_at,
                    line.stripe_event_id,
                    line.type,
                )
            )
    if rows.links:
        sources, targets, relations = zip(*sorted(rows.links), strict=True)
        connection.execute(
            "INSERT INTO links (from_id, to_id, relation)"
            " SELECT * FROM unnest(%s::text[], %s::text[], %s::text[]) ON CONFLICT DO NOTHING",
            [list(sources), list(targets), list(relations)],
        )
