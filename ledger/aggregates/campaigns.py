"""The campaigns of a ledger, each version whole: what runs by one keeps it for ever."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ledger.aggregates.decision import Decision, DecisionEvent, DecisionOpened, DecisionRefused


class Campaigns(Decision):
    """Every version of every campaign that was ever added."""

    TOPIC = "Campaigns"
    STREAM = "campaigns"

    class Event(DecisionEvent):
        """Something about campaigns was decided."""

        TOPIC = "Campaigns.Event"

    class Opened(DecisionOpened, Event):
        """The first campaign is about to be added."""

        TOPIC = "Campaigns.Opened"

    class Added(Event):
        """A version of a campaign, all of it."""

        TOPIC = "Campaigns.Added"
        campaign: dict[str, Any]
        actor: str

        def apply(self, aggregate: Any) -> None:
            """Remember it."""
            name, version = self.campaign["name"], self.campaign["version"]
            aggregate.versions[name, version] = self.campaign
            aggregate.newest[name] = version

    def __init__(self) -> None:
        self.versions: dict[tuple[str, int], dict[str, Any]] = {}
        self.newest: dict[str, int] = {}

    @classmethod
    def begin(cls, now: datetime) -> Campaigns:
        """Return the stream's aggregate as it begins."""
        made: Campaigns = cls._create(cls.Opened, id=cls.STREAM, timestamp=now)
        return made

    def add(self, campaign: Mapping[str, Any], *, actor: str, now: datetime) -> None:
        """Add a version; the same again changes nothing.

        Raises DecisionRefused if another content has that version, or a newer one is there.
        """
        name, version = campaign["name"], campaign["version"]
        known = self.versions.get((name, version))
        if known == campaign:
            return
        if known is not None or version < self.newest.get(name, 0):
            raise DecisionRefused(
                f"The campaign {name} has a version {version} or newer already: count it up to"
                f" {self.newest[name] + 1}."
            )
        self.trigger_event(self.Added, campaign=dict(campaign), actor=actor, timestamp=now)
