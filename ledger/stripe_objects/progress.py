"""How far along an object is: Stripe's state machines as ranks, and counters that only grow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_INTENT = {
    "requires_payment_method": 0,
    "requires_confirmation": 1,
    "requires_action": 2,
    "requires_source": 0,
    "requires_source_action": 2,
    "processing": 3,
    # requires_payment_method with an error of its own comes here: see `progress_of`
    "requires_capture": 5,
    "succeeded": 6,
    "canceled": 6,
}
_FAILED_AGAIN = 4

RANKS: Mapping[str, Mapping[str, int]] = {
    "invoice": {"draft": 0, "open": 1, "uncollectible": 2, "paid": 3, "void": 3},
    "payment_intent": _INTENT,
    "setup_intent": _INTENT,
    "charge": {"pending": 0, "succeeded": 1, "failed": 2},
    "refund": {"pending": 0, "requires_action": 1, "succeeded": 2, "failed": 3, "canceled": 3},
    "payout": {"pending": 0, "in_transit": 1, "paid": 2, "failed": 3, "canceled": 3},
    "dispute": {
        "warning_needs_response": 0,
        "warning_under_review": 1,
        "warning_closed": 2,
        "needs_response": 3,
        "under_review": 4,
        "won": 5,
        "lost": 5,
    },
    "subscription": {
        "incomplete": 0,
        "trialing": 1,
        "active": 1,
        "past_due": 1,
        "unpaid": 1,
        "paused": 1,
        "canceled": 2,
        "incomplete_expired": 2,
    },
    "subscription_schedule": {
        "not_started": 0,
        "active": 1,
        "released": 2,
        "canceled": 2,
        "completed": 2,
    },
    "checkout.session": {"open": 0, "complete": 1, "expired": 1},
    "credit_note": {"issued": 0, "void": 1},
    "quote": {"draft": 0, "open": 1, "accepted": 2, "canceled": 2},
    "invoice_payment": {"open": 0, "paid": 1, "canceled": 1},
}

# Leaves that only grow or, once set, stay set; in the order in which they decide.
COUNTERS: Mapping[str, tuple[str, ...]] = {
    "invoice": (
        "attempt_count",
        "amount_paid",
        "attempted",
        "number",
        "post_payment_credit_notes_amount",
        "webhooks_delivered_at",
    ),
    "payment_intent": ("amount_received", "amount_capturable", "latest_charge"),
    "setup_intent": ("latest_attempt",),
    "charge": ("captured", "amount_captured", "amount_refunded", "refunded", "disputed"),
    "subscription": ("ended_at", "current_period_start"),
    "customer": ("next_invoice_sequence",),
    "product": ("updated",),
    "coupon": ("times_redeemed",),
    "promotion_code": ("times_redeemed",),
    "transfer": ("amount_reversed",),
    "test_helpers.test_clock": ("frozen_time",),
}


def progress_of(kind: str, snapshot: Mapping[str, Any]) -> tuple[float, ...]:
    """Return how far along a snapshot is: its status rank, then its counters; greater is later."""
    rank = RANKS.get(kind, {}).get(str(snapshot.get("status")), -1)
    if (
        rank == 0
        and kind in {"payment_intent", "setup_intent"}
        and (snapshot.get("last_payment_error") or snapshot.get("last_setup_error"))
    ):
        rank = _FAILED_AGAIN
    return (rank, *[_amount(snapshot.get(name)) for name in COUNTERS.get(kind, ())])


def _amount(value: Any) -> float:
    if value is None or value is False:
        return 0
    return value if isinstance(value, (int, float)) else 1
