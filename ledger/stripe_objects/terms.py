"""Reads what is charged: items of subscriptions, their prices, and what discounts take off."""

from __future__ import annotations

from typing import Any

from ledger.stripe_objects import facts
from ledger.stripe_objects.fields import (
    Node,
    decimal,
    dig,
    first,
    instant,
    members,
    nested,
    reference,
    text,
    whole,
)
from ledger.stripe_objects.views import Coupon, HeldDiscount, SubscriptionItem, Tier


def coupon_in(discount: Node) -> Coupon | None:
    """Return the terms inside a discount, None if only the coupon's name is there."""
    coupon = nested(discount, "source", "coupon") or nested(discount, "coupon")
    percent_off, amount_off = decimal(coupon, "percent_off"), whole(coupon, "amount_off")
    if percent_off is None and amount_off is None:
        return None
    return Coupon(
        percent_off=percent_off,
        amount_off=amount_off,
        currency=text(coupon, "currency"),
        duration=text(coupon, "duration"),
        products=products_of(coupon),
    )


def products_of(coupon: Node) -> list[str] | None:
    """Return the products a coupon is limited to, where that is told (it must be expanded)."""
    found = dig(coupon, "applies_to", "products")
    return [one for one in found if isinstance(one, str)] if isinstance(found, list) else None


def held(discount: Node | str) -> HeldDiscount:
    """Return a discount as its holder names it."""
    if isinstance(discount, str):
        return HeldDiscount(id=discount)
    return HeldDiscount(
        id=reference(discount),
        coupon=facts.coupon_of(discount),
        start=instant(discount, "start"),
        end=instant(discount, "end"),
        terms=coupon_in(discount),
    )


def held_by(obj: Node) -> list[HeldDiscount] | None:
    """Return the discounts of a subscription or an item, None if no list of them is told."""
    found = facts.discounts_of(obj)
    return None if found is None else [held(one) for one in found]


def costs(price: Node) -> dict[str, Any]:
    """Return what a price costs a unit, and how often; the same leaves in every canonical shape."""
    return {
        "unit_amount": whole(price, "unit_amount"),
        "unit_amount_decimal": text(price, "unit_amount_decimal"),
        "currency": text(price, "currency"),
        "interval": text(price, "recurring", "interval"),
        "interval_count": whole(price, "recurring", "interval_count"),
        "usage_type": text(price, "recurring", "usage_type"),
    }


def item_of(item: Node, subscription: Node) -> SubscriptionItem:
    """Return one line of a subscription."""
    terms = facts.terms_of(item)
    transform = nested(terms, "transform_quantity") or nested(terms, "transform_usage")
    return SubscriptionItem(
        id=text(item, "id"),
        price=facts.price_of(item),
        product=facts.product_of(item),
        nickname=first(text(item, "price", "nickname"), text(item, "plan", "nickname")),
        quantity=facts.quantity_of(item),
        **costs(terms),
        tiers_mode=text(terms, "tiers_mode"),
        divide_by=whole(transform, "divide_by"),
        divide_round=text(transform, "round"),
        inclusive_tax=facts.inclusive_tax_of(item, subscription),
        current_period_start=instant(item, "current_period_start"),
        current_period_end=instant(item, "current_period_end"),
        discounts=held_by(item),
    )


def tiers_of(price: Node) -> list[Tier] | None:
    """Return a price's tiers, where they are told (they must be expanded)."""
    return [_tier(one) for one in members(price, "tiers")] or None


def _tier(tier: Node) -> Tier:
    return Tier(
        up_to=whole(tier, "up_to"),
        unit_amount=_amount(tier, "unit_amount"),
        flat_amount=_amount(tier, "flat_amount"),
    )


def _amount(node: Node, name: str) -> str | None:
    """Return an amount that may have decimals of a minor unit, as it is written."""
    exact = text(node, f"{name}_decimal")
    return exact if exact is not None else _written(whole(node, name))


def _written(number: int | None) -> str | None:
    return None if number is None else str(number)
