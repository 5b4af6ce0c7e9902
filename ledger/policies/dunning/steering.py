"""Steering: a customer gave another card, so Stripe should charge that one, and now.

The portal sets the customer's default method; a subscription that has one of its own goes on with
the old card (https://docs.stripe.com/billing/subscriptions/overview#default-payment-method), and an
open invoice is not tried again before its next date. We never charge by a schedule of our own.
"""

from __future__ import annotations

from datetime import timedelta

from ledger.aggregates import Customer, Subscription
from ledger.aggregates.dunning_case import DunningCase
from ledger.aggregates.effect import EffectRequest
from ledger.policies.desk import Desk
from ledger.policies.dunning.campaign import DunningCampaign, declines
from ledger.standing import Standing
from ledger.stripe_objects.fields import nested, reference

BUDGET_DAYS = 30


def steer(desk: Desk, case: DunningCase, campaign: DunningCampaign, standing: Standing) -> None:
    """Ask Stripe to collect an open invoice with a method that came after the failure."""
    method, terms = new_method(standing, case), case.terms
    invoice = standing.invoice(terms.invoice)
    if method is None or invoice is None or not campaign.pays_with_new_method:
        return
    if invoice.collection_method == "send_invoice":
        return  # that customer pays by themselves
    unless = {"invoice_settled": terms.invoice, "subscription": terms.subscription or ""}
    subscription = standing.subscription
    own = subscription.default_payment_method if subscription else None
    if own is not None and own != method:
        request = EffectRequest(
            f"{case.id}:method:{method}",
            "stripe",
            "set_payment_method",
            "action",
            {"subscription": terms.subscription, "payment_method": method},
            campaign=campaign.name,
            unless=unless,
        )
        desk.ask(terms.customer_id, request, mode=terms.mode)
    if tries_left(desk, standing, case) > 0:
        request = EffectRequest(
            f"{case.id}:pay:{method}",
            "stripe",
            "pay_invoice",
            "action",
            {"invoice": terms.invoice, "payment_method": method},
            campaign=campaign.name,
            unless=unless,
            expires_at=desk.now + timedelta(hours=24),
        )
        desk.ask(terms.customer_id, request, mode=terms.mode)


def new_method(standing: Standing, case: DunningCase) -> str | None:
    """Return the payment method that became the default after the last failure, if one did.

    The subscription's own counts before the customer's, as it does at Stripe.
    """
    failed_at = case.failure.failed_at
    failures = standing.failures(case.terms.invoice)
    failed_with = failures.payment_method if failures else None
    found = None
    for fact in sorted(standing.facts, key=lambda one: one.occurred_at):
        if fact.occurred_at < failed_at:
            continue
        previous = fact.previous_attributes
        if fact.TOPIC == Customer.Updated.TOPIC:
            if "default_payment_method" in nested(previous, "invoice_settings"):
                found = reference(fact.snapshot, "invoice_settings", "default_payment_method")
        elif (
            fact.TOPIC == Subscription.Updated.TOPIC
            and fact.object_id == case.terms.subscription
            and "default_payment_method" in previous
        ):
            found = reference(fact.snapshot, "default_payment_method")
    return found if found != failed_with else None


def tries_left(desk: Desk, standing: Standing, case: DunningCase) -> int:
    """Return how often the networks would let this be tried within the last 30 days.

    All failed charges of the customer count, whatever the card: rather one too few.
    """
    since = desk.now - timedelta(days=BUDGET_DAYS)
    tried = sum(
        fact.TOPIC == Customer.ChargeFailed.TOPIC and fact.occurred_at > since
        for fact in standing.facts
    )
    failures = standing.failures(case.terms.invoice)
    return declines().budget(failures.brand if failures else None) - tried
