"""Why customers left: by Stripe's feedback, where somebody gave one, and by who ended it."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from ledger.metrics.question import Question
from ledger.projections.projection import Connection

# https://docs.stripe.com/api/subscriptions/object#subscription_object-cancellation_details-feedback
FEEDBACK = (
    "customer_service", "low_quality", "missing_features", "other", "switched_service",
    "too_complex", "too_expensive", "unused",
)  # fmt: skip
NOT_TOLD = "not_told"

_LOST = """
SELECT {columns} FROM losses
WHERE series = %(series)s AND lost_at >= %(start)s AND lost_at < %(end)s AND lost_at <= %(until)s
    {conditions}
"""
_FEEDBACK = "coalesce(feedback, %(not_told)s)"
_REASONS = f"currency, {_FEEDBACK}, reason, count(*), sum(amount_minor)::bigint"
_CUSTOMERS = (
    f"lost_at, customer_id, currency, subscription_id, {_FEEDBACK}, reason, amount_minor, position"
)


@dataclass(frozen=True, slots=True)
class Reason:
    """Customers lost for one reason in one currency, with the MRR they paid (minor units).

    `share` is of all lost in that currency. `by`: who ended it (voluntary, involuntary, unknown).
    """

    feedback: str
    by: str
    currency: str
    count: int
    share: Fraction
    lost_mrr_minor: int

    def told(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "feedback": self.feedback,
            "kind": self.by,
            "currency": self.currency,
            "count": self.count,
            "share": round(float(self.share), 6),
            "lost_mrr": self.lost_mrr_minor,
        }


def reasons(connection: Connection, asked: Question) -> list[Reason]:
    """Return why customers were lost in the question's periods, the most frequent reason first.

    Raises RequestInvalid for filters that losses do not know, and for what was known in the past:
    they are kept as known now.
    """
    query = _query(asked, _REASONS) + " GROUP BY 1, 2, 3"
    rows = connection.execute(query.encode(), {**asked.bounds, "not_told": NOT_TOLD}).fetchall()
    lost: dict[str, int] = {}
    for currency, _, _, count, _ in rows:
        lost[currency] = lost.get(currency, 0) + count
    found = [
        Reason(feedback, by, currency, count, Fraction(count, lost[currency]), amount)
        for currency, feedback, by, count, amount in rows
    ]
    return sorted(found, key=lambda one: (one.currency, -one.count, one.feedback, one.by))


def lost_customers(
    connection: Connection, asked: Question, feedback: str | None = None, limit: int = 100
) -> list[dict[str, Any]]:
    """Return who was lost in the question's periods, the last one first, as JSON tells it."""
    query = _query(asked, _CUSTOMERS)
    query += f" AND {_FEEDBACK} = %(feedback)s" if feedback else ""
    query += " ORDER BY lost_at DESC, customer_id LIMIT %(limit)s"
    bounds = {**asked.bounds, "not_told": NOT_TOLD, "feedback": feedback, "limit": limit}
    return [
        {
            "object": "lost_customer",
            "created": int(at.timestamp()),
            "customer": customer,
            "currency": currency,
            "subscription": subscription,
            "feedback": told,
            "kind": by,
            "lost_mrr": amount,
            "event": {"position": position, "url": f"/v1/events/{position}"},
        }
        for at, customer, currency, subscription, told, by, amount, position in connection.execute(
            query.encode(), bounds
        ).fetchall()
    ]


def _query(asked: Question, columns: str) -> str:
    asked.require_filters("churn_reasons", {"currency", "product", "price"})
    asked.require_present("churn_reasons")
    return _LOST.format(columns=columns, conditions=asked.conditions)
