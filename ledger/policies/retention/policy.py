"""Retention: what follows when a customer wants to leave, wherever they said so.

The exit is never in the way: the cancellation is scheduled at Stripe first, then we answer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta

from ledger.aggregates import Customer, Subscription
from ledger.aggregates.retention_offer import RetentionOffer, RetentionTerms
from ledger.clock import utc
from ledger.log import RecordedEvent
from ledger.policies.desk import Desk
from ledger.policies.policy import Policy
from ledger.policies.retention import steps
from ledger.policies.retention.campaign import RetentionCampaign, read_campaign, shipped
from ledger.policies.retention.offers import choose, in_holdout, tenure_months
from ledger.policies.worth import monthly_minor
from ledger.standing import Standing
from ledger.stripe_objects import views
from ledger.stripe_objects.fields import nested
from ledger.stripe_objects.readers import view_of

_LEAVES = frozenset(
    {Subscription.Started.TOPIC, Subscription.Updated.TOPIC, Subscription.Ended.TOPIC}
)
_LEAVING = frozenset({"cancel_at_period_end", "cancel_at", "canceled_at"})
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
        for event in events:
            if event.customer_id and event.object_id and _asks_to_leave(event):
                self._open(desk, event)

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
        elif subscription is None or offer.accepted_at or offer.withdrawn_at:
            return  # it has taken its turn and is to be judged
        elif standing.is_leaving:
            offer.confirm(ends_at(subscription), subscription.feedback, now=desk.now)
            steps.schedule(desk, offer, campaign)
        elif offer.is_confirmed:
            offer.withdraw(now=desk.now, read_until=desk.read_until)
            steps.leave_out(desk, offer, "withdrawn")
            steps.schedule_judgement(desk, offer, campaign)

    def _open(self, desk: Desk, event: RecordedEvent) -> None:
        """Answer a cancellation that was scheduled elsewhere, at Stripe or by the business.

        Who had stayed and leaves again is answered anew; what made them stay did not.
        """
        customer_id, subscription_id = str(event.customer_id), str(event.object_id)
        standing = desk.standing(customer_id, subscription_id)
        subscription = standing.subscription
        if subscription is None or standing.is_gone or not standing.is_leaving:
            return
        if standing.has_ended or subscription.status not in _RUNNING:
            return
        known = live_offer(desk, customer_id, subscription_id)
        turned_at = (known.accepted_at or known.withdrawn_at) if known is not None else None
        if known is not None and (turned_at is None or event.occurred_at <= turned_at):
            return
        if known is not None:
            known.close("lost", now=desk.now, read_until=desk.read_until)
        open_offer(desk, standing, "stripe", subscription.feedback, None, event.occurred_at)


def _asks_to_leave(event: RecordedEvent) -> bool:
    """Return whether with this event the customer's wish to leave came into being.

    A subscription that has an end from its beginning on, or one that is ended for want of payment,
    is nobody's wish.
    """
    if event.topic != Subscription.Updated.TOPIC:
        return False
    previous = nested(event.data, "data", "previous_attributes")
    now = view_of(nested(event.data, "data", "object"))
    if not isinstance(now, views.Subscription) or not _LEAVING & previous.keys():
        return False
    leaves = bool(now.cancel_at_period_end) or now.cancel_at is not None
    return leaves and now.cancellation_reason in (None, "cancellation_requested")


def live_offer(desk: Desk, customer_id: str, subscription_id: str) -> RetentionOffer | None:
    """Return the cancellation of a subscription that goes on, if there is one."""
    prefix = f"{Retention.streams}{subscription_id}:"
    found = [desk.find(RetentionOffer, one) for one in desk.about([customer_id], prefix)]
    return next((one for one in found if one is not None and one.is_open), None)


def open_offer(
    desk: Desk,
    standing: Standing,
    source: str,
    reason: str | None,
    comment: str | None,
    asked_at: datetime,
) -> RetentionOffer | None:
    """Open a cancellation, choose what is offered and let its steps be due.

    None if all campaigns are off, or if it was asked for too long ago to be answered now.
    """
    subscription = standing.subscription
    assert subscription is not None
    assert standing.subscription_id is not None
    campaign, mode = next(iter(desk.running(shipped(), read_campaign)), (None, "off"))
    if campaign is None:
        return None
    if desk.now - asked_at > timedelta(hours=campaign.fact_age_hours_max):
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
    how = desk.addressing(standing)
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
        how.zone,
        how.zone_source,
        how.language,
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
