"""The steps of a cancellation: acknowledge at once, offer after a day, remind before the end."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from ledger.aggregates.decision import DecisionRefused
from ledger.aggregates.effect import LEAVING, OPEN_STATES, EffectRequest, Purpose
from ledger.aggregates.retention_offer import ChosenOffer, RetentionOffer
from ledger.clock import utc
from ledger.policies.desk import Desk
from ledger.policies.retention.campaign import RetentionCampaign
from ledger.policies.retention.offers import still_stands
from ledger.policies.timing import due, outside_quiet_hours

ACKNOWLEDGE, OFFER, REMIND, WIN_BACK, JUDGE = "mail_1", "mail_2", "mail_3", "win_back", "_judge"
_TEMPLATES = {
    ACKNOWLEDGE: "cancellation_received",
    OFFER: "retention_offer",
    REMIND: "cancellation_reminder",
    WIN_BACK: "win_back",
}
_PURPOSES: dict[str, Purpose] = {
    ACKNOWLEDGE: "confirmation",
    OFFER: "marketing",
    REMIND: "notice",
    WIN_BACK: "marketing",
}
_MISSED_HOURS = 48
_AT_STRIPE = {
    "discount": "discount",
    "pause": "pause_for",
    "plan_change": "change_plan",
    "trial_extension": "extend_trial",
    "free_feature": "withdraw_cancellation",
    "support": "withdraw_cancellation",
    "training": "withdraw_cancellation",
}
_BY_A_PERSON = frozenset({"support", "training", "talk"})


def schedule(desk: Desk, offer: RetentionOffer, campaign: RetentionCampaign) -> None:
    """Let every step be due when it is by what is known now."""
    opened = offer.created_on
    zone, quiet = offer.terms.zone, campaign.quiet_hours
    offer.schedule(ACKNOWLEDGE, opened, None, now=desk.now)
    asked = opened + timedelta(hours=campaign.offer_after_hours)
    comes_in_time = offer.ends_at is None or asked < offer.ends_at
    if offer.offer is not None and comes_in_time:
        when = due(asked, zone, quiet=quiet)
        offer.schedule(OFFER, when.at, when.moved_by, now=desk.now)
    if campaign.reminder_before_end_days is not None and offer.ends_at is not None:
        reminder = offer.ends_at - timedelta(days=campaign.reminder_before_end_days)
        if reminder > asked:
            when = due(reminder, zone, quiet=quiet)
            offer.schedule(REMIND, when.at, when.moved_by, now=desk.now)

    schedule_judgement(desk, offer, campaign)


def schedule_judgement(desk: Desk, offer: RetentionOffer, campaign: RetentionCampaign) -> None:
    """Let it be judged some weeks after the last turn, but not before the end that is scheduled."""
    turn = offer.accepted_at or offer.withdrawn_at
    judged = (turn or offer.created_on) + timedelta(days=campaign.judged_after_days)
    if turn is None and offer.ends_at is not None:
        judged = max(judged, offer.ends_at + timedelta(days=1))
    resumes = offer.offer.params.get("resumes_at") if offer.accepted_at and offer.offer else None
    if resumes is not None:  # a pause has kept nobody before it is over
        judged = max(judged, utc(resumes) + timedelta(days=campaign.judged_after_days))
    offer.schedule(JUDGE, judged, None, now=desk.now)


def leave_out(desk: Desk, offer: RetentionOffer, because: str) -> None:
    """Leave out all that was still to be said."""
    for step in offer.all_pending:
        if step.name != JUDGE:
            offer.skip(step.name, because, now=desk.now, read_until=desk.read_until)


def schedule_after_end(desk: Desk, offer: RetentionOffer, campaign: RetentionCampaign) -> None:
    """Let what was to come before the end be left out, and what comes after it be due."""
    for step in offer.all_pending:
        offer.skip(step.name, "ended", now=desk.now, read_until=desk.read_until)
    if campaign.win_back_after_days is not None:
        after = desk.now + timedelta(days=campaign.win_back_after_days)
        when = due(after, offer.terms.zone, quiet=campaign.quiet_hours)
        offer.schedule(WIN_BACK, when.at, when.moved_by, now=desk.now)


def take(desk: Desk, offer: RetentionOffer, campaign: RetentionCampaign, name: str) -> None:
    """Take a pending step, or leave it out and say why."""
    if name == JUDGE:
        _judge(desk, offer)
        return
    because = _pointless(desk, offer, campaign, name)
    awake = outside_quiet_hours(desk.now, campaign.quiet_hours, offer.terms.zone)
    if because is not None:
        offer.skip(name, because, now=desk.now, read_until=desk.read_until)
    elif awake != desk.now and name != ACKNOWLEDGE:
        offer.schedule(name, awake, "quiet_hours", now=desk.now)
        return
    else:
        request = message(desk, offer, campaign, name)
        outcome = desk.ask(offer.customer_id, request, mode=offer.terms.mode)
        effect = request.key
        offer.take(name, outcome, effect, now=desk.now, read_until=desk.read_until)
        if name == OFFER and outcome == "requested":
            offer.show("mail", now=desk.now)
        if name == ACKNOWLEDGE:
            _tell_team(desk, offer)
    if name == WIN_BACK:
        offer.close("lost", now=desk.now, read_until=desk.read_until)


def _pointless(
    desk: Desk, offer: RetentionOffer, campaign: RetentionCampaign, name: str
) -> str | None:
    if desk.now - offer.steps[name].due_at > timedelta(hours=_MISSED_HOURS):
        return "missed"
    if name != ACKNOWLEDGE and offer.accepted_at is not None:
        return "accepted"
    if name in (OFFER, REMIND) and offer.declined_at is not None:
        return "declined"
    if name == OFFER:
        return _cannot_be_made(desk, offer) or still_stands(desk, offer, campaign)
    return None


def _cannot_be_made(desk: Desk, offer: RetentionOffer) -> str | None:
    """Return why an offer, if it were taken, could not be made at Stripe now."""
    if offer.terms.mode != "on" or offer.offer is None or offer.offer.kind not in _AT_STRIPE:
        return None
    return desk.obstacle("stripe")


def message(
    desk: Desk, offer: RetentionOffer, campaign: RetentionCampaign, name: str
) -> EffectRequest:
    """Return the mail of a step."""
    terms = offer.terms
    standing = desk.standing(terms.customer_id, terms.subscription)
    subscription = standing.subscription
    prices = [item.price for item in subscription.items if item.price] if subscription else []
    products = [item.product for item in subscription.items] if subscription else []
    benefits = [
        line for plan in (*prices, *products) for line in campaign.benefits.get(plan or "", [])
    ]
    chosen = offer.offer
    return EffectRequest(
        key=f"{offer.id}:{name}",
        kind="mail",
        what=_TEMPLATES[name],
        purpose=_PURPOSES[name],
        params={
            "subscription": terms.subscription,
            "offer": offer.id if chosen is not None and name != ACKNOWLEDGE else None,
            "offer_kind": chosen.kind if chosen else None,
            **(_told(chosen) if chosen else {}),
            "prices": prices,
            "currency": terms.currency,
            "ends_at": offer.ends_at.isoformat() if offer.ends_at else None,
            "is_confirmed": offer.is_confirmed,
            "benefits": benefits,
            "zone": terms.zone,
        },
        language=terms.language,
        campaign=campaign.name,
        unless=_unless(name, terms.subscription),
        expires_at=desk.now + timedelta(hours=_MISSED_HOURS),
    )


def _unless(name: str, subscription: str) -> dict[str, str]:
    if name == WIN_BACK:
        return {"subscribed": "again"}
    return {} if name == ACKNOWLEDGE else {"cancellation": subscription}


def _told(chosen: ChosenOffer) -> dict[str, Any]:
    names = ("percent_off", "months", "days", "feature")
    return {name: chosen.params[name] for name in names if name in chosen.params}


def _tell_team(desk: Desk, offer: RetentionOffer) -> None:
    terms = offer.terms
    desk.alert(
        terms.customer_id,
        f"{offer.id}:alert",
        "cancellation_requested",
        {
            "subscription": terms.subscription,
            "reason": offer.reason,
            "assigned_to": terms.assignee,
            "currency": terms.currency,
            "amount_minor": terms.monthly_minor,
        },
        campaign=terms.campaign,
        mode=terms.mode,
    )


def accept(desk: Desk, offer: RetentionOffer, campaign: RetentionCampaign, by: str) -> None:
    """Let a customer take the offer: Stripe is changed, a person told where one is wanted.

    Raises DecisionRefused, also where nothing may be changed at Stripe.
    """
    terms = offer.terms
    obstacle = _cannot_be_made(desk, offer) or still_stands(desk, offer, campaign)
    if offer.accepted_at is None and (terms.mode != "on" or obstacle is not None):
        raise DecisionRefused(f"The offer cannot be made ({obstacle or 'in shadow'}).")
    chosen = offer.accept(by, now=desk.now)
    _take_back_cancellation(desk, offer)
    action = _AT_STRIPE.get(chosen.kind)
    if action is not None:
        request = EffectRequest(
            f"{offer.id}:accept",
            "stripe",
            action,
            "confirmation",
            {"subscription": terms.subscription, **chosen.params},
        )  # a promise: it is kept whatever becomes of the campaign
        desk.ask(terms.customer_id, request)
    what = "talk_to_customer" if chosen.kind in _BY_A_PERSON else "offer_accepted"
    desk.alert(
        terms.customer_id,
        f"{offer.id}:accepted",
        what,
        {"subscription": terms.subscription, "offer": chosen.name, "assigned_to": terms.assignee},
    )
    leave_out(desk, offer, "accepted")
    schedule_judgement(desk, offer, campaign)


def _take_back_cancellation(desk: Desk, offer: RetentionOffer) -> None:
    """Let a cancellation that is still to be scheduled at Stripe not undo what was accepted."""
    outbox = desk.outbox(offer.customer_id)
    for key, effect in outbox.effects.items():
        request = effect.request
        is_it = request.what in LEAVING and effect.state in OPEN_STATES - {"attempted"}
        if is_it and request.params.get("subscription") == offer.terms.subscription:
            outbox.withdraw(key, "accepted", now=desk.now, read_until=desk.read_until)


def _judge(desk: Desk, offer: RetentionOffer) -> None:
    """Say what came of it, by billing facts: saved is who is still subscribed."""
    standing = desk.standing(offer.customer_id, offer.terms.subscription)
    subscription = standing.subscription
    pays = subscription is not None and subscription.status in ("active", "trialing")
    stays = pays and not standing.has_ended and not standing.is_leaving
    offer.take(JUDGE, "done", None, now=desk.now, read_until=desk.read_until)
    # A cancellation that never reached Stripe has saved nobody: somebody must look at it.
    never = stays and not offer.is_confirmed and offer.accepted_at is None
    outcome = "unconfirmed" if never else "saved" if stays else "lost"
    offer.close(outcome, now=desk.now, read_until=desk.read_until)
