"""`/v1/subscriptions`: their state as it follows from the log."""

from __future__ import annotations

from api.v1 import schema, shapes
from api.v1.access import Caller
from api.v1.endpoints import Json, Reading
from api.v1.lists import ListQuery, id_filter, listed
from api.v1.moments import AtMoment, moment_asked, not_found, told
from api.v1.objects import subscription_json
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


ENDPOINTS = (
    Reading(
        path="/subscriptions",
        handle=list_subscriptions,
        answer=schema.list_in_time(shapes.SUBSCRIPTION),
        expands=True,
        query=SubscriptionsQuery,
    ),
    Reading(
        path="/subscriptions/<subscription_id>",
        handle=show_subscription,
        answer=schema.in_time(shapes.SUBSCRIPTION),
        expands=True,
        query=AtMoment,
    ),
)
