"""Decisions of our own: aggregates with rules, versioned densely, saved with optimistic locking.

Time is an argument: every event is triggered with the `timestamp` of the decision. A stored
class has a literal TOPIC; a class that changes its fields gets a `class_version` and an upcaster.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from eventsourcing.domain import BaseAggregate, CanInitAggregate, CanMutateAggregate, DomainEvent

from ledger.errors import LedgerError


class DecisionRefused(LedgerError):
    """A decision that the rules of its aggregate do not allow now."""


class DecisionEvent(CanMutateAggregate[str], DomainEvent):
    """Something we decided.

    The fields named in `PERSONAL` are encrypted under the key of `customer_id`; they are None
    where it was erased.
    """

    TOPIC: ClassVar[str] = "DecisionEvent"
    PERSONAL: ClassVar[frozenset[str]] = frozenset()

    originator_id: str  # type: ignore[assignment]  # streams have names, not UUIDs

    def __post_init__(self) -> None:
        """Accept text ids."""

    @staticmethod
    def create_timestamp() -> datetime:
        """Refuse: whoever decides says when."""
        raise TypeError("trigger decision events with `timestamp=`: time is an argument")


class DecisionOpened(CanInitAggregate[str], DecisionEvent):
    """The first decision of a stream."""

    TOPIC: ClassVar[str] = "DecisionOpened"

    originator_topic: str


class Decision(BaseAggregate[str]):
    """Base of the aggregates that decide; subclasses say what their streams are called."""

    TOPIC: ClassVar[str] = "Decision"

    Event: ClassVar[Any] = DecisionEvent
