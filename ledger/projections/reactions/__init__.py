"""Reactions: what was decided about whom, what is due, and what has reached the outside.

Every row follows from one decision stream, folded anew whenever something is added to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ledger.aggregates.decision import Decision
from ledger.aggregates.dunning_case import DunningCase
from ledger.aggregates.outbox import Outbox
from ledger.aggregates.retention_offer import RetentionOffer
from ledger.decisions import Decisions
from ledger.log import RecordedEvent
from ledger.projections.projection import Connection, Derivation, Projection
from ledger.projections.reactions.cases import write_case
from ledger.projections.reactions.effects import write_effects
from ledger.projections.reactions.offers import write_offer

_PREFIXES = ("dunning:", "retention:", "outbox:", "team:")
_EVERY_STREAM = """
SELECT stream FROM (
    SELECT stream, row_number() OVER (ORDER BY stream COLLATE "C") AS number FROM events
    WHERE stripe_event_id IS NULL AND version = 1 AND stream ~ '^(dunning|retention|outbox|team):'
) AS numbered WHERE number %% %(every)s = 0 ORDER BY stream COLLATE "C"
"""
_BETWEEN = """
SELECT stream FROM events
WHERE stripe_event_id IS NULL AND version = 1 AND stream ~ '^(dunning|retention|outbox|team):'
    AND stream COLLATE "C" > %(low)s AND stream COLLATE "C" <= %(high)s AND position <= %(until)s
"""


class Reactions(Projection):
    """What is due, what was sent, and how cases stand."""

    name = "reactions"
    version = 1
    package = __name__
    tables = ("agenda", "effects", "dunning_cases", "retention_offers")
    loaded = ()

    def apply(self, connection: Connection, events: Sequence[RecordedEvent]) -> None:
        """Make the rows of each stream anew that something was added to."""
        touched = {event.stream for event in events if event.stream.startswith(_PREFIXES)}
        self._write(connection, sorted(touched), events[-1].position)

    def load(self, connection: Connection, events: Sequence[RecordedEvent]) -> None:
        """Do nothing: all of it follows from whole streams."""

    def derivations(self, until: int) -> Sequence[Derivation]:
        """Return what makes the rows of all streams."""

        def make(connection: Connection, low: str, high: str) -> None:
            bounds = {"low": low, "high": high, "until": until}
            rows = connection.execute(_BETWEEN, bounds).fetchall()
            self._write(connection, [row[0] for row in rows], until)

        return (Derivation("reactions", _EVERY_STREAM, make),)

    def _write(self, connection: Connection, streams: Iterable[str], until: int) -> None:
        decisions = Decisions(connection, self.ledger.keys, until)
        for stream in streams:
            kind, write = _WRITERS[stream.partition(":")[0]]
            found = decisions.find(kind, stream)
            if found is not None:
                write(connection, found)


_WRITERS: Mapping[str, tuple[type[Decision], Callable[[Connection, Any], None]]] = {
    "dunning": (DunningCase, write_case),
    "retention": (RetentionOffer, write_offer),
    "outbox": (Outbox, write_effects),
    "team": (Outbox, write_effects),
}
