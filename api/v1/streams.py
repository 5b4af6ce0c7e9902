"""`/v1/streams/{id}`: a subscription's or customer's facts, and what follows from them."""

from __future__ import annotations

from typing import Any

import msgspec
from flask import Blueprint, Response, jsonify

from api.v1.access import reading
from api.v1.lists import PageQuery, query
from api.v1.moments import AtMoment, moment_asked, told
from ledger import history
from ledger.aggregates.base import ACCOUNT_STREAM, ObjectState
from ledger.errors import RequestInvalid
from ledger.streams import stream_at
from ledger.stripe_objects.readers import view_of


class StreamQuery(PageQuery, AtMoment):
    """A stream at a moment; `limit` is of its events, the newest."""


def routes(blueprint: Blueprint) -> None:
    """Mount the routes."""
    blueprint.get("/streams/<stream_id>")(show_stream)


def show_stream(stream_id: str) -> Response:
    """Return the objects a stream is about, as they were, and its newest events."""
    asked = query(StreamQuery())
    if stream_id == ACCOUNT_STREAM:
        raise RequestInvalid("The stream `account` is long: `/v1/events?stream=account` pages it.")
    with reading() as caller:
        moment = moment_asked(caller, asked)
        found = stream_at(caller.connection, stream_id, moment)
        newest = found.events[-asked["limit"] :]
        if caller.sees_personal:
            newest = [
                history.opened_event(caller.connection, caller.ledger.keys, one) for one in newest
            ]
        return jsonify(
            {
                "id": stream_id,
                "object": "stream",
                **told(moment),
                "objects": [_state(one) for one in found.objects],
                "events": [history.as_json(one) for one in reversed(newest)],
                "event_count": len(found.events),
            }
        )


def _state(state: ObjectState) -> dict[str, Any]:
    return {
        "id": state.object_id,
        "object": state.kind,
        "occurred_at": int(state.occurred_at.timestamp()),
        "mark": state.settled.mark,
        "deleted": state.settled.is_deleted,
        "provisional": list(state.settled.doubtful),
        "state": msgspec.to_builtins(view_of(dict(state.settled.winner.snapshot))),
    }
