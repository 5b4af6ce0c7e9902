"""Signed webhook requests for benchmarks: unique events of about 3.5 KB, rendered beforehand."""

from __future__ import annotations

import hmac
import json
import time
from hashlib import sha256
from itertools import count
from typing import Any

SECRET = "whsec_test_benchmark"  # noqa: S105 — a test secret, and it looks like one
_numbers = count(int(time.time() * 1000))
EVENTS_PER_CUSTOMER = 15


def _id(number: int) -> str:
    """Return 24 letters and digits, as Stripe's ids are."""
    return sha256(str(number).encode()).hexdigest()[:24]


def _invoice(sequence: int) -> dict[str, Any]:
    number, customer = _id(sequence), _id(sequence // EVENTS_PER_CUSTOMER)
    line = {
        "id": f"il_{number}", "object": "line_item", "amount": 4900, "currency": "usd",
        "description": "1 × pro (at $49.00 / month)", "discount_amounts": [], "discounts": [],
        "discountable": True, "invoice": f"in_{number}", "livemode": False, "metadata": {},
        "parent": {
            "type": "subscription_item_details", "invoice_item_details": None,
            "subscription_item_details": {
                "invoice_item": None, "proration": False,
                "proration_details": {"credited_items": None},
                "subscription": f"sub_{customer}", "subscription_item": f"si_{customer}",
            },
        },
        "period": {"start": 1_767_225_600, "end": 1_769_904_000}, "pretax_credit_amounts": [],
        "pricing": {
            "type": "price_details", "unit_amount_decimal": "4900",
            "price_details": {"price": "price_pro", "product": "prod_pro"},
        },
        "quantity": 1, "taxes": [],
    }  # fmt: skip
    nothing = (
        "account_tax_ids application automatically_finalizes_at custom_fields customer_address "
        "customer_phone customer_shipping default_payment_method default_source description "
        "due_date effective_at ending_balance footer from_invoice invoice_pdf "
        "last_finalization_error latest_revision next_payment_attempt number on_behalf_of "
        "receipt_number rendering shipping_cost shipping_details statement_descriptor test_clock "
        "webhooks_delivered_at charge payment_intent discount tax transfer_data"
    ).split()
    return {
        "id": f"in_{number}", "object": "invoice", "account_country": "US",
        "account_name": "Synthetic Inc", "amount_due": 4900, "amount_overpaid": 0,
        "amount_paid": 0, "amount_remaining": 4900, "amount_shipping": 0, "attempt_count": 0,
        "attempted": False, "auto_advance": True,
        "automatic_tax": {"enabled": False, "liability": None, "provider": None, "status": None},
        "billing_reason": "subscription_cycle", "collection_method": "charge_automatically",
        "created": 1_767_225_600, "currency": "usd", "customer": f"cus_{customer}",
        "customer_email": f"user{customer}@example.test", "customer_name": f"Customer {customer}",
        "customer_tax_exempt": "none", "customer_tax_ids": [], "default_tax_rates": [],
        "discounts": [], "hosted_invoice_url": f"https://invoice.stripe.com/i/in_{number}",
        "issuer": {"type": "self"}, "livemode": False, "metadata": {},
        "lines": {
            "object": "list", "data": [line], "has_more": False, "total_count": 1,
            "url": f"/v1/invoices/in_{number}/lines",
        },
        "parent": {
            "type": "subscription_details", "quote_details": None,
            "subscription_details": {"metadata": {}, "subscription": f"sub_{customer}"},
        },
        "payment_settings": {"default_mandate": None, "payment_method_types": None},
        "period_start": 1_767_225_600, "period_end": 1_769_904_000, "starting_balance": 0,
        "status": "draft", "subtotal": 4900, "subtotal_excluding_tax": 4900, "total": 4900,
        "status_transitions": {
            "finalized_at": None, "marked_uncollectible_at": None, "paid_at": None,
            "voided_at": None,
        },
        "total_discount_amounts": [], "total_excluding_tax": 4900,
        "total_pretax_credit_amounts": [], "total_taxes": [], **dict.fromkeys(nothing),
    }  # fmt: skip


def body() -> bytes:
    """Return the next event, as Stripe renders it."""
    number = next(_numbers)
    event = {
        "id": f"evt_{_id(number)}", "object": "event", "api_version": "2026-05-27.dahlia",
        "created": 1_767_225_600 + number % 100_000, "data": {"object": _invoice(number)},
        "livemode": False, "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None}, "type": "invoice.created",
    }  # fmt: skip
    return json.dumps(event, separators=(",", ":")).encode()


def request(host: str, path: str) -> bytes:
    """Return a signed HTTP/1.1 request with a new event."""
    content, now = body(), int(time.time())
    signature = hmac.new(SECRET.encode(), b"%d." % now + content, sha256).hexdigest()
    return (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        f"Stripe-Signature: t={now},v1={signature}\r\nContent-Length: {len(content)}\r\n\r\n"
    ).encode() + content
