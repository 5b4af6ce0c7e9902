"""Dunning: what follows from a failed payment, from `invoice.payment_failed` to settled.

One case per unpaid invoice. One timeline, not two clocks: our steps count from the first failure
and follow Stripe's `next_payment_attempt`; Stripe charges, we steer.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from ledger.aggregates import Customer, Subscription
from ledger.aggregates.dunning_case import CaseFailure, CaseTerms, DunningCase
from ledger.clock import utc
from ledger.log import RecordedEvent
from ledger.policies.desk import Desk
from ledger.policies.dunning import contradictions, steering, steps
from ledger.policies.dunning.campaign import (
    DunningCampaign,
    declines,
    read_campaign,
    shipped,
)
from ledger.policies.dunning.conditions import applies
from ledger.policies.policy import Policy
from ledger.standing import Failures, Standing
from ledger.stripe_objects import views

# What may open a case; all else concerns those that are open.
_OPENS = frozenset({Subscription.PaymentFailed.TOPIC, Subscription.InvoiceOverdue.TOPIC})
_CHECKOUT = "subscription_create"  # whose failure is one of a checkout, not of a customer


class Dunning(Policy):
    """Opens, follows and closes dunning cases, and takes their steps."""

    name = "dunning"
    version = 1
    streams = "dunning:"
    reads = _OPENS | {
        Subscription.PaymentActionRequired.TOPIC,
        Subscription.InvoicePaid.TOPIC,
        Subscription.PaymentSucceeded.TOPIC,
        Subscription.InvoiceVoided.TOPIC,
        Subscription.InvoiceMarkedUncollectible.TOPIC,
        Subscription.InvoiceUpdated.TOPIC,
        Subscription.InvoiceDeleted.TOPIC,
        Subscription.Updated.TOPIC,
        Subscription.Ended.TOPIC,
        Customer.ChargeFailed.TOPIC,
        Customer.PaymentIntentFailed.TOPIC,
        Customer.Updated.TOPIC,
        Customer.Deleted.TOPIC,
        Customer.CustomerErased.TOPIC,
    }

    def react(self, desk: Desk, events: Sequence[RecordedEvent]) -> None:
        """Follow the open cases of the customers these events are about, and open new ones."""
        customers = {event.customer_id for event in events if event.customer_id}
        known = desk.about(customers, self.streams)
        for stream in known:
            case = desk.find(DunningCase, stream)
            if case is not None and case.is_open:
                self.follow(desk, case)
        for event in events:
            invoice, customer = event.object_id, event.customer_id
            if event.topic not in _OPENS or not invoice or not customer:
                continue
            if DunningCase.stream_of(invoice) not in known:
                self._open(desk, customer, subscription_of(event), invoice)

    def take(self, desk: Desk, stream: str, step: str) -> None:
        """Take a due step, unless the case is over by now."""
        case = desk.find(DunningCase, stream)
        if case is None or case.pending(step) is None or case.rests:
            return
        campaign = campaign_of(desk, case)
        if not self._close_if_over(desk, case):
            steps.take(desk, case, campaign, step)

    def follow(self, desk: Desk, case: DunningCase) -> None:
        """Bring a case up to what is known now: closed, or its failure and steps as they are."""
        standing, campaign = standing_for(desk, case), campaign_of(desk, case)
        failure = failure_of(standing, case.terms.invoice)
        if failure is not None:
            case.note(failure, now=desk.now, read_until=desk.read_until)
        contradictions.tell(desk, case, campaign, standing)
        if self._close_if_over(desk, case):
            return
        if case.rests:
            return
        steps.schedule(desk, case, campaign)
        steering.steer(desk, case, campaign, standing)

    def _open(
        self, desk: Desk, customer_id: str, subscription_id: str | None, invoice_id: str
    ) -> None:
        standing = desk.standing(customer_id, subscription_id)
        invoice, failures = standing.invoice(invoice_id), standing.failures(invoice_id)
        failure = failure_of(standing, invoice_id)
        if invoice is None or failures is None or failure is None:
            return
        if standing.settled_as(invoice_id) or standing.is_gone or standing.has_ended:
            return
        if invoice.billing_reason == _CHECKOUT or desk.find(
            DunningCase, DunningCase.stream_of(invoice_id)
        ):
            return
        campaign, mode = self._campaign_for(desk, standing, invoice, failure)
        if campaign is None:
            return
        desk.keep(campaign)
        case = DunningCase.open(
            _terms(desk, standing, invoice, failures, campaign, mode),
            failure,
            now=desk.now,
            read_until=desk.read_until,
        )
        desk.add(case)
        if not case.rests:
            steps.schedule(desk, case, campaign)

    def _campaign_for(
        self, desk: Desk, standing: Standing, invoice: views.Invoice, failure: CaseFailure
    ) -> tuple[DunningCampaign | None, str]:
        """Return the first campaign that is not off and is for this invoice, and its state."""
        for campaign, state in desk.running(shipped(), read_campaign):
            if applies(campaign.applies_to, standing, invoice, failure):
                return campaign, state
        return None, "off"

    def _close_if_over(self, desk: Desk, case: DunningCase) -> bool:
        """Close a case whose invoice is settled, whose subscription or customer is gone."""
        standing = standing_for(desk, case)
        outcome = standing.settled_as(case.terms.invoice)
        if outcome is None and standing.is_gone:
            outcome = "customer_gone"
        if outcome is None and standing.has_ended:
            outcome = "canceled"
        if outcome is not None:
            case.close(outcome, now=desk.now, read_until=desk.read_until)
        return outcome is not None


def subscription_of(event: RecordedEvent) -> str | None:
    """Return the subscription in whose stream an event is, None if it is in its customer's."""
    return None if event.stream in (event.customer_id, "account") else event.stream


def standing_for(desk: Desk, case: DunningCase) -> Standing:
    """Return how the customer of a case stands."""
    return desk.standing(case.terms.customer_id, case.terms.subscription)


def campaign_of(desk: Desk, case: DunningCase) -> DunningCampaign:
    """Return the version of the campaign by which a case goes."""
    return desk.campaign(case.terms.campaign, case.terms.campaign_version, read_campaign)


def failure_of(standing: Standing, invoice_id: str) -> CaseFailure | None:
    """Return what is known of the last failure of an invoice."""
    failures, invoice = standing.failures(invoice_id), standing.invoice(invoice_id)
    if failures is None or invoice is None:
        return None
    table = declines()
    return CaseFailure(
        failures.count,
        failures.last_at,
        failures.decline_code or failures.failure_code,
        failures.advice_code,
        "overdue"
        if failures.is_overdue
        else table.class_of(
            failures.decline_code or failures.failure_code,
            failures.advice_code,
            needs_action=failures.needs_action,
        ),
        table.version,
        utc(invoice.next_payment_attempt) if invoice.next_payment_attempt else None,
    )


def _terms(
    desk: Desk,
    standing: Standing,
    invoice: views.Invoice,
    failures: Failures,
    campaign: DunningCampaign,
    mode: str,
) -> CaseTerms:
    how = desk.addressing(standing)
    return CaseTerms(
        standing.customer_id,
        invoice.id or "",
        standing.subscription_id,
        invoice.number,
        invoice.currency,
        invoice.amount_remaining if invoice.amount_remaining else invoice.amount_due,
        campaign.name,
        campaign.version,
        mode,
        how.zone,
        how.zone_source,
        how.language,
        failures.first_at,
        _is_old(desk.now, failures.first_at, campaign),
    )


def _is_old(now: datetime, first_at: datetime, campaign: DunningCampaign) -> bool:
    return now - first_at > timedelta(hours=campaign.fact_age_hours_max)
