"""What a random business sells: every kind of price, coupon and tax rate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ledger.simulator.engine import Json
from ledger.simulator.simulator import Simulator


@dataclass(frozen=True, slots=True)
class Shelf:
    """What there is to choose from; prices whole, the others by id."""

    recurring: list[Json]
    one_time: list[Json]
    coupons: list[str]
    promotion_codes: list[str]
    tax_rates: list[str]
    meter: str


_GRADUATED: Any = [
    {"up_to": 5, "unit_amount": 1_000},
    {"up_to": 20, "unit_amount": 800, "flat_amount": 500},
    {"up_to": "inf", "unit_amount": 500},
]
_VOLUME: Any = [
    {"up_to": 10, "unit_amount": 900},
    {"up_to": "inf", "unit_amount": 600, "flat_amount": 1_000},
]


def fill_shelf(sim: Simulator) -> Shelf:
    """Make products, prices, coupons, promotion codes, tax rates, a meter and a feature."""
    products = [sim.products.create(name=name)["id"] for name in ("Basic", "Pro", "Team")]
    meter = sim.meters.create(display_name="Messages", event_name="message_sent")["id"]
    feature = sim.features.create(lookup_key="reports", name="Reports")
    sim.features.attach(products[1], entitlement_feature=feature["id"])
    recurring = [
        sim.prices.create(product=products[i % 3], **terms)
        for i, terms in enumerate(_recurring(meter))
    ]
    one_time = [
        sim.prices.create(product=products[0], currency=currency, unit_amount=amount)
        for currency, amount in (("usd", 5_000), ("idr", 7_500_000))
    ]
    coupons = [sim.coupons.create(**terms)["id"] for terms in _coupons()]
    codes = [
        sim.promotion_codes.create(promotion={"coupon": coupon}, code=f"CODE{i}")["id"]
        for i, coupon in enumerate(coupons[:3])
    ]
    rates = [
        sim.tax_rates.create(display_name="PPN", percentage=11.0, inclusive=False, country="ID"),
        sim.tax_rates.create(display_name="VAT", percentage=19.0, inclusive=True, country="DE"),
    ]
    return Shelf(recurring, one_time, coupons, codes, [rate["id"] for rate in rates], meter)


def _recurring(meter: str) -> list[Any]:
    month: Any = {"interval": "month"}
    year: Any = {"interval": "year"}
    return [
        {"currency": "usd", "unit_amount": 2_900, "recurring": month, "nickname": "Monthly"},
        {"currency": "usd", "unit_amount": 29_000, "recurring": year, "nickname": "Yearly"},
        {"currency": "usd", "unit_amount": 900, "recurring": {"interval": "week"}},
        {"currency": "usd", "unit_amount": 150, "recurring": {"interval": "day"}},
        {
            "currency": "usd",
            "unit_amount": 7_900,
            "recurring": {"interval": "month", "interval_count": 3},
        },
        {"currency": "usd", "unit_amount_decimal": "33.3333", "recurring": month},
        {"currency": "usd", "unit_amount": 0, "recurring": month, "nickname": "Free"},
        {"currency": "usd", "tiers": _GRADUATED, "tiers_mode": "graduated", "recurring": month},
        {"currency": "usd", "tiers": _VOLUME, "tiers_mode": "volume", "recurring": month},
        {
            "currency": "usd",
            "unit_amount": 2_000,
            "recurring": month,
            "transform_quantity": {"divide_by": 5, "round": "up"},
        },
        {
            "currency": "usd",
            "unit_amount": 2,
            "recurring": {"interval": "month", "usage_type": "metered", "meter": meter},
        },
        {"currency": "idr", "unit_amount": 10_000_000, "recurring": month, "nickname": "Bulanan"},
        {"currency": "idr", "unit_amount": 100_000_000, "recurring": year, "nickname": "Tahunan"},
        {"currency": "eur", "unit_amount": 2_500, "recurring": month},
        {"currency": "jpy", "unit_amount": 3_000, "recurring": month},
        {"currency": "kwd", "unit_amount": 9_990, "recurring": month},
    ]


def _coupons() -> list[Any]:
    return [
        {"percent_off": 50.0, "duration": "once", "name": "Half a month"},
        {"percent_off": 20.0, "duration": "repeating", "duration_in_months": 3},
        {"percent_off": 33.33, "duration": "forever"},
        {"percent_off": 100.0, "duration": "repeating", "duration_in_months": 1},
        {"amount_off": 500, "currency": "usd", "duration": "forever"},
        {"amount_off": 1_000, "currency": "usd", "duration": "repeating", "duration_in_months": 2},
        {"amount_off": 2_000_000, "currency": "idr", "duration": "once"},
    ]
