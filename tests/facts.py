"""Builders: Stripe events with defaults for everything and keywords for what matters."""

from __future__ import annotations

import json
import time
from itertools import count
from typing import Any

from stripe import WebhookSignature

from ledger.application import Ledger
from ledger.intake import Receipt
from ledger.projections import PROJECTIONS, Runner

SECRET = "whsec_test_secret"
API_VERSION = "2026-05-27.dahlia"
T0 = 1_767_225_600  # 2026-01-01T00:00:00Z
_numbers = count(1)

Json = dict[str, Any]


def event(
    type_: str, obj: Json, *, at: int = T0, previous: Json | None = None, **changes: Any
) -> Json:
    """Return a Stripe event about an object."""
    data: Json = {"object": obj}
    if previous is not None:
        data["previous_attributes"] = previous
    return {
        "id": f"evt_{next(_numbers):024d}",
        "object": "event",
        "api_version": API_VERSION,
        "created": at,
        "data": data,
        "livemode": False,
        "pending_webhooks": 1,
        "request": {"id": "req_1", "idempotency_key": None},
        "type": type_,
        **changes,
    }


def customer(id_: str = "cus_andi", **changes: Any) -> Json:
    """Return a customer."""
    return {
        "id": id_, "object": "customer", "created": T0, "currency": "idr", "delinquent": False,
        "email": "andi@example.test", "name": "Andi Wijaya", "phone": "+62 811 0000 001",
        "address": {"country": "ID", "city": "Makassar", "line1": "Jalan Somba Opu 1"},
        "metadata": {"crm": "lead 17"}, "livemode": False, "next_invoice_sequence": 1,
        "invoice_settings": {"default_payment_method": None}, **changes,
    }  # fmt: skip


def price(id_: str = "price_monthly", **changes: Any) -> Json:
    """Return a price of Rp100.000 a month (IDR has two decimals at Stripe)."""
    return {
        "id": id_, "object": "price", "active": True, "currency": "idr", "nickname": "Bulanan",
        "product": "prod_premium", "unit_amount": 10_000_000, "unit_amount_decimal": "10000000",
        "recurring": {"interval": "month", "interval_count": 1, "usage_type": "licensed"},
        "created": T0, "livemode": False, "metadata": {}, "type": "recurring", **changes,
    }  # fmt: skip


def subscription(id_: str = "sub_andi", *, of: str = "cus_andi", **changes: Any) -> Json:
    """Return an active monthly subscription."""
    item = {
        "id": "si_andi", "object": "subscription_item", "price": price(), "quantity": 1,
        "subscription": id_, "current_period_start": T0, "current_period_end": T0 + 2_678_400,
        "discounts": [], "metadata": {},
    }  # fmt: skip
    return {
        "id": id_, "object": "subscription", "customer": of, "status": "active", "created": T0,
        "start_date": T0, "cancel_at_period_end": False, "cancel_at": None, "canceled_at": None,
        "ended_at": None, "collection_method": "charge_automatically", "currency": "idr",
        "cancellation_details": {"comment": None, "feedback": None, "reason": None},
        "discounts": [], "items": {"object": "list", "data": [item], "has_more": False},
        "latest_invoice": None, "livemode": False, "metadata": {}, "pause_collection": None,
        "trial_start": None, "trial_end": None, **changes,
    }  # fmt: skip


def invoice(id_: str = "in_andi", *, of: str = "cus_andi", **changes: Any) -> Json:
    """Return a draft invoice of a subscription."""
    return {
        "id": id_, "object": "invoice", "customer": of, "status": "draft", "created": T0,
        "currency": "idr", "amount_due": 10_000_000, "amount_paid": 0, "subtotal": 10_000_000,
        "amount_remaining": 10_000_000, "total": 10_000_000, "attempt_count": 0,
        "attempted": False, "auto_advance": True, "billing_reason": "subscription_cycle",
        "collection_method": "charge_automatically", "number": None, "livemode": False,
        "customer_email": "andi@example.test", "customer_name": "Andi Wijaya", "metadata": {},
        "next_payment_attempt": None, "lines": {"object": "list", "data": []},
        "parent": {
            "type": "subscription_details",
            "subscription_details": {"subscription": "sub_andi", "metadata": {}},
        },
        "status_transitions": {"finalized_at": None, "paid_at": None, "voided_at": None}, **changes,
    }  # fmt: skip


def payment_intent(id_: str = "pi_andi", *, of: str | None = "cus_andi", **changes: Any) -> Json:
    """Return a payment intent."""
    return {
        "id": id_, "object": "payment_intent", "customer": of, "status": "succeeded",
        "created": T0, "amount": 10_000_000, "amount_received": 10_000_000, "currency": "idr",
        "latest_charge": None, "last_payment_error": None, "livemode": False, "metadata": {},
        "client_secret": f"{id_}_secret_abc", **changes,
    }  # fmt: skip


def charge(id_: str = "ch_andi", *, of: str | None = "cus_andi", **changes: Any) -> Json:
    """Return a successful card charge."""
    return {
        "id": id_, "object": "charge", "customer": of, "status": "succeeded", "created": T0,
        "amount": 10_000_000, "amount_captured": 10_000_000, "amount_refunded": 0,
        "captured": True, "currency": "idr", "disputed": False, "failure_code": None,
        "payment_intent": "pi_andi", "refunded": False, "livemode": False, "metadata": {},
        "billing_details": {"email": "andi@example.test", "name": "Andi Wijaya"},
        "outcome": {"type": "authorized", "network_status": "approved_by_network"},
        "payment_method_details": {
            "type": "card",
            "card": {
                "brand": "visa", "last4": "4242", "exp_month": 8, "exp_year": 2031,
                "fingerprint": "Xt5EWLLDS7FJjR1c", "country": "ID",
            },
        }, **changes,
    }  # fmt: skip


def signed(body: bytes, *, secret: str = SECRET, at: float | None = None) -> dict[str, str]:
    """Return the headers with which Stripe would deliver a body (signed by Stripe's own code)."""
    timestamp = int(time.time() if at is None else at)
    header = WebhookSignature.generate_signature_header(body.decode(), secret, timestamp)
    return {"Stripe-Signature": header, "Content-Type": "application/json; charset=utf-8"}


def record(ledger: Ledger, *events: Json) -> list[Receipt]:
    """Take events in as if they had been delivered with a valid signature."""
    return [ledger.intake.receive(json.dumps(one).encode()) for one in events]


def project(ledger: Ledger, batch_events: int = 1000) -> None:
    """Bring the views up to date."""
    Runner(ledger, PROJECTIONS, batch_events).catch_up()
