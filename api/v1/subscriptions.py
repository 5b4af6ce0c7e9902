"""`/v1/subscriptions`: their state as it follows from the log."""

from __future__ import annotations

from api.v1 import schema, shapes
from api.v1.access import Caller
from api.v1.endpoints import Json, Reading
from api.v1.lists import ListQuery, id_filter, listed
from api.v1.moments import AtMoment, moment_asked, not_found, told
from ledger.projections.crm import past, queries


class SubscriptionsQuery(ListQuery, AtMoment):
    """Filters of the subscription list."""

    customer = id_filter()
    status = id_filter()


def list_subscriptions(caller: Caller, asked: Json) -> Json:
    """Return subscriptions, newest first."""
    if asked.get("status") == "all":
        del asked["status"]  # Stripe's word for what is the rule here
    moment = moment_asked(caller, asked)
    page = past.page(caller.connection, queries.SUBSCRIPTIONS, moment, **asked)
    return listed(map(subscription_json, page.rows), has_more=page.has_more, **told(moment))


def show_subscription(caller: Caller, asked: Json, subscription_id: str) -> Json:
    """Return one subscription."""
    moment = moment_asked(caller, asked)
    row = past.one(caller.connection, queries.SUBSCRIPTIONS, subscription_id, moment)
    if row is None:
        raise not_found("subscription", subscription_id, moment)
    return {**subscription_json(row), **told(moment)}


def subscription_json(row: queries.Row) -> Json:
    """Return a subscription; `current_period_*` are those of its earliest item."""
    view = row["canonical"]
    return {
        "id": row["id"],
        "object": "subscription",
        "created": view.get("created"),
        "customer": row["customer_id"],
        "status": view.get("status"),
        "cancel_at_period_end": view.get("cancel_at_period_end"),
        "cancel_at": view.get("cancel_at"),
        "canceled_at": view.get("canceled_at"),
        "ended_at": view.get("ended_at"),
        "current_period_start": view.get("current_period_start"),
        "current_period_end": view.get("current_period_end"),
        "trial_start": view.get("trial_start"),
        "trial_end": view.get("trial_end"),
        "collection_method": view.get("collection_method"),
        "pause_collection": {
            "behavior": view["pause_behavior"],
            "resumes_at": view.get("pause_resumes_at"),
        }
        if view.get("pause_behavior")
        else None,
        "currency": view.get("currency"),
        "items": [
            {
                "id": item.get("id"),
                "price": item.get("price"),
                "product": item.get("product"),
                "quantity": item.get("quantity"),
                "unit_amount": item.get("unit_amount"),
                "unit_amount_decimal": item.get("unit_amount_decimal"),
                "currency": item.get("currency"),
                "interval": item.get("interval"),
                "interval_count": item.get("interval_count"),
                "usage_type": item.get("usage_type"),
                "current_period_start": item.get("current_period_start"),
                "current_period_end": item.get("current_period_end"),
            }
            for item in view.get("items", [])
        ],
        "discounts": [
            {"id": one.get("id"), "coupon": one.get("coupon")}
            for one in view.get("discounts") or []
        ],
        "cancellation_details": {
            "reason": view.get("cancellation_reason"),
            "feedback": view.get("feedback"),
        },
        "latest_invoice": view.get("latest_invoice"),
        "default_payment_method": view.get("default_payment_method"),
        "schedule": view.get("schedule"),
        "livemode": view.get("livemode"),
        "test_clock": view.get("test_clock"),
        "provisional": row["provisional"],
        "event": row["position"],
    }


ENDPOINTS = (
    Reading(
        path="/subscriptions",
        handle=list_subscriptions,
        answer=schema.list_in_time(shapes.SUBSCRIPTION),
        query=SubscriptionsQuery,
    ),
    Reading(
        path="/subscriptions/<subscription_id>",
        handle=show_subscription,
        answer=schema.in_time(shapes.SUBSCRIPTION),
        query=AtMoment,
    ),
)
