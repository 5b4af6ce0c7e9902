"""The log as the `eventsourcing` library sees it: decision aggregates are saved and read here.

Facts from Stripe do not come this way (the intake appends them); they can be read through it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from functools import cache
from typing import Any, get_type_hints
from uuid import UUID

import msgspec
import psycopg
from eventsourcing.persistence import (
    ApplicationRecorder,
    IntegrityError,
    Mapper,
    Notification,
    StoredEvent,
    Subscription,
)
from eventsourcing.utils import TopicError, get_topic, resolve_topic
from msgspec.structs import replace
from psycopg import Rollback

from ledger.errors import EventUnknown, VersionConflict
from ledger.log.evolution import VERSION, upcast, version_of
from ledger.log.log import STALE_KEY, Log, NewEvent, RecordedEvent
from ledger.privacy.box import seal_box
from ledger.privacy.classify import PersonalLeaf
from ledger.privacy.keys import KeyRing, opened, subject_of, whole

_encode = msgspec.json.Encoder().encode
ENVELOPE = ("originator_id", "originator_version", "timestamp")


@dataclass(frozen=True)
class EnvelopedEvent(StoredEvent):
    """The library's stored event with the columns of ours that it does not know."""

    occurred_at: datetime
    customer_id: str | None = None
    object_id: str | None = None
    correlation_id: str | None = None
    causation_id: str | None = None
    personal: tuple[PersonalLeaf, ...] = ()


@dataclass(frozen=True)
class EnvelopedNotification(Notification):
    """The library's notification with the columns of ours that it does not know."""

    occurred_at: datetime
    recorded_at: datetime
    customer_id: str | None = None
    object_id: str | None = None
    correlation_id: str | None = None
    causation_id: str | None = None


class LedgerMapper(Mapper[str]):
    """Decision events to bodies and back, by the types their classes declare."""

    def __init__(self) -> None:
        """Need neither transcoder nor cipher: bodies are JSON, the recorder makes the boxes."""

    def to_stored_event(self, domain_event: Any) -> EnvelopedEvent:
        """Return what is stored of an event: its fields as JSON, its envelope as columns."""
        state = {name: value for name, value in vars(domain_event).items() if name not in ENVELOPE}
        personal: frozenset[str] = getattr(domain_event, "PERSONAL", frozenset())
        leaves = [((name,), state.pop(name)) for name in sorted(personal)]
        if (version := version_of(type(domain_event))) > 1:
            state[VERSION] = version
        return EnvelopedEvent(
            originator_id=domain_event.originator_id,
            originator_version=domain_event.originator_version,
            topic=get_topic(type(domain_event)),
            state=_encode(state),
            occurred_at=domain_event.timestamp,
            customer_id=state.get("customer_id"),
            object_id=state.get("object_id"),
            personal=tuple((path, value) for path, value in leaves if value is not None),
        )

    def to_domain_event(self, stored_event: StoredEvent) -> Any:
        """Return the event, brought to its class's current version by its upcasters.

        Raises EventUnknown for what a newer release has decided.
        """
        assert isinstance(stored_event, (EnvelopedEvent, EnvelopedNotification))
        try:
            event_class = resolve_topic(stored_event.topic)
        except TopicError as error:
            raise EventUnknown(
                f"The stream {stored_event.originator_id} holds {stored_event.topic}, which this"
                " release does not know: a newer one has written it. Start that one."
            ) from error
        state = upcast(event_class, msgspec.json.decode(stored_event.state))
        types = _types_of(event_class)
        return event_class(
            originator_id=stored_event.originator_id,
            originator_version=stored_event.originator_version,
            timestamp=stored_event.occurred_at,
            **{
                name: msgspec.convert(value, types[name])
                for name, value in state.items()
                if name in types
            },
        )


@cache
def _types_of(event_class: type) -> dict[str, Any]:
    """Return the types of a class's own fields."""
    known = {one.name for one in fields(event_class)} - set(ENVELOPE)
    hints = get_type_hints(event_class)
    return {name: hints[name] for name in known}


class LedgerRecorder(ApplicationRecorder):
    """Saves and selects events through one connection to a ledger, boxes included.

    What was recorded after the position `until` is as if it were not there.
    """

    def __init__(
        self,
        connection: psycopg.Connection[tuple[Any, ...]],
        keys: KeyRing,
        until: int | None = None,
    ) -> None:
        self._connection = connection
        self._until = until
        self._log = Log(connection)
        self._keys = keys

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int]:
        """Append decisions in one commit; raise the library's IntegrityError if they are stale.

        `correlation_id` and `causation_id` may be given for the whole of them.
        """
        events = []
        for one in stored_events:
            assert isinstance(one, EnvelopedEvent)
            event = NewEvent(
                stream=str(one.originator_id),
                version=one.originator_version,
                topic=one.topic,
                occurred_at=one.occurred_at,
                data=one.state,
                customer_id=one.customer_id,
                object_id=one.object_id,
                correlation_id=one.correlation_id or kwargs.get("correlation_id"),
                causation_id=one.causation_id or kwargs.get("causation_id"),
            )
            events.append(self._boxed(event, list(one.personal)) if one.personal else event)
        if not events:
            return []
        try:
            with self._connection.transaction() as appending:
                positions = self._log.append(events)
                if STALE_KEY in positions:
                    raise Rollback(appending)
        except VersionConflict as conflict:
            raise IntegrityError(str(conflict)) from conflict
        if STALE_KEY in positions:
            raise IntegrityError("a key was made elsewhere meanwhile: it is to be encrypted again")
        for event in events:
            if event.new_key is not None:
                self._keys.forget([event.subject])  # read back as it stands now
        return positions

    def _boxed(self, event: NewEvent, personal: list[PersonalLeaf]) -> NewEvent:
        """Return the event with its box, or without if its subject was erased."""
        subject = subject_of(event.customer_id, event.object_id)
        key = self._keys.existing(subject, self._connection)
        if key is None:
            if self._keys.is_erased(subject, self._connection):
                return event
            key = self._keys.for_writing(subject)
        box = seal_box(key.cipher, subject, f"{event.stream}/{event.version}", b"", personal)
        return replace(event, subject=subject, box=box, new_key=key.wrapped)

    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[StoredEvent]:
        """Return events of one stream by version."""
        found = [
            _enveloped(self._opened(event))
            for event in self._log.stream(str(originator_id))
            if (gt is None or event.version > gt)
            and (lte is None or event.version <= lte)
            and (self._until is None or event.position <= self._until)
        ]
        return (found[::-1] if desc else found)[:limit]

    def _opened(self, event: RecordedEvent) -> RecordedEvent:
        if event.personal is None:
            return event
        subject = subject_of(event.customer_id, event.object_id)
        ciphers = self._keys.for_reading([subject], self._connection)
        leaves = opened(ciphers, subject, event.box_id, event.personal)
        return replace(event, data=whole(event.data, leaves))

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> Sequence[Notification]:
        """Return events by position, of some topics or of all."""
        after = (start or 1) - 1 if inclusive_of_start else (start or 0)
        found: list[Notification] = []
        while len(found) < limit:
            events = self._log.after(after, limit)
            for event in events:
                if stop is not None and event.position > stop:
                    return found
                if len(found) < limit and (not topics or event.topic in topics):
                    found.append(_notification(event))
            if not events:
                break
            after = events[-1].position
        return found

    def max_notification_id(self) -> int | None:
        """Return the last position, None for an empty log."""
        return self._log.last_position() or None

    def subscribe(
        self, gt: int | None = None, topics: Sequence[str] = ()
    ) -> Subscription[ApplicationRecorder]:
        """Refuse: readers of this log poll by position (see ledger/projections/runner.py)."""
        raise NotImplementedError("read the log by position; there are no subscriptions")


def _enveloped(event: RecordedEvent) -> EnvelopedEvent:
    return EnvelopedEvent(
        originator_id=event.stream,
        originator_version=event.version,
        topic=event.topic,
        state=_encode(event.data),
        occurred_at=event.occurred_at,
        customer_id=event.customer_id,
        object_id=event.object_id,
        correlation_id=event.correlation_id,
        causation_id=event.causation_id,
    )


def _notification(event: RecordedEvent) -> EnvelopedNotification:
    return EnvelopedNotification(
        id=event.position,
        originator_id=event.stream,
        originator_version=event.version,
        topic=event.topic,
        state=_encode(event.data),
        occurred_at=event.occurred_at,
        recorded_at=event.recorded_at,
        customer_id=event.customer_id,
        object_id=event.object_id,
        correlation_id=event.correlation_id,
        causation_id=event.causation_id,
    )
