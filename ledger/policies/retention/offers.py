"""Which offer is made: by reason, within limits that each are said when they forbid it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from fractions import Fraction

from ledger.aggregates.retention_offer import ChosenOffer, OfferBudget, RetentionOffer
from ledger.clock import utc
from ledger.periods import months_after
from ledger.policies.desk import Desk
from ledger.policies.retention.campaign import ANY_REASON, Offer, RetentionCampaign
from ledger.policies.worth import months_of
from ledger.standing import Standing
from ledger.stripe_objects import views


def in_holdout(campaign: RetentionCampaign, customer_id: str) -> bool:
    """Return whether a customer is of those who are offered nothing: always the same ones."""
    digest = hashlib.sha256(f"holdout|{campaign.name}|{customer_id}".encode()).digest()
    return int.from_bytes(digest[:4], "big") % 100 < campaign.holdout_percent


def tenure_months(subscription: views.Subscription, now: datetime) -> int:
    """Return for how many whole months there has been a subscription."""
    began = subscription.start_date or subscription.created
    if began is None:
        return 0
    since = utc(began)
    months = (now.year - since.year) * 12 + now.month - since.month
    return max(0, months - (now.day < since.day))


def choose(
    desk: Desk, offer: RetentionOffer, campaign: RetentionCampaign, standing: Standing
) -> tuple[ChosenOffer | None, str | None]:
    """Return the offer for a cancellation, or None and why: the limit that forbade the last one."""
    terms = offer.terms
    if terms.in_holdout:
        return None, "holdout"
    if _offered_lately(desk, offer, campaign):
        return None, "offered_lately"
    because: str | None = "no_offer_for_reason"
    for one in _for_reason(campaign.offers, offer.reason):
        if one.tenure_months_min > terms.tenure_months:
            because = "tenure"
            continue
        chosen, because = _allowed(desk, offer, campaign, standing, one)
        if chosen is not None:
            return chosen, None
    return None, because


def _for_reason(offers: Sequence[Offer], reason: str | None) -> list[Offer]:
    """Return the offers for a reason, those that name it first."""
    named = [one for one in offers if reason in one.reasons]
    return named + [one for one in offers if ANY_REASON in one.reasons]


def _offered_lately(desk: Desk, offer: RetentionOffer, campaign: RetentionCampaign) -> bool:
    """Return whether this customer was offered something within the window before now."""
    since = desk.now - timedelta(days=campaign.one_offer_in_days)
    others = (
        desk.find(RetentionOffer, stream)
        for stream in desk.about([offer.customer_id], "retention:")
        if stream != offer.id
    )
    return any(
        one is not None and (at := one.accepted_at or one.shown_at) is not None and at > since
        for one in others
    )


def still_stands(desk: Desk, offer: RetentionOffer, campaign: RetentionCampaign) -> str | None:
    """Return what forbids an offer by now that was chosen before, None if it may be made."""
    subscription = desk.standing(offer.customer_id, offer.terms.subscription).subscription
    if subscription is None:
        return "no_subscription"
    if _offered_lately(desk, offer, campaign):
        return "offered_lately"
    is_discount = offer.offer is not None and offer.offer.kind == "discount"
    standing = desk.standing(offer.customer_id, offer.terms.subscription)
    if is_discount and _is_discounted(standing, subscription):
        return "coupon_running"
    return None


def _allowed(
    desk: Desk,
    offer: RetentionOffer,
    campaign: RetentionCampaign,
    standing: Standing,
    wanted: Offer,
) -> tuple[ChosenOffer | None, str | None]:
    """Return an offer as it is made, or None and the limit that forbids it."""
    subscription, monthly = standing.subscription, offer.terms.monthly_minor
    params = _params(wanted, subscription, desk.now) if subscription else None
    cost = _cost(wanted, monthly, params) if params is not None else None
    margin = Fraction((monthly or 0) * campaign.margin_percent * campaign.expected_months, 100)
    because = None
    if subscription is None or params is None:
        because = f"no_{wanted.kind}"
    elif wanted.kind == "discount" and _is_discounted(standing, subscription):
        because = "coupon_running"
    elif cost is None:
        because = "worth_unknown"
    elif cost > margin * campaign.cost_share_percent / 100:
        because = "cost_share"
    elif cost and not _within_budget(desk, offer, campaign, cost):
        because = "budget"
    if because is not None or params is None or cost is None:
        return None, because
    return ChosenOffer(wanted.name, wanted.kind, params, cost), None


def _is_discounted(standing: Standing, subscription: views.Subscription) -> bool:
    customer = standing.customer
    held = [*(subscription.discounts or []), *(
        one for item in subscription.items for one in item.discounts or []
    )]  # fmt: skip
    return bool(held) or (customer is not None and customer.discount is not None)


def _params(
    offer: Offer, subscription: views.Subscription, now: datetime
) -> dict[str, object] | None:
    """Return what an offer changes at Stripe, None if it cannot be made to this subscription."""
    match offer.kind:
        case "discount":
            return {"percent_off": offer.percent_off, "months": offer.months}
        case "plan_change":
            has_it = any(item.price == offer.price for item in subscription.items)
            fits = len(subscription.items) == 1 and not has_it
            return {"price": offer.price} if fits else None
        case "trial_extension":
            trial = subscription.trial_end if subscription.status == "trialing" else None
            days = offer.days or 0
            return {"trial_end": trial + days * 86_400, "days": days} if trial else None
        case "pause":
            return _pause(offer.months or 1, subscription)
        case "free_feature":
            until = now + timedelta(days=offer.days or 0)
            return {"feature": offer.feature, "until": until.isoformat(), "days": offer.days}
        case _:
            return {}


def _pause(months: int, subscription: views.Subscription) -> dict[str, object] | None:
    ends = subscription.current_period_end
    if ends is None or _skips_a_longer_period(subscription, months):
        return None
    return {"resumes_at": int(months_after(utc(ends), months).timestamp()), "months": months}


def _skips_a_longer_period(subscription: views.Subscription, months: int) -> bool:
    """Return whether a pause would skip the renewal of more than it lasts: of a year, say."""
    return any(
        (period := months_of(item)) is None or period > months for item in subscription.items
    )


def _cost(offer: Offer, monthly: int | None, params: dict[str, object]) -> int | None:
    """Return what an offer costs at most, None where that cannot be told."""
    if offer.kind in ("support", "training", "talk", "free_feature", "plan_change"):
        return 0
    if monthly is None:
        return None
    if offer.kind == "discount":
        return int(Fraction(monthly * (offer.percent_off or 0) * (offer.months or 0), 100))
    if offer.kind == "pause":
        return monthly * (offer.months or 0)
    return int(Fraction(monthly * (offer.days or 0), 30))


def _within_budget(
    desk: Desk, offer: RetentionOffer, campaign: RetentionCampaign, cost: int
) -> bool:
    """Reserve what an offer may cost, if the month has that much left."""
    currency = offer.terms.currency or ""
    budget = campaign.monthly_budget_minor.get(currency)
    if budget is None or offer.terms.mode != "on":
        return True  # nobody gets what is only decided in shadow
    stream = OfferBudget.stream_of(campaign.name, desk.now, currency)
    month = desk.find(OfferBudget, stream)
    if month is None:
        month = OfferBudget.begin(stream, desk.now)
        desk.add(month)
    if month.reserved_minor + cost > budget:
        return False
    month.reserve(offer.id, cost, now=desk.now)
    return True
