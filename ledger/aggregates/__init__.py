"""Facts from Stripe and our own decisions, as classes: what can stand in the log.

`invoice.payment_failed` is found here as the `stripe_type` of `Subscription.PaymentFailed`.
"""

from __future__ import annotations

from collections.abc import Mapping

from ledger.aggregates.account import Account
from ledger.aggregates.base import StripeFact
from ledger.aggregates.campaigns import Campaigns
from ledger.aggregates.customer import Customer
from ledger.aggregates.customer_work import CustomerWork, WorkRules
from ledger.aggregates.decision import Decision
from ledger.aggregates.dunning_case import DunningCase
from ledger.aggregates.keeping import Keeping
from ledger.aggregates.outbox import Outbox
from ledger.aggregates.people import Access, Program, User
from ledger.aggregates.retention_offer import OfferBudget, RetentionOffer
from ledger.aggregates.sending import Sending, SendingCap
from ledger.aggregates.subscription import Subscription

AGGREGATES: tuple[type, ...] = (Customer, Subscription, Account)
DECISIONS: tuple[type[Decision], ...] = (
    DunningCase,
    RetentionOffer,
    OfferBudget,
    Outbox,
    Sending,
    SendingCap,
    Campaigns,
    User,
    Program,
    Access,
    CustomerWork,
    WorkRules,
    Keeping,
)

FACTS: tuple[type[StripeFact], ...] = tuple(
    member
    for aggregate in AGGREGATES
    for member in vars(aggregate).values()
    if isinstance(member, type) and issubclass(member, StripeFact)
)
BY_TOPIC: Mapping[str, type[StripeFact]] = {fact.TOPIC: fact for fact in FACTS}
EVENT_TYPES: Mapping[str, type[StripeFact]] = {
    fact.stripe_type: fact for fact in FACTS if fact.stripe_type is not None
}


def fact_class_of(stripe_type: str) -> type[StripeFact]:
    """Return the class that says what an event of this Stripe type means."""
    return EVENT_TYPES.get(stripe_type, Account.StripeEventNoted)


__all__ = [
    "AGGREGATES",
    "BY_TOPIC",
    "DECISIONS",
    "EVENT_TYPES",
    "FACTS",
    "Access",
    "Account",
    "Campaigns",
    "Customer",
    "CustomerWork",
    "DunningCase",
    "Keeping",
    "Outbox",
    "Program",
    "RetentionOffer",
    "Sending",
    "StripeFact",
    "Subscription",
    "User",
    "WorkRules",
    "fact_class_of",
]
