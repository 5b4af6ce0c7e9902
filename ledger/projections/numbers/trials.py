"""Trials: when a subscription's first one began and ended, and whether money came of it."""

from __future__ import annotations

from dataclasses import dataclass

from ledger.projections.numbers.history import History
from ledger.stripe_objects.views import Subscription

ENDED_WITHOUT = frozenset({"canceled", "incomplete_expired"})


@dataclass(frozen=True, slots=True)
class Trial:
    """The first trial of a subscription (unix seconds).

    `outcome`: running; converted (it ended and an invoice was paid); canceled; paused (it ended
    without a payment method); unpaid (it ended and nothing has been paid yet). By Stripe's
    definition: https://support.stripe.com/questions/calculating-trial-conversion-rate-in-stripe-billing
    """

    currency: str | None
    product: str | None
    price: str | None
    started_at: int
    ends_at: int | None
    ended_at: int | None
    outcome: str
    converted_at: int | None


def trial_of(history: History[Subscription], first_paid: int | None) -> Trial | None:
    """Return the first trial of a subscription, None if it had none or was paid for before."""
    states, times = history.states, history.times
    first = next((i for i, state in enumerate(states) if state.status == "trialing"), None)
    if first is None or (first_paid is not None and first_paid < times[first]):
        return None
    ended = next((i for i in range(first, len(states)) if states[i].status != "trialing"), None)
    last = states[ended - 1 if ended is not None else -1]
    item = last.items[0] if last.items else None
    outcome = "running" if ended is None else _outcome(states[ended], first_paid)
    return Trial(
        last.currency,
        item.product if item else None,
        item.price if item else None,
        times[first],
        last.trial_end,
        times[ended] if ended is not None else None,
        outcome,
        first_paid if outcome == "converted" else None,
    )


def _outcome(state: Subscription, first_paid: int | None) -> str:
    if state.status in ENDED_WITHOUT:
        return "canceled"
    if first_paid is not None:
        return "converted"
    return "paused" if state.status == "paused" else "unpaid"
