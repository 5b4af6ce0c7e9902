"""The shape of a new payment intent in the newest rendering."""

from __future__ import annotations

from typing import Any

from ledger.simulator.engine import Json


def new_intent(
    intent_id: str,
    amount: int,
    currency: str,
    *,
    now: int,
    secret: str,
    invoice: str | None,
    leaves: dict[str, Any],
) -> Json:
    """Return an intent to collect an amount (minor units), of an invoice if one is named."""
    ready = leaves.get("payment_method") is not None
    details = {"customer_reference": None, "order_reference": invoice} if invoice else None
    return {
        "id": intent_id,
        "object": "payment_intent",
        "amount": amount,
        "amount_capturable": 0,
        "amount_details": {"tip": {}},
        "amount_received": 0,
        "application": None,
        "application_fee_amount": None,
        "automatic_payment_methods": None,
        "canceled_at": None,
        "cancellation_reason": None,
        "capture_method": "automatic",
        "client_secret": f"{intent_id}_secret_{secret}",
        "confirmation_method": "automatic",
        "created": now,
        "currency": currency,
        "customer": None,
        "customer_account": None,
        "description": None,
        "excluded_payment_method_types": None,
        "last_payment_error": None,
        "latest_charge": None,
        "livemode": False,
        "metadata": {},
        "next_action": None,
        "on_behalf_of": None,
        "payment_details": details,
        "payment_method": None,
        "payment_method_configuration_details": None,
        "payment_method_options": {
            "card": {
                "installments": None,
                "mandate_options": None,
                "network": None,
                "request_three_d_secure": "automatic",
            }
        },
        "payment_method_types": ["card"],
        "payment_record": None,
        "processing": None,
        "receipt_email": None,
        "review": None,
        "setup_future_usage": None,
        "shipping": None,
        "source": None,
        "statement_descriptor": None,
        "statement_descriptor_suffix": None,
        "status": "requires_confirmation" if ready else "requires_payment_method",
        "transfer_data": None,
        "transfer_group": None,
        **leaves,
        "_": {"invoice": invoice, "charge": None},
    }
