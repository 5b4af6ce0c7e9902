"""New customers are shared out among people by rules that are data: the first that fits counts."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from ledger.aggregates import Customer, Subscription
from ledger.aggregates.customer_work import AssignmentRule, CustomerWork, WorkRules
from ledger.log import RecordedEvent
from ledger.policies.desk import Desk
from ledger.policies.policy import Policy
from ledger.standing import Standing


class Assignment(Policy):
    """Gives a customer without an owner to whom a rule names, when they come or subscribe."""

    name = "assignment"
    version = 1
    streams = CustomerWork.PREFIX
    reads = frozenset({Customer.Created.TOPIC, Subscription.Started.TOPIC})

    def react(self, desk: Desk, events: Sequence[RecordedEvent]) -> None:
        """Share the customers out that these events are about."""
        rules = desk.find(WorkRules, WorkRules.STREAM)
        if rules is None or not rules.assignment:
            return
        for event in events:
            if event.customer_id is None:
                continue
            work = desk.find(CustomerWork, CustomerWork.stream_of(event.customer_id))
            if work is not None and work.owner is not None:
                continue
            subscription = None if event.stream == event.customer_id else event.stream
            standing = desk.standing(event.customer_id, subscription)
            rule = next((one for one in rules.assignment if _fits(one, standing)), None)
            if rule is None or standing.is_gone:
                continue
            if work is None:
                work = CustomerWork.begin(event.customer_id, desk.now)
                desk.add(work)
            owner = _turn(rule, event.customer_id)
            work.give_to(owner, actor=self.name, rule=rule.name, now=desk.now)

    def take(self, desk: Desk, stream: str, step: str) -> None:
        """Do nothing: all of it is decided at once."""


def _fits(rule: AssignmentRule, standing: Standing) -> bool:
    customer, subscription = standing.customer, standing.subscription
    if rule.countries and (customer is None or customer.country not in rule.countries):
        return False
    currency = (subscription.currency if subscription else None) or (
        customer.currency if customer else None
    )
    return not rule.currencies or currency in rule.currencies


def _turn(rule: AssignmentRule, customer_id: str) -> str:
    """Return one of a rule's owners, the same whenever it is asked: evenly, by the id's digest."""
    digest = hashlib.sha256(f"{rule.name}|{customer_id}".encode()).digest()
    return rule.owners[int.from_bytes(digest[:8], "big") % len(rule.owners)]
