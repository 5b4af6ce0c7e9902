"""`/v1/retention`, and how a subscription is canceled: always at once, whatever is offered."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, jsonify
from marshmallow import fields, validate

from api.context import current_installation
from api.errors import ApiError
from api.v1.access import Caller, reading
from api.v1.acting import Answer, Body, acting, body
from api.v1.lists import ListQuery, Query, id_filter, listed, query
from api.v1.moments import span_asked
from ledger.aggregates.retention_offer import RetentionOffer
from ledger.bootstrap import site_of
from ledger.errors import NotFound
from ledger.links import Links
from ledger.orders import accept_offer, cancel, decline_offer
from ledger.policies.desk import Desk
from ledger.policies.retention.campaign import REASONS
from ledger.projections.crm import queries as lists
from ledger.projections.reactions import queries

BY = ("offer", "reason", "campaign")


class OffersQuery(ListQuery):
    """Filters of the list of cancellations."""

    customer = id_filter()
    subscription = id_filter()
    status = id_filter()
    campaign = id_filter()
    open = fields.Boolean()


class BoardQuery(Query):
    """Of which cancellations, by what."""

    start = fields.String(data_key="from")
    end = fields.String(data_key="to")
    by = fields.String(validate=validate.OneOf(BY), load_default="offer")


class CancellationBody(Body):
    """Why somebody leaves, as far as they say."""

    reason = fields.String(validate=validate.OneOf(REASONS), allow_none=True)
    comment = fields.String(validate=validate.Length(max=2_000), allow_none=True)


def routes(blueprint: Blueprint) -> None:
    """Mount the routes."""
    blueprint.post("/subscriptions/<subscription_id>/cancellation")(cancel_subscription)
    blueprint.post("/subscriptions/<subscription_id>/cancellation_link")(make_link)
    blueprint.get("/retention/offers")(list_offers)
    blueprint.get("/retention/board")(show_retention_board)
    blueprint.get("/retention/offers/<offer_id>")(show_offer)
    blueprint.post("/retention/offers/<offer_id>/accept")(accept)
    blueprint.post("/retention/offers/<offer_id>/decline")(decline)


def cancel_subscription(subscription_id: str) -> Response:
    """Schedule the end of a subscription and answer it."""
    given = body(CancellationBody())
    with reading() as caller:
        customer = _customer_of(caller, subscription_id)

    def order(desk: Desk, caller: Caller) -> Answer:
        offer, state = cancel(
            desk,
            customer,
            subscription_id,
            source="api",
            reason=given.get("reason"),
            comment=given.get("comment"),
            actor=caller.token.name,
        )
        if offer is not None and _offered(offer) is not None:
            offer.show("api", now=desk.now)
        return 202, {
            "object": "cancellation",
            "subscription": subscription_id,
            "customer": customer,
            "state": state,
            "retention_offer": offer.id if offer else None,
            "offer": _offered(offer),
        }

    return acting(order)


def make_link(subscription_id: str) -> Response:
    """Return an address where this customer may cancel, good for a week."""
    body(Body())
    with reading() as caller:
        if not caller.token.may("write"):
            raise ApiError(403, "scope_missing", "This needs a token with the scope `write`.")
        customer = _customer_of(caller, subscription_id)
        public_url = site_of(current_installation().settings, caller.ledger).public_url
        if public_url is None:
            raise ApiError(
                409, "public_url_missing", "LEDGER_PUBLIC_URL is not set: nobody could follow it."
            )
        links = Links(caller.ledger.master, caller.ledger.name)
        url = links.make(public_url, "cancel", customer, subscription_id)
        return jsonify(object="cancellation_link", subscription=subscription_id, url=url)


def list_offers() -> Response:
    """Return cancellations, newest first."""
    asked = query(OffersQuery())
    with reading() as caller:
        page = lists.page(caller.connection, queries.OFFERS, **asked)
        return listed(map(offer_json, page.rows), has_more=page.has_more)


def show_retention_board() -> Response:
    """Return what became of the cancellations of a span, and the lift over the holdout."""
    asked = query(BoardQuery())
    with reading() as caller:
        start, end = span_asked(caller, asked)
        rows = queries.retention_board(caller.connection, asked["by"], start, end)
        return jsonify(
            object="retention_board",
            by=asked["by"],
            **{"from": start.isoformat(), "to": end.isoformat()},
            data=[{**row, "saved_monthly_minor": int(row["saved_monthly_minor"])} for row in rows],
            lift=[
                {"currency": currency, **found}
                for currency, found in sorted(
                    queries.lift(rows).items(), key=lambda one: one[0] or ""
                )
            ],
        )


def show_offer(offer_id: str) -> Response:
    """Return one cancellation."""
    query(Query())
    with reading() as caller:
        row = lists.one(caller.connection, queries.OFFERS, offer_id)
        if row is None:
            raise NotFound(f"There is no retention offer {offer_id!r}.")
        return jsonify(offer_json(row))


def accept(offer_id: str) -> Response:
    """Let a customer take an offer: they said so to somebody."""
    body(Body())

    def order(desk: Desk, caller: Caller) -> Answer:
        return 200, _short(accept_offer(desk, offer_id, caller.token.name))

    return acting(order)


def decline(offer_id: str) -> Response:
    """Let a customer leave an offer."""
    body(Body())

    def order(desk: Desk, caller: Caller) -> Answer:
        return 200, _short(decline_offer(desk, offer_id, caller.token.name))

    return acting(order)


def _customer_of(caller: Caller, subscription_id: str) -> str:
    row = lists.one(caller.connection, lists.SUBSCRIPTIONS, subscription_id)
    if row is None or row["customer_id"] is None:
        raise NotFound(f"This ledger knows no subscription {subscription_id!r}.")
    found: str = row["customer_id"]
    return found


def _offered(offer: RetentionOffer | None) -> dict[str, Any] | None:
    if offer is None or offer.offer is None or offer.terms.mode != "on":
        return None
    return {"name": offer.offer.name, "kind": offer.offer.kind, **offer.offer.params}


def _short(offer: RetentionOffer) -> dict[str, Any]:
    return {
        "id": offer.id,
        "object": "retention_offer",
        "subscription": offer.terms.subscription,
        "customer": offer.customer_id,
        "offer": _offered(offer),
        "accepted": offer.accepted_at is not None,
        "declined": offer.declined_at is not None,
        "outcome": offer.outcome,
    }


def offer_json(row: queries.Row) -> dict[str, Any]:
    """Return a cancellation as the board tells it."""
    seconds = {
        name: int(row[name].timestamp()) if row[name] else None
        for name in (
            "ends_at", "shown_at", "accepted_at", "declined_at", "withdrawn_at", "ended_at",
            "next_step_at", "closed_at",
        )
    }  # fmt: skip
    kept = (
        "status", "source", "reason", "currency", "tenure_months", "in_holdout", "offer",
        "offer_kind", "no_offer_because", "assignee", "next_step", "outcome", "campaign",
        "campaign_version", "mode", "language",
    )  # fmt: skip
    return {
        "id": row["id"],
        "object": "retention_offer",
        "created": int(row["opened_at"].timestamp()),
        "subscription": row["subscription_id"],
        "customer": row["customer_id"],
        **{name: row[name] for name in kept},
        **{
            name: int(row[name]) if row[name] is not None else None
            for name in ("monthly_minor", "cost_minor")
        },
        **seconds,
    }
