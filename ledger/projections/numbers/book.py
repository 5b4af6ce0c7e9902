"""One customer's book: facts go in one after the other, entries come out, each fact's own.

What comes out depends on the order in which the facts were recorded and on nothing else: not on
batches, not on the clock. Sums over all entries depend on the set of facts alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from ledger.projections.crm.facts import Row
from ledger.projections.difference import difference
from ledger.projections.numbers.changes import changes_of
from ledger.projections.numbers.history import Bodies, History
from ledger.projections.numbers.levels import Level, levels_of, statuses_of
from ledger.projections.numbers.movements import Account, Entry, Loss, Period
from ledger.projections.numbers.series import Series
from ledger.projections.numbers.situations import Course
from ledger.projections.numbers.terms import Terms
from ledger.projections.numbers.trials import Trial, trial_of
from ledger.stripe_objects.views import CatalogueItem, Customer, Discount, Subscription

T = TypeVar("T", Entry, Level)


@dataclass(slots=True)
class Learnt:
    """What one fact changed under one definition set."""

    series: int
    entries: list[Entry]
    levels: list[Level]


class Book:
    """Everything that is known of one customer's subscriptions, under several definition sets."""

    def __init__(self, customer: str, series: Sequence[Series], bodies: Bodies) -> None:
        self.customer = customer
        self._bodies = bodies
        self._subscriptions: dict[str, History[Subscription]] = {}
        self._discounts: dict[str, History[Discount]] = {}
        self._first_paid: dict[str, int] = {}
        self._terms = Terms()
        self._pages = [_Page(one) for one in series]

    def learn(self, fact: Row) -> Iterator[Learnt]:
        """Take in a fact about the customer or what is theirs; yield what it changes, if anything.

        Facts must come in the order of their positions.
        """
        if fact.kind == "subscription":
            assert fact.object_id is not None
            known = self._subscriptions.setdefault(
                fact.object_id, History(Subscription, self._bodies)
            )
            yield from self._brought_up_to_date({fact.object_id: known.learn(fact)})
        elif fact.kind == "discount":
            yield from self._learn_discount(fact)
        elif fact.kind == "customer":
            self._terms.customer = self._terms.customer or History(Customer, self._bodies)
            since = self._terms.customer.learn(fact)
            yield from self._brought_up_to_date(dict.fromkeys(self._subscriptions, since))

    def paid(self, subscription: str, at: int) -> Iterator[Learnt]:
        """Take in that money was paid for a subscription, earlier (unix seconds) than was known."""
        self._first_paid[subscription] = at
        if subscription in self._subscriptions:
            yield from self._brought_up_to_date({subscription: 0})

    def know(self, item: CatalogueItem) -> Iterator[Learnt]:
        """Take in the terms of a coupon or a price, for all of the past."""
        self._terms.know(item)
        yield from self._brought_up_to_date(dict.fromkeys(self._subscriptions, 0))

    def periods(self) -> Iterator[tuple[int, Period]]:
        """Yield what became of the customer in each period in which they moved, by series."""
        for page in self._pages:
            for account in page.accounts.values():
                for period in account.periods():
                    yield page.series.number, period

    def losses(self) -> Iterator[tuple[int, Loss, str | None, int | None]]:
        """Yield when the customer was lost, by series, with Stripe's feedback and where it is told.

        What somebody told when they cancelled may be told before the end, or after it.
        """
        for page in self._pages:
            for account in page.accounts.values():
                for loss in account.losses():
                    history = self._subscriptions[loss.subscription]
                    told = next((one for one in reversed(history.states) if one.feedback), None)
                    position = history.position_at(history.times[-1])
                    yield page.series.number, loss, told.feedback if told else None, position

    def trials(self) -> Iterator[tuple[str, Trial]]:
        """Yield the first trial of each subscription that had one."""
        for subscription, history in self._subscriptions.items():
            if trial := trial_of(history, self._first_paid.get(subscription)):
                yield subscription, trial

    def _learn_discount(self, fact: Row) -> Iterator[Learnt]:
        assert fact.object_id is not None
        history = self._discounts.setdefault(fact.object_id, History(Discount, self._bodies))
        history.learn(fact)
        told = history.states[0]
        ended = fact.type == "customer.discount.deleted"
        if not self._terms.learn(told, int(fact.occurred_at.timestamp()) if ended else None):
            return
        if told.subscription is not None:
            touched = [told.subscription] if told.subscription in self._subscriptions else []
        else:
            touched = list(self._subscriptions)
        yield from self._brought_up_to_date(dict.fromkeys(touched, 0))

    def _brought_up_to_date(self, touched: Mapping[str, int]) -> Iterator[Learnt]:
        """Bring what follows from these subscriptions up to date, each from a moment on."""
        if not touched:
            return
        for page in self._pages:
            found = page.follow(self._subscriptions, self._terms, self._first_paid, touched)
            if found.entries or found.levels:
                yield found


class _Page:
    """What follows under one definition set."""

    def __init__(self, series: Series) -> None:
        self.series = series
        self.accounts: dict[str, Account] = {}
        self._courses: dict[str, Course] = {}
        self._levels: dict[str, list[Level]] = {}
        self._statuses: list[Level] = []

    def follow(
        self,
        histories: Mapping[str, History[Subscription]],
        terms: Terms,
        paid: Mapping[str, int],
        touched: Mapping[str, int],
    ) -> Learnt:
        learnt = Learnt(self.series.number, [], [])
        currencies: set[str] = set()
        for subscription, since in touched.items():
            course = self._courses.setdefault(
                subscription, Course(self.series.definitions, self.series.worth)
            )
            currencies.update(one.currency for one in course.situations[-1:])
            course.follow(histories[subscription], terms, paid.get(subscription), since)
            currencies.update(one.currency for one in course.situations[-1:])
            known = self._levels.setdefault(subscription, [])
            learnt.levels += _replaced(known, levels_of(subscription, course, since), since)
        since = min(touched.values())
        learnt.levels += _replaced(self._statuses, statuses_of(self._courses, since), since)
        for currency in sorted(currencies):
            learnt.entries += self._enter(currency, since)
        return learnt

    def _enter(self, currency: str, since: int) -> list[Entry]:
        account = self.accounts.setdefault(currency, Account(currency, self.series.definitions))
        start = account.restart_at(since)
        changes = [
            change
            for subscription, course in self._courses.items()
            if course.times and course.times[-1] >= start
            for change in changes_of(subscription, course, start)
            if change.currency == currency
        ]
        changes.sort(key=lambda one: (one.at, one.subscription))
        return difference(*account.enter(changes, since, self._courses))


def _replaced(known: list[Level], made: Iterable[Level], since: int) -> list[Level]:
    """Put what was made in place of what was known from a moment on; return the difference."""
    kept = next((i for i, one in enumerate(known) if one.at >= since), len(known))
    before = known[kept:]
    known[kept:] = made
    return difference(before, known[kept:])
