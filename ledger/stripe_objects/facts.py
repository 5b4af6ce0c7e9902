"""One function per fact that Stripe has moved about: right for every API version since 2014.

Sources: https://docs.stripe.com/changelog (2018-10-31, 2019-03-14, 2020-08-27, 2022-11-15,
2024-12-18.acacia, 2025-03-31.basil, 2025-09-30.clover, 2026-03-25.dahlia, 2026-09-30.endive).
"""

from __future__ import annotations

from fractions import Fraction

from ledger.stripe_objects.fields import (
    Node,
    decimal,
    dig,
    first,
    flag,
    instant,
    members,
    nested,
    reference,
    text,
    whole,
)


def customer_of(obj: Node) -> str | None:
    """Return the customer an object belongs to, or is."""
    if obj.get("object") == "customer":
        return reference(obj, "id")
    # Since clover a customer of Accounts v2 may stand in `customer_account` alone.
    return reference(obj, "customer") or reference(obj, "customer_account")


def subscription_of(obj: Node) -> str | None:
    """Return the subscription an object is about, or is; absent on one-off invoices.

    basil moved an invoice's to `parent.subscription_details`; `billing_reason` says nothing
    reliable (a `manual` invoice with a subscription parent was seen).
    """
    if obj.get("object") == "subscription":
        return reference(obj, "id")
    direct = (
        reference(obj, "parent", "subscription_details", "subscription")
        or reference(obj, "subscription")
        or reference(obj, "subscription_details", "subscription")
        or reference(obj, "released_subscription")  # of a schedule that let it go
    )
    if direct or obj.get("object") != "invoice":
        return direct
    for line in members(obj, "lines"):
        found = reference(line, "parent", "subscription_item_details", "subscription") or reference(
            line, "subscription"
        )
        if found:
            return found
    return None


def charge_status_of(charge: Node) -> str | None:
    """Return a charge's status; in 2014 it had only `paid`, or the word itself as status."""
    status = text(charge, "status")
    if status is None and (paid := flag(charge, "paid")) is not None:
        return "succeeded" if paid else "failed"
    return "succeeded" if status == "paid" else status


def subscription_period(subscription: Node) -> tuple[int | None, int | None]:
    """Return (current_period_start, current_period_end) in unix seconds.

    Since basil each item has its own; the next bill is the earliest end.
    """
    items = [
        (instant(item, "current_period_start"), end)
        for item in members(subscription, "items")
        if (end := instant(item, "current_period_end")) is not None
    ]
    if items:
        return min(items, key=lambda period: period[1])
    return instant(subscription, "current_period_start"), instant(
        subscription, "current_period_end"
    )


def subscription_items(subscription: Node) -> list[Node]:
    """Return the items; before 2014-ish a subscription had only one `plan` and `quantity`."""
    found = members(subscription, "items")
    if found or not isinstance(subscription.get("plan"), dict):
        return found
    return [{"plan": subscription["plan"], "quantity": subscription.get("quantity")}]


def price_of(item: Node) -> str | None:
    """Return the price id of a subscription item or an invoice line."""
    return (
        reference(item, "price")
        or reference(item, "pricing", "price_details", "price")
        or reference(item, "plan")
    )


def product_of(item: Node) -> str | None:
    """Return the product id of a subscription item or an invoice line."""
    return (
        reference(item, "price", "product")
        or reference(item, "pricing", "price_details", "product")
        or reference(item, "plan", "product")
    )


def terms_of(item: Node) -> Node:
    """Return the hash with an item's amount and interval, in the shape of `price`."""
    if isinstance(item.get("price"), dict):
        return nested(item, "price")
    plan = nested(item, "plan")
    return {
        **plan,
        "unit_amount": plan.get("amount"),
        "unit_amount_decimal": plan.get("amount_decimal"),
        "recurring": {
            "interval": plan.get("interval"),
            "interval_count": plan.get("interval_count"),
            "usage_type": plan.get("usage_type"),
        },
    }


def coupon_of(discount: Node) -> str | None:
    """Return a discount's coupon id (`source.coupon` since clover, `coupon` before)."""
    return reference(discount, "source", "coupon") or reference(discount, "coupon")


def discounts_of(obj: Node) -> list[Node | str] | None:
    """Return the discounts in their order, as ids or hashes; None if no list of them is told.

    Versions before `discounts` name one, as `discount`: then that one, or None.
    """
    many, single = obj.get("discounts"), obj.get("discount")
    if isinstance(single, dict) and not many:
        return [single]
    if not isinstance(many, list):
        return None
    return [one for one in many if isinstance(one, (dict, str))]


def inclusive_tax_of(item: Node, subscription: Node) -> str | None:
    """Return the per cent of tax that an item's price contains by its own tax rates.

    `unknown` if the price contains tax and Stripe computes how much. An item without rates of its
    own has the subscription's. Percentages are added, as Stripe
    computes inclusive rates (https://docs.stripe.com/tax/tax-rates#inclusive-vs-exclusive-tax).
    """
    rates = members(item, "tax_rates") or members(subscription, "default_tax_rates")
    contained = [
        percent
        for rate in rates
        if flag(rate, "inclusive") and (percent := decimal(rate, "percentage")) is not None
    ]
    if not contained:
        computed = flag(subscription, "automatic_tax", "enabled") and not rates
        inclusive = text(item, "price", "tax_behavior") == "inclusive"
        return "unknown" if computed and inclusive else None
    return str(sum((Fraction(str(percent)) for percent in contained), Fraction(0)))


def tax_minor(invoice: Node) -> int | None:
    """Return an invoice's tax in minor units."""
    for name in ("total_taxes", "total_tax_amounts"):
        if isinstance(invoice.get(name), list):
            return sum(whole(part, "amount") or 0 for part in members(invoice, name))
    return whole(invoice, "tax")


def invoice_status(invoice: Node) -> str | None:
    """Return draft, open, paid, void or uncollectible; before 2018-11-08 told by three flags."""
    if status := text(invoice, "status"):
        return status
    if flag(invoice, "paid"):
        return "paid"
    if flag(invoice, "forgiven"):
        return "uncollectible"
    if flag(invoice, "closed"):
        return "void"
    if flag(invoice, "attempted"):
        return "open"
    return None if flag(invoice, "paid") is None else "draft"


def invoice_transitions(invoice: Node) -> Node:
    """Return the hash that says when an invoice was finalized, paid, voided or written off.

    Until 2019-03-14 those were members of the invoice itself.
    """
    return nested(invoice, "status_transitions") or invoice


def amount_paid_minor(invoice: Node) -> int | None:
    """Return what was paid on an invoice; very old invoices only say that they are paid.

    Since basil it includes what was paid elsewhere; before, only `paid_out_of_band` told of that.
    """
    paid = whole(invoice, "amount_paid")
    if flag(invoice, "paid_out_of_band"):
        return whole(invoice, "amount_due")
    if paid is None and flag(invoice, "paid") is not None:
        return whole(invoice, "amount_due") if flag(invoice, "paid") else 0
    return paid


def is_proration(line: Node) -> bool:
    """Return whether an invoice line is a proration."""
    return bool(
        first(
            flag(line, "parent", "subscription_item_details", "proration"),
            flag(line, "parent", "invoice_item_details", "proration"),
            flag(line, "proration"),
        )
    )


def decline_of_charge(charge: Node) -> str | None:
    """Return the issuer's decline code of a failed charge (`outcome.reason`, else failure_code)."""
    if text(charge, "status") not in ("failed", None):  # before 2015 there was no status
        return None
    if text(charge, "outcome", "type") == "issuer_declined" and (
        reason := text(charge, "outcome", "reason")
    ):
        return reason
    return text(charge, "failure_code")


def card_of(obj: Node) -> tuple[str | None, str | None, str | None]:
    """Return (method type, brand, last4) of what paid, as far as it is told."""
    details = nested(obj, "payment_method_details")
    method = text(details, "type")
    card = nested(details, method) if method else {}
    if not card:
        for holder in (
            nested(obj, "source"),
            nested(obj, "card"),
            nested(obj, "last_payment_error", "payment_method", "card"),
            nested(obj, "last_payment_error", "source"),
        ):
            if holder:
                card, method = holder, method or text(holder, "object") or "card"
                break
    brand = first(text(card, "brand"), text(card, "type"))  # `type` until 2015
    return method, brand.lower() if brand else None, text(card, "last4")


def order_reference_of(payment_intent: Node) -> str | None:
    """Return the invoice id a payment intent of basil and later refers to, maybe cut to 25."""
    found = text(payment_intent, "payment_details", "order_reference")
    return found if found and found.startswith("in_") else None


def paused_reason(subscription: Node) -> str | None:
    """Return why a subscription is `paused` (endive's status_details)."""
    return text(subscription, "status_details", "paused", "subscription", "type")


def quantity_of(item: Node) -> int | None:
    """Return how many units an item has; None for metered ones."""
    return whole(item, "quantity")


def is_deleted_object(obj: Node) -> bool:
    """Return whether this is what remains of a deleted object: {id, object, deleted: true}."""
    return dig(obj, "deleted") is True
