"""The life of a subscription: mails and notices by rules that are data, each once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from ledger.aggregates.effect import EffectRequest
from ledger.log import RecordedEvent
from ledger.policies.desk import Desk
from ledger.policies.lifecycle.campaign import LifecycleCampaign, Rule, read_campaign, shipped
from ledger.policies.lifecycle.triggers import READERS, Happened
from ledger.policies.policy import Policy
from ledger.standing import Standing

_GOOD_HOURS = 48


class Lifecycle(Policy):
    """Answers what happens in a subscription's life."""

    name = "lifecycle"
    version = 1
    streams = "lifecycle:"
    reads = frozenset(READERS)

    def react(self, desk: Desk, events: Sequence[RecordedEvent]) -> None:
        """Ask for what the rules say of each of these events; of old ones nothing."""
        for event in events:
            campaign, mode = next(iter(desk.running(shipped(), read_campaign)), (None, "off"))
            if campaign is None or event.customer_id is None:
                continue
            if desk.now - event.occurred_at > timedelta(hours=campaign.fact_age_hours_max):
                continue
            subscription = None if event.stream == event.customer_id else event.stream
            standing = desk.standing(event.customer_id, subscription)
            if standing.is_gone:
                continue
            for happened in READERS[event.topic](event, standing):
                for rule in campaign.rules:
                    if rule.on == happened.on:
                        _answer(desk, campaign, mode, rule, standing, happened)

    def take(self, desk: Desk, stream: str, step: str) -> None:
        """Do nothing: all of it is answered at once."""


def _answer(
    desk: Desk,
    campaign: LifecycleCampaign,
    mode: str,
    rule: Rule,
    standing: Standing,
    happened: Happened,
) -> None:
    how = desk.addressing(standing)
    key = f"lifecycle:{happened.on}:{happened.key}"
    if rule.template is not None:
        request = EffectRequest(
            key=key,
            kind="mail",
            what=rule.template,
            purpose="confirmation",
            params={**happened.params, "zone": how.zone},
            language=how.language,
            campaign=campaign.name,
            unless=happened.unless,
            expires_at=desk.now + timedelta(hours=_GOOD_HOURS),
        )
        desk.ask(standing.customer_id, request, mode=mode)
    if rule.alert:
        desk.alert(
            standing.customer_id,
            key,
            happened.on,
            happened.params,
            campaign=campaign.name,
            mode=mode,
        )
