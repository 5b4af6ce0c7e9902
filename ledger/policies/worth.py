"""What a subscription costs, as a policy reckons: at list price, from the facts alone.

The books reckon with discounts, taxes and tiers; here a limit is kept or a direction told.
"""

from __future__ import annotations

from fractions import Fraction

from ledger.stripe_objects import views

_MONTHS = {
    "day": Fraction(12, 365), "week": Fraction(12, 52), "month": Fraction(1), "year": Fraction(12),
}  # fmt: skip


def months_of(item: views.SubscriptionItem) -> Fraction | None:
    """Return how many months one period of an item is, None where it tells no period."""
    period = _MONTHS.get(item.interval or "")
    return None if period is None else period * (item.interval_count or 1)


def monthly_minor(subscription: views.Subscription) -> int | None:
    """Return what a subscription costs a month at list price; None where it cannot be told."""
    total = Fraction(0)
    for item in subscription.items:
        if item.usage_type == "metered":
            continue
        period, price = months_of(item), item.unit_amount_decimal or item.unit_amount
        if period is None or price is None or item.tiers_mode or item.divide_by:
            return None
        total += Fraction(price) * (item.quantity or 0) / period
    return int(total) if subscription.items else None
