"""Made-up contents for looking at a message before anybody gets it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any


def sample_params(now: datetime) -> dict[str, Any]:
    """Return what any of the templates may be filled with."""
    return {
        "invoice": "in_sample",
        "subscription": "sub_sample",
        "offer": "retention:sub_sample:1",
        "number": "WD-2026-0042",
        "currency": "idr",
        "amount_minor": 15_000_000,
        "decline_class": "insufficient_funds",
        "failures": 1,
        "first_failed_at": now.isoformat(),
        "window_ends_at": (now + timedelta(days=14)).isoformat(),
        "next_attempt_at": (now + timedelta(days=3)).isoformat(),
        "ends_at": (now + timedelta(days=20)).isoformat(),
        "due_at": (now + timedelta(days=14)).isoformat(),
        "offer_kind": "discount",
        "percent_off": 20,
        "months": 3,
        "days": 14,
        "feature": "Priority support",
        "benefits": ["Reports by mail", "Unlimited exports", "Support within a day"],
        "last4": "4242",
        "cancellation_reason": "cancellation_requested",
        "subject": "About your invoice",
        "body": "We looked into it.\n\nAll is well now.",
        "zone": "Asia/Jakarta",
    }
