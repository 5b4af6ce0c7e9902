"""Read models whose rows each follow from one decision stream, folded anew when it has grown.

The fold is the same code that decides, and each stream is short.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

from ledger.aggregates.decision import Decision
from ledger.decisions import Decisions
from ledger.log import RecordedEvent
from ledger.projections.projection import Connection, Derivation, Projection

Kinds = Mapping[str, tuple[type[Decision], Callable[[Connection, Any], None]]]
_OURS = "stripe_event_id IS NULL AND version = 1 AND stream ~ '^({kinds}):'"
_EVERY = """
SELECT stream FROM (
    SELECT stream, row_number() OVER (ORDER BY stream COLLATE "C") AS number FROM events
    WHERE {ours}
) AS numbered WHERE number %% %(every)s = 0 ORDER BY stream COLLATE "C"
"""
_BETWEEN = """
SELECT stream FROM events
WHERE {ours} AND stream COLLATE "C" > %(low)s AND stream COLLATE "C" <= %(high)s
    AND position <= %(until)s
"""


class Folded(Projection):
    """A projection of whole decision streams.

    `kinds`: what the names of its streams begin with (before the colon), the aggregate that each
    is, and what writes that one's rows.
    """

    kinds: ClassVar[Kinds]
    loaded = ()

    def apply(self, connection: Connection, events: Sequence[RecordedEvent]) -> None:
        """Make the rows of each stream anew that something was added to."""
        touched = {one.stream for one in events if one.stream.partition(":")[0] in self.kinds}
        self._write(connection, sorted(touched), events[-1].position)

    def load(self, connection: Connection, events: Sequence[RecordedEvent]) -> None:
        """Do nothing: all of it follows from whole streams."""

    def derivations(self, until: int) -> Sequence[Derivation]:
        """Return what makes the rows of all streams."""
        ours = _OURS.format(kinds="|".join(sorted(self.kinds)))
        between = _BETWEEN.format(ours=ours).encode()

        def make(connection: Connection, low: str, high: str) -> None:
            rows = connection.execute(between, {"low": low, "high": high, "until": until})
            self._write(connection, [row[0] for row in rows.fetchall()], until)

        return (Derivation(self.name, _EVERY.format(ours=ours), make),)

    def _write(self, connection: Connection, streams: Iterable[str], until: int) -> None:
        decisions = Decisions(connection, self.ledger.keys, until)
        for stream in streams:
            kind, write = self.kinds[stream.partition(":")[0]]
            found = decisions.find(kind, stream)
            if found is not None:
                write(connection, found)
