"""Steps: what is to be done later by a decision that runs for weeks, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from ledger.aggregates.decision import Decision, DecisionEvent, DecisionRefused


@dataclass
class Step:
    """A step: due at an instant, until it was taken or left out."""

    name: str
    due_at: datetime
    outcome: str | None = None
    done_at: datetime | None = None


class Scheduled(DecisionEvent):
    """A step is due then; `moved_by` says why not earlier."""

    TOPIC = "Steps.Scheduled"
    step: str
    due_at: datetime
    moved_by: str | None

    def apply(self, aggregate: Any) -> None:
        """Remember it."""
        aggregate.steps[self.step] = Step(self.step, self.due_at)


class Taken(DecisionEvent):
    """A step was taken; `outcome` is what became of its effect."""

    TOPIC = "Steps.Taken"
    step: str
    outcome: str
    effect: str | None
    read_until: int
    actor: str | None

    def apply(self, aggregate: Any) -> None:
        """Remember it."""
        aggregate.done(self.step, self.outcome, self.timestamp)


class Skipped(DecisionEvent):
    """A step was left out; `reason` is what a person said of it."""

    TOPIC = "Steps.Skipped"
    PERSONAL = frozenset({"reason"})
    customer_id: str
    step: str
    because: str
    read_until: int
    actor: str | None
    reason: str | None = None

    def apply(self, aggregate: Any) -> None:
        """Remember it."""
        aggregate.done(self.step, "skipped", self.timestamp)


class Stepped(Decision):
    """A decision with steps; its events of them are named by each kind of it."""

    TOPIC = "Stepped"
    StepScheduled: ClassVar[type[Scheduled]]
    StepTaken: ClassVar[type[Taken]]
    StepSkipped: ClassVar[type[Skipped]]

    def __init__(self, customer_id: str) -> None:
        self.customer_id = customer_id
        self.steps: dict[str, Step] = {}
        self.outcome: str | None = None
        self.closed_at: datetime | None = None

    @property
    def is_open(self) -> bool:
        """Whether it goes on."""
        return self.outcome is None

    @property
    def rests(self) -> bool:
        """Whether nothing is done by itself now."""
        return False

    def pending(self, step: str) -> Step | None:
        """Return a step that is still to be taken."""
        found = self.steps.get(step)
        return found if found is not None and found.outcome is None and self.is_open else None

    @property
    def all_pending(self) -> list[Step]:
        """Return the steps that are still to be taken."""
        return [step for step in self.steps.values() if self.pending(step.name)]

    def done(self, step: str, outcome: str, at: datetime) -> None:
        """Remember what became of a step."""
        known = self.steps.setdefault(step, Step(step, at))
        known.outcome, known.done_at = outcome, at

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
        self.require_open()
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
        self,
        step: str,
        because: str,
        *,
        now: datetime,
        read_until: int,
        actor: str | None = None,
        reason: str | None = None,
    ) -> None:
        """Leave a step out; raise DecisionRefused if it is not pending."""
        if self.pending(step) is None:
            raise DecisionRefused(f"There is no step {step!r} to be left out in {self.id}.")
        self.trigger_event(
            self.StepSkipped,
            customer_id=self.customer_id,
            step=step,
            because=because,
            read_until=read_until,
            actor=actor,
            reason=reason,
            timestamp=now,
        )

    def require_open(self) -> None:
        """Raise DecisionRefused if it is over."""
        if not self.is_open:
            raise DecisionRefused(f"{self.id} is closed: {self.outcome}.")
