"""`POST /webhooks/stripe[/{ledger}]`: verify, record, answer when it is committed. Nothing else."""

from __future__ import annotations

import logging
import time

from flask import Blueprint, Response, request

from api.context import current_installation
from api.errors import problem
from ledger.errors import LedgerUnknown
from ledger.intake import SignatureRejected, verify_signature
from ledger.settings import DEFAULT_LEDGER

logger = logging.getLogger("ledger.webhooks")
blueprint = Blueprint("webhooks", __name__, url_prefix="/webhooks")


@blueprint.post("/stripe")
def receive_for_default() -> Response:
    """Take a delivery for the default ledger."""
    return receive(DEFAULT_LEDGER)


@blueprint.post("/stripe/<name>")
def receive(name: str) -> Response:
    """Take a delivery for a ledger: 2xx once its event is in the log, and only then."""
    body = request.get_data(cache=False)
    try:
        ledger = current_installation().ledger(name)
    except LedgerUnknown:
        return problem(404, "ledger_unknown", "There is no ledger at this address.")
    if not ledger.settings.webhook_secrets:
        return problem(
            400,
            "webhook_secret_missing",
            "No signing secret is configured for this ledger; set STRIPE_WEBHOOK_SECRET.",
        )
    header = request.headers.get("Stripe-Signature", "")
    try:
        verify_signature(body, header, ledger.settings.webhook_secrets, time.time())
    except SignatureRejected as rejected:
        logger.warning("delivery refused: %d bytes, %s", len(body), rejected)
        return problem(400, "signature_invalid", str(rejected))
    receipt = ledger.intake.receive(body)
    return Response(
        f'{{"received":true,"outcome":"{receipt.outcome}","position":{receipt.position}}}\n',
        content_type="application/json",
    )
