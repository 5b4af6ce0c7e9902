"""How a subscription stands from moment to moment under a definition set, future moments included.

What happens by the passing of time alone (a discount's window closes, somebody past due becomes
delinquent, a paid period ends) is a moment like any other, known as soon as its term is.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from ledger.projections.definitions import Definitions
from ledger.projections.numbers.history import History
from ledger.projections.numbers.terms import Terms
from ledger.projections.numbers.worth import Worth
from ledger.stripe_objects.views import Subscription

DAY = 86_400
NO_CURRENCY = "xxx"  # as ISO 4217 calls it
Phase = Literal[
    "incomplete", "trialing", "active", "past_due", "unpaid", "paused", "ended", "delinquent",
    "leaving",
]  # fmt: skip
INVOLUNTARY = frozenset({"payment_failed", "payment_disputed"})
WorthOf = Callable[..., list[Worth]]


@dataclass(frozen=True, slots=True)
class Situation:
    """How one subscription stands from `at` on.

    `counts`: its worth is part of MRR. `scheduled`: it is set to end. `why`: what kind of loss its
    end is (voluntary, involuntary, unknown).
    """

    at: int
    phase: Phase
    counts: bool
    scheduled: bool
    why: str
    currency: str
    items: tuple[tuple[str, Worth], ...]

    def same_as(self, other: Situation) -> bool:
        """Whether nothing but the moment differs."""
        return replace(self, at=other.at) == other


class Course:
    """The situations of one subscription, brought up to date from a moment on."""

    def __init__(self, definitions: Definitions, worth: WorthOf) -> None:
        self._definitions = definitions
        self._worth = worth
        self.times: list[int] = []
        self.situations: list[Situation] = []

    def at(self, moment: int) -> Situation | None:
        """Return the situation at the end of a second, None before the first."""
        index = bisect_right(self.times, moment)
        return self.situations[index - 1] if index else None

    def follow(
        self, history: History[Subscription], terms: Terms, first_paid: int | None, since: int
    ) -> None:
        """Make again what holds from `since` on."""
        kept = bisect_left(self.times, since)
        del self.times[kept:], self.situations[kept:]
        for at in sorted(self._moments(history, terms, first_paid, since)):
            now = self._situation(history, terms, first_paid, at)
            if now is None or (self.situations and now.same_as(self.situations[-1])):
                continue
            self.times.append(at)
            self.situations.append(now)

    def _moments(
        self, history: History[Subscription], terms: Terms, first_paid: int | None, since: int
    ) -> set[int]:
        """Return every moment from `since` on at which something may change."""
        index = bisect_left(history.times, since)
        moments = set(history.times[index:])
        moments.add(max(since, history.times[0]))
        # What the state before says of the future holds until another state says otherwise.
        for state in history.states[max(index - 1, 0) :]:
            moments.update(terms.moments(state, since))
        if terms.customer is not None:
            moments.update(at for at in terms.customer.times if at >= since)
        if first_paid is not None and first_paid >= since:
            moments.add(first_paid)
        moments.update(at for at in self._deadlines(history) if at >= since)
        return {at for at in moments if at >= history.times[0]}

    def _deadlines(self, history: History[Subscription]) -> Iterator[int]:
        days = self._definitions.counts.delinquent_after_days
        for index, state in enumerate(history.states):
            if days is not None and state.status == "past_due":
                yield _past_due_since(history, index) + days * DAY
            if self._definitions.churn.recognized == "end_of_paid_period":
                paid_until = _paid_until(history, index)
                if paid_until is not None:
                    yield paid_until

    def _situation(
        self, history: History[Subscription], terms: Terms, first_paid: int | None, at: int
    ) -> Situation | None:
        index = bisect_right(history.times, at) - 1
        if index < 0:
            return None
        rules = self._definitions
        if rules.churn.recognized == "end_of_paid_period":
            paid_until = _paid_until(history, index)
            if paid_until is not None and at < paid_until:
                index -= 1  # it ended, and is paid for until then
        state = history.states[index]
        phase = _phase(state)
        if phase == "trialing" and rules.counts.paid_before_trial:
            phase = "active" if first_paid is not None and first_paid <= at else "trialing"
        if phase == "past_due" and rules.counts.delinquent_after_days is not None:
            days = rules.counts.delinquent_after_days
            if at >= _past_due_since(history, index) + days * DAY:
                phase = "delinquent"
        scheduled = bool(state.cancel_at_period_end or state.cancel_at)
        counts = _counts(phase, rules)
        if counts and scheduled and rules.churn.recognized == "when_scheduled":
            phase, counts = "leaving", False
        return Situation(
            at,
            phase,
            counts,
            scheduled and phase != "ended",
            _why(phase, state),
            state.currency or NO_CURRENCY,
            self._items(state, terms, at),
        )

    def _items(self, state: Subscription, terms: Terms, at: int) -> tuple[tuple[str, Worth], ...]:
        own, shared = terms.in_force(state, at, self._definitions.discounts.profile)
        worth = self._worth(
            state.items, own, shared, state.currency, terms.prices, self._definitions
        )
        return tuple(
            (item.id or item.price or str(index), one)
            for index, (item, one) in enumerate(zip(state.items, worth, strict=True))
        )


def _phase(state: Subscription) -> Phase:
    """Return the phase that Stripe's status and `pause_collection` mean."""
    status = state.status
    if status in ("canceled", "incomplete_expired"):
        return "ended"
    if status == "paused" or (
        state.pause_behavior is not None and status in ("active", "trialing", "past_due")
    ):
        return "paused"
    if status in ("trialing", "active", "past_due", "unpaid"):
        return status  # type: ignore[return-value]
    return "incomplete"


def _counts(phase: Phase, rules: Definitions) -> bool:
    counts = rules.counts
    return {
        "active": True,
        "past_due": counts.past_due,
        "trialing": counts.trialing,
        "unpaid": counts.unpaid,
        "paused": counts.paused,
    }.get(phase, False)


def _why(phase: Phase, state: Subscription) -> str:
    """Return what kind of loss it is that a subscription counts no more.

    From `cancellation_details.reason`; what nobody told stays unknown.
    """
    if phase in ("unpaid", "delinquent") or state.cancellation_reason in INVOLUNTARY:
        return "involuntary"
    if phase == "leaving" or state.cancellation_reason == "cancellation_requested":
        return "voluntary"
    return "unknown"


def _past_due_since(history: History[Subscription], index: int) -> int:
    while index and history.states[index - 1].status == "past_due":
        index -= 1
    return history.times[index]


def _paid_until(history: History[Subscription], index: int) -> int | None:
    """Return until when an ended subscription is paid for, if longer than until its end.

    Who was past due or in a trial when it ended has not paid for more.
    """
    if not index or _phase(history.states[index]) != "ended":
        return None
    before = history.states[index - 1]
    if before.status != "active" or history.states[index].cancellation_reason in INVOLUNTARY:
        return None
    end = before.current_period_end
    return end if end is not None and end > history.times[index] else None
