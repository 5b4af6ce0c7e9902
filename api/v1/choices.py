"""How the ledger is set: what may go out, in whose name, by which campaigns and definitions."""

from __future__ import annotations

from typing import Any

import msgspec
from marshmallow import fields, validate

from api.v1 import schema, shapes
from api.v1.access import Caller
from api.v1.endpoints import Acting, Body, Json, Reading, desk_of
from api.v1.lists import listed
from ledger.aggregates.sending import CAMPAIGN_STATES, KINDS, Brand, Caps
from ledger.decisions import Decisions
from ledger.metrics.telling import told_series
from ledger.orders import (
    FINAL_ACTIONS,
    READERS,
    SHIPPED,
    add_campaign,
    claim_sending,
    find_campaign,
    sending_to_change,
    set_brand,
    switch_campaign,
)
from ledger.policies.desk import Desk
from ledger.projections.access import plans_of
from ledger.projections.numbers.series import END, adopted_until, series_until

_TEXT = validate.Length(min=1, max=500)


class KindBody(Body):
    """One kind of effect, on or off."""

    kind = fields.String(required=True, validate=validate.OneOf(KINDS))
    on = fields.Boolean(required=True)


class StopBody(Body):
    """Why."""

    reason = fields.String(validate=_TEXT, load_default="by hand")


class CapsBody(Body):
    """How much may go out at most; what is left out stays."""

    per_hour = fields.Integer(validate=validate.Range(min=1, max=1_000_000))
    per_person = fields.Integer(validate=validate.Range(min=1, max=1_000))
    per_person_days = fields.Integer(validate=validate.Range(min=1, max=366))


class BrandBody(Body):
    """In whose name messages go out; what is left out stays, null takes it away."""

    name = fields.String(validate=validate.Length(min=1, max=120))
    logo_url = fields.String(allow_none=True, validate=_TEXT)
    color = fields.String(validate=_TEXT)
    sender = fields.String(allow_none=True, validate=_TEXT)
    reply_to = fields.String(allow_none=True, validate=_TEXT)
    support_mail = fields.String(allow_none=True, validate=_TEXT)
    support_phone = fields.String(allow_none=True, validate=_TEXT)
    postal_address = fields.String(allow_none=True, validate=_TEXT)
    website = fields.String(allow_none=True, validate=_TEXT)
    zone = fields.String(validate=_TEXT)
    language = fields.String(validate=_TEXT)
    marketing_needs_consent = fields.Boolean()


class CampaignBody(Body):
    """A campaign, with the members that its file has."""

    campaign = fields.Dict(keys=fields.String(), required=True)


class SwitchBody(Body):
    """What a campaign is to be; for a dunning campaign also what Stripe is set to."""

    state = fields.String(required=True, validate=validate.OneOf(CAMPAIGN_STATES))
    stripe_mails_off = fields.Boolean()
    retry_window_days = fields.Integer()
    final_action = fields.String(validate=validate.OneOf(FINAL_ACTIONS))


def show_sending(caller: Caller, _: Json) -> Json:
    """Return what may go out now, and why the rest may not."""
    return _sending(desk_of(caller))


def switch_kind(desk: Desk, caller: Caller, given: Json) -> Json:
    """Switch a kind of effect on or off."""
    sending_to_change(desk).switch(
        given["kind"], on=given["on"], actor=caller.actor.name, now=desk.now
    )
    return _sending(desk)


def claim(desk: Desk, caller: Caller, _: Json) -> Json:
    """Let sending belong to this installation; what others were asked for is not done here."""
    claim_sending(desk, caller.actor.name)
    return _sending(desk)


def stop(desk: Desk, caller: Caller, given: Json) -> Json:
    """Stop everything at once, on all workers."""
    sending_to_change(desk).stop(given["reason"], actor=caller.actor.name, now=desk.now)
    return _sending(desk)


def resume(desk: Desk, caller: Caller, _: Json) -> Json:
    """Let what is switched on go out again."""
    sending_to_change(desk).resume(actor=caller.actor.name, now=desk.now)
    return _sending(desk)


def set_caps(desk: Desk, caller: Caller, given: Json) -> Json:
    """Set how much may go out at most."""
    sending = sending_to_change(desk)
    sending.set_caps(Caps(**{**vars(sending.caps), **given}), actor=caller.actor.name, now=desk.now)
    return _sending(desk)


def _sending(desk: Desk) -> Json:
    sending = desk.sending
    obstacles = {kind: desk.obstacle(kind) for kind in KINDS}
    return {
        "object": "sending",
        "installation": desk.site.installation,
        "claimed_by": sending.installation,
        "stopped": sending.is_stopped,
        "caps": vars(sending.caps),
        "kinds": [
            {
                "kind": kind,
                "on": kind in sending.kinds,
                "configured": kind in desk.site.configured,
                "goes_out": obstacles[kind] is None,
                "because": obstacles[kind],
            }
            for kind in KINDS
        ],
    }


def show_brand(caller: Caller, _: Json) -> Json:
    """Return in whose name messages go out."""
    return _brand(desk_of(caller).brand)


def change_brand(desk: Desk, caller: Caller, given: Json) -> Json:
    """Change in whose name messages go out."""
    return _brand(set_brand(desk, given, caller.actor.name))


def _brand(found: Brand) -> Json:
    return {"object": "brand", **msgspec.to_builtins(found)}


def list_campaigns(caller: Caller, _: Json) -> Json:
    """Return the newest version of each campaign, and whether it is off, in shadow or on."""
    desk = desk_of(caller)
    return listed(
        (
            _campaign(one, state)
            for shipped in SHIPPED
            for one, state in desk.campaigns(shipped(), READERS[shipped().kind])
        ),
        has_more=False,
    )


def show_campaign(caller: Caller, _: Json, campaign: str) -> Json:
    """Return a campaign with all that it says."""
    found, state = _found(desk_of(caller), campaign)
    return {**_campaign(found, state), "campaign": msgspec.to_builtins(found)}


def create_campaign(desk: Desk, caller: Caller, given: Json) -> Json:
    """Add a campaign, or another version of one; running cases keep theirs."""
    added = add_campaign(desk, given["campaign"], caller.actor.name)
    return _campaign(added, desk.sending.campaigns.get(added.name, "off"))


def switch(desk: Desk, caller: Caller, given: Json, campaign: str) -> Json:
    """Switch a campaign; a dunning campaign asks what Stripe is set to, which no API tells."""
    state = given.pop("state")
    switch_campaign(desk, campaign, state, given, caller.actor.name)
    return _campaign(*_found(desk, campaign))


def _found(desk: Desk, name: str) -> tuple[Any, str]:
    found = find_campaign(desk, name)
    return next(
        (one, state)
        for one, state in desk.campaigns(found, READERS[found.kind])
        if one.name == name
    )


def _campaign(one: Any, state: str) -> Json:
    return {
        "object": "campaign",
        "kind": one.kind,
        "name": one.name,
        "version": one.version,
        "state": state,
    }


def show_plans(caller: Caller, _: Json) -> Json:
    """Return which features prices and products give."""
    found = plans_of(Decisions(caller.connection, caller.ledger.keys))
    return {"object": "plans", "version": found.version, "features": found.features}


def list_definitions(caller: Caller, _: Json) -> Json:
    """Return the definition sets that have numbers, and which of them is adopted."""
    known = series_until(caller.connection, END)
    adopted = adopted_until(caller.connection, END)
    return listed(
        (
            {
                "object": "definitions",
                **told_series(one),
                "adopted": one.number == adopted.number,
                "choices": msgspec.to_builtins(one.definitions),
            }
            for one in known
        ),
        has_more=False,
    )


_MANAGED: dict[str, Any] = {"permission": "campaigns"}

ENDPOINTS = (
    Reading(path="/sending", handle=show_sending, answer=shapes.SENDING),
    *(
        Acting(path=f"/sending/{name}", handle=handle, answer=shapes.SENDING, body=body, **_MANAGED)
        for name, handle, body in (
            ("kinds", switch_kind, KindBody),
            ("claim", claim, Body),
            ("stop", stop, StopBody),
            ("resume", resume, Body),
            ("caps", set_caps, CapsBody),
        )
    ),
    Reading(path="/brand", handle=show_brand, answer=shapes.BRAND),
    Acting(path="/brand", handle=change_brand, answer=shapes.BRAND, body=BrandBody, **_MANAGED),
    Reading(path="/campaigns", handle=list_campaigns, answer=schema.list_of(shapes.CAMPAIGN)),
    Acting(
        path="/campaigns",
        handle=create_campaign,
        answer=shapes.CAMPAIGN,
        body=CampaignBody,
        status=201,
        **_MANAGED,
    ),
    Reading(path="/campaigns/<campaign>", handle=show_campaign, answer=shapes.CAMPAIGN_WHOLE),
    Acting(
        path="/campaigns/<campaign>/switch",
        handle=switch,
        answer=shapes.CAMPAIGN,
        body=SwitchBody,
        **_MANAGED,
    ),
    Reading(path="/plans", handle=show_plans, answer=shapes.PLANS),
    Reading(
        path="/definitions",
        handle=list_definitions,
        answer=schema.list_of(shapes.DEFINITIONS),
    ),
)
