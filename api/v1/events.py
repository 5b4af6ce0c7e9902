"""`/v1/events`: the log itself, newest first."""

from __future__ import annotations

from marshmallow import fields, validate

from api.errors import ApiError
from api.v1 import schema, shapes
from api.v1.access import Caller
from api.v1.endpoints import Json, Reading
from api.v1.lists import POSITION_MAX, PositionsQuery, id_filter, listed
from api.v1.moments import AtMoment, moment_asked, told
from ledger import history
from ledger.log import RecordedEvent


class EventsQuery(PositionsQuery, AtMoment):
    """Filters of the event list; its cursors are positions."""

    ending_before = fields.Integer(validate=validate.Range(min=0, max=POSITION_MAX))
    stream = id_filter()
    customer = id_filter()
    type = id_filter()
    stripe_event_id = id_filter()
    actor = id_filter()


def list_events(caller: Caller, asked: Json) -> Json:
    """Return events, newest first, or those after `ending_before`."""
    moment = moment_asked(caller, asked)
    found, has_more = history.select(
        caller.connection,
        history.Filter(
            stream=asked.get("stream"),
            customer=asked.get("customer"),
            type=asked.get("type"),
            stripe_event_id=asked.get("stripe_event_id"),
            moment=moment,
            actor=asked.get("actor"),
        ),
        limit=asked["limit"],
        before=asked.get("starting_after"),
        after=asked.get("ending_before"),
    )
    return listed((_told(one, caller) for one in found), has_more=has_more, **told(moment))


def show_event(caller: Caller, _: Json, position: int) -> Json:
    """Return one event by its position."""
    if position > POSITION_MAX:
        raise ApiError(404, "not_found", f"There is no event at position {position}.")
    event = history.at(caller.connection, position)
    if event is None:
        raise ApiError(404, "not_found", f"There is no event at position {position}.")
    return _told(event, caller)


def _told(event: RecordedEvent, caller: Caller) -> Json:
    if not caller.sees_personal:
        return history.as_json(event)
    caller.tell([event.customer_id or event.object_id] if event.personal else [])
    return history.as_json(history.opened_event(caller.connection, caller.ledger.keys, event))


ENDPOINTS = (
    Reading(
        path="/events",
        handle=list_events,
        answer=schema.list_in_time(shapes.EVENT),
        query=EventsQuery,
    ),
    Reading(path="/events/<int:position>", handle=show_event, answer=shapes.EVENT),
)
