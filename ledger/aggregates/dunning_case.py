"""A dunning case: one unpaid invoice, from its first failed payment until it is settled."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ledger.aggregates.decision import Decision, DecisionEvent, DecisionOpened, DecisionRefused


@dataclass
class CaseStep:
    """A step of a case: due at an instant, until it was taken or left out."""

    name: str
    due_at: datetime
    outcome: str | None = None
    done_at: datetime | None = None


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


class DunningCase(Decision):
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

    class StepScheduled(Event):
        """A step is due then; `moved_by` says why not earlier."""

        TOPIC = "DunningCase.StepScheduled"
        step: str
        due_at: datetime
        moved_by: str | None

        def apply(self, aggregate: Any) -> None:
            """Remember it."""
            aggregate.steps[self.step] = CaseStep(self.step, self.due_at)

    class StepTaken(Event):
        """A step was taken; `outcome` is what became of its effect."""

        TOPIC = "DunningCase.StepTaken"
        step: str
        outcome: str
        effect: str | None
        read_until: int
        actor: str | None

        def apply(self, aggregate: Any) -> None:
            """Remember it."""
            aggregate.done(self.step, self.outcome, self.timestamp)

    class StepSkipped(Event):
        """A step was left out."""

        TOPIC = "DunningCase.StepSkipped"
        step: str
        because: str
        read_until: int
        actor: str | None

        def apply(self, aggregate: Any) -> None:
            """Remember it."""
            aggregate.done(self.step, "skipped", self.timestamp)

    class Paused(Event):
        """Somebody lets a case rest."""

        TOPIC = "DunningCase.Paused"
        reason: str
        actor: str

        def apply(self, aggregate: Any) -> None:
            """Remember it."""
            aggregate.is_paused = True

    class Resumed(Event):
        """Somebody lets a case go on that rested, or that waited because its fact was old."""

        TOPIC = "DunningCase.Resumed"
        reason: str
        actor: str

        def apply(self, aggregate: Any) -> None:
            """Remember it; what waited for a person begins with them."""
            if aggregate.is_waiting:
                aggregate.anchor_at = self.timestamp
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
        outcome: str
        reason: str | None
        actor: str | None
        read_until: int

        def apply(self, aggregate: Any) -> None:
            """Remember it; what was not done is not due any more."""
            aggregate.outcome = self.outcome
            aggregate.closed_at = self.timestamp

    def __init__(
        self, customer_id: str, terms: CaseTerms, failure: CaseFailure, read_until: int
    ) -> None:
        self.customer_id = customer_id
        self.terms = terms
        self.failure = failure
        self.opened_until = read_until
        self.anchor_at = terms.first_failed_at
        self.steps: dict[str, CaseStep] = {}
        self.is_waiting = terms.is_waiting
        self.is_paused = False
        self.is_revoked = False
        self.is_inactive = False
        self.outcome: str | None = None
        self.closed_at: datetime | None = None

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
    def is_open(self) -> bool:
        """Whether the invoice is not settled and nobody has stopped the case."""
        return self.outcome is None

    @property
    def rests(self) -> bool:
        """Whether nothing is done by itself now."""
        return self.is_waiting or self.is_paused

    def pending(self, step: str) -> CaseStep | None:
        """Return a step that is still to be taken."""
        found = self.steps.get(step)
        return found if found is not None and found.outcome is None and self.is_open else None

    def done(self, step: str, outcome: str, at: datetime) -> None:
        """Remember what became of a step."""
        known = self.steps.setdefault(step, CaseStep(step, at))
        known.outcome, known.done_at = outcome, at

    def note(self, failure: CaseFailure, *, now: datetime, read_until: int) -> bool:
        """Note what is known of the last failure; return whether that is anything new."""
        if failure == self.failure:
            return False
        self.trigger_event(self.FailureNoted, failure=failure, read_until=read_until, timestamp=now)
        return True

    def schedule(self, step: str, due_at: datetime, moved_by: str | None, *, now: datetime) -> None:
        """Let a step be due then, unless it is done or due then anyway."""
        known = self.steps.get(step)
        if known is not None and (known.outcome is not None or known.due_at == due_at):
            return
        self.trigger_event(
            self.StepScheduled, step=step, due_at=due_at, moved_by=moved_by, timestamp=now
        )

    def take(
        self,
        step: str,
        outcome: str,
        effect: str | None,
        *,
        now: datetime,
        read_until: int,
        actor: str | None = None,
    ) -> None:
        """Note that a step was taken; raise DecisionRefused if it cannot be (any more)."""
        self._require_open()
        known = self.steps.get(step)
        if known is not None and known.outcome not in (None, "skipped"):
            raise DecisionRefused(f"The step {step} of {self.id} has been taken already.")
        self.trigger_event(
            self.StepTaken,
            step=step,
            outcome=outcome,
            effect=effect,
            read_until=read_until,
            actor=actor,
            timestamp=now,
        )

    def skip(
        self, step: str, because: str, *, now: datetime, read_until: int, actor: str | None = None
    ) -> None:
        """Leave a step out; raise DecisionRefused if it is not pending."""
        if self.pending(step) is None:
            raise DecisionRefused(f"There is no step {step!r} to be left out in {self.id}.")
        self.trigger_event(
            self.StepSkipped,
            step=step,
            because=because,
            read_until=read_until,
            actor=actor,
            timestamp=now,
        )

    def pause(self, reason: str, *, actor: str, now: datetime) -> None:
        """Let the case rest."""
        self._require_open()
        if not self.is_paused:
            self.trigger_event(self.Paused, reason=reason, actor=actor, timestamp=now)

    def resume(self, reason: str, *, actor: str, now: datetime) -> None:
        """Let the case go on."""
        self._require_open()
        if not self.rests:
            raise DecisionRefused(f"{self.id} does not rest.")
        self.trigger_event(self.Resumed, reason=reason, actor=actor, timestamp=now)

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
        self._require_open()
        self.trigger_event(
            self.Closed,
            outcome=outcome,
            reason=reason,
            actor=actor,
            read_until=read_until,
            timestamp=now,
        )

    def _require_open(self) -> None:
        if not self.is_open:
            raise DecisionRefused(f"{self.id} is closed: {self.outcome}.")
