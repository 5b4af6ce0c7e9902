"""Retention campaigns as data: what is offered for which reason, when, and what it may cost."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Literal, get_args

import msgspec

from ledger.errors import RequestInvalid
from ledger.money import is_currency
from ledger.policies.campaign import NAME, Campaign, Part, check_days, read

OfferKind = Literal[
    "discount", "pause", "plan_change", "trial_extension", "free_feature", "support", "training",
    "talk",
]  # fmt: skip
# https://docs.stripe.com/api/subscriptions/object#subscription_object-cancellation_details-feedback
REASONS = (
    "customer_service", "low_quality", "missing_features", "other", "switched_service",
    "too_complex", "too_expensive", "unused",
)  # fmt: skip
ANY_REASON = "*"
_NEEDS: Mapping[str, tuple[str, ...]] = {
    "discount": ("percent_off", "months"),
    "pause": ("months",),
    "plan_change": ("price",),
    "trial_extension": ("days",),
    "free_feature": ("feature", "days"),
}


class Offer(Part, frozen=True, kw_only=True):
    """One offer: what it is, for which reasons, and from which time with us on."""

    name: str
    kind: OfferKind
    reasons: list[str]
    tenure_months_min: int = 0
    percent_off: int | None = None
    months: int | None = None
    days: int | None = None
    price: str | None = None
    feature: str | None = None


class RetentionCampaign(Campaign, frozen=True, kw_only=True):
    """A retention campaign.

    `one_offer_in_days`: nobody is offered anything twice within so many days. The cost of an offer
    is at most `cost_share_percent` of the margin that is expected of the customer: what they pay a
    month, times `margin_percent`, times `expected_months`. `monthly_budget_minor`: by currency.
    `benefits`: what the last mail says is lost, by price or product.
    """

    offer_after_hours: int = 24
    reminder_before_end_days: int | None = 3
    judged_after_days: int = 30
    win_back_after_days: int | None = None
    holdout_percent: int = 10
    one_offer_in_days: int = 365
    margin_percent: int = 80
    expected_months: int = 12
    cost_share_percent: int = 30
    monthly_budget_minor: dict[str, int] = msgspec.field(default_factory=dict)
    assignees: tuple[str, ...] = ()
    benefits: dict[str, list[str]] = msgspec.field(default_factory=dict)
    offers: list[Offer]


@cache
def shipped() -> RetentionCampaign:
    """Return the campaign that comes with the program."""
    text = (files(__package__) / "standard.toml").read_text(encoding="utf-8")
    return read_campaign(tomllib.loads(text))


def read_campaign(given: Mapping[str, Any]) -> RetentionCampaign:
    """Return the campaign that this data describes; raise RequestInvalid saying what is wrong."""
    found = read(given, RetentionCampaign)
    if found.kind != "retention":
        raise RequestInvalid(f"A campaign of kind {found.kind!r} is not one of retention.")
    if not 1 <= found.offer_after_hours <= 24 * 14:
        raise RequestInvalid("offer_after_hours is 1 to 336.")
    check_days("reminder_before_end_days", found.reminder_before_end_days, least=1)
    check_days("judged_after_days", found.judged_after_days, least=1)
    check_days("win_back_after_days", found.win_back_after_days, least=1)
    for name in ("holdout_percent", "margin_percent", "cost_share_percent"):
        if not 0 <= getattr(found, name) <= 100:
            raise RequestInvalid(f"{name} is 0 to 100.")
    for currency, amount in found.monthly_budget_minor.items():
        if not is_currency(currency) or amount < 0:
            raise RequestInvalid(f"monthly_budget_minor: {currency!r} = {amount} is no budget.")
    names: set[str] = set()
    for offer in found.offers:
        _check(offer, names)
        names.add(offer.name)
    return found


def _check(offer: Offer, names: set[str]) -> None:
    where = f"The offer {offer.name!r}"
    if not NAME(offer.name) or offer.name in names:
        raise RequestInvalid(f"{where}: each offer has a name of its own, of small letters.")
    if unknown := set(offer.reasons) - {*REASONS, ANY_REASON}:
        raise RequestInvalid(f"{where}: {min(unknown)!r} is none of {', '.join(REASONS)} or `*`.")
    for field in _NEEDS.get(offer.kind, ()):
        if getattr(offer, field) is None:
            raise RequestInvalid(f"{where}: a {offer.kind} needs `{field}`.")
    if offer.percent_off is not None and not 1 <= offer.percent_off <= 100:
        raise RequestInvalid(f"{where}: percent_off is 1 to 100.")
    for field in ("months", "days"):
        check_days(f"{where}: {field}", getattr(offer, field), least=1)
    assert offer.kind in get_args(OfferKind)
