"""`/v1/effects`: what reached the outside or did not; messages and calls by hand; entitlements."""

from __future__ import annotations

from marshmallow import fields, validate

from api.v1 import schema, shapes
from api.v1.access import Caller
from api.v1.endpoints import Acting, Body, Json, Reading
from api.v1.lists import ListQuery, id_filter, listed, text_filter
from ledger.aggregates.sending import KINDS, LANGUAGES
from ledger.errors import NotFound
from ledger.orders import effect_in, say_once
from ledger.policies.desk import Desk
from ledger.projections.crm import queries as lists
from ledger.projections.reactions import queries


class EffectsQuery(ListQuery):
    """Filters of the list of effects; cursors are effects' ids."""

    starting_after = text_filter()
    ending_before = text_filter()
    customer = id_filter()
    state = id_filter()
    kind = fields.String(validate=validate.OneOf(KINDS))
    campaign = id_filter()


class EffectBody(Body):
    """Which effect, and why."""

    effect = fields.String(required=True, validate=validate.Length(min=3, max=500))
    reason = fields.String(validate=validate.Length(min=1, max=500), load_default="by hand")


class MessageBody(Body):
    """A message that somebody wrote."""

    channel = fields.String(validate=validate.OneOf(("mail", "sms")), load_default="mail")
    subject = fields.String(validate=validate.Length(max=200), load_default="")
    body = fields.String(required=True, validate=validate.Length(min=1, max=20_000))
    language = fields.String(validate=validate.OneOf(LANGUAGES), allow_none=True)


class CallBody(Body):
    """A call that somebody made."""

    outcome = fields.String(
        required=True,
        validate=validate.OneOf(("reached", "not_reached", "call_back", "wrong_number")),
    )
    note = fields.String(validate=validate.Length(max=5_000), allow_none=True)


def list_effects(caller: Caller, asked: Json) -> Json:
    """Return effects, newest first."""
    page = lists.page(caller.connection, queries.EFFECTS, **asked)
    return listed(map(effect_json, page.rows), has_more=page.has_more)


def retry_effect(desk: Desk, caller: Caller, given: Json) -> Json:
    """Let an effect be tried again that was given up."""
    stream, _, key = given["effect"].partition("|")
    effect_in(desk, stream, key).retry(key, actor=caller.actor.name, now=desk.now)
    return {"id": given["effect"], "object": "effect", "state": "requested"}


def drop_effect(desk: Desk, caller: Caller, given: Json) -> Json:
    """Give an effect up."""
    stream, _, key = given["effect"].partition("|")
    effect_in(desk, stream, key).drop(key, given["reason"], actor=caller.actor.name, now=desk.now)
    return {"id": given["effect"], "object": "effect", "state": "dropped"}


def say(desk: Desk, caller: Caller, given: Json, customer_id: str) -> Json:
    """Let a customer get a message that somebody wrote."""
    _require_customer(caller, customer_id)
    key = f"message:{desk.read_until}"
    state = say_once(
        desk,
        customer_id,
        given["channel"],
        {"subject": given["subject"], "body": given["body"]},
        key=key,
        language=given.get("language")
        or desk.addressing(desk.standing(customer_id, None)).language,
        actor=caller.actor.name,
    )
    outbox = desk.outbox(customer_id)
    answer = {"id": f"{outbox.id}|{key}", "object": "effect", "state": state}
    return {**answer, "because": outbox.effects[key].because}


def note_call(desk: Desk, caller: Caller, given: Json, customer_id: str) -> Json:
    """Note that somebody talked with a customer."""
    _require_customer(caller, customer_id)
    desk.outbox(customer_id).called(
        given["outcome"], given.get("note"), actor=caller.actor.name, now=desk.now
    )
    return {"object": "call", "customer": customer_id, "outcome": given["outcome"]}


def list_entitlements(caller: Caller, _: Json, customer_id: str) -> Json:
    """Return what a customer may use."""
    _require_customer(caller, customer_id)
    rows = caller.connection.execute(
        "SELECT feature, subscription_id, because, until FROM entitlements"
        " WHERE customer_id = %s ORDER BY feature, subscription_id",
        [customer_id],
    ).fetchall()
    return {
        "object": "list",
        "url": f"/v1/customers/{customer_id}/entitlements",
        "has_more": False,
        "data": [
            {
                "object": "entitlement",
                "feature": feature,
                "subscription": subscription,
                "because": because,
                "until": int(until.timestamp()) if until else None,
            }
            for feature, subscription, because, until in rows
        ],
    }


def _require_customer(caller: Caller, customer_id: str) -> None:
    if lists.one(caller.connection, lists.CUSTOMERS, customer_id) is None:
        raise NotFound(f"There is no customer {customer_id!r} in this ledger.")


def effect_json(row: queries.Row) -> Json:
    """Return an effect: what was to be done, and how far it is."""
    kept = (
        "kind", "what", "purpose", "campaign", "language", "state", "because", "attempts",
        "reference", "actor",
    )  # fmt: skip
    return {
        "id": row["id"],
        "object": "effect",
        "created": int(row["asked_at"].timestamp()),
        "customer": row["customer_id"],
        **{name: row[name] for name in kept},
        **{
            name: int(row[name].timestamp()) if row[name] else None
            for name in ("due_at", "sent_at")
        },
    }


ENDPOINTS = (
    Reading(
        path="/effects",
        handle=list_effects,
        answer=schema.list_of(shapes.EFFECT),
        query=EffectsQuery,
    ),
    Acting(
        path="/effects/retry",
        handle=retry_effect,
        answer=shapes.EFFECT_NOW,
        body=EffectBody,
        names_things=True,
    ),
    Acting(
        path="/effects/drop",
        handle=drop_effect,
        answer=shapes.EFFECT_NOW,
        body=EffectBody,
        names_things=True,
    ),
    Acting(
        path="/customers/<customer_id>/messages",
        handle=say,
        answer=shapes.EFFECT_NOW,
        body=MessageBody,
        status=202,
    ),
    Acting(
        path="/customers/<customer_id>/calls",
        handle=note_call,
        answer=shapes.CALL,
        body=CallBody,
        status=201,
    ),
    Reading(
        path="/customers/<customer_id>/entitlements",
        handle=list_entitlements,
        answer=schema.list_of(shapes.ENTITLEMENT),
    ),
)
