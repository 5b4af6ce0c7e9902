"""`/v1/events`: the log itself, newest first."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, jsonify
from marshmallow import fields, validate

from api.errors import ApiError
from api.v1.access import Caller, reading
from api.v1.lists import PageQuery, Query, id_filter, listed, query
from api.v1.moments import AtMoment, moment_asked, told
from ledger import history
from ledger.log import RecordedEvent

POSITION_MAX = 2**63 - 1


class EventsQuery(PageQuery, AtMoment):
    """Filters of the event list; its cursors are positions."""

    starting_after = fields.Integer(validate=validate.Range(min=0, max=POSITION_MAX))
    ending_before = fields.Integer(validate=validate.Range(min=0, max=POSITION_MAX))
    stream = id_filter()
    customer = id_filter()
    type = id_filter()
    stripe_event_id = id_filter()


def routes(blueprint: Blueprint) -> None:
    """Mount the routes."""
    blueprint.get("/events")(list_events)
    blueprint.get("/events/<int:position>")(show_event)


def list_events() -> Response:
    """Return events, newest first, or those after `ending_before`."""
    asked = query(EventsQuery())
    with reading() as caller:
        moment = moment_asked(caller, asked)
        found, has_more = history.select(
            caller.connection,
            history.Filter(
                stream=asked.get("stream"),
                customer=asked.get("customer"),
                type=asked.get("type"),
                stripe_event_id=asked.get("stripe_event_id"),
                moment=moment,
            ),
            limit=asked["limit"],
            before=asked.get("starting_after"),
            after=asked.get("ending_before"),
        )
        return listed((_told(one, caller) for one in found), has_more=has_more, **told(moment))


def show_event(position: int) -> Response:
    """Return one event by its position."""
    query(Query())
    if position > POSITION_MAX:
        raise ApiError(404, "not_found", f"There is no event at position {position}.")
    with reading() as caller:
        event = history.at(caller.connection, position)
        if event is None:
            raise ApiError(404, "not_found", f"There is no event at position {position}.")
        return jsonify(_told(event, caller))


def _told(event: RecordedEvent, caller: Caller) -> dict[str, Any]:
    if not caller.sees_personal:
        return history.as_json(event)
    return history.as_json(history.opened_event(caller.connection, caller.ledger.keys, event))
