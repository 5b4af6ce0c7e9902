"""What the believable business sells, to whom, and how often cards fail and why."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ledger.simulator.simulator import Simulator

CURRENCIES = {"idr": 46, "usd": 46, "eur": 8}
PLANS = ("Dasar", "Pro", "Bisnis")
# Monthly amounts in minor units; the plan "Bisnis" is paid per seat. A year costs ten months.
AMOUNTS = {
    "idr": {"Dasar": 9_900_000, "Pro": 24_900_000, "Bisnis": 14_900_000},
    "usd": {"Dasar": 900, "Pro": 2_900, "Bisnis": 1_900},
    "eur": {"Dasar": 900, "Pro": 2_700, "Bisnis": 1_800},
}
PLAN_SHARES = {"Dasar": 50, "Pro": 35, "Bisnis": 15}

# Why charges fail, in parts of 100 of all failures, with the decline codes behind each.
DECLINE_MIX: dict[str, tuple[int, tuple[str, ...]]] = {
    "insufficient_funds": (31, ("insufficient_funds",)),
    "no_reason": (22, ("generic_decline", "do_not_honor")),
    "expired": (18, ("expired_card",)),
    "authentication": (11, ("authentication_required",)),
    "lost_or_stolen": (7, ("lost_card", "stolen_card")),
    "other": (11, ("processing_error", "card_velocity_exceeded", "incorrect_cvc", "fraudulent")),
}
# Of a hundred new customers in an average month, how many come in each month from January.
SEASONS = (118, 104, 88, 84, 102, 110, 106, 98, 104, 108, 104, 74)


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Ids of what is for sale: prices by (currency, plan, interval), and offers."""

    prices: dict[tuple[str, str, str], str]
    launch_coupon: str
    first_month_coupon: str
    loyal_coupon: str
    win_back_code: str
    vat: str
    by_price: dict[str, tuple[str, str, str]] = field(default_factory=dict)


def stock(sim: Simulator) -> Catalogue:
    """Make what is for sale."""
    feature = sim.features.create(lookup_key="team", name="Team accounts")
    prices: dict[tuple[str, str, str], str] = {}
    for plan in PLANS:
        unit = "seat" if plan == "Bisnis" else None
        product = sim.products.create(name=plan, unit_label=unit)["id"]
        if plan == "Bisnis":
            sim.features.attach(product, entitlement_feature=feature["id"])
        for currency, amounts in AMOUNTS.items():
            for interval, months in (("month", 1), ("year", 10)):
                recurring: Any = {"interval": interval}
                price = sim.prices.create(
                    product=product,
                    currency=currency,
                    unit_amount=amounts[plan] * months,
                    recurring=recurring,
                    nickname=f"{plan} {'bulanan' if interval == 'month' else 'tahunan'}",
                    lookup_key=f"{plan.lower()}_{currency}_{interval}",
                )
                prices[currency, plan, interval] = price["id"]
    launch = sim.coupons.create(
        id="LAUNCH20",
        name="Launch",
        percent_off=20.0,
        duration="repeating",
        duration_in_months=3,
    )
    first = sim.coupons.create(name="First month half off", percent_off=50.0, duration="once")
    loyal = sim.coupons.create(name="Loyal", percent_off=15.0, duration="forever")
    back = sim.coupons.create(
        name="Welcome back", percent_off=30.0, duration="repeating", duration_in_months=2
    )
    code = sim.promotion_codes.create(promotion={"coupon": back["id"]}, code="KEMBALI30")
    vat = sim.tax_rates.create(
        display_name="PPN", percentage=11.0, inclusive=False, country="ID", jurisdiction="ID"
    )
    return Catalogue(
        prices,
        launch["id"],
        first["id"],
        loyal["id"],
        code["id"],
        vat["id"],
        {price: key for key, price in prices.items()},
    )
