"""Trial balance, deferred revenue, receivables by age, tax: each ties to the trial balance."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from typing import Any

from ledger.accounting.books import EARNED, TICK, Balances, Books
from ledger.log import Log
from ledger.metrics.question import Period
from ledger.projections.journal.accounts import Account, name_of
from ledger.stripe_objects.fields import nested

Row = dict[str, Any]
AGES = ("not_due", "days_1_30", "days_31_60", "days_61_90", "days_over_90")

_OPEN_INVOICES = """
SELECT o.document, o.customer_id, o.currency, o.owed, (
    SELECT to_timestamp(min((n.content ->> 'due_at')::bigint)) FROM journal_notes AS n
    WHERE n.document = o.document AND n.content ->> 'told' = 'Sale'
)
FROM (
    SELECT document, max(customer_id) AS customer_id, currency, sum(amount_minor) AS owed
    FROM journal_entries
    WHERE account = 'receivable' AND booked_at < %(at)s AND position <= %(position)s
    GROUP BY document, currency HAVING sum(amount_minor) <> 0
) AS o
ORDER BY 5, 1
"""
_TAX_RATES = "SELECT id, position FROM catalogue WHERE kind = 'tax_rate'"
_DEFERRED = """
SELECT currency, sum(amount_minor) FILTER (WHERE reason = 'finalized' OR reason = 'sold'),
    sum(amount_minor)
FROM journal_entries
WHERE account = 'deferred_revenue' AND booked_at >= %(start)s AND booked_at < %(end)s
    AND position <= %(position)s
GROUP BY 1
"""
_BY_PRODUCT = f"""
SELECT product, price, currency, sum({EARNED}) FROM journal_schedules
WHERE since < %(at)s AND position <= %(position)s GROUP BY 1, 2, 3
"""  # noqa: S608 — a constant of ours
_LATE = f"""
WITH closed AS (
    SELECT period, closed_until, ends_at,
        lag(ends_at, 1, '-infinity') OVER (ORDER BY ends_at) AS begins,
        starts_at < %(end)s AND ends_at > %(start)s AS is_asked
    FROM closings
), late AS (
    SELECT c.period, e.position, e.recorded_at, e.valid_at, e.booked_at, e.source, e.reason,
        e.customer_id, e.account, e.currency, e.amount_minor
    FROM closed AS c JOIN journal_entries AS e
        ON e.position > c.closed_until AND e.valid_at >= c.begins AND e.valid_at < c.ends_at
    WHERE c.is_asked
    UNION ALL
    SELECT c.period, s.position,
        (SELECT recorded_at FROM events WHERE position = s.position), s.valid_at, s.since,
        s.source, 'earned', s.customer_id,
        side.account, s.currency, side.sign * s.earned
    FROM closed AS c CROSS JOIN LATERAL (
        SELECT t.*, {EARNED.replace("since", "t.valid_at").replace("%(at)s", "c.ends_at")} AS earned
        FROM journal_schedules AS t
        WHERE t.position > c.closed_until AND t.valid_at >= c.begins AND t.valid_at < c.ends_at
    ) AS s
    CROSS JOIN (VALUES ('deferred_revenue', 1), ('revenue', -1)) AS side (account, sign)
    WHERE c.is_asked AND s.earned <> 0
)
SELECT * FROM late WHERE position <= %(position)s ORDER BY position, source, account, reason
"""  # noqa: S608 — a constant of ours


def trial_balance(books: Books, before: datetime) -> list[Row]:
    """Return what stands on each account, per currency; the last row of a currency is its sum, 0.

    Amounts in minor units: debit positive, credit negative.
    """
    rows: list[Row] = []
    totals: dict[str, int] = defaultdict(int)
    for (account, currency), amount in books.balances(before).items():
        totals[currency] += amount
        rows.append(_balance(name_of(account), currency, amount))
    rows.sort(key=lambda row: (row["currency"], row["account"]))
    rows += [_balance("(sum)", currency, amount) for currency, amount in sorted(totals.items())]
    return rows


def _balance(account: str, currency: str, amount: int) -> Row:
    return {
        "account": account,
        "currency": currency,
        "debit": max(amount, 0),
        "credit": max(-amount, 0),
        "balance": amount,
    }


def deferred_revenue(books: Books, periods: Sequence[Period], until: datetime) -> list[Row]:
    """Return how deferred revenue rolls forward: start + invoiced + taken_back - earned = end.

    Amounts as people speak of them: positive is owed in service. `taken_back`: credit notes,
    voided invoices and corrections.
    """
    rows: list[Row] = []
    key = Account.DEFERRED_REVENUE
    for period, before, after in _between(books, periods, until):
        bounds = {
            "start": books.begins(period.start),
            "end": min(books.begins(period.end), until),
        }
        entered = {
            currency: (-int(sold or 0), -int(total))
            for currency, sold, total in books.rows(_DEFERRED, **bounds)
        }
        currencies = {currency for account, currency in {*before, *after} if account == key}
        for currency in sorted({*currencies, *entered}):
            start, end = -before.get((key, currency), 0), -after.get((key, currency), 0)
            invoiced, total = entered.get(currency, (0, 0))
            rows.append(
                {
                    "period": period.label,
                    "currency": currency,
                    "start": start,
                    "invoiced": invoiced,
                    "taken_back": total - invoiced,
                    "earned": start + total - end,
                    "end": end,
                }
            )
    return rows


def earned(books: Books, periods: Sequence[Period], until: datetime) -> list[Row]:
    """Return revenue earned per period, product and price, in minor units."""
    rows: list[Row] = []
    before = _earned_before(books, books.begins(periods[0].start))
    for period in periods:
        after = _earned_before(books, min(books.begins(period.end), until))
        for key, amount in sorted(after.items(), key=lambda one: tuple(map(str, one[0]))):
            product, price, currency = key
            if change := amount - before.get(key, 0):
                rows.append(
                    {
                        "period": period.label,
                        "product": product,
                        "price": price,
                        "currency": currency,
                        "earned": change,
                    }
                )
        before = after
    return rows


def _earned_before(books: Books, at: datetime) -> dict[tuple[Any, ...], int]:
    return {tuple(row[:3]): int(row[3]) for row in books.rows(_BY_PRODUCT, at=at)}


def open_invoices(books: Books, before: datetime) -> list[Row]:
    """Return what is owed, invoice by invoice, by the day it was due; negative is overpaid."""
    today = (before - TICK).astimezone(books.zone).date()
    rows: list[Row] = []
    for invoice, customer, currency, amount, due in books.rows(_OPEN_INVOICES, at=before):
        day = due.astimezone(books.zone).date() if due else today
        rows.append(
            {
                "invoice": invoice,
                "customer": customer,
                "currency": currency,
                "due": str(day),
                "overdue_days": max((today - day).days, 0),
                "owed": int(amount),
            }
        )
    return rows


def ageing(books: Books, before: datetime) -> list[Row]:
    """Return what is owed per currency by how many days it is overdue."""
    found: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(AGES, 0))
    for row in open_invoices(books, before):
        days = row["overdue_days"]
        age = AGES[0] if days <= 0 else AGES[min((days - 1) // 30 + 1, 4)]
        found[row["currency"]][age] += row["owed"]
    return [
        {"currency": currency, **ages, "total": sum(ages.values())}
        for currency, ages in sorted(found.items())
    ]


def tax(books: Books, periods: Sequence[Period], until: datetime) -> list[Row]:
    """Return tax invoiced per period and rate, less what was credited or voided (minor units).

    Each rate is of one jurisdiction, as Stripe tells it of the rate.
    """
    rates = _tax_rates(books)
    rows: list[Row] = []
    for period, before, after in _between(books, periods, until):
        for account, currency in sorted({*before, *after}):
            head, _, rate = account.partition(":")
            key = account, currency
            amount = before.get(key, 0) - after.get(key, 0)
            if head == Account.TAX and amount:
                rows.append(
                    {
                        "period": period.label,
                        "rate": rate,
                        **rates.get(rate, dict.fromkeys(_TOLD_OF_RATES)),
                        "currency": currency,
                        "tax": amount,
                    }
                )
    return rows


_TOLD_OF_RATES = ("name", "country", "state", "jurisdiction", "tax_type", "percentage")


def _tax_rates(books: Books) -> dict[str, Row]:
    positions = {position: rate for rate, position in books.rows(_TAX_RATES)}
    told = Log(books.connection).at(sorted(positions))
    return {
        rate: _rate(nested(told[position].data, "data", "object"))
        for position, rate in positions.items()
    }


def _rate(rate: dict[str, Any]) -> Row:
    found = {name: rate.get(name) for name in _TOLD_OF_RATES}
    return {**found, "name": rate.get("display_name")}


def _between(
    books: Books, periods: Sequence[Period], until: datetime
) -> Iterator[tuple[Period, Balances, Balances]]:
    """Yield each period with the balances before and after it, none after `until`."""
    edges = [min(books.begins(one.start), until) for one in periods]
    edges.append(min(books.begins(periods[-1].end), until))
    before = books.balances(edges[0])
    for period, end in zip(periods, edges[1:], strict=True):
        after = books.balances(end)
        yield period, before, after
        before = after


def late(books: Books, start: date, end: date) -> list[Row]:
    """Return what was learnt of closed months after they were closed, posting by posting."""
    names = ("period", "position", "recorded_at", "valid_at", "booked_at", "source", "reason",
             "customer", "account", "currency", "amount")  # fmt: skip
    found = books.rows(_LATE, start=books.begins(start), end=books.begins(end))
    return [
        {
            **dict(zip(names, row, strict=True)),
            "account": name_of(row[8]),
            "amount": int(row[10]),
        }
        for row in found
    ]  # fmt: skip
