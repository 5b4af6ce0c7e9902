"""`/v1/streams/{id}`: a subscription's or customer's facts, and what follows from them."""

from __future__ import annotations

import msgspec

from api.v1 import shapes
from api.v1.access import Caller
from api.v1.endpoints import Json, Reading
from api.v1.lists import PageQuery
from api.v1.moments import AtMoment, moment_asked, told
from ledger import history
from ledger.aggregates.base import ACCOUNT_STREAM, ObjectState
from ledger.errors import RequestInvalid
from ledger.streams import stream_at
from ledger.stripe_objects.readers import view_of


class StreamQuery(PageQuery, AtMoment):
    """A stream at a moment; `limit` is of its events, the newest."""


def show_stream(caller: Caller, asked: Json, stream_id: str) -> Json:
    """Return the objects a stream is about, as they were, and its newest events."""
    if stream_id == ACCOUNT_STREAM:
        raise RequestInvalid("The stream `account` is long: `/v1/events?stream=account` pages it.")
    moment = moment_asked(caller, asked)
    found = stream_at(caller.connection, stream_id, moment)
    newest = found.events[-asked["limit"] :]
    if caller.sees_personal:
        caller.tell(one.customer_id or one.object_id for one in newest if one.personal)
        newest = [
            history.opened_event(caller.connection, caller.ledger.keys, one) for one in newest
        ]
    return {
        "id": stream_id,
        "object": "stream",
        **told(moment),
        "objects": [_state(one) for one in found.objects],
        "events": [history.as_json(one) for one in reversed(newest)],
        "event_count": len(found.events),
    }


def _state(state: ObjectState) -> Json:
    return {
        "id": state.object_id,
        "object": state.kind,
        "occurred_at": int(state.occurred_at.timestamp()),
        "mark": state.settled.mark,
        "deleted": state.settled.is_deleted,
        "provisional": list(state.settled.doubtful),
        "state": msgspec.to_builtins(view_of(dict(state.settled.winner.snapshot))),
    }


ENDPOINTS = (
    Reading(
        path="/streams/<stream_id>", handle=show_stream, answer=shapes.STREAM, query=StreamQuery
    ),
)
