"""The movements behind a number: per customer, down to the event that each follows from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.rows import dict_row

from ledger.metrics.question import Question
from ledger.projections.projection import Connection

LIMIT_MAX = 1000

# Entries that were taken back again cancel out; what is left is what is believed now.
_MOVEMENTS = """
SELECT group_at, customer_id, currency, kind, sum(amount_minor)::bigint AS amount_minor,
    sum(customers)::int AS customers, sum(unknowns)::int AS unknowns,
    array_agg(DISTINCT reason ORDER BY reason) AS reasons,
    array_agg(DISTINCT subscription_id ORDER BY subscription_id) AS subscriptions,
    array_agg(DISTINCT position ORDER BY position) AS positions
FROM (
    SELECT group_at, customer_id, currency, kind, reason, subscription_id, item_id, price, valid_at,
        sum(amount_minor) AS amount_minor, sum(customers) AS customers,
        sum(unknowns) AS unknowns, sum(movements) AS movements, max(position) AS position
    FROM mrr_entries
    WHERE series = %(series)s AND valid_at >= %(start)s AND valid_at < %(end)s
        AND valid_at <= %(until)s AND position <= %(position)s {where}
    GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9
    HAVING sum(amount_minor) <> 0 OR sum(customers) <> 0 OR sum(unknowns) <> 0
        OR sum(movements) <> 0
) AS kept
GROUP BY 1, 2, 3, 4
HAVING (group_at, customer_id, currency) > (%(after_at)s, %(after_customer)s, %(after_currency)s)
ORDER BY 1, 2, 3, 4 LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True)
class Movement:
    """What one customer's MRR changed by at once, in one currency (minor units), and why.

    `positions` are those of the events it follows from.
    """

    at: datetime
    customer: str
    currency: str
    kind: str
    amount_minor: int
    customers: int
    unknowns: int
    reasons: tuple[str, ...]
    subscriptions: tuple[str, ...]
    positions: tuple[int, ...]

    @property
    def cursor(self) -> str:
        """What the next page starts after."""
        return f"{self.at.timestamp():.0f}~{self.customer}~{self.currency}"


def movements(
    connection: Connection,
    asked: Question,
    *,
    kind: str | None = None,
    customer: str | None = None,
    after: tuple[datetime, str, str] | None = None,
    limit: int = LIMIT_MAX,
) -> list[Movement]:
    """Return the movements in the question's periods, in the order of time; `after` a cursor."""
    asked.require_as_it_is("changes")
    where = asked.conditions
    where += " AND kind = %(kind)s" if kind else ""
    where += " AND customer_id = %(customer)s" if customer else ""
    bounds: dict[str, Any] = {
        **asked.bounds,
        "kind": kind,
        "customer": customer,
        "limit": limit,
        "after_at": after[0] if after else "-infinity",
        "after_customer": after[1] if after else "",
        "after_currency": after[2] if after else "",
    }
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(_MOVEMENTS.format(where=where).encode(), bounds).fetchall()
    return [
        Movement(
            row["group_at"], row["customer_id"], row["currency"], row["kind"],
            row["amount_minor"], row["customers"], row["unknowns"], tuple(row["reasons"]),
            tuple(row["subscriptions"]), tuple(row["positions"]),
        )
        for row in rows
    ]  # fmt: skip
