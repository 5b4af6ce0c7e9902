"""What people may demand about what is known of them: to see it, to correct it, to be forgotten."""

from __future__ import annotations

from typing import Any

from marshmallow import fields, validate

from api.v1 import people_shapes as shapes
from api.v1 import schema
from api.v1.access import Caller
from api.v1.endpoints import Acting, Body, Json, Reading, desk_of
from api.v1.lists import PositionsQuery, listed
from ledger.effects.stripe_actions import RECTIFIABLE
from ledger.policies.desk import Desk
from ledger.subjects.data import subject_data
from ledger.subjects.erasure import erasures
from ledger.subjects.preferences import ask_to_confirm
from ledger.subjects.requests import delete_at_stripe, rectify

_TEXT = fields.String(validate=validate.Length(min=1, max=500))


class RectificationBody(Body):
    """What is right; what is left out stays as it is."""

    name = _TEXT
    email = fields.Email(validate=validate.Length(max=254))
    phone = _TEXT
    address = fields.Dict(
        keys=fields.String(
            validate=validate.OneOf(
                [one.partition(".")[2] for one in RECTIFIABLE if one.startswith("address.")]
            )
        ),
        values=_TEXT,
    )


class ErasureBody(Body):
    """Why, in one word, and whether Stripe is to delete the customer, too."""

    reason = fields.String(
        validate=validate.Regexp(r"[a-z][a-z_]{0,39}\Z"), load_default="customer_request"
    )
    at_stripe = fields.Boolean(load_default=False)


class PreferencesBody(Body):
    """No offers any more; or a mail that asks the customer whether they want them."""

    offers = fields.Boolean(required=True)


def show_data(caller: Caller, _: Json, customer_id: str) -> Json:
    """Return all that is known of a customer, for themselves; needs `personal`, too."""
    caller.require("personal")
    caller.tell([customer_id])
    return subject_data(caller.ledger, caller.connection, customer_id)


def rectify_data(desk: Desk, caller: Caller, given: Json, customer_id: str) -> Json:
    """Let what is wrong be corrected at Stripe, whose event then corrects it here."""
    changes: dict[str, Any] = {**given}
    address = changes.pop("address", {})
    changes |= {f"address.{member}": value for member, value in address.items()}
    state = rectify(desk, customer_id, changes, actor=caller.actor.name)
    return {"object": "rectification", "customer": customer_id, "state": state}


def erase(desk: Desk, caller: Caller, given: Json, customer_id: str) -> Json:
    """Make all that is personal of a customer unreadable for good; it cannot be taken back."""
    state = None
    if given["at_stripe"]:
        state = delete_at_stripe(desk, customer_id, actor=caller.actor.name)
    position = caller.ledger.erase_customer(
        customer_id,
        reason=given["reason"],
        actor=caller.actor.name,
        connection=caller.connection,
    )
    return {
        "object": "erasure",
        "customer": customer_id,
        "created": int(desk.now.timestamp()),
        "state": "requested",
        "event": position,
        "at_stripe": state,
    }


def list_erasures(caller: Caller, asked: Json) -> Json:
    """Return who was erased, newest first: `erased` once the keys' last copies are purged."""
    found, has_more = erasures(
        caller.connection, limit=asked["limit"], before=asked.get("starting_after")
    )
    return listed(
        (
            {
                "object": "erasure",
                "customer": one.customer_id,
                "created": int(one.at.timestamp()),
                "state": "erased" if one.is_purged else "requested",
                "event": one.position,
                "at_stripe": None,
            }
            for one in found
        ),
        has_more=has_more,
    )


def show_preferences(caller: Caller, _: Json, customer_id: str) -> Json:
    """Return whether a customer gets offers."""
    return _preferences(desk_of(caller), customer_id)


def set_preferences(desk: Desk, caller: Caller, given: Json, customer_id: str) -> Json:
    """End offers to a customer; or ask them by mail whether they want them."""
    desk.require_customer(customer_id)
    if given["offers"]:
        ask_to_confirm(desk, customer_id, caller.actor.name)
    else:
        desk.outbox(customer_id).unsubscribe("mail", now=desk.now)
    return _preferences(desk, customer_id)


def _preferences(desk: Desk, customer_id: str) -> Json:
    desk.require_customer(customer_id)
    outbox = desk.outbox(customer_id)
    said = "yes" if outbox.has_consented else "no" if outbox.is_unsubscribed else None
    return {
        "object": "preferences",
        "customer": customer_id,
        "said": said,
        "offers": desk.unwanted(outbox) is None,
    }


ENDPOINTS = (
    Reading(
        path="/customers/<customer_id>/data",
        handle=show_data,
        answer=shapes.SUBJECT_DATA,
        permission="privacy",
    ),
    Acting(
        path="/customers/<customer_id>/rectification",
        handle=rectify_data,
        answer=shapes.RECTIFICATION,
        body=RectificationBody,
        permission="privacy",
        status=202,
    ),
    Acting(
        path="/customers/<customer_id>/erasure",
        handle=erase,
        answer=shapes.ERASURE,
        body=ErasureBody,
        permission="privacy",
        status=202,
    ),
    Reading(
        path="/erasures",
        handle=list_erasures,
        answer=schema.list_of(shapes.ERASURE),
        query=PositionsQuery,
        permission="privacy",
    ),
    Reading(
        path="/customers/<customer_id>/preferences",
        handle=show_preferences,
        answer=shapes.PREFERENCES,
    ),
    Acting(
        path="/customers/<customer_id>/preferences",
        handle=set_preferences,
        answer=shapes.PREFERENCES,
        body=PreferencesBody,
    ),
)
