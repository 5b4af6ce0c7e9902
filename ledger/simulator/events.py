"""The event list: newest first, thirty days back, as it was rendered."""

from __future__ import annotations

from typing import TypedDict, Unpack

from ledger.simulator.engine import Engine, Event, Json
from ledger.simulator.moments import DAY
from ledger.simulator.refusals import Refused, missing

KEPT_DAYS = 30


class Moments(TypedDict, total=False):
    """Bounds of a moment, in unix seconds."""

    gt: int
    gte: int
    lt: int
    lte: int


class EventFilter(TypedDict, total=False):
    """Which events a list has."""

    type: str
    types: list[str]
    created: int | Moments
    delivery_success: bool
    limit: int
    starting_after: str
    ending_before: str


class Events:
    """The events of one account."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def retrieve(self, event: str) -> Json:
        """Return an event of the last thirty days."""
        for one in reversed(self._kept()):
            if one.id == event:
                return one.body(self.engine.settings.api_version)
        raise missing("event", event)

    def listed(self, **params: Unpack[EventFilter]) -> Json:
        """Return a page of events as the API answers it."""
        data, has_more = self.page(**params)
        return {"object": "list", "data": data, "has_more": has_more, "url": "/v1/events"}

    def page(self, **params: Unpack[EventFilter]) -> tuple[list[Json], bool]:
        """Return a page of events, newest first, and whether there are more."""
        limit = params.get("limit", 10)
        if not 1 <= limit <= 100:
            raise Refused("Invalid limit: must be between 1 and 100.", param="limit")
        if len(params.get("types", [])) > 20:
            raise Refused("You may filter for up to 20 types.", param="types")
        version = self.engine.settings.api_version
        found = [
            event
            for event in reversed(self._kept())
            if version in event.bodies and _matches(event, params)
        ]
        page, has_more = _page(found, limit, params)
        return [event.body(version) for event in page], has_more

    def _kept(self) -> list[Event]:
        oldest = self.engine.main.now - KEPT_DAYS * DAY
        return [event for event in self.engine.events if event.created >= oldest]


def _matches(event: Event, params: EventFilter) -> bool:
    types = params.get("types") or ([params["type"]] if "type" in params else [])
    if types and not any(_is_of_type(event.type, one) for one in types):
        return False
    if "delivery_success" in params and params["delivery_success"] != (event.undelivered == 0):
        return False
    created = params.get("created")
    if isinstance(created, int):
        return event.created == created
    bounds = created or Moments()
    return (
        bounds.get("gte", event.created) <= event.created <= bounds.get("lte", event.created)
        and bounds.get("gt", event.created - 1) < event.created
        and event.created < bounds.get("lt", event.created + 1)
    )


def _is_of_type(type_: str, wanted: str) -> bool:
    return type_.startswith(wanted[:-1]) if wanted.endswith(".*") else type_ == wanted


def _page(found: list[Event], limit: int, params: EventFilter) -> tuple[list[Event], bool]:
    positions = {event.id: i for i, event in enumerate(found)}
    if after := params.get("starting_after"):
        if after not in positions:
            raise missing("event", after, "starting_after")
        found = found[positions[after] + 1 :]
    if before := params.get("ending_before"):
        if before not in positions:
            raise missing("event", before, "ending_before")
        found = found[: positions[before]]
        return found[-limit:], len(found) > limit
    return found[:limit], len(found) > limit
