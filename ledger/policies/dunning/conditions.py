"""Whom a campaign or a step is for, by what is known of the customer and the invoice."""

from __future__ import annotations

from ledger.aggregates.dunning_case import CaseFailure
from ledger.policies.campaign import AppliesTo
from ledger.standing import Standing
from ledger.stripe_objects import views


def applies(
    wanted: AppliesTo, standing: Standing, invoice: views.Invoice, failure: CaseFailure
) -> bool:
    """Return whether all that is named holds; what is not known holds for nobody."""
    customer, subscription = standing.customer, standing.subscription
    country = customer.country if customer else None
    amount = invoice.amount_due
    plans = set(invoice.prices)
    if subscription is not None:
        plans.update(
            name for item in subscription.items for name in (item.price, item.product) if name
        )
    method = invoice.collection_method or "charge_automatically"  # as it was before there were two
    is_enough = wanted.amount_min_minor is None or (
        amount is not None and amount >= wanted.amount_min_minor
    )
    is_little = wanted.amount_max_minor is None or (
        amount is not None and amount <= wanted.amount_max_minor
    )
    return (
        (not wanted.collection_method or method in wanted.collection_method)
        and (not wanted.decline_class or failure.decline_class in wanted.decline_class)
        and (not wanted.countries or country in wanted.countries)
        and (not wanted.plans or not plans.isdisjoint(wanted.plans))
        and wanted.currency in (None, invoice.currency)
        and is_enough
        and is_little
    )
