"""What changed about a subscription from one situation to the next, item by item, and why."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, replace

from ledger.projections.numbers.situations import Course, Situation
from ledger.projections.numbers.worth import Worth


@dataclass(frozen=True, slots=True)
class Change:
    """What one item of one subscription became worth more or less (minor units) at a moment.

    `reason` says what changed, `why` what kind of loss it is. `unknowns`: items without an amount
    that came or went. Without an item only the phase changed.
    """

    at: int
    subscription: str
    currency: str
    item: str | None = None
    price: str | None = None
    product: str | None = None
    interval: str | None = None
    amount_minor: int = 0
    unknowns: int = 0
    reason: str = "other"
    why: str = "unknown"


def changes_of(subscription: str, course: Course, since: int) -> Iterator[Change]:
    """Yield what changed about a subscription from a moment on, in order."""
    first = bisect_left(course.times, since)
    for index in range(first, len(course.situations)):
        was = course.situations[index - 1] if index else None
        yield from _between(subscription, was, course.situations[index])


def _between(subscription: str, was: Situation | None, now: Situation) -> Iterator[Change]:
    before = dict(was.items) if was is not None and was.counts else {}
    after = dict(now.items) if now.counts else {}
    reason = _reason(was, now)
    told = False
    for item in {**before, **after}:
        old, new = before.get(item), after.get(item)
        why = reason or _item_reason(old, new)
        for worth, sign in _parts(old, new):
            told = True
            yield Change(
                now.at, subscription, now.currency, item, worth.price, worth.product,
                worth.interval, sign * worth.amount_minor, sign * bool(worth.unknown), why, now.why,
            )  # fmt: skip
    if not told and (was is None or was.phase != now.phase or was.counts != now.counts):
        yield Change(now.at, subscription, now.currency, reason=reason or "other", why=now.why)


def _parts(old: Worth | None, new: Worth | None) -> Iterator[tuple[Worth, int]]:
    """Yield what is to be booked: one difference, or out and in where another price is meant."""
    if old is not None and new is not None and _differ_in_amount_only(old, new):
        if old.amount_minor != new.amount_minor:
            yield replace(new, amount_minor=new.amount_minor - old.amount_minor), 1
        return
    if old is not None and (old.amount_minor or old.unknown):
        yield old, -1
    if new is not None and (new.amount_minor or new.unknown):
        yield new, 1


def _differ_in_amount_only(old: Worth, new: Worth) -> bool:
    same = (old.price, old.product, old.interval) == (new.price, new.product, new.interval)
    return same and bool(old.unknown) == bool(new.unknown)


def _reason(was: Situation | None, now: Situation) -> str | None:
    """Return why a whole subscription began or ceased to count, None if it went on."""
    counted = was is not None and was.counts
    if counted and not now.counts:
        return "pause" if now.phase == "paused" else "drop_subscription"
    if now.counts and not counted:
        if was is not None and was.phase == "paused":
            return "resume"
        return "add_subscription"
    return None


def _item_reason(old: Worth | None, new: Worth | None) -> str:
    """Return what about an item changed."""
    if old is None or new is None or old.product != new.product:
        return "plan"
    if old.interval != new.interval:
        return "interval"
    if old.price != new.price:
        return "price"
    if old.quantity != new.quantity:
        return "quantity"
    if old.discounted or new.discounted:
        return "discount_start" if new.amount_minor < old.amount_minor else "discount_end"
    return "other"
