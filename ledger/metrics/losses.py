"""Why customers left: by Stripe's feedback, where somebody gave one, and by who ended it."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from ledger.errors import RequestInvalid
from ledger.metrics.question import Question
from ledger.projections.projection import Connection

# https://docs.stripe.com/api/subscriptions/object#subscription_object-cancellation_details-feedback
FEEDBACK = (
    "customer_service", "low_quality", "missing_features", "other", "switched_service",
    "too_complex", "too_expensive", "unused",
)  # fmt: skip
NOT_TOLD = "not_told"

_REASONS = """
SELECT currency, coalesce(feedback, %(not_told)s), reason, count(*), sum(amount_minor)::bigint
FROM losses
WHERE series = %(series)s AND lost_at >= %(start)s AND lost_at < %(end)s AND lost_at <= %(until)s
    AND (%(currency)s::text IS NULL OR currency = %(currency)s)
    AND (%(product)s::text IS NULL OR product = %(product)s)
    AND (%(price)s::text IS NULL OR price = %(price)s)
GROUP BY 1, 2, 3
"""
_LOST = """
SELECT lost_at, customer_id, currency, subscription_id, coalesce(feedback, %(not_told)s), reason,
    amount_minor, position
FROM losses
WHERE series = %(series)s AND lost_at >= %(start)s AND lost_at < %(end)s AND lost_at <= %(until)s
    AND (%(currency)s::text IS NULL OR currency = %(currency)s)
    AND (%(product)s::text IS NULL OR product = %(product)s)
    AND (%(price)s::text IS NULL OR price = %(price)s)
    AND (%(feedback)s::text IS NULL OR coalesce(feedback, %(not_told)s) = %(feedback)s)
ORDER BY lost_at DESC, customer_id LIMIT %(limit)s
"""


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
    rows = connection.execute(_REASONS, _bounds(asked)).fetchall()
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
    bounds = {**_bounds(asked), "feedback": feedback, "limit": limit}
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
            _LOST, bounds
        ).fetchall()
    ]


def _bounds(asked: Question) -> dict[str, Any]:
    if odd := asked.filters.keys() - {"currency", "product", "price"}:
        raise RequestInvalid(f"Churn reasons cannot be filtered by {min(odd)}.")
    if not asked.is_present:
        raise RequestInvalid("Churn reasons are kept as known now: `known_at` cannot be asked.")
    return {
        "currency": None, "product": None, "price": None, **asked.filters,
        "series": asked.series.number, "not_told": NOT_TOLD, "until": asked.until,
        "start": asked.begins(asked.periods[0].start), "end": asked.begins(asked.periods[-1].end),
    }  # fmt: skip
