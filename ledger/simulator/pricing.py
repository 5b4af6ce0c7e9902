"""What a quantity of a price costs, exactly and in whole minor units."""

from __future__ import annotations

from fractions import Fraction

from ledger.simulator.engine import Json
from ledger.simulator.moments import half_up


def exact_amount(price: Json, quantity: int) -> Fraction:
    """Return the list amount of a quantity, in minor units, before rounding."""
    tiers = price["_"]["tiers"]
    if not tiers:
        return _unit_amount(price) * _transformed(price, quantity)
    if price["tiers_mode"] == "volume":
        return _volume(tiers, quantity)
    return _graduated(tiers, quantity)


def amount(price: Json, quantity: int) -> int:
    """Return the list amount of a quantity in whole minor units, halves upwards."""
    return half_up(exact_amount(price, quantity))


def _unit_amount(price: Json) -> Fraction:
    return Fraction(price["unit_amount_decimal"] or 0)


def _transformed(price: Json, quantity: int) -> int:
    transform = price["transform_quantity"]
    if not transform:
        return quantity
    divisor = int(transform["divide_by"])
    return -(-quantity // divisor) if transform["round"] == "up" else quantity // divisor


def _volume(tiers: list[Json], quantity: int) -> Fraction:
    tier = next(t for t in tiers if t["up_to"] is None or quantity <= t["up_to"])
    return Fraction(tier["unit_amount_decimal"] or 0) * quantity + (tier["flat_amount"] or 0)


def _graduated(tiers: list[Json], quantity: int) -> Fraction:
    total = Fraction(0)
    below = 0
    for tier in tiers:
        reached = quantity if tier["up_to"] is None else min(quantity, tier["up_to"])
        if reached > below or (quantity == 0 and below == 0):
            total += Fraction(tier["unit_amount_decimal"] or 0) * (reached - below)
            total += tier["flat_amount"] or 0
        if tier["up_to"] is None or quantity <= tier["up_to"]:
            break
        below = tier["up_to"]
    return total
