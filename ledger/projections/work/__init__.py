"""What people noted of customers, as rows; every row follows from one stream."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ledger.aggregates.customer_work import CustomerWork
from ledger.decisions import Decisions
from ledger.log import RecordedEvent
from ledger.projections.projection import Connection, Derivation, Projection

_EVERY_STREAM = """
SELECT stream FROM (
    SELECT stream, row_number() OVER (ORDER BY stream COLLATE "C") AS number FROM events
    WHERE stripe_event_id IS NULL AND version = 1 AND starts_with(stream, 'work:')
) AS numbered WHERE number %% %(every)s = 0 ORDER BY stream COLLATE "C"
"""
_BETWEEN = """
SELECT stream FROM events
WHERE stripe_event_id IS NULL AND version = 1 AND starts_with(stream, 'work:')
    AND stream COLLATE "C" > %(low)s AND stream COLLATE "C" <= %(high)s AND position <= %(until)s
"""
_WORK = "INSERT INTO customer_work (customer_id, owner, tags, open_tasks) VALUES (%s, %s, %s, %s)"
_TASK = """
INSERT INTO tasks (
    id, customer_id, task, actor, assignee, due_on, opened_at, outcome, closed_at
) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
"""


class Work(Projection):
    """Owners, tags and tasks."""

    name = "work"
    version = 1
    package = __name__
    tables = ("customer_work", "tasks")
    loaded = ()

    def apply(self, connection: Connection, events: Sequence[RecordedEvent]) -> None:
        """Make the rows of each stream anew that something was added to."""
        touched = {one.stream for one in events if one.stream.startswith(CustomerWork.PREFIX)}
        self._write(connection, sorted(touched), events[-1].position)

    def load(self, connection: Connection, events: Sequence[RecordedEvent]) -> None:
        """Do nothing: all of it follows from whole streams."""

    def derivations(self, until: int) -> Sequence[Derivation]:
        """Return what makes the rows of all streams."""

        def make(connection: Connection, low: str, high: str) -> None:
            bounds = {"low": low, "high": high, "until": until}
            rows = connection.execute(_BETWEEN, bounds).fetchall()
            self._write(connection, [row[0] for row in rows], until)

        return (Derivation("work", _EVERY_STREAM, make),)

    def _write(self, connection: Connection, streams: Iterable[str], until: int) -> None:
        decisions = Decisions(connection, self.ledger.keys, until)
        for stream in streams:
            found = decisions.find(CustomerWork, stream)
            if found is None:
                continue
            customer, tasks = found.customer_id, list(found.tasks.values())
            is_open = [one for one in tasks if one.outcome is None]
            for table in self.tables:
                connection.execute(
                    f"DELETE FROM {table} WHERE customer_id = %s".encode(),  # noqa: S608 — ours
                    [customer],
                )
            connection.execute(_WORK, [customer, found.owner, sorted(found.tags), len(is_open)])
            with connection.cursor() as cursor:
                cursor.executemany(
                    _TASK,
                    [
                        (f"{customer}|{one.id}", customer, one.id, one.actor, one.assignee,
                         one.due_on, one.opened_at, one.outcome, one.closed_at)
                        for one in tasks
                    ],
                )  # fmt: skip
