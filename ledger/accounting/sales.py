"""What money moved, what sells, and who stays, for people who do not keep books."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import date, datetime
from fractions import Fraction
from typing import Any

from ledger.accounting.books import TICK, Books
from ledger.metrics.metrics import half_up
from ledger.metrics.question import Period
from ledger.periods import next_of

Row = dict[str, Any]

_CASH = """
SELECT currency,
    coalesce(sum(amount_minor) FILTER (
        WHERE account = 'stripe_unobserved' AND reason = 'captured'), 0),
    coalesce(sum(amount_minor) FILTER (WHERE account = 'paid_outside'), 0),
    coalesce(sum(amount_minor) FILTER (
        WHERE account = 'refunds' AND reason IN ('refunded', 'refund_failed')), 0),
    coalesce(sum(amount_minor) FILTER (WHERE account = 'disputes'), 0),
    coalesce(sum(amount_minor) FILTER (WHERE account = 'fees'), 0),
    coalesce(sum(amount_minor) FILTER (WHERE account = 'bank'), 0)
FROM journal_entries
WHERE booked_at >= %(start)s AND booked_at < %(end)s AND position <= %(position)s
GROUP BY 1 ORDER BY 1
"""
_SOLD = """
SELECT product, currency, count(DISTINCT customer_id), count(DISTINCT document),
    sum(amount_minor)
FROM journal_schedules
WHERE since >= %(start)s AND since < %(end)s AND position <= %(position)s
GROUP BY 1, 2 HAVING sum(amount_minor) <> 0 ORDER BY 2, 5 DESC, 1
"""
_PRODUCTS = "SELECT id, canonical ->> 'name' FROM catalogue WHERE kind = 'product'"
# Who pays something now, the longest first: since the first payment, what has been paid since.
_LOYAL = """
SELECT p.customer_id, p.currency, p.since, p.invoices, p.paid, m.mrr
FROM (
    SELECT customer_id, currency, min(valid_at) AS since, count(DISTINCT document) AS invoices,
        -sum(amount_minor) AS paid
    FROM journal_entries
    WHERE account = 'receivable' AND reason = 'paid' AND customer_id IS NOT NULL
        AND (%(currency)s::text IS NULL OR currency = %(currency)s)
        AND booked_at < %(at)s AND position <= %(position)s
    GROUP BY 1, 2
) AS p JOIN (
    SELECT customer_id, currency, sum(amount_minor) AS mrr FROM mrr_entries
    WHERE series = %(series)s AND valid_at < %(at)s AND position <= %(position)s
    GROUP BY 1, 2 HAVING sum(amount_minor) > 0
) AS m USING (customer_id, currency)
ORDER BY p.since, p.paid DESC, p.customer_id LIMIT %(limit)s
"""
LOYAL_SHOWN = 100
_COHORTS = """
SELECT customer_id, currency, min(cohort) AS cohort FROM mrr_entries
WHERE series = %(series)s AND cohort >= %(first)s AND cohort < %(last)s
    AND valid_at < %(at)s AND position <= %(position)s
GROUP BY 1, 2
"""
_COHORT_SIZES = f"SELECT cohort, currency, count(*) FROM ({_COHORTS}) AS m GROUP BY 1, 2"  # noqa: S608 — constants of ours
_COHORT_CASH = f"""
SELECT m.cohort, m.currency, date_trunc('month', e.valid_at AT TIME ZONE %(zone)s)::date,
    -sum(e.amount_minor)
FROM ({_COHORTS}) AS m
JOIN journal_entries AS e ON e.customer_id = m.customer_id AND e.currency = m.currency
WHERE (e.account = 'receivable' AND e.reason = 'paid'
        OR e.account = 'refunds' AND e.reason IN ('refunded', 'refund_failed'))
    AND e.valid_at < %(at)s AND e.position <= %(position)s
GROUP BY 1, 2, 3
"""  # noqa: S608 — a constant of ours


def cash(books: Books, periods: Sequence[Period], until: datetime) -> list[Row]:
    """Return the money that moved per period and currency (minor units).

    `net`: captured and paid outside, less refunded, disputed and fees; fees that are not observed
    yet are in no column. `to_bank`: what arrived there is the account's own, and in no sum.
    """
    rows: list[Row] = []
    names = ("captured", "paid_outside", "refunded", "disputed", "fees", "to_bank")
    for period in periods:
        bounds = {
            "start": books.begins(period.start),
            "end": min(books.begins(period.end), until),
        }
        for currency, *told in books.rows(_CASH, **bounds):
            amounts = list(map(int, told))
            if not any(amounts):
                continue
            captured, outside, refunded, disputed, fees, _ = amounts
            rows.append(
                {
                    "period": period.label,
                    "currency": currency,
                    **dict(zip(names, amounts, strict=True)),
                    "net": captured + outside - refunded - disputed - fees,
                }
            )
    return rows


def best_selling(books: Books, start: date, end: date) -> list[Row]:
    """Return what was sold in a span, per product, what sold most first (minor units, no tax)."""
    names = {
        id_.removeprefix("product:"): name for id_, name in books.rows(_PRODUCTS)
    }  # fmt: skip
    found = books.rows(_SOLD, start=books.begins(start), end=books.begins(end))
    totals: dict[str, int] = defaultdict(int)
    for _, currency, _, _, sold in found:
        totals[currency] += max(int(sold), 0)
    return [
        {
            "product": product,
            "name": names.get(product),
            "currency": currency,
            "customers": customers,
            "invoices": invoices,
            "sold": int(sold),
            "share": round(int(sold) / totals[currency], 6) if totals[currency] else None,
        }
        for product, currency, customers, invoices, sold in found
    ]


def loyal_customers(
    books: Books,
    before: datetime,
    series: int,
    currency: str | None = None,
    limit: int = LOYAL_SHOWN,
) -> list[Row]:
    """Return who has been paying longest and still does, with what they paid since."""
    return [
        {
            "customer": customer,
            "currency": currency,
            "since": str(since.astimezone(books.zone).date()),
            "months": int((before - since).days / 30.4375),
            "invoices": invoices,
            "paid": int(paid),
            "mrr": int(mrr),
        }
        for customer, currency, since, invoices, paid, mrr in books.rows(
            _LOYAL, at=before, series=series, currency=currency, limit=limit
        )
    ]


def cohort_cash(books: Books, start: date, end: date, until: datetime, series: int) -> list[Row]:
    """Return what the customers first worth something in each month have paid since (minor units).

    Per month of their age: `cash` less what was given back, the sum until then, and per customer of
    the cohort: the lifetime value that was observed so far.
    """
    bounds = {"series": series, "first": start, "last": end, "at": until, "zone": books.zone.key}
    sizes = {(cohort, currency): n for cohort, currency, n in books.rows(_COHORT_SIZES, **bounds)}
    paid: dict[tuple[date, str], dict[date, int]] = defaultdict(dict)
    for cohort, currency, month, amount in books.rows(_COHORT_CASH, **bounds):
        paid[cohort, currency][month] = int(amount)
    last = (until - TICK).astimezone(books.zone).date()
    rows: list[Row] = []
    for (cohort, currency), size in sorted(sizes.items()):
        total, month, age = 0, min([cohort, *paid[cohort, currency]]), 0
        while month <= last:
            cash = paid[cohort, currency].get(month, 0)
            total += cash
            rows.append(
                {
                    "cohort": f"{cohort:%Y-%m}",
                    "currency": currency,
                    "size": size,
                    "month": age,
                    "cash": cash,
                    "total": total,
                    "per_customer": half_up(Fraction(total, size)),
                }
            )
            month, age = next_of(month, "month"), age + 1
    return rows
