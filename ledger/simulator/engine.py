"""The engine: clocks, the store, the queue of due things, and the telling of events.

Objects are plain dicts in the newest rendering and never changed in place: a change makes a new
dict that shares what did not change. So every event may keep the states before and after it
without copying. The member `"_"` holds what only older renderings and the engine need.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from heapq import heappop, heappush
from itertools import count
from typing import Any

import msgspec

from ledger.simulator.ids import Ids, random_from
from ledger.simulator.refusals import missing
from ledger.simulator.rendering import difference, is_told, render
from ledger.simulator.settings import NEWEST, AccountSettings

Json = dict[str, Any]
Observer = Callable[[Json | None, Json, int], None]

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode

# Events that say what was before although their type does not end with `.updated`.
_TELLS_BEFORE = frozenset(
    "charge.refunded charge.captured charge.dispute.closed payment_method.detached".split()
)


class Event(msgspec.Struct):
    """One event: its envelope and, for each API version in use, its body as sent."""

    id: str
    type: str
    created: int
    object_id: str
    bodies: dict[str, bytes]
    pending: int = 0
    undelivered: int = 0

    def body(self, version: str) -> Json:
        """Return the event as the API answers it, rendered as it was made."""
        read: Json = _decode(self.bodies[version])
        read["pending_webhooks"] = self.pending
        return read


class Clock:
    """A moment (unix seconds) and what falls due after it."""

    def __init__(self, now: int) -> None:
        self.now = now
        self.due: list[tuple[int, int, Callable[..., object], tuple[Any, ...]]] = []


class Engine:
    """Holds the state of one account and tells what happens to it."""

    def __init__(self, seed: int, start: int, settings: AccountSettings) -> None:
        self.settings = settings
        self.ids = Ids(seed)
        self.chance = random_from(f"chance:{seed}")
        self.main = Clock(start)
        self.clocks: dict[str, Clock] = {}
        self.events: list[Event] = []
        self.observers: list[Observer] = []
        self.listeners: list[Callable[[Event], None]] = []
        self.endpoints: list[Json] = []
        self.deleted: dict[str, Json] = {}
        self._clock = self.main
        self._objects: defaultdict[str, dict[str, Json]] = defaultdict(dict)
        self._told: dict[tuple[str, str], Json] = {}
        self._numbers = count()
        self._request: str | None = None
        self._key: str | None = None
        self._depth = 0

    @property
    def now(self) -> int:
        """The present second on the clock in force."""
        return self._clock.now

    @property
    def clock_id(self) -> str:
        """The test clock in force; empty on the main one."""
        return next((name for name, one in self.clocks.items() if one is self._clock), "")

    def new_id(self, prefix: str) -> str:
        """Return a new id of that prefix."""
        return self.ids.new(prefix, self.now)

    # ----- the store

    def find(self, kind: str, object_id: str | None) -> Json | None:
        """Return the object as it is now, or None."""
        return self._objects[kind].get(object_id) if object_id else None

    def find_anywhere(self, object_id: str) -> Json | None:
        """Return the object of that id, whatever its kind, or None."""
        for objects in self._objects.values():
            if object_id in objects:
                return objects[object_id]
        return None

    def get(self, kind: str, object_id: str, param: str = "id") -> Json:
        """Return the object as it is now; refuse as Stripe does if there is none."""
        found = self._objects[kind].get(object_id)
        if found is None:
            raise missing(kind, object_id, param)
        return found

    def all(self, kind: str) -> list[Json]:
        """Return all objects of a kind, oldest first."""
        return list(self._objects[kind].values())

    def shown(self, kind: str) -> list[tuple[str, Json]]:
        """Return (id, object in the newest rendering) of all objects of a kind."""
        return [(one["id"], render(one, NEWEST)) for one in self._objects[kind].values()]

    def kinds(self) -> list[str]:
        """Return the kinds of objects there are, in the order of their first appearance."""
        return [kind for kind, objects in self._objects.items() if objects]

    def save(self, obj: Json) -> Json:
        """Keep the new state of an object."""
        objects = self._objects[obj["object"]]
        before = objects.get(obj["id"])
        objects[obj["id"]] = obj
        for observe in self.observers:
            observe(before, obj, self.now)
        return obj

    def change(self, obj: Json, **leaves: Any) -> Json:
        """Keep a new state of the object that differs in these members."""
        current = self._objects[obj["object"]][obj["id"]]
        return self.save({**current, **leaves})

    def remove(self, kind: str, object_id: str) -> None:
        """Forget an object that can no longer be retrieved, but for its being deleted."""
        gone = self._objects[kind].pop(object_id)
        for observe in self.observers:
            observe(gone, {**gone, "deleted": True}, self.now)
        self.deleted[object_id] = {"id": object_id, "object": kind, "deleted": True}

    # ----- events

    def tell(self, type_: str, obj: Json, *, also: str = "", key: str = "") -> None:
        """Make an event about the object as it is now; `key` is what names one without an id.

        An `.updated` event is made only if something differs from what was told last.
        `also` is another type that tells the same.
        """
        object_id = obj.get("id") or key
        told_as = obj["object"], object_id
        before = self._told.get(told_as)
        tells_before = type_.endswith(".updated") or type_ in _TELLS_BEFORE
        versions = self.versions()
        if tells_before and before is not None:
            if before is obj:
                return
            told = {version: self._told_change(before, obj, version) for version in versions}
            if type_.endswith(".updated"):
                told = {v: data for v, data in told.items() if data["previous_attributes"]}
            if not told:
                return
        else:
            told = {version: {"object": render(obj, version)} for version in versions}
        self._told[told_as] = obj
        self._make_event(type_, object_id, told)
        if also:
            self._make_event(also, object_id, told)

    def versions(self) -> list[str]:
        """Return the API versions that events are rendered for: the account's and endpoints'."""
        used = [self.settings.api_version, *(one["api_version"] for one in self.endpoints)]
        return list(dict.fromkeys(used))

    def _told_change(self, before: Json, after: Json, version: str) -> Json:
        rendered = render(after, version)
        return {
            "object": rendered,
            "previous_attributes": difference(render(before, version), rendered),
        }

    def _make_event(self, type_: str, object_id: str, told: dict[str, Json]) -> None:
        family = "3" if type_.startswith(("payment_intent.", "charge.", "refund.")) else "1"
        event_id = self.ids.of_family("evt", family, self.now)
        pending = sum(wants(one, type_) for one in self.endpoints)
        envelope = {
            "id": event_id,
            "object": "event",
            "created": self.now,
            "livemode": False,
            "pending_webhooks": pending,
            "request": {"id": self._request, "idempotency_key": self._key},
            "type": type_,
        }
        bodies = {
            version: _encode({**envelope, "api_version": version, "data": data})
            for version, data in told.items()
            if is_told(type_, version)
        }
        event = Event(event_id, type_, self.now, object_id, bodies, pending)
        self.events.append(event)
        for listener in self.listeners:
            listener(event)

    def forget_events_before(self, at: int) -> None:
        """Drop the events made before `at` (unix seconds); those of 30 days can be listed."""
        self.events = [event for event in self.events if event.created >= at]

    # ----- time

    def later(self, at: int, action: Callable[..., object], *arguments: Any) -> None:
        """Do something when the clock in force reaches `at`; what is due at once comes next."""
        heappush(self._clock.due, (at, next(self._numbers), action, arguments))

    def advance(self, to: int, clock: Clock | None = None) -> None:
        """Work everything off that falls due until `to`, in order, and stand there."""
        clock = clock or self.main
        outer, self._clock = self._clock, clock
        with self.automation():
            while clock.due and clock.due[0][0] <= to:
                at, _, action, arguments = heappop(clock.due)
                clock.now = max(clock.now, at)
                action(*arguments)
        clock.now = max(clock.now, to)
        self._clock = outer

    def add_clock(self, clock_id: str, now: int) -> None:
        """Let a test clock stand at `now` (unix seconds)."""
        self.clocks[clock_id] = Clock(now)

    @contextmanager
    def on_clock(self, clock_id: str | None) -> Iterator[None]:
        """Let time be that of a test clock, or the main time."""
        outer = self._clock
        self._clock = self.clocks.get(clock_id or "", self.main)
        try:
            yield
        finally:
            self._clock = outer

    @contextmanager
    def automation(self) -> Iterator[None]:
        """Let what happens be Stripe's own doing: no request is named in its events."""
        outer = self._request, self._key, self._depth
        self._request, self._key, self._depth = None, None, 1
        try:
            yield
        finally:
            self._request, self._key, self._depth = outer

    @contextmanager
    def call(self, owner: Json | None = None) -> Iterator[None]:
        """Let what happens be one API call about something of the owner's."""
        if self._depth:
            yield
            return
        with self.requested(self.new_id("req")), self.on_clock(self._clock_of(owner)):
            self._depth = 1
            yield

    @contextmanager
    def requested(self, request_id: str, key: str | None = None) -> Iterator[None]:
        """Name the request, and its idempotency key, in the events that come of it."""
        outer = self._request, self._key, self._depth
        if self._request is None:
            self._request, self._key = request_id, key
        try:
            yield
        finally:
            self._request, self._key, self._depth = outer

    def _clock_of(self, owner: Json | None) -> str | None:
        if owner is None:
            return None
        if owner.get("test_clock"):
            clock: str = owner["test_clock"]
            return clock
        customer = self.find("customer", owner.get("customer"))
        return customer["test_clock"] if customer else None


def wants(endpoint: Json, type_: str) -> bool:
    """Return whether an endpoint is enabled and listens to this type of event."""
    enabled = endpoint["enabled_events"]
    return endpoint["status"] == "enabled" and ("*" in enabled or type_ in enabled)
