"""From the courses of a customer's subscriptions to movements of MRR: what changed, and why.

A movement is a customer's, in one currency: all changes of their subscriptions within the grouping
window. Its kind follows from what they were worth before and after. Each change keeps its own
moment, so that the sum at any moment is exact.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Literal

from ledger.periods import Interval, first_of
from ledger.projections.definitions import Definitions
from ledger.projections.numbers.changes import Change
from ledger.projections.numbers.situations import DAY, Course

Kind = Literal["new", "expansion", "contraction", "churn", "reactivation", "transfer", "unknown"]
KEPT_INTERVALS: tuple[Interval, ...] = ("month", "quarter", "year")
Standing = Literal["never", "active", "free", "paused", "lost"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One change as a book-keeper enters it: with the kind of the movement that it is part of.

    `cohort` is the first day of the month in which the customer was first worth something.
    On the first entry of a movement `movements` is 1 and `customers` says whether the customer has
    become active (1) or stopped being so (-1). A reversal is all of it negative.
    """

    at: int
    subscription: str
    currency: str
    item: str | None
    price: str | None
    product: str | None
    interval: str | None
    amount_minor: int
    unknowns: int
    kind: Kind
    reason: str
    movements: int
    customers: int
    group_at: int
    cohort: date | None

    def reversed(self) -> Entry:
        """Return what takes this entry back."""
        return replace(
            self,
            amount_minor=-self.amount_minor,
            unknowns=-self.unknowns,
            movements=-self.movements,
            customers=-self.customers,
        )


@dataclass(frozen=True, slots=True)
class _Member:
    """How a customer stands in one currency between two movements."""

    total_minor: int = 0
    standing: Standing = "never"
    cohort: date | None = None
    active_until: int | None = None


@dataclass(slots=True)
class _Group:
    """A movement: when it began, how the customer stood before it, and its entries."""

    at: int
    before: _Member
    entries: list[Entry]


@dataclass(frozen=True, slots=True)
class Loss:
    """A customer who was lost, with what they were worth a month before; as known now."""

    at: int
    currency: str
    subscription: str
    reason: str
    amount_minor: int
    product: str | None
    price: str | None


@dataclass(slots=True)
class Period:
    """What a customer was worth a month at both ends of a period in which they moved.

    `is_lost`: they were active at its start, and churned in it.
    """

    grain: Interval
    start: date
    currency: str
    start_minor: int
    end_minor: int
    was_active: bool
    is_lost: bool = False


class Account:
    """The movements of one customer in one currency, brought up to date from a moment on."""

    def __init__(self, currency: str, definitions: Definitions) -> None:
        self._currency = currency
        self._definitions = definitions
        self._groups: list[_Group] = []
        self._last = _Member()

    def restart_at(self, since: int) -> int:
        """Return from when on changes are needed to bring the movements up to date."""
        index = self._first_touched(since)
        return min([since, *(group.at for group in self._groups[index : index + 1])])

    def enter(
        self, changes: Iterable[Change], since: int, courses: Mapping[str, Course]
    ) -> tuple[list[Entry], list[Entry]]:
        """Make the movements from a moment on again; return (entries before, entries now).

        `changes` are all of this currency from `restart_at(since)` on, in order of time.
        """
        index = self._first_touched(since)
        stale = self._groups[index:]
        del self._groups[index:]
        made: list[_Group] = []
        member = stale[0].before if stale else self._last
        for group in self._grouped(changes):
            entries, after = self._movement(group, member, courses)
            made.append(_Group(group[0].at, member, entries))
            member = after
        self._groups += made
        self._last = member
        return (
            [entry for one in stale for entry in one.entries],
            [entry for one in made for entry in one.entries],
        )

    def _first_touched(self, since: int) -> int:
        """Return the index of the first group that a change at `since` may be part of."""
        index = len(self._groups)
        while index and self._groups[index - 1].at >= since:
            index -= 1
        if index and since <= self._groups[index - 1].at + self._definitions.grouping.minutes * 60:
            index -= 1
        return index

    def _grouped(self, changes: Iterable[Change]) -> Iterator[list[Change]]:
        """Yield the changes of each movement: within the window, on one reporting day."""
        window = self._definitions.grouping.minutes * 60
        group: list[Change] = []
        for one in changes:
            if group and not (
                one.at <= group[0].at + window and self.day(one.at) == self.day(group[0].at)
            ):
                yield group
                group = []
            group.append(one)
        if group:
            yield group

    def day(self, at: int) -> date:
        """Return the reporting day of a moment."""
        return datetime.fromtimestamp(at, self._definitions.zone).date()

    def _movement(
        self, group: list[Change], before: _Member, courses: Mapping[str, Course]
    ) -> tuple[list[Entry], _Member]:
        total = before.total_minor + sum(change.amount_minor for change in group)
        at, end = group[0].at, group[-1].at
        standing = self._standing(before, total, end, courses)
        kind = self._kind(before, standing, total, group)
        cohort = before.cohort
        if kind == "new" and cohort is None:
            cohort = first_of(self.day(at), "month")
        after = _Member(
            total,
            standing,
            cohort,
            end if standing in ("paused", "lost") and _is_active(before) else before.active_until,
        )
        customers = _is_active(after) - _is_active(before)
        kept = [c for c in group if c.amount_minor or c.unknowns]
        if not kept and (kind == "churn" or customers):
            kept = group[-1:]
        entries = [
            Entry(
                one.at, one.subscription, one.currency, one.item, one.price, one.product,
                one.interval, one.amount_minor, one.unknowns, kind,
                one.why if kind == "churn" else one.reason,
                int(first), customers if first else 0, at, cohort,
            )
            for first, one in zip([True] + [False] * len(kept), kept, strict=False)
        ]  # fmt: skip
        return entries, after

    def _standing(
        self, before: _Member, total: int, at: int, courses: Mapping[str, Course]
    ) -> Standing:
        """Return how a customer stands who is worth so much at a moment."""
        if total > 0:
            return "active"
        if before.standing in ("never", "lost"):
            return before.standing
        now = [
            situation
            for course in courses.values()
            if (situation := course.at(at)) is not None and situation.currency == self._currency
        ]
        if self._definitions.churn.free_is_active and any(one.counts for one in now):
            return "free"
        if any(one.phase == "paused" and not one.counts for one in now):
            return "paused"
        return "lost"

    def _kind(self, before: _Member, standing: Standing, total: int, group: list[Change]) -> Kind:
        if standing == "active" and before.standing in ("never", "lost"):
            days = self._definitions.churn.reactivation_within_days
            is_late = (
                days is not None
                and before.active_until is not None
                and group[0].at > before.active_until + days * DAY
            )
            return "new" if before.standing == "never" or is_late else "reactivation"
        if standing == "lost" and before.standing != "lost":
            return "churn"
        if total != before.total_minor:
            return "expansion" if total > before.total_minor else "contraction"
        if standing != before.standing:  # from nothing to nothing: free, paused
            return "contraction" if standing == "paused" else "expansion"
        return "transfer" if any(one.amount_minor for one in group) else "unknown"

    def periods(self) -> Iterator[Period]:
        """Yield what became of the customer in each month, quarter and year in which they moved."""
        for grain in KEPT_INTERVALS:
            yield from self._periods(grain)

    def losses(self) -> Iterator[Loss]:
        """Yield when the customer was lost, and by the end of which subscription."""
        for group in self._groups:
            if group.entries and group.entries[0].kind == "churn":
                last = group.entries[-1]
                worth = max(0, -sum(entry.amount_minor for entry in group.entries))
                yield Loss(
                    last.at, self._currency, last.subscription, last.reason, worth, last.product,
                    last.price,
                )  # fmt: skip

    def _periods(self, grain: Interval) -> Iterator[Period]:
        found: Period | None = None
        for group in self._groups:
            for entry in group.entries:
                start = first_of(self.day(entry.at), grain)
                if found is None or found.start != start:
                    if found is not None:
                        yield found
                    total = found.end_minor if found else 0
                    found = Period(
                        grain, start, self._currency, total, total, _is_active(group.before)
                    )
                found.end_minor += entry.amount_minor
                found.is_lost |= entry.kind == "churn" and found.was_active
        if found is not None:
            yield found


def _is_active(member: _Member) -> bool:
    return member.standing in ("active", "free")
