"""What a policy is: facts that arrived on one side, decisions on the other, nothing in between."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from ledger.log import RecordedEvent
from ledger.policies.desk import Desk


class Policy(ABC):
    """Answers what happens with decisions; reads the log only.

    `version` counts up when the same facts would be answered otherwise: a new policy, or version,
    answers what is recorded from then on. `streams` is how the streams of its decisions begin.
    """

    name: ClassVar[str]
    version: ClassVar[int]
    reads: ClassVar[frozenset[str]]
    streams: ClassVar[str]

    @abstractmethod
    def react(self, desk: Desk, events: Sequence[RecordedEvent]) -> None:
        """Decide what follows from these events, all of topics that it reads."""

    @abstractmethod
    def take(self, desk: Desk, stream: str, step: str) -> None:
        """Take a step of one of its decisions that is due, if it still is."""
