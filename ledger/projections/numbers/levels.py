"""Amounts beside MRR and how customers stand: what is at risk, in trials, set to end, paused."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from ledger.projections.numbers.situations import Course, Phase, Situation

# The best of a customer's subscriptions says how they stand, as in the CRM views.
RANKS: tuple[tuple[Phase, str], ...] = (
    ("active", "active"),
    ("trialing", "trialing"),
    ("past_due", "past_due"),
    ("paused", "paused"),
    ("incomplete", "pending"),
    ("leaving", "active"),
    ("delinquent", "past_due"),
    ("unpaid", "inactive"),
    ("ended", "inactive"),
)
_RANK = {phase: rank for rank, (phase, _) in enumerate(RANKS)}
_STATUS = dict(RANKS)


@dataclass(frozen=True, slots=True)
class Level:
    """A change of a measure at a moment: by an amount (minor units), or of who is in a status.

    `customers` is 1 for a status that a customer enters, -1 for one they leave.
    """

    at: int
    measure: str
    subscription: str | None
    currency: str | None
    price: str | None
    product: str | None
    interval: str | None
    amount_minor: int
    customers: int = 0

    def reversed(self) -> Level:
        """Return what takes this back."""
        return replace(self, amount_minor=-self.amount_minor, customers=-self.customers)


def levels_of(subscription: str, course: Course, since: int) -> Iterator[Level]:
    """Yield how the measures of a subscription change from a moment on, in order."""
    first = bisect_left(course.times, since)
    before = _amounts(course.situations[first - 1]) if first else {}
    for now in course.situations[first:]:
        after = _amounts(now)
        for key in {**before, **after}:
            measure, currency, price, product, interval = key
            if change := after.get(key, 0) - before.get(key, 0):
                yield Level(
                    now.at, measure, subscription, currency, price, product, interval, change
                )
        before = after


_Key = tuple[str, str | None, str | None, str | None, str | None]


def _amounts(situation: Situation) -> dict[_Key, int]:
    found: dict[_Key, int] = {}
    for measure in _measures(situation):
        for _, worth in situation.items:
            if worth.amount_minor:
                key = measure, situation.currency, worth.price, worth.product, worth.interval
                found[key] = found.get(key, 0) + worth.amount_minor
    return found


def _measures(situation: Situation) -> Iterator[str]:
    """Yield the measures that a subscription is part of beside MRR."""
    if situation.counts:
        if situation.phase == "past_due":
            yield "at_risk"
        if situation.scheduled:
            yield "scheduled"
    elif situation.phase == "trialing":
        yield "trial"
        if situation.scheduled:
            yield "trial_scheduled"
    elif situation.phase == "paused":
        yield "paused"


def statuses_of(courses: Mapping[str, Course], since: int) -> Iterator[Level]:
    """Yield how the status of a customer with these subscriptions changes from a moment on."""
    before = _status(courses, since - 1)
    moments = {
        at for course in courses.values() for at in course.times[bisect_left(course.times, since) :]
    }
    for at in sorted(moments):
        after = _status(courses, at)
        if after != before:
            if before is not None:
                yield _of_status(at, before, -1)
            if after is not None:
                yield _of_status(at, after, 1)
        before = after


def _status(courses: Mapping[str, Course], at: int) -> str | None:
    phases = [now.phase for course in courses.values() if (now := course.at(at)) is not None]
    return _STATUS[min(phases, key=_RANK.__getitem__)] if phases else None


def _of_status(at: int, status: str, change: int) -> Level:
    return Level(at, f"status:{status}", None, None, None, None, None, 0, change)
