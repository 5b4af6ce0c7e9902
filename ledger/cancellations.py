"""How a subscription is canceled, and how what is offered then is taken or left."""

from __future__ import annotations

from ledger.aggregates.decision import DecisionRefused
from ledger.aggregates.effect import OPEN_STATES, EffectRequest, EffectState
from ledger.aggregates.retention_offer import RetentionOffer
from ledger.errors import NotFound, RequestInvalid
from ledger.ids import is_id
from ledger.policies.desk import Desk
from ledger.policies.retention import steps as retention_steps
from ledger.policies.retention.campaign import REASONS
from ledger.policies.retention.policy import Retention, live_offer, open_offer
from ledger.policies.retention.policy import campaign_of as retention_campaign_of
from ledger.standing import Standing


def cancel(
    desk: Desk,
    customer_id: str,
    subscription_id: str,
    *,
    source: str,
    reason: str | None,
    comment: str | None,
    actor: str | None = None,
) -> tuple[RetentionOffer | None, EffectState]:
    """Schedule the end of a subscription at Stripe, and answer it; return the answer.

    The cancellation is asked for first and whatever is offered never delays it. Raises NotFound,
    RequestInvalid, DecisionRefused where nothing may be changed at Stripe.
    """
    if reason is not None and reason not in REASONS:
        raise RequestInvalid(f"A reason is one of {', '.join(REASONS)}.")
    standing = desk.standing(customer_id, subscription_id)
    if standing.subscription is None:
        raise NotFound(f"This ledger knows no subscription {subscription_id!r}.")
    if standing.has_ended:
        raise DecisionRefused(f"{subscription_id} is over already.")
    obstacle = desk.obstacle("stripe")
    if obstacle is not None:
        raise DecisionRefused(
            f"Nothing may be changed at Stripe ({obstacle}): `ledger effects on stripe`,"
            " `ledger effects claim` and STRIPE_API_KEY let it."
        )
    offer, has_turned = _wish(desk, standing, source, reason, comment)
    asked = _asked_already(desk, customer_id, subscription_id)
    # Who had decided to stay is asked for again: what the log knows of Stripe may be from before.
    if not has_turned and (asked is not None or standing.is_leaving):
        return offer, asked or "sent"
    request = EffectRequest(
        f"cancellation:{subscription_id}:{desk.read_until}",
        "stripe",
        "schedule_cancellation",
        "confirmation",
        {"subscription": subscription_id, "feedback": reason},
        actor=actor,
        text={"comment": comment} if comment else None,
    )
    return offer, desk.ask(customer_id, request)


def wish_to_cancel(
    desk: Desk, customer_id: str, subscription_id: str, reason: str | None, comment: str | None
) -> None:
    """Keep that somebody wants to leave where nothing may be changed at Stripe; tell the team."""
    standing = desk.standing(customer_id, subscription_id)
    _wish(desk, standing, "page", reason if reason in REASONS else None, comment)
    desk.alert(
        customer_id,
        f"cancel_by_hand:{subscription_id}:{desk.now:%Y-%m-%d}",
        "cancel_by_hand",
        {"subscription": subscription_id, "reason": reason},
    )


def _wish(
    desk: Desk, standing: Standing, source: str, reason: str | None, comment: str | None
) -> tuple[RetentionOffer | None, bool]:
    """Return the case of somebody who wants to leave, and whether they had decided to stay."""
    assert standing.subscription_id is not None
    offer = live_offer(desk, standing.customer_id, standing.subscription_id)
    has_turned = offer is not None and bool(offer.accepted_at or offer.withdrawn_at)
    if offer is not None and has_turned:
        offer.close("lost", now=desk.now, read_until=desk.read_until)
        offer = None
    if offer is None:
        offer = open_offer(desk, standing, source, reason, comment, desk.now)
    else:
        offer.explain(reason, comment, now=desk.now)
    return offer, has_turned


def _asked_already(desk: Desk, customer_id: str, subscription_id: str) -> EffectState | None:
    """Return how far a cancellation is that is still to be scheduled at Stripe."""
    for effect in desk.outbox(customer_id).effects.values():
        request = effect.request
        is_it = request.what == "schedule_cancellation" and effect.state in OPEN_STATES
        if is_it and request.params.get("subscription") == subscription_id:
            return effect.state
    return None


def offer_of(desk: Desk, stream: str) -> RetentionOffer:
    """Return a cancellation; raise NotFound."""
    is_one = is_id(stream) and stream.startswith(Retention.streams)
    found = desk.find(RetentionOffer, stream) if is_one else None
    if found is None:
        raise NotFound(f"There is no retention offer {stream!r}.")
    return found


def accept_offer(desk: Desk, stream: str, by: str) -> RetentionOffer:
    """Let a customer take an offer; raise NotFound, DecisionRefused."""
    offer = offer_of(desk, stream)
    retention_steps.accept(desk, offer, retention_campaign_of(desk, offer), by)
    return offer


def decline_offer(desk: Desk, stream: str, by: str) -> RetentionOffer:
    """Let a customer leave an offer; raise NotFound, DecisionRefused."""
    offer = offer_of(desk, stream)
    offer.decline(by, now=desk.now)
    retention_steps.leave_out(desk, offer, "declined")
    return offer
