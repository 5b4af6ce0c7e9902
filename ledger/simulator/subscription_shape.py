"""The shape of a new subscription and its items in the newest rendering."""

from __future__ import annotations

from typing import Any, Literal, TypedDict

from ledger.simulator.catalogue import Metadata, PriceCreate, Priced, plan_of, shown
from ledger.simulator.engine import Json
from ledger.simulator.refusals import Refused

PAID = frozenset({"active", "past_due", "unpaid"})
ENDED = frozenset({"canceled", "incomplete_expired"})


class ItemParams(TypedDict, total=False):
    """One item of a subscription: how many of which price, or a change of it."""

    id: str
    price: str
    plan: str
    price_data: PriceCreate
    quantity: int
    deleted: bool
    clear_usage: bool
    discounts: list[dict[str, str]] | None
    metadata: Metadata
    tax_rates: list[str]


class PauseCollection(TypedDict, total=False):
    """How invoices are treated while collection is paused, and until when (unix seconds)."""

    behavior: Literal["keep_as_draft", "mark_uncollectible", "void"]
    resumes_at: int


class SharedParams(TypedDict, total=False):
    """What a subscription may be given at its start and later."""

    add_invoice_items: list[Priced]
    automatic_tax: dict[str, Any]
    cancel_at: int | None
    cancel_at_period_end: bool
    collection_method: Literal["charge_automatically", "send_invoice"]
    coupon: str | None
    days_until_due: int
    default_payment_method: str | None
    default_source: str | None
    default_tax_rates: list[str]
    description: str | None
    discounts: list[dict[str, str]] | None
    items: list[ItemParams]
    metadata: Metadata
    off_session: bool
    payment_behavior: str
    payment_settings: dict[str, Any]
    promotion_code: str
    proration_behavior: Literal["create_prorations", "always_invoice", "none"]
    trial_end: int | str
    trial_from_plan: bool
    trial_settings: dict[str, Any]


class SubscriptionCreate(SharedParams, total=False):
    """Parameters of a new subscription; times in unix seconds."""

    backdate_start_date: int
    billing_cycle_anchor: int
    billing_mode: dict[str, Any]
    currency: str
    customer: str
    trial_period_days: int


class SubscriptionUpdate(SharedParams, total=False):
    """What may change about a subscription; times in unix seconds."""

    billing_cycle_anchor: Literal["now", "unchanged"]
    cancellation_details: dict[str, str | None]
    pause_collection: PauseCollection | None
    proration_date: int


class Cancellation(TypedDict, total=False):
    """How a subscription is cancelled at once."""

    cancellation_details: dict[str, str | None]
    invoice_now: bool
    prorate: bool


def new_item(item_id: str, subscription: str, price: Json, given: ItemParams, **more: Any) -> Json:
    """Return an item; `more` has its period, its creation and its tax rates."""
    metered = price["recurring"]["usage_type"] == "metered"
    if metered and "quantity" in given:
        raise Refused("Metered prices take no quantity.", param="items[0][quantity]")
    return {
        "id": item_id,
        "object": "subscription_item",
        "billed_until": None,
        "billing_thresholds": None,
        "created": more["created"],
        "current_period_end": more["end"],
        "current_period_start": more["start"],
        "current_trial": None,
        "discounts": [],
        "metadata": given.get("metadata", {}),
        "plan": plan_of(price),
        "price": shown(price),
        "quantity": None if metered else given.get("quantity", 1),
        "subscription": subscription,
        "tax_rates": more["tax_rates"],
        "_": {"discounts": []},
    }


def discounted(item: Json, discounts: list[Json]) -> Json:
    """Return an item with discounts of its own."""
    return {**item, "discounts": [d["id"] for d in discounts], "_": {"discounts": discounts}}


def items_of(subscription: str, items: list[Json]) -> Json:
    """Return the list object of a subscription's items."""
    return {
        "object": "list",
        "data": items,
        "has_more": False,
        "total_count": len(items),
        "url": f"/v1/subscription_items?subscription={subscription}",
    }


def mirrored(items: list[Json]) -> Json:
    """Return the members that mirror the item of a subscription that has only one."""
    only = items[0] if len(items) == 1 else None
    return {"plan": only and only["plan"], "quantity": only and only["quantity"]}


# What every new one has.
_NEW: Json = {
    "application": None,
    "application_fee_percent": None,
    "billing_cycle_anchor_config": None,
    "billing_schedules": [],
    "billing_thresholds": None,
    "cancel_at": None,
    "cancel_at_period_end": False,
    "canceled_at": None,
    "customer_account": None,
    "ended_at": None,
    "discounts": [],
    "latest_invoice": None,
    "livemode": False,
    "next_pending_invoice_item_invoice": None,
    "on_behalf_of": None,
    "pause_collection": None,
    "pending_invoice_item_interval": None,
    "pending_setup_intent": None,
    "pending_update": None,
    "presentment_details": None,
    "schedule": None,
    "status_details": None,
    "transfer_data": None,
}


def new_subscription(
    subscription_id: str, customer: Json, items: list[Json], params: SubscriptionCreate, **more: Any
) -> Json:
    """Return a subscription; `more` has its start, anchor, status and trial."""
    now = more["now"]
    mode = params.get("billing_mode", {}).get("type", "flexible")
    settings = params.get("trial_settings", {}).get("end_behavior", {})
    return {
        **_NEW,
        "id": subscription_id,
        "object": "subscription",
        "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
        "billing_cycle_anchor": more["anchor"],
        "billing_mode": {
            "flexible": {"proration_discounts": "included"} if mode == "flexible" else None,
            "type": mode,
            "updated_at": now if mode == "flexible" else None,
        },
        "cancellation_details": {
            "comment": None,
            "feedback": None,
            "feedback_option": None,
            "reason": None,
        },
        "collection_method": params.get("collection_method", "charge_automatically"),
        "created": now,
        "currency": more["currency"],
        "customer": customer["id"],
        "days_until_due": params.get("days_until_due"),
        "default_payment_method": params.get("default_payment_method"),
        "default_source": params.get("default_source"),
        "default_tax_rates": more["tax_rates"],
        "description": params.get("description"),
        "invoice_settings": {"account_tax_ids": None, "issuer": {"type": "self"}},
        "items": items_of(subscription_id, items),
        "managed_payments": {"enabled": False},
        "metadata": params.get("metadata", {}),
        "payment_settings": {
            "payment_method_options": None,
            "payment_method_types": None,
            "save_default_payment_method": "off",
            **params.get("payment_settings", {}),
        },
        **mirrored(items),
        "start_date": now,
        "status": more["status"],
        "test_clock": customer["test_clock"],
        "trial_end": more["trial_end"],
        "trial_settings": {
            "end_behavior": {
                "billing_cycle_anchor": None,
                "missing_payment_method": settings.get("missing_payment_method", "create_invoice"),
            }
        },
        "trial_start": now if more["trial_end"] else None,
        "_": {"discounts": []},
    }
