"""`/v1/bounces`: where a mail provider tells whom mail does not reach."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, request

from api.context import current_installation
from api.errors import ApiError
from api.v1.access import reading
from ledger.bootstrap import site_of
from ledger.effects.bounces import bounces_in
from ledger.suppression import suppress_addresses


def routes(blueprint: Blueprint) -> None:
    """Mount the routes."""
    blueprint.post("/bounces")(take_bounces)


def take_bounces() -> Response:
    """Let the addresses that bounced get no more mail; each is told of once, however often sent."""
    told = request.get_json(silent=True)
    if told is None:
        raise ApiError(400, "body_invalid", "Send what the mail provider tells, as JSON.")
    with reading() as caller:
        if not caller.token.may("write"):
            raise ApiError(403, "scope_missing", "This needs a token with the scope `write`.")
    found = bounces_in(told)
    site = site_of(current_installation().settings, caller.ledger)
    suppressed = suppress_addresses(caller.ledger, site, found)
    return jsonify(object="bounces", told=len(found), suppressed=suppressed)
