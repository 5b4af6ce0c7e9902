"""Monthly recurring revenue of one state of a subscription: exact, one rounding per item."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from math import floor
from typing import TYPE_CHECKING

from ledger.simulator.moments import half_up
from ledger.simulator.pricing import exact_amount

if TYPE_CHECKING:
    from ledger.simulator.engine import Engine, Json

# How many months' worth one period's amount is, by interval; divided by interval_count.
PER_MONTH = {
    "month": Fraction(1),
    "year": Fraction(1, 12),
    "week": Fraction(52, 12),
    "day": Fraction(365, 12),
}


def recurring_revenue(
    engine: Engine, subscription: Json, discounts: Sequence[Json], at: int
) -> int:
    """Return what a subscription that counts is worth a month at a moment, in minor units.

    `discounts` are those of the whole subscription; an item's own are taken off before. The
    ones that hold for one invoice only, or whose time is over, are left out here.
    """
    items = subscription["items"]["data"]
    amounts = []
    for item in items:
        own = [_net_of_tax(engine, subscription, item)]
        for discount in _recurring(item["_"]["discounts"], at):
            own = _less(own, discount, subscription["currency"])
        amounts += own
    for discount in _recurring(discounts, at):
        amounts = _less(amounts, discount, subscription["currency"])
    return sum(half_up(amount * _months(item)) for amount, item in zip(amounts, items, strict=True))


def _recurring(discounts: Sequence[Json], at: int) -> list[Json]:
    return [
        discount
        for discount in discounts
        if discount["_"]["coupon"]["duration"] != "once"
        and (discount["end"] is None or discount["end"] > at)
    ]


def _less(amounts: list[Fraction], discount: Json, currency: str) -> list[Fraction]:
    coupon = discount["_"]["coupon"]
    if coupon["percent_off"] is not None:
        left = 1 - Fraction(str(coupon["percent_off"])) / 100
        return [amount * left for amount in amounts]
    if coupon["currency"] != currency:
        return amounts
    parts = _split(coupon["amount_off"], amounts)
    return [amount - part for amount, part in zip(amounts, parts, strict=True)]


def discount_ends(discounts: Iterable[Json]) -> list[int]:
    """Return when discounts end by themselves (unix seconds)."""
    return [discount["end"] for discount in discounts if discount["end"] is not None]


def _net_of_tax(engine: Engine, subscription: Json, item: Json) -> Fraction:
    is_metered = item["price"]["recurring"]["usage_type"] == "metered"
    if is_metered or item["quantity"] is None:
        return Fraction(0)
    price = engine.get("price", item["price"]["id"])
    amount = exact_amount(price, item["quantity"])
    rates = item["tax_rates"] or subscription["default_tax_rates"]
    contained = sum((Fraction(str(r["percentage"])) for r in rates if r["inclusive"]), Fraction(0))
    return amount / (1 + contained / 100)


def _months(item: Json) -> Fraction:
    recurring = item["price"]["recurring"]
    return PER_MONTH[recurring["interval"]] / int(recurring["interval_count"])


def _split(amount_off: int, amounts: Sequence[Fraction]) -> list[Fraction]:
    """Return a fixed amount in whole parts, in proportion, by largest remainder."""
    total = sum(amounts, Fraction(0))
    if total <= amount_off:
        return list(amounts)
    exact = [amount_off * amount / total for amount in amounts]
    parts = [floor(part) for part in exact]
    order = sorted(range(len(parts)), key=lambda i: (parts[i] - exact[i], i))
    for i in order[: amount_off - sum(parts)]:
        parts[i] += 1
    return [Fraction(part) for part in parts]
