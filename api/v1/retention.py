"""`/v1/retention`, and how a subscription is canceled: always at once, whatever is offered."""

from __future__ import annotations

from typing import Any

from marshmallow import fields, validate

from api.errors import ApiError
from api.v1 import schema, shapes
from api.v1.access import Caller
from api.v1.endpoints import Acting, Body, Json, Reading
from api.v1.lists import ListQuery, Query, id_filter, listed
from api.v1.moments import span_asked
from ledger.aggregates.retention_offer import RetentionOffer
from ledger.cancellations import accept_offer, cancel, decline_offer
from ledger.errors import NotFound
from ledger.links import Links
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


def cancel_subscription(desk: Desk, caller: Caller, given: Json, subscription_id: str) -> Json:
    """Schedule the end of a subscription and answer it."""
    customer = _customer_of(caller, subscription_id)
    offer, state = cancel(
        desk,
        customer,
        subscription_id,
        source="api",
        reason=given.get("reason"),
        comment=given.get("comment"),
        actor=caller.actor.name,
    )
    if offer is not None and _offered(offer) is not None:
        offer.show("api", now=desk.now)
    return {
        "object": "cancellation",
        "subscription": subscription_id,
        "customer": customer,
        "state": state,
        "retention_offer": offer.id if offer else None,
        "offer": _offered(offer),
    }


def make_link(desk: Desk, caller: Caller, _: Json, subscription_id: str) -> Json:
    """Return an address where this customer may cancel, good for a week."""
    customer = _customer_of(caller, subscription_id)
    public_url = desk.site.public_url
    if public_url is None:
        raise ApiError(
            409, "public_url_missing", "LEDGER_PUBLIC_URL is not set: nobody could follow it."
        )
    links = Links(caller.ledger.master, caller.ledger.name)
    url = links.make(public_url, "cancel", customer, subscription_id)
    return {"object": "cancellation_link", "subscription": subscription_id, "url": url}


def list_offers(caller: Caller, asked: Json) -> Json:
    """Return cancellations, newest first."""
    page = lists.page(caller.connection, queries.OFFERS, **asked)
    return listed(map(offer_json, page.rows), has_more=page.has_more)


def show_retention_board(caller: Caller, asked: Json) -> Json:
    """Return what became of the cancellations of a span, and the lift over the holdout."""
    start, end = span_asked(caller, asked)
    rows = queries.retention_board(caller.connection, asked["by"], start, end)
    return {
        "object": "retention_board",
        "by": asked["by"],
        "from": start.isoformat(),
        "to": end.isoformat(),
        "data": [{**row, "saved_monthly_minor": int(row["saved_monthly_minor"])} for row in rows],
        "lift": [
            {"currency": currency, **found}
            for currency, found in sorted(queries.lift(rows).items(), key=lambda one: one[0] or "")
        ],
    }


def show_offer(caller: Caller, _: Json, offer_id: str) -> Json:
    """Return one cancellation."""
    row = lists.one(caller.connection, queries.OFFERS, offer_id)
    if row is None:
        raise NotFound(f"There is no retention offer {offer_id!r}.")
    return offer_json(row)


def accept(desk: Desk, caller: Caller, _: Json, offer_id: str) -> Json:
    """Let a customer take an offer: they said so to somebody."""
    return _short(accept_offer(desk, offer_id, caller.actor.name))


def decline(desk: Desk, caller: Caller, _: Json, offer_id: str) -> Json:
    """Let a customer leave an offer."""
    return _short(decline_offer(desk, offer_id, caller.actor.name))


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


def _short(offer: RetentionOffer) -> Json:
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


def offer_json(row: queries.Row) -> Json:
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


ENDPOINTS = (
    Acting(
        path="/subscriptions/<subscription_id>/cancellation",
        handle=cancel_subscription,
        answer=shapes.CANCELLATION,
        body=CancellationBody,
        status=202,
    ),
    Acting(
        path="/subscriptions/<subscription_id>/cancellation_link",
        handle=make_link,
        answer=shapes.CANCELLATION_LINK,
    ),
    Reading(
        path="/retention/offers",
        handle=list_offers,
        answer=schema.list_of(shapes.RETENTION_OFFER),
        query=OffersQuery,
    ),
    Reading(
        path="/retention/board",
        handle=show_retention_board,
        answer=shapes.RETENTION_BOARD,
        query=BoardQuery,
    ),
    Reading(path="/retention/offers/<offer_id>", handle=show_offer, answer=shapes.RETENTION_OFFER),
    Acting(
        path="/retention/offers/<offer_id>/accept", handle=accept, answer=shapes.RETENTION_OFFER_NOW
    ),
    Acting(
        path="/retention/offers/<offer_id>/decline",
        handle=decline,
        answer=shapes.RETENTION_OFFER_NOW,
    ),
)
