"""The journal: double entry for everything that moves money, or says that it is owed.

    events ──▶ notes, each telling once ──▶ a statement per document ──▶ entries, schedules

A document's statement is a function of the set of its notes (`documents`, `invoices`). What an
event changes in it is entered with the event's position: balances as known at any position are
sums. What is earned by the passing of time is a schedule, summed when asked: no clock runs here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ledger.aggregates import Account
from ledger.aggregates.base import PERIODS_STREAM
from ledger.log import Log, RecordedEvent
from ledger.projections.journal.entries import Closings, keep_notes, learnt, load_notes, write
from ledger.projections.journal.reading import TOPICS, told_by
from ledger.projections.projection import ONCE, Connection, Derivation, Projection

DOCUMENTS = 2_000  # whose notes are read at once

_EVERY_DOCUMENT = """
SELECT document FROM (
    SELECT document, row_number() OVER (ORDER BY document) AS number
    FROM (SELECT DISTINCT document FROM journal_notes) AS known
) AS numbered WHERE number %% %(every)s = 0 ORDER BY document
"""
_CLOSED = "SELECT closed_until, ends_at FROM closings ORDER BY ends_at"
_BETWEEN = """
SELECT DISTINCT document FROM journal_notes
WHERE document > %(low)s AND document <= %(high)s ORDER BY document
"""


class Journal(Projection):
    """What is owed, paid, deferred and earned, in balanced postings."""

    name = "journal"
    version = 1
    package = __name__
    tables = ("journal_notes", "journal_entries", "journal_schedules", "closings")
    loaded = ("journal_notes",)
    reads = TOPICS

    def apply(self, connection: Connection, events: Sequence[RecordedEvent]) -> None:
        """Keep what these events tell, and enter what it changes."""
        _write_closings(connection, events)
        touched = keep_notes(connection, (told for event in events for told in told_by(event)))
        if touched:
            _enter(connection, sorted(touched), after=events[0].position - 1)

    def load(self, connection: Connection, events: Sequence[RecordedEvent]) -> None:
        """Keep what these events tell, of whose documents there are no notes."""
        load_notes(connection, (told for event in events for told in told_by(event)))

    def derivations(self, until: int) -> Sequence[Derivation]:
        """Return what enters everything, document by document."""

        def close(connection: Connection, _low: str, _high: str) -> None:
            events = Log(connection).stream(PERIODS_STREAM)
            _write_closings(connection, [one for one in events if one.position <= until])

        def enter(connection: Connection, low: str, high: str) -> None:
            rows = connection.execute(_BETWEEN, {"low": low, "high": high}).fetchall()
            _enter(connection, [row[0] for row in rows], after=0)

        return (
            Derivation("closings", ONCE, close),
            Derivation("entries", _EVERY_DOCUMENT, enter),
        )


def _enter(connection: Connection, documents: Sequence[str], after: int) -> None:
    closings = _closings(connection)
    for first in range(0, len(documents), DOCUMENTS):
        changes = learnt(connection, documents[first : first + DOCUMENTS], after)
        write(connection, changes, closings)


def _closings(connection: Connection) -> Closings:
    rows = connection.execute(_CLOSED).fetchall()
    return Closings([row[0] for row in rows], [row[1] for row in rows])


_BOOK_LATER = (
    b"UPDATE journal_entries SET booked_at = %(ends)s"
    b" WHERE position > %(until)s AND booked_at < %(ends)s",
    b"UPDATE journal_schedules SET since = %(ends)s"
    b" WHERE position > %(until)s AND since < %(ends)s",
)


def _write_closings(connection: Connection, events: Iterable[RecordedEvent]) -> None:
    """Write which months these events close.

    What was recorded while a month was being closed is not in it: it is booked after it.
    """
    for event in events:
        if event.topic == Account.PeriodClosed.TOPIC:
            closed = event.data
            connection.execute(
                "INSERT INTO closings (period, starts_at, ends_at, closed_until, position)"
                " VALUES (%s, %s, %s, %s, %s)",
                [
                    closed["period"],
                    closed["starts_at"],
                    closed["ends_at"],
                    closed["closed_until"],
                    event.position,
                ],
            )
            bounds = {"ends": closed["ends_at"], "until": closed["closed_until"]}
            for statement in _BOOK_LATER:
                connection.execute(statement, bounds)
