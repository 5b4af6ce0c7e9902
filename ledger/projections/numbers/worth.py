"""What the items of a subscription are worth a month: exact, with one rounding per item.

The order of work: list amount of the quantity (tiers, transformed quantity), less the tax contained
in it, less discounts, times months per period, rounded half up. All amounts are in minor units.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import floor

from ledger.money import split
from ledger.projections.definitions import Definitions
from ledger.stripe_objects.views import CatalogueItem, Coupon, SubscriptionItem, Tier

TERMS_UNKNOWN = "terms_unknown"  # a coupon's or a tiered price's terms were never seen
TAX_UNKNOWN = "tax_unknown"  # the price contains tax, and nothing says how much


Off = Coupon | CatalogueItem  # what a coupon takes off, inside a discount or by itself


@dataclass(frozen=True, slots=True)
class InForce:
    """A discount that counts at some moment; `terms` None: never seen."""

    terms: Off | None


@dataclass(frozen=True, slots=True)
class Worth:
    """What one item is worth a month, and what it is made of.

    `unknown` says why the amount is left out of every number (it is 0 then).
    """

    amount_minor: int
    price: str | None
    product: str | None
    interval: str | None
    quantity: int | None
    discounted: bool
    unknown: str | None = None


def worth_of(
    items: Sequence[SubscriptionItem],
    own: Mapping[int, Sequence[InForce]],
    shared: Sequence[InForce],
    currency: str | None,
    prices: Mapping[str, CatalogueItem],
    definitions: Definitions,
) -> list[Worth]:
    """Return what each item is worth under a definition set.

    `own` are the discounts of single items by index, `shared` those of the whole subscription, in
    their order. Percentages are taken of what is left; fixed amounts are split over the items in
    proportion, in whole minor units by largest remainder.
    """
    if len(items) == 1 and not shared and not own:
        return [_plain(items[0], prices, definitions)]
    exact = [_net(item, prices) for item in items]
    amounts = [amount if isinstance(amount, Fraction) else Fraction(0) for amount in exact]
    lacking = any(discount.terms is None for discount in shared)
    unknown: list[str | None] = [
        amount if isinstance(amount, str) else TERMS_UNKNOWN if lacking else None
        for amount in exact
    ]
    for index, discounts in own.items():
        for discount in discounts:
            if discount.terms is None:
                unknown[index] = TERMS_UNKNOWN
            else:
                _take(amounts, [index], discount.terms, items, currency)
    for discount in shared:
        if discount.terms is not None:
            _take(amounts, list(range(len(items))), discount.terms, items, currency)
    return [
        _told(
            item,
            0 if unknown[index] else _monthly(amounts[index], item, definitions),
            discounted=bool(shared or own.get(index)),
            unknown=unknown[index],
        )
        for index, item in enumerate(items)
    ]


def _plain(
    item: SubscriptionItem, prices: Mapping[str, CatalogueItem], definitions: Definitions
) -> Worth:
    """Return what a single item without discounts is worth: by far the most common case."""
    is_simple = item.unit_amount is not None and item.usage_type != "metered"
    if is_simple and not (item.inclusive_tax or item.divide_by):
        amount = _simple(
            item.unit_amount or 0,
            item.quantity,
            item.interval,
            item.interval_count or 1,
            definitions,
        )
        return _told(item, amount, discounted=False, unknown=None)
    exact = _net(item, prices)
    if isinstance(exact, str):
        return _told(item, 0, discounted=False, unknown=exact)
    return _told(item, _monthly(exact, item, definitions), discounted=False, unknown=None)


@lru_cache(maxsize=4096)
def _simple(
    unit_amount: int,
    quantity: int | None,
    interval: str | None,
    count: int,
    definitions: Definitions,
) -> int:
    return _half_up(
        Fraction(unit_amount) * (quantity or 0) * _months(interval, definitions) / count
    )


def _told(item: SubscriptionItem, amount: int, *, discounted: bool, unknown: str | None) -> Worth:
    count = item.interval_count or 1
    interval = item.interval if count == 1 else f"{count} {item.interval}"
    return Worth(amount, item.price, item.product, interval, item.quantity, discounted, unknown)


def _net(item: SubscriptionItem, prices: Mapping[str, CatalogueItem]) -> Fraction | str:
    """Return the list amount of an item without the tax it contains, or why it is unknown."""
    if item.usage_type == "metered" or item.quantity is None:
        return Fraction(0)
    amount = _list_amount(item, prices)
    if isinstance(amount, str):
        return amount
    if item.inclusive_tax == "unknown":
        return TAX_UNKNOWN
    if item.inclusive_tax:
        return amount / (1 + Fraction(item.inclusive_tax) / 100)
    return amount


def _list_amount(item: SubscriptionItem, prices: Mapping[str, CatalogueItem]) -> Fraction | str:
    quantity = item.quantity or 0
    if item.unit_amount_decimal is not None or item.unit_amount is not None:
        unit = Fraction(item.unit_amount_decimal or item.unit_amount or 0)
        return unit * _transformed(quantity, item.divide_by, item.divide_round)
    known = prices.get(item.price or "")
    if known is None or not known.tiers:
        return TERMS_UNKNOWN
    if item.tiers_mode == "volume":
        return _volume(known.tiers, quantity)
    return _graduated(known.tiers, quantity)


def _transformed(quantity: int, divide_by: int | None, rounding: str | None) -> int:
    """Return the quantity that is charged (https://docs.stripe.com/api/prices/object)."""
    if not divide_by:
        return quantity
    return -(-quantity // divide_by) if rounding == "up" else quantity // divide_by


def _volume(tiers: Sequence[Tier], quantity: int) -> Fraction:
    """Return the amount where all units cost what the tier reached by the last one says."""
    tier = next((t for t in tiers if t.up_to is None or quantity <= t.up_to), tiers[-1])
    return Fraction(tier.unit_amount or 0) * quantity + Fraction(tier.flat_amount or 0)


def _graduated(tiers: Sequence[Tier], quantity: int) -> Fraction:
    """Return the amount where each unit costs what its own tier says; flat amounts add up."""
    total, below = Fraction(0), 0
    for tier in tiers:
        reached = quantity if tier.up_to is None else min(quantity, tier.up_to)
        if reached > below or (quantity == 0 and below == 0):
            total += Fraction(tier.unit_amount or 0) * (reached - below)
            total += Fraction(tier.flat_amount or 0)
        if tier.up_to is None or quantity <= tier.up_to:
            break
        below = tier.up_to
    return total


def _take(
    amounts: list[Fraction],
    places: list[int],
    terms: Off,
    items: Sequence[SubscriptionItem],
    currency: str | None,
) -> None:
    """Take a discount off the items it is for."""
    if terms.products is not None:
        places = [index for index in places if items[index].product in terms.products]
    if terms.percent_off is not None:
        left = 1 - Fraction(str(terms.percent_off)) / 100
        for index in places:
            amounts[index] *= left
    elif terms.amount_off is not None and terms.currency == currency:
        of = [amounts[index] for index in places]  # more than there is takes everything
        parts: Sequence[int | Fraction] = (
            of if sum(of) <= terms.amount_off else split(terms.amount_off, of)
        )
        for index, part in zip(places, parts, strict=True):
            amounts[index] -= part


# The simulator's record of the truth reckons all this by itself, on purpose: it is what this is
# held against.
def _monthly(amount: Fraction, item: SubscriptionItem, definitions: Definitions) -> int:
    return _half_up(amount * _months(item.interval, definitions) / (item.interval_count or 1))


@lru_cache(maxsize=256)
def _months(interval: str | None, definitions: Definitions) -> Fraction:
    """Return how many months' worth one period's amount is; of what has no period, none."""
    return Fraction(getattr(definitions.months_per_period, interval or "", "0"))


def _half_up(amount: Fraction) -> int:
    return floor(amount + Fraction(1, 2))
