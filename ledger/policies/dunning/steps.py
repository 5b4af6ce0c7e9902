"""The steps of a case: when each is due, and what it does when it is."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from ledger.aggregates.dunning_case import DunningCase
from ledger.aggregates.effect import EffectRequest
from ledger.policies.desk import Desk
from ledger.policies.dunning.campaign import DunningCampaign, Step, retry_window
from ledger.policies.dunning.conditions import applies
from ledger.policies.timing import Due, due, outside_quiet_hours

# Steps that every campaign may have beside its messages, by what they do.
ALERT, REVOKE, INACTIVE, FINAL = "_alert", "_revoke", "_inactive", "_final_action"
_FINAL_ACTIONS = {
    "cancel": "cancel_subscription",
    "mark_uncollectible": "mark_uncollectible",
    "pause": "pause_collection",
}


def schedule(desk: Desk, case: DunningCase, campaign: DunningCampaign) -> None:
    """Let every step be due when it is by what is known now."""
    for name, when in _due(case, campaign, desk.now):
        case.schedule(name, when.at, when.moved_by, now=desk.now)


def _due(case: DunningCase, campaign: DunningCampaign, now: datetime) -> Iterator[tuple[str, Due]]:
    for step in campaign.steps:
        base = _base(case, campaign, step)
        if base is None:
            continue
        if case.failure.decline_class is None and step.after_days == 0:
            # The event that tells why comes within seconds, as a rule.
            base = max(base, _opened_at(case) + timedelta(minutes=campaign.wait_for_reason_minutes))
        yield (
            step.name,
            due(
                base,
                case.terms.zone,
                quiet=None if step.ignores_quiet_hours else campaign.quiet_hours,
                pay_days=campaign.pay_days if step.waits_for_pay_day else (),
            ),
        )
    limit = campaign.alert_after_failures
    if limit is not None and case.failure.failures > limit and ALERT not in case.steps:
        yield ALERT, Due(now)
    for name, days in (
        (REVOKE, campaign.revoke_after_days),
        (INACTIVE, campaign.inactive_after_days),
        (FINAL, campaign.final_action_after_days),
    ):
        if days is not None:
            yield name, Due(case.anchor_at + timedelta(days=days))


def _opened_at(case: DunningCase) -> datetime:
    opened: datetime = case.created_on
    return opened


def _base(case: DunningCase, campaign: DunningCampaign, step: Step) -> datetime | None:
    """Return when a step would be due if nobody slept, None as long as that is not known."""
    if step.after_days is not None:
        return case.anchor_at + timedelta(days=step.after_days)
    if step.before_window_end_days is not None:
        end = case.terms.first_failed_at + retry_window(campaign)
        return end - timedelta(days=step.before_window_end_days)
    if step.before_next_attempt_hours is not None:
        following = case.failure.next_attempt_at
        return following and following - timedelta(hours=step.before_next_attempt_hours)
    if step.after_failures is not None and case.failure.failures >= step.after_failures:
        return max(case.failure.failed_at, case.anchor_at)
    return None


def take(desk: Desk, case: DunningCase, campaign: DunningCampaign, name: str) -> None:
    """Take a pending step of an open case: do what it does, or leave it out and say why."""
    step = campaign.step(name)
    if step is None:
        _take_other(desk, case, campaign, name)
        return
    pending = case.steps[name]
    awake = outside_quiet_hours(desk.now, campaign.quiet_hours, case.terms.zone)
    because = _pointless(desk, case, campaign, step, pending.due_at)
    if because is not None:
        case.skip(name, because, now=desk.now, read_until=desk.read_until)
    elif awake != desk.now and not step.ignores_quiet_hours:
        case.schedule(name, awake, "quiet_hours", now=desk.now)  # it was late: not at night
    else:
        send(desk, case, campaign, step)


def send(
    desk: Desk,
    case: DunningCase,
    campaign: DunningCampaign,
    step: Step,
    actor: str | None = None,
) -> None:
    """Ask for a step's message and note that the step was taken."""
    request = message(desk, case, campaign, step, actor)
    outcome = desk.ask(case.terms.customer_id, request, mode=case.terms.mode)
    case.take(
        step.name,
        outcome,
        request.key,
        now=desk.now,
        read_until=desk.read_until,
        actor=actor,
    )


def _pointless(
    desk: Desk, case: DunningCase, campaign: DunningCampaign, step: Step, due_at: datetime
) -> str | None:
    """Return why a step is to be left out, None if it is to be taken."""
    if desk.now - due_at > timedelta(hours=step.missed_hours_max):
        return "missed"
    later = (case.pending(other.name) for other in campaign.steps if other.channel == step.channel)
    if any(one and due_at < one.due_at <= desk.now for one in later):
        return "overtaken"  # two mails at once tell nobody more than one
    standing = desk.standing(case.terms.customer_id, case.terms.subscription)
    invoice = standing.invoice(case.terms.invoice)
    if invoice is None or not applies(step.when, standing, invoice, case.failure):
        return "condition"
    return None


def message(
    desk: Desk,
    case: DunningCase,
    campaign: DunningCampaign,
    step: Step,
    actor: str | None = None,
) -> EffectRequest:
    """Return what a step asks for."""
    terms, failure = case.terms, case.failure
    standing = desk.standing(terms.customer_id, terms.subscription)
    invoice = standing.invoice(terms.invoice)
    subscription = standing.subscription
    end = terms.first_failed_at + retry_window(campaign)
    prices = invoice.prices if invoice else []
    if not prices and subscription is not None:
        prices = [item.price for item in subscription.items if item.price]
    return EffectRequest(
        key=f"{case.id}:{step.name}",
        kind=step.channel,
        what=step.template,
        purpose="notice",
        params={
            "invoice": terms.invoice,
            "subscription": terms.subscription,
            "number": terms.number,
            "currency": terms.currency,
            "amount_minor": terms.amount_due_minor,
            "prices": prices,
            "failures": failure.failures,
            "decline_class": failure.decline_class,
            "first_failed_at": terms.first_failed_at.isoformat(),
            "window_ends_at": end.isoformat(),
            "next_attempt_at": (
                failure.next_attempt_at.isoformat() if failure.next_attempt_at else None
            ),
            "zone": terms.zone,
            "step": step.name,
        },
        language=terms.language,
        campaign=campaign.name,
        unless={
            "invoice_settled": terms.invoice,
            "subscription": terms.subscription or "",
        },
        expires_at=desk.now + timedelta(hours=step.missed_hours_max),
        actor=actor,
    )


def _was_told(desk: Desk, case: DunningCase, campaign: DunningCampaign) -> bool:
    """Return whether a message of the case has reached the customer, or would have in shadow."""
    effects = desk.outbox(case.customer_id).effects
    told = (effects.get(f"{case.id}:{step.name}") for step in campaign.steps)
    return any(effect is not None and effect.state in ("sent", "shadowed") for effect in told)


def _take_other(desk: Desk, case: DunningCase, campaign: DunningCampaign, name: str) -> None:
    """Take a step that is no message to the customer.

    Nothing is taken from somebody who was never told, nor by a campaign that is off by now.
    """
    terms = case.terms
    because = None
    if desk.sending.campaigns.get(campaign.name) == "off":
        because = "campaign_off"
    elif name in (REVOKE, FINAL) and campaign.steps and not _was_told(desk, case, campaign):
        because = "nobody_was_told"
    if because is not None:
        case.skip(name, because, now=desk.now, read_until=desk.read_until)
        return
    outcome, effect = "done", None
    if name == ALERT:
        effect = f"{case.id}:{name}"
        outcome = desk.alert(
            terms.customer_id,
            effect,
            "payment_keeps_failing",
            {
                "invoice": terms.invoice,
                "number": terms.number,
                "failures": case.failure.failures,
                "decline_code": case.failure.decline_code,
                "currency": terms.currency,
                "amount_minor": terms.amount_due_minor,
            },
            campaign=campaign.name,
            mode=terms.mode,
        )
    elif name == REVOKE:
        case.revoke(now=desk.now)
    elif name == INACTIVE:
        case.mark_inactive(now=desk.now)
    elif name == FINAL:
        effect = f"{case.id}:{name}"
        request = EffectRequest(
            effect,
            "stripe",
            _FINAL_ACTIONS[campaign.final_action],
            "action",
            {"invoice": terms.invoice, "subscription": terms.subscription},
            campaign=campaign.name,
            unless={"invoice_settled": terms.invoice, "subscription": terms.subscription or ""},
        )
        outcome = desk.ask(terms.customer_id, request, mode=terms.mode)
    case.take(name, outcome, effect, now=desk.now, read_until=desk.read_until)
