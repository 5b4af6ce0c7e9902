"""A dunning case: one unpaid invoice, from its first failed payment until it is settled."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ledger.aggregates.decision import DecisionEvent, DecisionOpened, DecisionRefused
from ledger.aggregates.steps import Scheduled, Skipped, Stepped, Taken


@dataclass(frozen=True)
class CaseTerms:
    """What a case is about and by what it goes; amounts in minor units, instants UTC.

    `mode` is the state of its campaign when it was opened: shadow or on. `is_waiting`: its fact was
    too old to be answered by itself.
    """

    customer_id: str
    invoice: str
    subscription: str | None
    number: str | None
    currency: str | None
    amount_due_minor: int | None
    campaign: str
    campaign_version: int
    mode: str
    zone: str
    zone_source: str
    language: str
    first_failed_at: datetime
    is_waiting: bool


@dataclass(frozen=True)
class CaseFailure:
    """What is known of the last failure; codes as Stripe spells them."""

    failures: int
    failed_at: datetime
    decline_code: str | None
    advice_code: str | None
    decline_class: str | None
    declines_version: int
    next_attempt_at: datetime | None


class DunningCase(Stepped):
    """One unpaid invoice and what is done about it."""

    TOPIC = "DunningCase"

    class Event(DecisionEvent):
        """Something about a case was decided."""

        TOPIC = "DunningCase.Event"

    class Opened(DecisionOpened, Event):
        """A payment has failed: a case was opened, under a campaign as it is now."""

        TOPIC = "DunningCase.Opened"
        customer_id: str
        terms: CaseTerms
        failure: CaseFailure
        read_until: int

    class FailureNoted(Event):
        """The payment failed again, or it became known why, or when Stripe tries again."""

        TOPIC = "DunningCase.FailureNoted"
        failure: CaseFailure
        read_until: int

        def apply(self, aggregate: Any) -> None:
            """Remember it."""
            aggregate.failure = self.failure

    class StepScheduled(Scheduled, Event):
        """A step is due then."""

        TOPIC = "DunningCase.StepScheduled"

    class StepTaken(Taken, Event):
        """A step was taken."""

        TOPIC = "DunningCase.StepTaken"

    class StepSkipped(Skipped, Event):
        """A step was left out."""

        TOPIC = "DunningCase.StepSkipped"

    class Paused(Event):
        """Somebody lets a case rest."""

        TOPIC = "DunningCase.Paused"
        PERSONAL = frozenset({"reason"})
        customer_id: str
        actor: str
        reason: str | None = None

        def apply(self, aggregate: Any) -> None:
            """Remember since when."""
            aggregate.is_paused = True
            aggregate.paused_at = self.timestamp

    class Resumed(Event):
        """Somebody lets a case go on that rested, or that waited because its fact was old."""

        TOPIC = "DunningCase.Resumed"
        PERSONAL = frozenset({"reason"})
        customer_id: str
        actor: str
        reason: str | None = None

        def apply(self, aggregate: Any) -> None:
            """Remember it: what waited begins now, what rested goes on where it was."""
            if aggregate.is_waiting:
                aggregate.anchor_at = self.timestamp
            elif aggregate.is_paused:
                aggregate.anchor_at += self.timestamp - aggregate.paused_at
            aggregate.is_paused = aggregate.is_waiting = False

    class AccessRevoked(Event):
        """The customer has no access any more until the invoice is settled."""

        TOPIC = "DunningCase.AccessRevoked"

        def apply(self, aggregate: Any) -> None:
            """Remember it."""
            aggregate.is_revoked = True

    class MarkedInactive(Event):
        """The customer has not paid for so long that they are not active any more."""

        TOPIC = "DunningCase.MarkedInactive"

        def apply(self, aggregate: Any) -> None:
            """Remember it."""
            aggregate.is_inactive = True

    class Closed(Event):
        """The case is over: paid, void, uncollectible, deleted, canceled, gone, or stopped."""

        TOPIC = "DunningCase.Closed"
        PERSONAL = frozenset({"reason"})
        customer_id: str
        outcome: str
        actor: str | None
        read_until: int
        reason: str | None = None

        def apply(self, aggregate: Any) -> None:
            """Remember it; what was not done is not due any more."""
            aggregate.outcome = self.outcome
            aggregate.closed_at = self.timestamp

    def __init__(
        self, customer_id: str, terms: CaseTerms, failure: CaseFailure, read_until: int
    ) -> None:
        super().__init__(customer_id)
        self.terms = terms
        self.failure = failure
        self.opened_until = read_until
        self.anchor_at = terms.first_failed_at
        self.is_waiting = terms.is_waiting
        self.is_paused = False
        self.paused_at: datetime | None = None
        self.is_revoked = False
        self.is_inactive = False

    @staticmethod
    def stream_of(invoice_id: str) -> str:
        """Return the stream of an invoice's case."""
        return f"dunning:{invoice_id}"

    @classmethod
    def open(
        cls, terms: CaseTerms, failure: CaseFailure, *, now: datetime, read_until: int
    ) -> DunningCase:
        """Return a new case."""
        made: DunningCase = cls._create(
            cls.Opened,
            id=cls.stream_of(terms.invoice),
            customer_id=terms.customer_id,
            terms=terms,
            failure=failure,
            read_until=read_until,
            timestamp=now,
        )
        return made

    @property
    def rests(self) -> bool:
        """Whether nothing is done by itself now."""
        return self.is_waiting or self.is_paused

    def note(self, failure: CaseFailure, *, now: datetime, read_until: int) -> bool:
        """Note what is known of the last failure; return whether that is anything new."""
        if failure == self.failure:
            return False
        self.trigger_event(self.FailureNoted, failure=failure, read_until=read_until, timestamp=now)
        return True

    def pause(self, reason: str, *, actor: str, now: datetime) -> None:
        """Let the case rest."""
        self.require_open()
        if not self.is_paused:
            self.trigger_event(
                self.Paused,
                customer_id=self.customer_id,
                reason=reason,
                actor=actor,
                timestamp=now,
            )

    def resume(self, reason: str, *, actor: str, now: datetime) -> None:
        """Let the case go on."""
        self.require_open()
        if not self.rests:
            raise DecisionRefused(f"{self.id} does not rest.")
        self.trigger_event(
            self.Resumed,
            customer_id=self.customer_id,
            reason=reason,
            actor=actor,
            timestamp=now,
        )

    def revoke(self, *, now: datetime) -> None:
        """Let access end."""
        if not self.is_revoked:
            self.trigger_event(self.AccessRevoked, timestamp=now)

    def mark_inactive(self, *, now: datetime) -> None:
        """Let the customer count as inactive."""
        if not self.is_inactive:
            self.trigger_event(self.MarkedInactive, timestamp=now)

    def close(
        self,
        outcome: str,
        *,
        now: datetime,
        read_until: int,
        reason: str | None = None,
        actor: str | None = None,
    ) -> None:
        """End the case."""
        self.require_open()
        self.trigger_event(
            self.Closed,
            customer_id=self.customer_id,
            outcome=outcome,
            reason=reason,
            actor=actor,
            read_until=read_until,
            timestamp=now,
        )
