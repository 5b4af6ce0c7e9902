"""Reads any Stripe object into its canonical shape (see views.py).

Reading never raises: an unknown enum value is kept as it is, a leaf of an unexpected kind reads
as None.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ledger.stripe_objects import facts, terms
from ledger.stripe_objects.fields import (
    Node,
    decimal,
    first,
    flag,
    instant,
    members,
    nested,
    reference,
    text,
    whole,
)
from ledger.stripe_objects.references import kind_of
from ledger.stripe_objects.views import (
    CatalogueItem,
    Customer,
    Discount,
    Invoice,
    InvoicePayment,
    OtherObject,
    Payment,
    Subscription,
    View,
)


def _common(obj: Node) -> dict[str, Any]:
    return {
        "id": text(obj, "id"),
        "created": instant(obj, "created"),
        "customer": facts.customer_of(obj),
        "status": text(obj, "status"),
        "livemode": flag(obj, "livemode"),
    }


def _subscription(obj: Node) -> Subscription:
    start, end = facts.subscription_period(obj)
    items = [terms.item_of(item, obj) for item in facts.subscription_items(obj)]
    return Subscription(
        **_common(obj),
        cancel_at_period_end=flag(obj, "cancel_at_period_end"),
        cancel_at=instant(obj, "cancel_at"),
        canceled_at=instant(obj, "canceled_at"),
        ended_at=instant(obj, "ended_at"),
        current_period_start=start,
        current_period_end=end,
        start_date=first(instant(obj, "start_date"), instant(obj, "start")),
        trial_start=instant(obj, "trial_start"),
        trial_end=instant(obj, "trial_end"),
        collection_method=first(text(obj, "collection_method"), text(obj, "billing")),
        pause_behavior=text(obj, "pause_collection", "behavior"),
        pause_resumes_at=instant(obj, "pause_collection", "resumes_at"),
        paused_reason=facts.paused_reason(obj),
        currency=first(text(obj, "currency"), *[item.currency for item in items]),
        latest_invoice=reference(obj, "latest_invoice"),
        default_payment_method=reference(obj, "default_payment_method"),
        schedule=reference(obj, "schedule"),
        cancellation_reason=text(obj, "cancellation_details", "reason"),
        feedback=text(obj, "cancellation_details", "feedback"),
        items=items,
        discounts=terms.held_by(obj),
        test_clock=reference(obj, "test_clock"),
    )


def _invoice(obj: Node) -> Invoice:
    moments = facts.invoice_transitions(obj)
    return Invoice(
        id=text(obj, "id"),
        created=first(instant(obj, "created"), instant(obj, "date")),
        customer=facts.customer_of(obj),
        status=facts.invoice_status(obj),
        livemode=flag(obj, "livemode"),
        number=text(obj, "number"),
        subscription=facts.subscription_of(obj),
        billing_reason=text(obj, "billing_reason"),
        collection_method=first(text(obj, "collection_method"), text(obj, "billing")),
        currency=text(obj, "currency"),
        amount_due=whole(obj, "amount_due"),
        amount_paid=facts.amount_paid_minor(obj),
        amount_remaining=whole(obj, "amount_remaining"),
        subtotal=whole(obj, "subtotal"),
        total=whole(obj, "total"),
        tax=facts.tax_minor(obj),
        attempt_count=whole(obj, "attempt_count"),
        attempted=flag(obj, "attempted"),
        auto_advance=flag(obj, "auto_advance"),
        next_payment_attempt=instant(obj, "next_payment_attempt"),
        due_date=instant(obj, "due_date"),
        payment_intent=reference(obj, "payment_intent"),
        charge=reference(obj, "charge"),
        finalized_at=instant(moments, "finalized_at"),
        paid_at=instant(moments, "paid_at"),
        voided_at=instant(moments, "voided_at"),
        marked_uncollectible_at=instant(moments, "marked_uncollectible_at"),
        receipt_number=text(obj, "receipt_number"),
        prices=[
            price for line in members(obj, "lines") if (price := facts.price_of(line)) is not None
        ],
    )


def _payment_intent(obj: Node) -> Payment:
    method, brand, last4 = facts.card_of(obj)
    error = nested(obj, "last_payment_error")
    return Payment(
        **_common(obj),
        amount=whole(obj, "amount"),
        amount_received=whole(obj, "amount_received"),
        currency=text(obj, "currency"),
        invoice=reference(obj, "invoice"),
        latest_charge=reference(obj, "latest_charge"),
        order_reference=facts.order_reference_of(obj),
        failure_code=text(error, "code"),
        decline_code=text(error, "decline_code"),
        advice_code=text(error, "advice_code"),
        network_decline_code=text(error, "network_decline_code"),
        method_type=method,
        brand=brand,
        last4=last4,
    )


def _charge(obj: Node) -> Payment:
    method, brand, last4 = facts.card_of(obj)
    captured = whole(obj, "amount_captured")
    if captured is None and flag(obj, "captured"):
        captured = 0 if facts.charge_status_of(obj) == "failed" else whole(obj, "amount")
    outcome = nested(obj, "outcome")
    return Payment(
        **{**_common(obj), "status": facts.charge_status_of(obj)},
        amount=whole(obj, "amount"),
        amount_received=captured,
        amount_refunded=whole(obj, "amount_refunded"),
        currency=text(obj, "currency"),
        payment_intent=reference(obj, "payment_intent"),
        invoice=reference(obj, "invoice"),
        failure_code=text(obj, "failure_code"),
        decline_code=facts.decline_of_charge(obj),
        advice_code=text(outcome, "advice_code"),
        network_decline_code=text(outcome, "network_decline_code"),
        disputed=first(flag(obj, "disputed"), True if reference(obj, "dispute") else None),
        method_type=method,
        brand=brand,
        last4=last4,
    )


def _customer(obj: Node) -> Customer:
    locales = obj.get("preferred_locales")
    return Customer(
        **_common(obj),
        delinquent=flag(obj, "delinquent"),
        currency=text(obj, "currency"),
        balance=first(whole(obj, "balance"), whole(obj, "account_balance")),
        country=first(text(obj, "address", "country"), text(obj, "shipping", "address", "country")),
        invoice_prefix=text(obj, "invoice_prefix"),
        next_invoice_sequence=whole(obj, "next_invoice_sequence"),
        default_payment_method=first(
            reference(obj, "invoice_settings", "default_payment_method"),
            reference(obj, "default_source"),
        ),
        preferred_locales=[one for one in locales if isinstance(one, str)]
        if isinstance(locales, list)
        else [],
        tax_exempt=text(obj, "tax_exempt"),
        discount=terms.held(nested(obj, "discount")) if nested(obj, "discount") else None,
        test_clock=reference(obj, "test_clock"),
    )


def _catalogue_item(obj: Node) -> CatalogueItem:
    price = facts.terms_of({"price": obj} if kind_of(obj) == "price" else {"plan": obj})
    return CatalogueItem(
        **_common(obj),
        name=first(text(obj, "name"), text(obj, "nickname"), text(obj, "display_name")),
        active=first(flag(obj, "active"), flag(obj, "valid")),
        product=reference(obj, "product"),
        coupon=first(reference(obj, "promotion", "coupon"), reference(obj, "coupon")),
        **{**terms.costs(price), "currency": text(obj, "currency")},
        lookup_key=text(obj, "lookup_key"),
        percent_off=decimal(obj, "percent_off"),
        amount_off=whole(obj, "amount_off"),
        duration=text(obj, "duration"),
        duration_in_months=whole(obj, "duration_in_months"),
        percentage=decimal(obj, "percentage"),
        inclusive=flag(obj, "inclusive"),
        products=terms.products_of(obj),
        tiers=terms.tiers_of(obj),
    )


def _discount(obj: Node) -> Discount:
    return Discount(
        **_common(obj),
        coupon=facts.coupon_of(obj),
        subscription=reference(obj, "subscription"),
        subscription_item=reference(obj, "subscription_item"),
        start=instant(obj, "start"),
        end=instant(obj, "end"),
        terms=terms.coupon_in(obj),
    )


def _invoice_payment(obj: Node) -> InvoicePayment:
    return InvoicePayment(
        **_common(obj),
        invoice=reference(obj, "invoice"),
        payment_intent=reference(obj, "payment", "payment_intent"),
        charge=reference(obj, "payment", "charge"),
        amount_paid=whole(obj, "amount_paid"),
        currency=text(obj, "currency"),
    )


def _other(obj: Node) -> OtherObject:
    return OtherObject(
        **_common(obj),
        amount=first(whole(obj, "amount"), whole(obj, "amount_total")),
        currency=text(obj, "currency"),
        reason=text(obj, "reason"),
        subscription=facts.subscription_of(obj),
        invoice=reference(obj, "invoice"),
        charge=reference(obj, "charge"),
        payment_intent=reference(obj, "payment_intent"),
        type=text(obj, "type"),
        payment_status=text(obj, "payment_status"),
    )


READERS: Mapping[str, Callable[[Node], View]] = {
    "subscription": _subscription,
    "invoice": _invoice,
    "payment_intent": _payment_intent,
    "charge": _charge,
    "customer": _customer,
    "invoice_payment": _invoice_payment,
    "discount": _discount,
    "product": _catalogue_item,
    "price": _catalogue_item,
    "plan": _catalogue_item,
    "coupon": _catalogue_item,
    "promotion_code": _catalogue_item,
    "tax_rate": _catalogue_item,
}


def view_of(obj: Node) -> View:
    """Return the canonical view of any Stripe object."""
    return READERS.get(kind_of(obj), _other)(obj)
