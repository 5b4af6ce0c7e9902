"""The shape of a new invoice in the newest rendering."""

from __future__ import annotations

from typing import Any

from ledger.simulator.engine import Json
from ledger.simulator.settings import AccountSettings

# What every new one has.
_NEW: Json = {
    "account_tax_ids": None,
    "amount_due": 0,
    "amount_overpaid": 0,
    "amount_paid": 0,
    "amount_paid_off_stripe": 0,
    "amount_remaining": 0,
    "amount_shipping": 0,
    "application": None,
    "attempt_count": 0,
    "attempted": False,
    "automatically_finalizes_at": None,
    "custom_fields": None,
    "customer_account": None,
    "customer_tax_ids": [],
    "default_source": None,
    "effective_at": None,
    "ending_balance": None,
    "footer": None,
    "from_invoice": None,
    "hosted_invoice_url": None,
    "invoice_pdf": None,
    "last_finalization_error": None,
    "latest_revision": None,
    "livemode": False,
    "number": None,
    "on_behalf_of": None,
    "post_payment_credit_notes_amount": 0,
    "pre_payment_credit_notes_amount": 0,
    "receipt_number": None,
    "rendering": None,
    "shipping_cost": None,
    "shipping_details": None,
    "starting_balance": 0,
    "statement_descriptor": None,
    "subtotal": 0,
    "subtotal_excluding_tax": 0,
    "total": 0,
    "total_discount_amounts": [],
    "total_excluding_tax": 0,
    "total_pretax_credit_amounts": [],
    "total_taxes": [],
    "webhooks_delivered_at": None,
}


def new_invoice(
    invoice_id: str, settings: AccountSettings, customer: Json, *, now: int, **leaves: Any
) -> Json:
    """Return a draft without lines, made at `now` (unix seconds) for a customer."""
    collection = leaves.get("collection_method", "charge_automatically")
    days = leaves.get("days_until_due")
    return {
        **_NEW,
        "id": invoice_id,
        "object": "invoice",
        "account_country": settings.country,
        "account_name": settings.display_name,
        "auto_advance": leaves.get("auto_advance", True),
        "automatic_tax": {
            "disabled_reason": None,
            "enabled": False,
            "liability": None,
            "provider": None,
            "status": None,
        },
        "billing_reason": leaves["billing_reason"],
        "collection_method": collection,
        "created": now,
        "currency": leaves["currency"],
        "customer": customer["id"],
        "customer_address": customer["address"],
        "customer_email": customer["email"],
        "customer_name": customer["name"],
        "customer_phone": customer["phone"],
        "customer_shipping": customer["shipping"],
        "customer_tax_exempt": customer["tax_exempt"],
        "default_payment_method": leaves.get("default_payment_method"),
        "default_tax_rates": leaves.get("default_tax_rates", []),
        "description": leaves.get("description"),
        "discounts": leaves["discounts"],
        "due_date": now + days * 86_400 if collection == "send_invoice" and days else None,
        "issuer": {"type": "self"},
        "lines": {"object": "list", "data": [], "has_more": False, "total_count": 0, "url": ""},
        "metadata": leaves.get("metadata", {}),
        "next_payment_attempt": now + settings.draft_seconds
        if leaves.get("auto_advance", True) and collection == "charge_automatically"
        else None,
        "parent": leaves["parent"],
        "payment_settings": {
            "default_mandate": None,
            "payment_method_options": None,
            "payment_method_types": None,
        },
        "period_end": leaves["period_end"],
        "period_start": leaves["period_start"],
        "status": "draft",
        "status_details": {"uncollectible": None},
        "status_transitions": {
            "finalized_at": None,
            "marked_uncollectible_at": None,
            "paid_at": None,
            "voided_at": None,
        },
        "test_clock": customer["test_clock"],
    }
