"""What providers call back: how a short message was delivered, signed by Twilio."""

from __future__ import annotations

import base64
import hmac
from hashlib import sha1

from flask import Blueprint, Response, request

from api.context import current_installation
from api.errors import ApiError
from ledger.bootstrap import site_of
from ledger.effects.sms import TwilioAccount
from ledger.orders import decide
from ledger.policies.desk import Desk

blueprint = Blueprint("callbacks", __name__)

_SENT = "SELECT customer_id FROM effects WHERE kind = 'sms' AND reference = %s LIMIT 1"
_UNREACHABLE = frozenset({"30003", "30005", "30006"})  # of the number: gone, unknown, landline
STOPPED = "21610"  # its owner has answered STOP


@blueprint.post("/callbacks/twilio/<ledger>")
def twilio_status(ledger: str) -> Response:
    """Note that a number cannot be reached, or does not want to be."""
    installation = current_installation()
    if not installation.knows(ledger):
        raise ApiError(404, "not_found", "There is nothing at this address.")
    found = installation.ledger(ledger)
    if found.settings.sms_url is None:
        raise ApiError(404, "not_found", "There is nothing at this address.")
    account = TwilioAccount.read(found.settings.sms_url)
    site = site_of(installation.settings, found)
    url = f"{site.public_url}{request.path}"
    if not is_signed(account.token, url, request.form, request.headers.get("X-Twilio-Signature")):
        raise ApiError(403, "signature_invalid", "This was not signed by Twilio for this address.")
    code, to = request.form.get("ErrorCode", ""), request.form.get("To", "")
    sid = request.form.get("MessageSid", "")
    if to and (code in _UNREACHABLE or code == STOPPED):
        with found.pool.connection() as connection:
            row = connection.execute(_SENT, [sid]).fetchone()
        if row is not None:

            def order(desk: Desk) -> None:
                desk.outbox(row[0]).address_failed("sms", to, f"twilio_{code}", now=desk.now)

            decide(found, site, order)
    return Response("", 204)


def is_signed(token: str, url: str, form: object, given: str | None) -> bool:
    """Return whether Twilio has signed a form for an address.

    HMAC-SHA1 of the address with the form's members appended in their order:
    https://www.twilio.com/docs/usage/security#validating-requests
    """
    members = sorted(getattr(form, "items", dict)())
    told = url + "".join(f"{name}{value}" for name, value in members)
    made = base64.b64encode(hmac.new(token.encode(), told.encode(), sha1).digest()).decode()
    return given is not None and hmac.compare_digest(made, given)
