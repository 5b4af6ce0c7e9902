"""`/v1/effects`: what reached the outside or did not; messages and calls by hand; entitlements."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, jsonify
from marshmallow import fields, validate

from api.v1.access import Caller, reading
from api.v1.acting import Answer, Body, acting, body
from api.v1.lists import ListQuery, Query, id_filter, listed, query, text_filter
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


def routes(blueprint: Blueprint) -> None:
    """Mount the routes."""
    blueprint.get("/effects")(list_effects)
    blueprint.post("/effects/retry")(retry_effect)
    blueprint.post("/effects/drop")(drop_effect)
    blueprint.post("/customers/<customer_id>/messages")(say)
    blueprint.post("/customers/<customer_id>/calls")(note_call)
    blueprint.get("/customers/<customer_id>/entitlements")(list_entitlements)


def list_effects() -> Response:
    """Return effects, newest first."""
    asked = query(EffectsQuery())
    with reading() as caller:
        page = lists.page(caller.connection, queries.EFFECTS, **asked)
        return listed(map(effect_json, page.rows), has_more=page.has_more)


def retry_effect() -> Response:
    """Let an effect be tried again that was given up."""
    given = body(EffectBody())

    def order(desk: Desk, caller: Caller) -> Answer:
        stream, _, key = given["effect"].partition("|")
        effect_in(desk, stream, key).retry(key, actor=caller.token.name, now=desk.now)
        return 200, {"id": given["effect"], "object": "effect", "state": "requested"}

    return acting(order)


def drop_effect() -> Response:
    """Give an effect up."""
    given = body(EffectBody())

    def order(desk: Desk, caller: Caller) -> Answer:
        stream, _, key = given["effect"].partition("|")
        effect_in(desk, stream, key).drop(
            key, given["reason"], actor=caller.token.name, now=desk.now
        )
        return 200, {"id": given["effect"], "object": "effect", "state": "dropped"}

    return acting(order)


def say(customer_id: str) -> Response:
    """Let a customer get a message that somebody wrote."""
    given = body(MessageBody())
    with reading() as caller:
        _require_customer(caller, customer_id)

    def order(desk: Desk, caller: Caller) -> Answer:
        key = f"message:{desk.read_until}"
        state = say_once(
            desk,
            customer_id,
            given["channel"],
            {"subject": given["subject"], "body": given["body"]},
            key=key,
            language=given.get("language") or desk.brand.language,
            actor=caller.token.name,
        )
        outbox = desk.outbox(customer_id)
        answer = {"id": f"{outbox.id}|{key}", "object": "effect", "state": state}
        return 202, {**answer, "because": outbox.effects[key].because}

    return acting(order)


def note_call(customer_id: str) -> Response:
    """Note that somebody talked with a customer."""
    given = body(CallBody())
    with reading() as caller:
        _require_customer(caller, customer_id)

    def order(desk: Desk, caller: Caller) -> Answer:
        desk.outbox(customer_id).called(
            given["outcome"], given.get("note"), actor=caller.token.name, now=desk.now
        )
        return 201, {"object": "call", "customer": customer_id, "outcome": given["outcome"]}

    return acting(order)


def list_entitlements(customer_id: str) -> Response:
    """Return what a customer may use."""
    query(Query())
    with reading() as caller:
        _require_customer(caller, customer_id)
        rows = caller.connection.execute(
            "SELECT feature, subscription_id, because, until FROM entitlements"
            " WHERE customer_id = %s ORDER BY feature, subscription_id",
            [customer_id],
        ).fetchall()
        return jsonify(
            object="list",
            url=f"/v1/customers/{customer_id}/entitlements",
            has_more=False,
            data=[
                {
                    "object": "entitlement",
                    "feature": feature,
                    "subscription": subscription,
                    "because": because,
                    "until": int(until.timestamp()) if until else None,
                }
                for feature, subscription, because, until in rows
            ],
        )


def _require_customer(caller: Caller, customer_id: str) -> None:
    if lists.one(caller.connection, lists.CUSTOMERS, customer_id) is None:
        raise NotFound(f"There is no customer {customer_id!r} in this ledger.")


def effect_json(row: queries.Row) -> dict[str, Any]:
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
