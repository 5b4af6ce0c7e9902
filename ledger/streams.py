"""A stream at a moment: the objects its facts are about, and what each event changed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
import psycopg

from ledger.aggregates import BY_TOPIC
from ledger.aggregates.base import ACCOUNT_STREAM, ObjectState, fold_objects
from ledger.errors import NotFound, RequestInvalid
from ledger.facts import as_fact
from ledger.log import Log, RecordedEvent
from ledger.moments import Moment
from ledger.stripe_objects.leaves import Leaf, leaves
from ledger.stripe_objects.readers import view_of

Connection = psycopg.Connection[tuple[Any, ...]]


@dataclass(frozen=True)
class Stream:
    """A stream's events known at a moment, and its objects as they were then."""

    name: str
    objects: list[ObjectState]
    events: list[RecordedEvent]


class Change(msgspec.Struct, frozen=True):
    """A leaf of an object that an event changed: what it was and what it became."""

    object_id: str
    leaf: str
    before: Any
    after: Any


def stream_at(connection: Connection, name: str, moment: Moment) -> Stream:
    """Return a stream as it was; raise NotFound if nothing of it was known then."""
    known = [one for one in Log(connection).stream(name) if one.position <= moment.position]
    events = [one for one in known if one.occurred_at <= moment.until]
    if not events:
        when = " at that moment" if moment.is_past else ""
        raise NotFound(
            f"There is no stream {name!r} in this ledger{when}. Streams are subscriptions (sub_…),"
            " customers (cus_…) and `account`; `ledger events` shows which there are."
        )
    facts = (as_fact(one) for one in known if one.topic in BY_TOPIC)
    states = fold_objects(facts, moment.as_of)
    return Stream(name, sorted(states.values(), key=lambda one: (one.kind, one.object_id)), events)


def changes_between(
    connection: Connection, name: str, after: int, until: int
) -> Iterator[tuple[RecordedEvent, list[Change]]]:
    """Yield the stream's events recorded in (after, until], each with what it changed.

    A change is between what was known before the event was recorded and after: a fact that came
    late, behind a younger one, changes nothing and says so by its empty list.
    """
    if name == ACCOUNT_STREAM:
        raise RequestInvalid("The stream `account` is of too many objects to be told as changes.")
    recorded = stream_at(connection, name, Moment(known_at=until)).events
    facts = [as_fact(one) for one in recorded if one.topic in BY_TOPIC]
    for event in recorded:
        if event.position <= after:
            continue
        about = [one for one in facts if one.object_id == event.object_id]
        before = fold_objects(one for one in about if one.position < event.position)
        now = fold_objects(one for one in about if one.position <= event.position)
        yield (
            event,
            [
                change
                for object_id in now
                for change in _changes(object_id, before.get(object_id), now[object_id])
            ],
        )


def _changes(object_id: str, before: ObjectState | None, now: ObjectState) -> Iterator[Change]:
    old, new = _told(before), _told(now)
    for leaf in sorted({*old, *new}):
        if old.get(leaf) != new.get(leaf) and leaf[-1]:
            yield Change(object_id, ".".join(leaf), _plain(old.get(leaf)), _plain(new.get(leaf)))


def _told(state: ObjectState | None) -> dict[Leaf, Any]:
    """Return what a state tells, leaf by leaf, in the shape that all API versions share."""
    if state is None:
        return {}
    told: dict[str, Any] = msgspec.to_builtins(view_of(dict(state.settled.winner.snapshot)))
    return leaves({**told, "deleted": True} if state.settled.is_deleted else told)


def _plain(value: Any) -> Any:
    return value[1] if isinstance(value, tuple) else value
