"""Why customers left: by Stripe's feedback, where somebody gave one, and by who ended it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import Any

from ledger.metrics.categories import categories
from ledger.metrics.question import Question
from ledger.projections.projection import Connection

# https://docs.stripe.com/api/subscriptions/object#subscription_object-cancellation_details-feedback
FEEDBACK = (
    "customer_service", "low_quality", "missing_features", "other", "switched_service",
    "too_complex", "too_expensive", "unused",
)  # fmt: skip
NOT_TOLD = "not_told"

_LOST = """
SELECT {columns} FROM (
    SELECT l.*, (
        SELECT category FROM churn_categories AS c WHERE c.subscription_id = l.subscription_id
        ORDER BY c.position DESC LIMIT 1
    ) AS decided
    FROM losses AS l
) AS lost
WHERE series = %(series)s AND lost_at >= %(start)s AND lost_at < %(end)s AND lost_at <= %(until)s
    {conditions}
"""
_FEEDBACK = "coalesce(feedback, %(not_told)s)"
_REASONS = f"currency, {_FEEDBACK}, reason, decided, count(*), sum(amount_minor)::bigint"
_CUSTOMERS = (
    f"lost_at, customer_id, currency, subscription_id, {_FEEDBACK}, reason, decided, amount_minor,"
    " position"
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
    sums: dict[tuple[str, str, str], list[int]] = defaultdict(lambda: [0, 0])
    for currency, feedback, by, _, count, amount in _grouped(connection, asked):
        _add(sums[currency, feedback, by], count, amount)
    lost = _totals(sums)
    found = [
        Reason(feedback, by, currency, count, Fraction(count, lost[currency]), amount)
        for (currency, feedback, by), (count, amount) in sums.items()
    ]
    return sorted(found, key=lambda one: (one.currency, -one.count, one.feedback, one.by))


def by_category(connection: Connection, asked: Question) -> list[dict[str, Any]]:
    """Return the same by the business's own categories, as JSON tells it."""
    sums: dict[tuple[str, str, str], list[int]] = defaultdict(lambda: [0, 0])
    for currency, feedback, by, decided, count, amount in _grouped(connection, asked):
        _add(sums[currency, decided or category_of(feedback, by), ""], count, amount)
    lost = _totals(sums)
    found = [
        {
            "category": category,
            "currency": currency,
            "count": count,
            "share": round(count / lost[currency], 6),
            "lost_mrr": amount,
        }
        for (currency, category, _), (count, amount) in sums.items()
    ]
    return sorted(found, key=lambda one: (one["currency"], -one["count"], one["category"]))


def category_of(feedback: str, by: str) -> str:
    """Return the category of a reason that nobody has categorized."""
    known = categories()
    if by == "involuntary":
        return known.involuntary
    return known.of_feedback.get(feedback, known.not_told)


def _grouped(connection: Connection, asked: Question) -> list[tuple[Any, ...]]:
    query = _query(asked, _REASONS) + " GROUP BY 1, 2, 3, 4"
    return connection.execute(query.encode(), {**asked.bounds, "not_told": NOT_TOLD}).fetchall()


def _add(sums: list[int], count: int, amount: int) -> None:
    sums[0] += count
    sums[1] += amount


def _totals(sums: Mapping[tuple[str, str, str], list[int]]) -> dict[str, int]:
    lost: dict[str, int] = defaultdict(int)
    for (currency, _, _), (count, _) in sums.items():
        lost[currency] += count
    return lost


def lost_customers(
    connection: Connection, asked: Question, feedback: str | None = None, limit: int = 100
) -> list[dict[str, Any]]:
    """Return who was lost in the question's periods, the last one first, as JSON tells it."""
    query = _query(asked, _CUSTOMERS)
    query += f" AND {_FEEDBACK} = %(feedback)s" if feedback else ""
    query += " ORDER BY lost_at DESC, customer_id LIMIT %(limit)s"
    bounds = {**asked.bounds, "not_told": NOT_TOLD, "feedback": feedback, "limit": limit}
    found = connection.execute(query.encode(), bounds).fetchall()
    return [_lost_customer(*row) for row in found]


def _lost_customer(
    at: datetime, customer: str, currency: str, subscription: str, told: str, by: str,
    decided: str | None, amount: int, position: int,
) -> dict[str, Any]:  # fmt: skip
    return {
        "object": "lost_customer",
        "created": int(at.timestamp()),
        "customer": customer,
        "currency": currency,
        "subscription": subscription,
        "feedback": told,
        "kind": by,
        "category": decided or category_of(told, by),
        "lost_mrr": amount,
        "event": {"position": position, "url": f"/v1/events/{position}"},
    }


def _query(asked: Question, columns: str) -> str:
    asked.require_as_it_is("churn_reasons")
    asked.require_filters("churn_reasons", {"currency", "product", "price"})
    asked.require_present("churn_reasons")
    return _LOST.format(columns=columns, conditions=asked.conditions)
