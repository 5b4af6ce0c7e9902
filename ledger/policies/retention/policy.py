"""Retention: what follows when a customer wants to leave, wherever they said so.

The exit is never in the way: the cancellation is scheduled at Stripe first, then we answer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime

from ledger.aggregates import Customer, Subscription
from ledger.aggregates.retention_offer import RetentionOffer, RetentionTerms
from ledger.clock import utc
from ledger.log import RecordedEvent
from ledger.policies.desk import Desk, language_of
from ledger.policies.policy import Policy
from ledger.policies.retention import steps
from ledger.policies.retention.campaign import RetentionCampaign, read_campaign, shipped
from ledger.policies.retention.offers import choose, in_holdout, tenure_months
from ledger.policies.timing import clock_of
from ledger.policies.worth import monthly_minor
from ledger.standing import Standing
from ledger.stripe_objects import views

_LEAVES = frozenset(
    {Subscription.Started.TOPIC, Subscription.Updated.TOPIC, Subscription.Ended.TOPIC}
)
_RUNNING = frozenset({"active", "trialing", "past_due", "paused", "unpaid"})


class Retention(Policy):
    """Opens, follows and judges cancellations, and takes their steps."""

    name = "retention"
    version = 1
    streams = "retention:"
    reads = _LEAVES | {Customer.Deleted.TOPIC, Customer.CustomerErased.TOPIC}

    def react(self, desk: Desk, events: Sequence[RecordedEvent]) -> None:
        """Follow the cancellations of the customers these events are about, and open new ones."""
        customers = {event.customer_id for event in events if event.customer_id}
        for stream in desk.about(customers, self.streams):
            offer = desk.find(RetentionOffer, stream)
            if offer is not None and offer.is_open:
                self.follow(desk, offer)
        seen = set()
        for event in events:
            about = (event.customer_id, event.object_id)
            if event.topic == Subscription.Updated.TOPIC and about not in seen and all(about):
                seen.add(about)
                self._open_if_leaving(desk, str(event.customer_id), str(event.object_id))

    def take(self, desk: Desk, stream: str, step: str) -> None:
        """Take a due step, unless it is over by now."""
        offer = desk.find(RetentionOffer, stream)
        if offer is None or offer.pending(step) is None:
            return
        self.follow(desk, offer)
        if offer.pending(step) is not None:
            steps.take(desk, offer, campaign_of(desk, offer), step)

    def follow(self, desk: Desk, offer: RetentionOffer) -> None:
        """Bring a cancellation up to what is known now."""
        standing = desk.standing(offer.customer_id, offer.terms.subscription)
        if standing.is_gone:
            offer.close("customer_gone", now=desk.now, read_until=desk.read_until)
            return
        subscription = standing.subscription
        campaign = campaign_of(desk, offer)
        if standing.has_ended:
            if offer.ended_at is None:
                offer.end(now=desk.now, read_until=desk.read_until)
                steps.schedule_after_end(desk, offer, campaign)
                if not offer.all_pending:
                    offer.close("lost", now=desk.now, read_until=desk.read_until)
        elif subscription is not None and is_leaving(subscription):
            offer.confirm(ends_at(subscription), subscription.feedback, now=desk.now)
            steps.schedule(desk, offer, campaign)
        elif subscription is not None and offer.is_confirmed and offer.accepted_at is None:
            offer.withdraw(now=desk.now, read_until=desk.read_until)
            steps.leave_out(desk, offer, "withdrawn")
            steps.schedule_judgement(desk, offer, campaign)

    def _open_if_leaving(self, desk: Desk, customer_id: str, subscription_id: str) -> None:
        """Answer a cancellation that was scheduled elsewhere, at Stripe or by the business."""
        standing = desk.standing(customer_id, subscription_id)
        subscription = standing.subscription
        if subscription is None or standing.is_gone or standing.has_ended:
            return
        leaves = is_leaving(subscription) and subscription.status in _RUNNING
        if leaves and live_offer(desk, customer_id, subscription_id) is None:
            open_offer(desk, standing, "stripe", subscription.feedback, None)


def live_offer(desk: Desk, customer_id: str, subscription_id: str) -> RetentionOffer | None:
    """Return the cancellation of a subscription that goes on, if there is one."""
    prefix = f"{Retention.streams}{subscription_id}:"
    found = [desk.find(RetentionOffer, one) for one in desk.about([customer_id], prefix)]
    return next((one for one in found if one is not None and one.is_open), None)


def open_offer(
    desk: Desk, standing: Standing, source: str, reason: str | None, comment: str | None
) -> RetentionOffer | None:
    """Open a cancellation, choose what is offered and let its steps be due; None if all is off."""
    subscription = standing.subscription
    assert subscription is not None
    assert standing.subscription_id is not None
    for campaign in desk.newest(shipped(), read_campaign):
        mode = desk.state_of(campaign, is_shipped=campaign.name == shipped().name)
        if mode != "off":
            break
    else:
        return None
    desk.keep(campaign)
    customer_id, name = standing.customer_id, standing.subscription_id
    number = len(desk.about([customer_id], f"{Retention.streams}{name}:")) + 1
    terms = _terms(desk, standing, subscription, campaign, mode, source, reason)
    offer = RetentionOffer.open(terms, number, comment, now=desk.now, read_until=desk.read_until)
    desk.add(offer)
    chosen, because = choose(desk, offer, campaign, standing)
    offer.choose(chosen, because, now=desk.now, read_until=desk.read_until)
    steps.schedule(desk, offer, campaign)
    return offer


def campaign_of(desk: Desk, offer: RetentionOffer) -> RetentionCampaign:
    """Return the version of the campaign by which a cancellation is answered."""
    return desk.campaign(offer.terms.campaign, offer.terms.campaign_version, read_campaign)


def is_leaving(subscription: views.Subscription) -> bool:
    """Return whether the end of a subscription is scheduled."""
    return bool(subscription.cancel_at_period_end) or subscription.cancel_at is not None


def ends_at(subscription: views.Subscription) -> datetime | None:
    """Return when a subscription ends that was canceled."""
    end = subscription.cancel_at or subscription.current_period_end
    return utc(end) if end is not None else None


def _terms(
    desk: Desk,
    standing: Standing,
    subscription: views.Subscription,
    campaign: RetentionCampaign,
    mode: str,
    source: str,
    reason: str | None,
) -> RetentionTerms:
    customer, brand = standing.customer, desk.brand
    country = customer.country if customer else None
    clock = clock_of(country, brand.zone)
    locales = customer.preferred_locales if customer else []
    return RetentionTerms(
        standing.customer_id,
        standing.subscription_id or "",
        source,
        reason,
        campaign.name,
        campaign.version,
        mode,
        subscription.currency,
        monthly_minor(subscription),
        tenure_months(subscription, desk.now),
        clock.zone,
        clock.source,
        language_of(locales, country, brand.language),
        ends_at(subscription),
        in_holdout(campaign, standing.customer_id),
        _assignee(campaign, standing.customer_id),
    )


def _assignee(campaign: RetentionCampaign, customer_id: str) -> str | None:
    """Return who looks after a customer: always the same of those who are named."""
    if not campaign.assignees:
        return None
    digest = hashlib.sha256(f"assignee|{customer_id}".encode()).digest()
    return campaign.assignees[int.from_bytes(digest[:4], "big") % len(campaign.assignees)]
