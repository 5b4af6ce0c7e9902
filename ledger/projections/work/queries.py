"""Owners, tags and tasks, as lists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from psycopg.rows import dict_row

from ledger.projections.crm.queries import Listing
from ledger.projections.projection import Connection

Row = dict[str, Any]
TASKS = Listing(
    "tasks",
    "*",
    ("opened_at", "id"),
    {
        "customer": "customer_id = %(customer)s",
        "assignee": "assignee = %(assignee)s",
        "open": "(outcome IS NULL) = %(open)s",
        "due_before": "due_on < %(due_before)s",
    },
)


def work_of(connection: Connection, customers: Sequence[str]) -> dict[str, Row]:
    """Return owner and tags of these customers, as far as somebody noted any."""
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(
            "SELECT customer_id, owner, tags, open_tasks FROM customer_work"
            " WHERE customer_id = ANY (%s)",
            [list(customers)],
        ).fetchall()
    return {row["customer_id"]: row for row in rows}
