"""Which mails follow a subscription's life, as data."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from ledger.errors import RequestInvalid
from ledger.policies.campaign import NAME, Campaign, Part, read

Trigger = Literal[
    "trial_will_end", "trial_ended", "payment_succeeded", "invoice_sent", "plan_upgraded",
    "plan_downgraded", "subscription_ended", "card_expiring",
]  # fmt: skip


class Rule(Part, frozen=True, kw_only=True):
    """What follows a trigger: a mail to the customer, and an alert to the team."""

    on: Trigger
    template: str | None = None
    alert: bool = False


class LifecycleCampaign(Campaign, frozen=True, kw_only=True):
    """The rules."""

    rules: list[Rule]


@cache
def shipped() -> LifecycleCampaign:
    """Return the rules that come with the program."""
    text = (files(__package__) / "standard.toml").read_text(encoding="utf-8")
    return read_campaign(tomllib.loads(text))


def read_campaign(given: Mapping[str, Any]) -> LifecycleCampaign:
    """Return the rules that this data describes; raise RequestInvalid saying what is wrong."""
    found = read(given, LifecycleCampaign)
    if found.kind != "lifecycle":
        raise RequestInvalid(f"A campaign of kind {found.kind!r} is not one of life-cycle rules.")
    for rule in found.rules:
        if rule.template is None and not rule.alert:
            raise RequestInvalid(f"The rule on {rule.on} does nothing: `template` or `alert`.")
        if rule.template is not None and not NAME(rule.template):
            raise RequestInvalid(f"{rule.template!r} cannot be the name of a template.")
    return found
