"""The bridge between two tellings of MRR: two definition sets, or what was known at two positions.

Customer by customer: what each is worth by one and by the other, where that differs.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ledger.metrics.question import Question
from ledger.projections.projection import Connection

# Between definition sets customers are compared; between positions only what was entered since.
_WORTH = """
SELECT currency, customer_id, sum(amount_minor) FILTER (WHERE series = %(old)s)::bigint,
    sum(amount_minor) FILTER (WHERE series = %(new)s)::bigint
FROM mrr_entries
WHERE series IN (%(old)s, %(new)s) AND valid_at < %(at)s AND position <= %(position)s
GROUP BY 1, 2
HAVING coalesce(sum(amount_minor) FILTER (WHERE series = %(old)s), 0)
    <> coalesce(sum(amount_minor) FILTER (WHERE series = %(new)s), 0)
ORDER BY 1, 2
"""
_LEARNT = """
WITH since AS (
    SELECT currency, customer_id, sum(amount_minor)::bigint AS change,
        array_agg(DISTINCT position ORDER BY position) AS positions
    FROM mrr_entries
    WHERE series = %(series)s AND valid_at < %(at)s AND position > %(known)s
        AND position <= %(position)s
    GROUP BY 1, 2 HAVING sum(amount_minor) <> 0
)
SELECT s.currency, s.customer_id, coalesce((
    SELECT sum(amount_minor) FROM mrr_entries AS e
    WHERE e.series = %(series)s AND e.customer_id = s.customer_id AND e.currency = s.currency
        AND e.valid_at < %(at)s AND e.position <= %(known)s
), 0)::bigint, s.change, s.positions
FROM since AS s ORDER BY 1, 2
"""


@dataclass(frozen=True, slots=True)
class Step:
    """One customer of the bridge, in minor units; `positions`: what was learnt since, if asked."""

    currency: str
    customer: str
    before_minor: int
    after_minor: int
    positions: tuple[int, ...] = ()

    @property
    def change_minor(self) -> int:
        """What the other telling adds."""
        return self.after_minor - self.before_minor

    def told(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "currency": self.currency,
            "customer": self.customer,
            "before": self.before_minor,
            "after": self.after_minor,
            "change": self.change_minor,
            "events": list(self.positions),
        }


def between_definitions(
    connection: Connection, old: Question, new: Question, at: datetime
) -> list[Step]:
    """Return whose MRR before an instant differs between two series, as `new` knows it."""
    bounds = {
        "old": old.series.number, "new": new.series.number, "at": at, "position": new.position,
    }  # fmt: skip
    rows = connection.execute(_WORTH, bounds).fetchall()
    return [Step(currency, who, was or 0, now or 0) for currency, who, was, now in rows]


def between_positions(
    connection: Connection, asked: Question, known: int, at: datetime
) -> list[Step]:
    """Return whose MRR before an instant differs from what was known at an earlier position."""
    bounds = {
        "series": asked.series.number, "at": at, "known": known, "position": asked.position,
    }  # fmt: skip
    rows = connection.execute(_LEARNT, bounds).fetchall()
    return [
        Step(currency, who, was, was + change, tuple(positions))
        for currency, who, was, change, positions in rows
    ]
