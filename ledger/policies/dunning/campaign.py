"""Dunning campaigns as data: which steps follow a failed payment, when, for whom, and what ends."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from datetime import timedelta
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import msgspec

from ledger.errors import RequestInvalid
from ledger.policies.campaign import (
    NAME,
    AppliesTo,
    Campaign,
    Channel,
    Part,
    check_applies,
    check_days,
    read,
)

FinalAction = Literal["none", "cancel", "mark_uncollectible", "pause"]
WINDOWS_DAYS_MAX = 62  # Stripe retries for two months at most


class Step(Part, frozen=True, kw_only=True):
    """One message: when it goes out (one of the four offsets), through what, to whom.

    `after_days` count from the first failure, `before_window_end_days` back from the end of
    Stripe's retries, `before_next_attempt_hours` back from Stripe's next attempt (the step follows
    it when Stripe moves it), `after_failures` is the failure it follows. A step that could not be
    taken in time is taken late, but not later than `missed_hours_max`.
    """

    name: str
    channel: Channel
    template: str
    after_days: int | None = None
    before_window_end_days: int | None = None
    before_next_attempt_hours: int | None = None
    after_failures: int | None = None
    when: AppliesTo = AppliesTo()
    ignores_quiet_hours: bool = False
    waits_for_pay_day: bool = False
    missed_hours_max: int = 48


class DunningCampaign(Campaign, frozen=True, kw_only=True):
    """A dunning campaign.

    All days count from the first failure. `revoke_after_days` ends access, `inactive_after_days`
    makes the customer inactive, more than `alert_after_failures` alert support; `pay_days` are
    days of the month on which wages come. `pays_with_new_method`: a new default payment method is
    charged at once.
    """

    stripe_retry_window_days: int
    revoke_after_days: int | None = None
    inactive_after_days: int | None = None
    alert_after_failures: int | None = None
    final_action: FinalAction = "none"
    final_action_after_days: int | None = None
    wait_for_reason_minutes: int = 5
    pay_days: tuple[int, ...] = ()
    pays_with_new_method: bool = True
    applies_to: AppliesTo = AppliesTo()
    steps: list[Step]

    def step(self, name: str) -> Step | None:
        """Return a step by its name."""
        return next((one for one in self.steps if one.name == name), None)


class Declines(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a bank's answer means, as data."""

    version: int
    advice: dict[str, str]
    decline: dict[str, str]
    retries_in_30_days: dict[str, int]

    def class_of(
        self, decline_code: str | None, advice_code: str | None, *, needs_action: bool
    ) -> str | None:
        """Return what kind of failure it is, None as long as nothing is known of it.

        What is concealed stays so, whatever is advised; else the advice counts first.
        """
        known = self.decline.get(decline_code or "")
        if needs_action or known == "authentication":
            return "authentication"
        if known in ("concealed", "insufficient_funds", "expired"):
            return known
        if advised := self.advice.get(advice_code or ""):
            return advised
        return known or ("retry" if decline_code else None)

    def budget(self, brand: str | None) -> int:
        """Return how often a card of a brand may be tried in 30 days."""
        return self.retries_in_30_days.get(brand or "", self.retries_in_30_days["other"])


@cache
def declines() -> Declines:
    """Return the table of declines."""
    text = (files(__package__) / "declines.toml").read_text(encoding="utf-8")
    return msgspec.convert(tomllib.loads(text), Declines)


@cache
def shipped() -> DunningCampaign:
    """Return the campaign that comes with the program."""
    text = (files(__package__) / "standard.toml").read_text(encoding="utf-8")
    return read_campaign(tomllib.loads(text))


def read_campaign(given: Mapping[str, Any]) -> DunningCampaign:
    """Return the campaign that this data describes; raise RequestInvalid saying what is wrong."""
    found = read(given, DunningCampaign)
    if found.kind != "dunning":
        raise RequestInvalid(f"A campaign of kind {found.kind!r} is not one of dunning.")
    if not 1 <= found.stripe_retry_window_days <= WINDOWS_DAYS_MAX:
        raise RequestInvalid(f"stripe_retry_window_days is 1 to {WINDOWS_DAYS_MAX}.")
    for name in ("revoke_after_days", "inactive_after_days", "final_action_after_days"):
        check_days(name, getattr(found, name), least=1)
    if (found.final_action == "none") != (found.final_action_after_days is None):
        raise RequestInvalid("final_action and final_action_after_days belong together.")
    if any(not 1 <= day <= 31 for day in found.pay_days):
        raise RequestInvalid("pay_days are days of the month, 1 to 31.")
    check_applies("applies_to", found.applies_to)
    _check_steps(found)
    return found


def _check_steps(campaign: DunningCampaign) -> None:
    names: set[str] = set()
    for step in campaign.steps:
        where = f"The step {step.name!r}"
        if not NAME(step.name) or step.name in names or step.name.startswith("_"):
            raise RequestInvalid(f"{where}: each step has a name of its own, of small letters.")
        names.add(step.name)
        offsets = (
            step.after_days,
            step.before_window_end_days,
            step.before_next_attempt_hours,
            step.after_failures,
        )
        if sum(one is not None for one in offsets) != 1:
            raise RequestInvalid(
                f"{where} says once when it is due: after_days, before_window_end_days,"
                " before_next_attempt_hours or after_failures."
            )
        check_days(f"{where}: after_days", step.after_days)
        check_days(f"{where}: before_window_end_days", step.before_window_end_days)
        if (
            step.before_window_end_days is not None
            and step.before_window_end_days > campaign.stripe_retry_window_days
        ):
            raise RequestInvalid(f"{where} would be due before the payment fails.")
        if step.missed_hours_max < 1:
            raise RequestInvalid(f"{where}: missed_hours_max is at least 1.")
        if step.waits_for_pay_day and not campaign.pay_days:
            raise RequestInvalid(f"{where} waits for a pay day, but there are no pay_days.")
        check_applies(where, step.when)


def retry_window(campaign: DunningCampaign) -> timedelta:
    """Return for how long Stripe retries after the first failure."""
    return timedelta(days=campaign.stripe_retry_window_days)
