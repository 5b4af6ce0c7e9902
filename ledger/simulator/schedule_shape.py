"""The shapes of a new subscription schedule and its phases."""

from __future__ import annotations

from typing import Any

from ledger.simulator.engine import Json


def new_schedule(
    schedule_id: str, owner: Json, phases: list[Json], params: Any, *, now: int
) -> Json:
    """Return a schedule that has not begun, of a customer, made at `now` (unix seconds)."""
    return {
        "id": schedule_id,
        "object": "subscription_schedule",
        "application": None,
        "billing_mode": {"flexible": {}, "type": "flexible"},
        "canceled_at": None,
        "completed_at": None,
        "created": now,
        "current_phase": None,
        "customer": owner["id"],
        "customer_account": None,
        "default_settings": _DEFAULT_SETTINGS,
        "end_behavior": params.get("end_behavior", "release"),
        "livemode": False,
        "metadata": params.get("metadata", {}),
        "pause_schedules": [],
        "phases": phases,
        "released_at": None,
        "released_subscription": None,
        "status": "not_started",
        "subscription": None,
        "test_clock": owner["test_clock"],
    }


def new_phase(given: Any, currency: str, start: int, end: int) -> Json:
    """Return a phase from `start` until `end` (unix seconds)."""
    return {
        "add_invoice_items": [],
        "application_fee_percent": None,
        "billing_cycle_anchor": None,
        "billing_thresholds": None,
        "collection_method": None,
        "currency": currency,
        "default_payment_method": None,
        "default_tax_rates": [],
        "description": None,
        "discounts": [],
        "end_date": end,
        "invoice_settings": None,
        "items": [
            {
                "billing_thresholds": None,
                "discounts": [],
                "metadata": {},
                "plan": item["price"],
                "price": item["price"],
                "quantity": item.get("quantity", 1),
                "tax_rates": [],
            }
            for item in given["items"]
        ],
        "metadata": given.get("metadata", {}),
        "on_behalf_of": None,
        "proration_behavior": given.get("proration_behavior", "create_prorations"),
        "start_date": start,
        "transfer_data": None,
        "trial_end": given.get("trial_end"),
    }


_DEFAULT_SETTINGS: Json = {
    "application_fee_percent": None,
    "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
    "billing_cycle_anchor": "automatic",
    "billing_thresholds": None,
    "collection_method": "charge_automatically",
    "default_payment_method": None,
    "description": None,
    "invoice_settings": {
        "account_tax_ids": None,
        "days_until_due": None,
        "issuer": {"type": "self"},
    },
    "on_behalf_of": None,
    "transfer_data": None,
}
