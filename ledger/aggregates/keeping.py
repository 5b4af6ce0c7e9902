"""How long people are kept who have gone: one stream for the ledger."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ledger.aggregates.decision import Decision, DecisionEvent, DecisionOpened


class Keeping(Decision):
    """The retention schedule."""

    TOPIC = "Keeping"
    STREAM = "keeping"

    class Event(DecisionEvent):
        """Something about keeping was decided."""

        TOPIC = "Keeping.Event"

    class Opened(DecisionOpened, Event):
        """Somebody decided for the first time how long people are kept."""

        TOPIC = "Keeping.Opened"

    class ScheduleSet(Event):
        """Who has been gone for so many years is erased; None: nobody by age."""

        TOPIC = "Keeping.ScheduleSet"
        actor: str
        erase_after_years: int | None

        def apply(self, aggregate: Any) -> None:
            """Remember it."""
            aggregate.erase_after_years = self.erase_after_years

    def __init__(self) -> None:
        self.erase_after_years: int | None = None

    @classmethod
    def begin(cls, now: datetime) -> Keeping:
        """Return the schedule as it begins: nobody is erased by age."""
        made: Keeping = cls._create(cls.Opened, id=cls.STREAM, timestamp=now)
        return made

    def set_schedule(self, years: int | None, *, actor: str, now: datetime) -> None:
        """Let those be erased who have been gone for so long."""
        if years != self.erase_after_years:
            self.trigger_event(
                self.ScheduleSet, actor=actor, erase_after_years=years, timestamp=now
            )
