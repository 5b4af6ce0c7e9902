"""What every fact from Stripe has in common, and how facts are folded into the state of a thing.

Facts are recorded, never refused: their classes name what happened and carry no rules. A
fact's `originator_version` is its position in the log; only the streams of our own decisions
count densely.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Literal

from eventsourcing.domain import DomainEvent

from ledger.stripe_objects.fields import nested, text
from ledger.stripe_objects.order import Fact, Settled, settle
from ledger.stripe_objects.references import customer_named, kind_of, object_key, subscription_named

OwnerRule = Literal[
    "subscription, else customer, else account", "customer, else account", "account"
]
ACCOUNT_STREAM = "account"
CATALOGUE_STREAM = "catalogue"  # of terms that we fetched
DEFINITIONS_STREAM = "definitions"  # of definition sets that were added and adopted
BALANCE_STREAM = "balance"  # of balance transactions that we fetched
LINES_STREAM = "lines"  # of invoices' lines that we fetched
RATES_STREAM = "rates"  # of exchange rates that were imported
CATEGORIES_STREAM = "churn_categories"  # of reasons to leave that somebody categorized
PERIODS_STREAM = "periods"  # of months that were closed
OURS = "_ledger"  # the member of a recorded body that we added: set_aside, flags, conflicts_with


class StripeFact(DomainEvent):
    """One Stripe event, as it was recorded: `data` is its body without personal leaves."""

    TOPIC: ClassVar[str]
    stripe_type: ClassVar[str | None] = None
    owner: ClassVar[OwnerRule] = "account"
    has_state: ClassVar[bool] = True  # whether it shows an object that lasts, as it was then

    originator_id: str  # type: ignore[assignment]  # streams are named by Stripe's ids
    position: int
    occurred_at: datetime
    customer_id: str | None
    object_id: str | None
    stripe_event_id: str | None
    data: Mapping[str, Any]

    def __post_init__(self) -> None:
        """Accept text ids: streams are named by Stripe's ids, not by UUIDs."""

    @staticmethod
    def create_timestamp() -> datetime:
        """Refuse: the time of a fact is Stripe's or the database's, never this process's."""
        raise NotImplementedError

    @property
    def recorded_at(self) -> datetime:
        """When the log recorded it; the library's word for it is `timestamp`."""
        return self.timestamp

    @property
    def snapshot(self) -> dict[str, Any]:
        """Return the object as this fact saw it (clear leaves)."""
        return nested(self.data, "data", "object")

    @property
    def previous_attributes(self) -> dict[str, Any]:
        """Return what the changed attributes were before (clear leaves)."""
        return nested(self.data, "data", "previous_attributes")


class SubscriptionFact(StripeFact):
    """A fact about a subscription, or about the customer where it names no subscription."""

    owner = "subscription, else customer, else account"


class CustomerFact(StripeFact):
    """A fact about a customer."""

    owner = "customer, else account"


class AccountFact(StripeFact):
    """A fact about the business itself: its catalogue, its payouts, what nobody else owns."""

    owner = "account"


@dataclass(frozen=True, slots=True)
class Ownership:
    """Where an event belongs: its stream, and the customer and object it names."""

    stream: str
    customer_id: str | None
    object_id: str | None


def ownership_of(rule: OwnerRule, obj: dict[str, Any], previous: dict[str, Any]) -> Ownership:
    """Return the owner of an event by its class's rule: the first candidate that it names."""
    customer = customer_named(obj, previous)
    subscription = subscription_named(obj) if rule.startswith("subscription") else None
    stream = subscription or (None if rule == "account" else customer) or ACCOUNT_STREAM
    return Ownership(stream, customer, text(obj, "id"))


@dataclass(frozen=True, slots=True)
class ObjectState:
    """What one object was at the end of the last second known."""

    object_id: str
    kind: str
    occurred_at: datetime
    settled: Settled


def fold_objects(
    facts: Iterable[StripeFact], until: datetime | None = None
) -> dict[str, ObjectState]:
    """Return the last state of each object these facts are about, by its key, whatever their order.

    With `until` it is the state then; later facts only help to tell what came last in a second.
    """
    seconds: dict[str, dict[datetime, dict[str, Fact]]] = defaultdict(lambda: defaultdict(dict))
    named: dict[str, tuple[str, str]] = {}
    for fact in facts:
        if not fact.has_state or is_set_aside(fact.data):
            continue
        if fact.object_id is None or fact.stripe_event_id is None:
            continue
        kind = kind_of(fact.snapshot)
        key = object_key(kind, fact.object_id)
        named[key] = (fact.object_id, kind)
        seconds[key][fact.occurred_at][fact.stripe_event_id] = as_order_fact(
            fact.stripe_event_id, fact.data
        )
    return {
        key: state
        for key, by_second in seconds.items()
        if (state := _last_state(*named[key], by_second, until)) is not None
    }


def _last_state(
    object_id: str,
    kind: str,
    by_second: Mapping[datetime, Mapping[str, Fact]],
    until: datetime | None,
) -> ObjectState | None:
    instants = sorted(by_second)
    history = settle_seconds([list(by_second[at].values()) for at in instants], kind)
    passed = len(instants) if until is None else bisect_right(instants, until)
    if not passed:
        return None
    return ObjectState(object_id, kind, instants[passed - 1], history[passed - 1])


def settle_seconds(
    seconds: Sequence[Sequence[Fact]], kind: str, before: Settled | None = None
) -> list[Settled]:
    """Return the state at the end of each second, given in the order of time."""
    states: list[Settled] = []
    for index, facts in enumerate(seconds):
        following = seconds[index + 1] if index + 1 < len(seconds) else ()
        before = settle(facts, before, following, kind)
        states.append(before)
    return states


def as_order_fact(stripe_event_id: str, data: Mapping[str, Any]) -> Fact:
    """Return a recorded body as the order rule reads it."""
    return Fact(
        stripe_event_id,
        text(data, "type") or "",
        nested(data, "data", "object"),
        nested(data, "data", "previous_attributes") or None,
        text(data, "api_version"),
    )


def is_set_aside(data: Mapping[str, Any]) -> bool:
    """Return whether an event is recorded but kept out of every view (other mode, foreign)."""
    return "set_aside" in nested(data, OURS)
