"""What people note about customers and do for them; how customers are shared out among them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from ledger.aggregates.decision import Decision, DecisionEvent, DecisionOpened, DecisionRefused

NOTES_MAX = 1_000  # that are there at a time, of one customer
OUTCOMES = ("done", "dropped")


@dataclass
class Note:
    """What somebody wrote; `text` is None once the customer was erased."""

    id: str
    actor: str
    written_at: datetime
    text: str | None


@dataclass
class Task:
    """What somebody is to do, until when (a day)."""

    id: str
    actor: str
    opened_at: datetime
    due_on: date | None
    assignee: str | None
    what: str | None
    outcome: str | None = None
    closed_at: datetime | None = None


class Noted(DecisionEvent):
    """What every event about a customer's work says: who, and why if they say so (encrypted)."""

    TOPIC = "CustomerWork.Noted"
    PERSONAL = frozenset({"reason"})

    customer_id: str
    actor: str
    reason: str | None = None


class CustomerWork(Decision):
    """One customer's tags, owner, notes and tasks."""

    TOPIC = "CustomerWork"
    PREFIX = "work:"

    class Event(DecisionEvent):
        """Something about a customer's work."""

        TOPIC = "CustomerWork.Event"

    class Opened(DecisionOpened, Event):
        """Somebody noted something about a customer for the first time."""

        TOPIC = "CustomerWork.Opened"
        customer_id: str

    class Tagged(Noted, Event):
        """A customer got a tag."""

        TOPIC = "CustomerWork.Tagged"
        tag: str = ""

        def apply(self, aggregate: Any) -> None:
            """Remember it."""
            aggregate.tags.add(self.tag)

    class Untagged(Noted, Event):
        """A tag was taken away."""

        TOPIC = "CustomerWork.Untagged"
        tag: str = ""

        def apply(self, aggregate: Any) -> None:
            """Forget it."""
            aggregate.tags.discard(self.tag)

    class OwnerSet(Noted, Event):
        """A customer is somebody's, or nobody's any more; `rule` shared them out, if one did."""

        TOPIC = "CustomerWork.OwnerSet"
        owner: str | None = None
        rule: str | None = None

        def apply(self, aggregate: Any) -> None:
            """Remember it."""
            aggregate.owner = self.owner

    class NoteWritten(Event):
        """Somebody wrote a note."""

        TOPIC = "CustomerWork.NoteWritten"
        PERSONAL = frozenset({"text"})
        customer_id: str
        note: str
        actor: str
        text: str | None = None

        def apply(self, aggregate: Any) -> None:
            """Remember it."""
            aggregate.notes[self.note] = Note(self.note, self.actor, self.timestamp, self.text)

    class NoteRemoved(Noted, Event):
        """A note was taken out of sight."""

        TOPIC = "CustomerWork.NoteRemoved"
        note: str = ""

        def apply(self, aggregate: Any) -> None:
            """Forget it."""
            aggregate.notes.pop(self.note, None)

    class TaskOpened(Event):
        """Somebody is to do something."""

        TOPIC = "CustomerWork.TaskOpened"
        PERSONAL = frozenset({"what"})
        customer_id: str
        task: str
        actor: str
        due_on: date | None
        assignee: str | None
        what: str | None = None

        def apply(self, aggregate: Any) -> None:
            """Remember it."""
            aggregate.tasks[self.task] = Task(
                self.task, self.actor, self.timestamp, self.due_on, self.assignee, self.what
            )

    class TaskClosed(Noted, Event):
        """It was done, or dropped."""

        TOPIC = "CustomerWork.TaskClosed"
        task: str = ""
        outcome: str = ""

        def apply(self, aggregate: Any) -> None:
            """Remember it."""
            found = aggregate.tasks[self.task]
            found.outcome, found.closed_at = self.outcome, self.timestamp

    def __init__(self, customer_id: str) -> None:
        self.customer_id = customer_id
        self.tags: set[str] = set()
        self.owner: str | None = None
        self.notes: dict[str, Note] = {}
        self.tasks: dict[str, Task] = {}

    @classmethod
    def stream_of(cls, customer_id: str) -> str:
        """Return the stream of a customer's work."""
        return f"{cls.PREFIX}{customer_id}"

    @classmethod
    def begin(cls, customer_id: str, now: datetime) -> CustomerWork:
        """Return a customer's work as it begins."""
        made: CustomerWork = cls._create(
            cls.Opened, id=cls.stream_of(customer_id), customer_id=customer_id, timestamp=now
        )
        return made

    def _note(self, event: type[Noted], actor: str, reason: str | None, now: datetime,
              **told: Any) -> None:  # fmt: skip
        self.trigger_event(
            event,
            customer_id=self.customer_id,
            actor=actor,
            reason=reason,
            timestamp=now,
            **told,
        )

    def tag(self, tag: str, *, actor: str, reason: str | None, now: datetime) -> None:
        """Give a tag."""
        if tag not in self.tags:
            self._note(self.Tagged, actor, reason, now, tag=tag)

    def untag(self, tag: str, *, actor: str, reason: str | None, now: datetime) -> None:
        """Take a tag away."""
        if tag in self.tags:
            self._note(self.Untagged, actor, reason, now, tag=tag)

    def give_to(
        self,
        owner: str | None,
        *,
        actor: str,
        reason: str | None = None,
        rule: str | None = None,
        now: datetime,
    ) -> None:
        """Let the customer be somebody's."""
        if owner != self.owner:
            self._note(self.OwnerSet, actor, reason, now, owner=owner, rule=rule)

    def write(self, text: str, *, actor: str, now: datetime) -> str:
        """Write a note and return its id; raise DecisionRefused if there are too many."""
        if len(self.notes) >= NOTES_MAX:
            raise DecisionRefused(f"There are {NOTES_MAX} notes already: remove some.")
        note = f"note_{self.version}"
        self.trigger_event(
            self.NoteWritten,
            customer_id=self.customer_id,
            note=note,
            actor=actor,
            text=text,
            timestamp=now,
        )
        return note

    def remove(self, note: str, *, actor: str, reason: str | None, now: datetime) -> None:
        """Take a note out of sight; raise DecisionRefused if there is none."""
        if note not in self.notes:
            raise DecisionRefused(f"There is no note {note!r}.")
        self._note(self.NoteRemoved, actor, reason, now, note=note)

    def open_task(
        self, what: str, due_on: date | None, assignee: str | None, *, actor: str, now: datetime
    ) -> str:
        """Let somebody have something to do; return the task's id."""
        task = f"task_{self.version}"
        self.trigger_event(
            self.TaskOpened,
            customer_id=self.customer_id,
            task=task,
            actor=actor,
            due_on=due_on,
            assignee=assignee,
            what=what,
            timestamp=now,
        )
        return task

    def close_task(
        self, task: str, outcome: str, *, actor: str, reason: str | None, now: datetime
    ) -> None:
        """Say what came of a task; raise DecisionRefused if it is none that is open."""
        found = self.tasks.get(task)
        if found is None or found.outcome is not None:
            raise DecisionRefused(f"There is no open task {task!r}.")
        self._note(self.TaskClosed, actor, reason, now, task=task, outcome=outcome)


@dataclass(frozen=True)
class AssignmentRule:
    """To whom new customers go: all that is named must hold; several owners take turns."""

    name: str
    owners: list[str]
    countries: list[str]
    currencies: list[str]


class WorkRules(Decision):
    """How customers are shared out, and which filters were saved: one stream for the ledger."""

    TOPIC = "WorkRules"
    STREAM = "work_rules"

    class Event(DecisionEvent):
        """Something about the rules was decided."""

        TOPIC = "WorkRules.Event"

    class Opened(DecisionOpened, Event):
        """Somebody made a rule or saved a filter for the first time."""

        TOPIC = "WorkRules.Opened"

    class AssignmentSet(Event):
        """These rules hold from now on, the first that fits counts."""

        TOPIC = "WorkRules.AssignmentSet"
        actor: str
        rules: list[AssignmentRule]

        def apply(self, aggregate: Any) -> None:
            """Remember them."""
            aggregate.assignment = self.rules

    class SegmentSaved(Event):
        """A filter of customers has a name."""

        TOPIC = "WorkRules.SegmentSaved"
        actor: str
        segment: str
        filters: dict[str, Any]

        def apply(self, aggregate: Any) -> None:
            """Remember it."""
            aggregate.segments[self.segment] = self.filters

    class SegmentRemoved(Event):
        """A saved filter is no more."""

        TOPIC = "WorkRules.SegmentRemoved"
        actor: str
        segment: str

        def apply(self, aggregate: Any) -> None:
            """Forget it."""
            aggregate.segments.pop(self.segment, None)

    def __init__(self) -> None:
        self.assignment: list[AssignmentRule] = []
        self.segments: dict[str, dict[str, Any]] = {}

    @classmethod
    def begin(cls, now: datetime) -> WorkRules:
        """Return the rules as they begin: none."""
        made: WorkRules = cls._create(cls.Opened, id=cls.STREAM, timestamp=now)
        return made

    def share_out(self, rules: list[AssignmentRule], *, actor: str, now: datetime) -> None:
        """Let these rules hold."""
        self.trigger_event(self.AssignmentSet, actor=actor, rules=rules, timestamp=now)

    def save_segment(
        self, segment: str, filters: dict[str, Any], *, actor: str, now: datetime
    ) -> None:
        """Give a filter a name."""
        if self.segments.get(segment) != filters:
            self.trigger_event(
                self.SegmentSaved, actor=actor, segment=segment, filters=filters, timestamp=now
            )

    def remove_segment(self, segment: str, *, actor: str, now: datetime) -> None:
        """Forget a filter; raise DecisionRefused if there is none."""
        if segment not in self.segments:
            raise DecisionRefused(f"There is no segment {segment!r}.")
        self.trigger_event(self.SegmentRemoved, actor=actor, segment=segment, timestamp=now)
