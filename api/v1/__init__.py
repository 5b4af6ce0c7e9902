"""The JSON API: Stripe's conventions over what the ledger knows."""

from __future__ import annotations

import re

from flask import Blueprint, request

from api.errors import ApiError
from api.v1 import (
    books,
    bounces,
    choices,
    customers,
    dunning,
    effects,
    events,
    invoices,
    metrics,
    payments,
    people,
    privacy,
    retention,
    seals,
    segments,
    status,
    streams,
    subscriptions,
    work,
)
from api.v1.endpoints import Endpoint
from ledger.ids import is_id

blueprint = Blueprint("v1", __name__, url_prefix="/v1")

ENDPOINTS: tuple[Endpoint, ...] = (
    *customers.ENDPOINTS,
    *subscriptions.ENDPOINTS,
    *invoices.ENDPOINTS,
    *payments.ENDPOINTS,
    *metrics.ENDPOINTS,
    *books.ENDPOINTS,
    *dunning.ENDPOINTS,
    *retention.ENDPOINTS,
    *effects.ENDPOINTS,
    *choices.ENDPOINTS,
    *bounces.ENDPOINTS,
    *streams.ENDPOINTS,
    *events.ENDPOINTS,
    *work.ENDPOINTS,
    *segments.ENDPOINTS,
    *people.ENDPOINTS,
    *privacy.ENDPOINTS,
    *seals.ENDPOINTS,
    *status.ENDPOINTS,
)


@blueprint.before_request
def refuse_what_is_no_id() -> None:
    """Answer 404 for an id that cannot be one, before PostgreSQL (and its log) see it."""
    for given in (request.view_args or {}).values():
        if isinstance(given, str) and not is_id(given):
            raise ApiError(404, "not_found", "There is nothing of this name.")


for one in ENDPOINTS:
    blueprint.add_url_rule(
        one.path,
        re.sub(r"\W+", "_", f"{one.method} {one.path}"),
        one.respond,
        methods=[one.method],
    )
