"""From endive back to basil: members that came, and discounts that named no coupon yet."""

from __future__ import annotations

from ledger.simulator.rendering.steps import (
    Convert,
    Json,
    Step,
    in_list,
    then,
    without,
    without_inner,
)

_ORDER_REFERENCE_MAX = 25  # clover cut it off; see payment_details.order_reference


def _items_without(*members: str) -> Convert:
    gone = without(*members)
    return lambda subscription: in_list(subscription, "items", gone)


def _lines_without(*members: str) -> Convert:
    gone = without(*members)
    return lambda invoice: in_list(invoice, "lines", gone)


def _trial_settings(subscription: Json) -> Json:
    behavior = subscription["trial_settings"]["end_behavior"]
    ends = {"missing_payment_method": behavior["missing_payment_method"]}
    return {**subscription, "trial_settings": {"end_behavior": ends}}


FROM_ENDIVE: Step = {
    "subscription": then(
        without("status_details"),
        without_inner("cancellation_details", "feedback_option"),
        _items_without("current_trial"),
        _trial_settings,
    ),
    "invoice": without("status_details"),
    "refund": without("customer", "customer_account", "payment_method"),
    "payment_intent": without("payment_record"),
    "subscription_schedule": without("pause_schedules"),
}

FROM_LATE_DAHLIA: Step = {
    "subscription": then(
        without("billing_schedules", "managed_payments", "presentment_details"),
        _items_without("billed_until"),
    ),
    "invoice": without("amount_paid_off_stripe"),
}


def _cut_reference(intent: Json) -> Json:
    details = intent["payment_details"]
    if details is None:
        return intent
    cut = details["order_reference"][:_ORDER_REFERENCE_MAX]
    return {**intent, "payment_details": {**details, "order_reference": cut}}


FROM_DAHLIA: Step = {
    "invoice": _lines_without("quantity_decimal"),
    "invoiceitem": without("quantity_decimal"),
    "payment_intent": _cut_reference,
}

_NO_ACCOUNT = without("customer_account")

FROM_LATE_CLOVER: Step = {
    **dict.fromkeys(
        "billing_portal.session checkout.session credit_note customer"
        " customer_balance_transaction discount invoiceitem payment_intent payment_method"
        " promotion_code setup_intent subscription subscription_schedule".split(),
        _NO_ACCOUNT,
    ),
    "customer": then(_NO_ACCOUNT, lambda customer: _with_discount(customer, _NO_ACCOUNT)),
    "invoice": then(_NO_ACCOUNT, _lines_without("subtotal")),
}


def _with_discount(customer: Json, convert: Convert) -> Json:
    discount = customer["discount"]
    return customer if discount is None else {**customer, "discount": convert(discount)}


_WITHOUT_SOURCE = without("source", "customer_account", "_")


def expanded(discount: Json) -> Json:
    """Return a discount as it was before clover: the whole coupon inside, no `source`."""
    kept = _WITHOUT_SOURCE(discount)
    return {**kept, "coupon": discount["_"]["coupon"]}


def _promotion_code(code: Json) -> Json:
    kept = {key: value for key, value in code.items() if key != "promotion"}
    return {**kept, "coupon": code["_"]["coupon"]}


FROM_CLOVER: Step = {
    "payment_intent": without("payment_details"),
    "discount": expanded,
    "promotion_code": _promotion_code,
    "customer": lambda customer: _with_discount(customer, expanded),
}

FROM_LATE_BASIL: Step = {"subscription": without("billing_mode")}

STEPS: tuple[tuple[str, Step], ...] = (
    ("2026-09-30", FROM_ENDIVE),
    ("2026-05-27", FROM_LATE_DAHLIA),
    ("2026-03-25", FROM_DAHLIA),
    ("2025-11-17", FROM_LATE_CLOVER),
    ("2025-09-30", FROM_CLOVER),
    ("2025-04-30", FROM_LATE_BASIL),
)
