"""What people noted of customers, as rows; every row follows from one stream."""

from __future__ import annotations

from typing import ClassVar

from ledger.aggregates.customer_work import CustomerWork
from ledger.projections.folded import Folded, Kinds
from ledger.projections.projection import Connection

_WORK = "INSERT INTO customer_work (customer_id, owner, tags, open_tasks) VALUES (%s, %s, %s, %s)"
_TASK = """
INSERT INTO tasks (
    id, customer_id, task, actor, assignee, due_on, opened_at, outcome, closed_at
) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
"""


def write_work(connection: Connection, work: CustomerWork) -> None:
    """Make the rows of a customer's work anew."""
    customer, tasks = work.customer_id, list(work.tasks.values())
    is_open = [one for one in tasks if one.outcome is None]
    connection.execute("DELETE FROM customer_work WHERE customer_id = %s", [customer])
    connection.execute("DELETE FROM tasks WHERE customer_id = %s", [customer])
    connection.execute(_WORK, [customer, work.owner, sorted(work.tags), len(is_open)])
    with connection.cursor() as cursor:
        cursor.executemany(
            _TASK,
            [
                (f"{customer}|{one.id}", customer, one.id, one.actor, one.assignee, one.due_on,
                 one.opened_at, one.outcome, one.closed_at)
                for one in tasks
            ],
        )  # fmt: skip


class Work(Folded):
    """Owners, tags and tasks."""

    name = "work"
    version = 1
    package = __name__
    tables = ("customer_work", "tasks")
    kinds: ClassVar[Kinds] = {"work": (CustomerWork, write_work)}
