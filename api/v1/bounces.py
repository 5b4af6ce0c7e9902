"""`/v1/bounces`: where a mail provider tells whom mail does not reach."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, request

from api.context import current_installation
from api.errors import ApiError
from api.v1.access import Caller, reading
from ledger.bootstrap import site_of
from ledger.effects.bounces import Bounce, bounces_in
from ledger.orders import decide
from ledger.policies.desk import Desk
from ledger.projections.crm import queries

_BY_REFERENCE = "SELECT customer_id FROM effects WHERE reference = %s AND kind = 'mail' LIMIT 1"
_BY_ADDRESS = "SELECT customer_id FROM customer_search WHERE hash = %s"


def routes(blueprint: Blueprint) -> None:
    """Mount the routes."""
    blueprint.post("/bounces")(take_bounces)


def take_bounces() -> Response:
    """Let the addresses that bounced get no more mail; each is told of once, however often sent."""
    told = request.get_json(silent=True)
    if told is None:
        raise ApiError(400, "body_invalid", "Send what the mail provider tells, as JSON.")
    found = bounces_in(told)
    with reading() as caller:
        if not caller.token.may("write"):
            raise ApiError(403, "scope_missing", "This needs a token with the scope `write`.")
        named = [(customer, one) for one in found for customer in _customers(caller, one)]
    site = site_of(current_installation().settings, caller.ledger)

    def order(desk: Desk) -> None:
        for customer, one in named:
            desk.outbox(customer).address_failed("mail", one.address, one.because, now=desk.now)

    if named:
        decide(caller.ledger, site, order)
    return jsonify(object="bounces", told=len(found), suppressed=len(named))


def _customers(caller: Caller, bounce: Bounce) -> list[str]:
    """Return whom a bounce is about: by the mail that came back, and by the address."""
    found: set[str] = set()
    if bounce.message_id:
        wanted = bounce.message_id if bounce.message_id[0] == "<" else f"<{bounce.message_id}>"
        row = caller.connection.execute(_BY_REFERENCE, [wanted]).fetchone()
        found.update([row[0]] if row and row[0] else [])
    hashed = queries.search_filter(
        caller.ledger.master.derive("search"), email=bounce.address, query=None
    )
    found.update(row[0] for row in caller.connection.execute(_BY_ADDRESS, [hashed]).fetchall())
    return sorted(found)
