"""What people order about customers: tags, owners, notes, tasks; rules and saved filters."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ledger.aggregates.customer_work import AssignmentRule, CustomerWork, WorkRules
from ledger.errors import RequestInvalid
from ledger.policies.desk import Desk

TAG = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
RULES_MAX = 100


def work_on(desk: Desk, customer_id: str) -> CustomerWork:
    """Return a customer's work, to be changed; raise NotFound for nobody, or somebody erased."""
    desk.require_customer(customer_id)
    found = desk.find(CustomerWork, CustomerWork.stream_of(customer_id))
    if found is None:
        found = CustomerWork.begin(customer_id, desk.now)
        desk.add(found)
    return found


def rules_of(desk: Desk) -> WorkRules:
    """Return the rules and saved filters, to be changed."""
    found = desk.find(WorkRules, WorkRules.STREAM)
    if found is None:
        found = WorkRules.begin(desk.now)
        desk.add(found)
    return found


def share_out(desk: Desk, rules: list[Mapping[str, Any]], actor: str) -> WorkRules:
    """Let these assignment rules hold; raise RequestInvalid."""
    if len(rules) > RULES_MAX:
        raise RequestInvalid(f"There are at most {RULES_MAX} rules.")
    made = [
        AssignmentRule(
            one["name"], one["owners"], one.get("countries", []), one.get("currencies", [])
        )
        for one in rules
    ]
    if len({one.name for one in made}) < len(made):
        raise RequestInvalid("Two rules have the same name.")
    found = rules_of(desk)
    if made != found.assignment:
        found.share_out(made, actor=actor, now=desk.now)
    return found
