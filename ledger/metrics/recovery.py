"""Failed payments and what was recovered of them, by the month in which they failed first.

A rate is never told without what it is a rate of. Those still being tried stay in the denominator
of the rate to date; the matured rate is over invoices whose whole window has passed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from fractions import Fraction
from statistics import median
from typing import Any

from ledger.errors import RequestInvalid
from ledger.metrics.metrics import Value, share
from ledger.metrics.question import Period, Question
from ledger.metrics.telling import decimal, told_period
from ledger.projections.projection import Connection

WINDOW_DAYS, WINDOW_DAYS_MAX = 28, 180
NO_FAILURE = "no payment failed in the period"
NONE_MATURED = "of no failed payment the whole window has passed"
NO_ATTEMPT = "nothing was tried to be collected in the period"
# The first invoice of a subscription is not tried again if it fails: nothing is to be recovered.
FIRST = "subscription_create"

_ASKED = """
WITH asked (number, starts, ends) AS (
    SELECT * FROM unnest(%(numbers)s::int[], %(starts)s::timestamptz[], %(ends)s::timestamptz[])
)
"""
# B608 — constants of ours
_ATTEMPTS = (
    _ASKED
    + """
SELECT a.number, c.currency, count(*) FROM asked AS a
JOIN collections AS c ON c.attempted_at >= a.starts AND c.attempted_at < a.ends
WHERE c.attempted_at <= %(until)s AND (%(firsts)s OR c.billing_reason IS DISTINCT FROM %(first)s)
    {conditions}
GROUP BY 1, 2
"""
)
# B608 — constants of ours
_FAILED = (
    _ASKED
    + """
SELECT a.number, c.currency, c.amount_minor, c.failed_at, c.paid_at, c.closed_at,
    c.recovered_by, c.decline_code
FROM asked AS a JOIN collections AS c ON c.failed_at >= a.starts AND c.failed_at < a.ends
WHERE c.failed_at <= %(until)s AND (%(firsts)s OR c.billing_reason IS DISTINCT FROM %(first)s)
    {conditions}
"""
)


@dataclass(slots=True)
class Recovery:
    """What became of the payments that first failed in a period, in one currency (minor units).

    `matured`: failed more than the window ago; `matured_recovered` of these, within it.
    """

    period: Period
    currency: str
    attempts: int = 0
    failed: int = 0
    failed_minor: int = 0
    recovered: int = 0
    recovered_minor: int = 0
    given_up: int = 0
    matured: int = 0
    matured_recovered: int = 0
    days: list[float] = field(default_factory=list)
    by: Counter[str] = field(default_factory=Counter)
    declines: Counter[str] = field(default_factory=Counter)

    @property
    def in_progress(self) -> int:
        """Those that are neither recovered nor given up."""
        return self.failed - self.recovered - self.given_up

    def told(self, asked: Question) -> dict[str, Any]:
        """Return it as JSON."""
        rates = {
            "failure_rate": share(self.failed, self.attempts, NO_ATTEMPT),
            "recovery_rate": share(self.recovered, self.failed, NO_FAILURE),
            "recovery_rate_by_amount": share(self.recovered_minor, self.failed_minor, NO_FAILURE),
            "matured_recovery_rate": share(self.matured_recovered, self.matured, NONE_MATURED),
        }
        return {
            **told_period(asked, self.period),
            "currency": self.currency,
            "attempts": self.attempts,
            "failed": self.failed,
            "failed_amount": self.failed_minor,
            "recovered": self.recovered,
            "recovered_amount": self.recovered_minor,
            "in_progress": self.in_progress,
            "given_up": self.given_up,
            "matured": self.matured,
            "matured_recovered": self.matured_recovered,
            "median_days": round(median(self.days), 1) if self.days else None,
            "recovered_by": dict(sorted(self.by.items())),
            "decline_codes": dict(self.declines.most_common()),
            **{name: _told(value) for name, value in rates.items()},
        }


def _told(value: Value) -> dict[str, Any]:
    exact = decimal(value.exact) if isinstance(value.exact, Fraction) else None
    found: dict[str, Any] = {
        "value": exact, "numerator": value.numerator, "denominator": value.denominator,
    }  # fmt: skip
    return found if value.reason is None else {**found, "reason": value.reason}


def recovery(
    connection: Connection,
    asked: Question,
    *,
    window_days: int = WINDOW_DAYS,
    firsts: bool = False,
) -> list[Recovery]:
    """Return what was recovered, by period of the first failure and currency.

    With `firsts` first invoices of subscriptions count too. Raises RequestInvalid for other
    filters than currency and country, and for what was known in the past.
    """
    asked.require_as_it_is("recovery")
    asked.require_filters("recovery", {"currency", "country"})
    asked.require_present("recovery")
    if not 1 <= window_days <= WINDOW_DAYS_MAX:
        raise RequestInvalid(f"The window is of 1 to {WINDOW_DAYS_MAX} days, not {window_days}.")
    bounds = {
        **asked.bounds,
        "numbers": list(range(len(asked.periods))),
        "starts": [asked.begins(one.start) for one in asked.periods],
        "ends": [asked.begins(one.end) for one in asked.periods],
        "firsts": firsts,
        "first": FIRST,
    }
    found: dict[tuple[int, str], Recovery] = {}

    def of(number: int, currency: str) -> Recovery:
        return found.setdefault((number, currency), Recovery(asked.periods[number], currency))

    query = _ATTEMPTS.format(conditions=asked.conditions)
    for number, currency, count in connection.execute(query.encode(), bounds).fetchall():
        of(number, currency).attempts = count
    query = _FAILED.format(conditions=asked.conditions)
    for number, currency, *failure in connection.execute(query.encode(), bounds).fetchall():
        _add(of(number, currency), failure, asked, timedelta(days=window_days))
    return [found[key] for key in sorted(found, key=lambda key: (key[1], key[0]))]


def _add(one: Recovery, failure: Sequence[Any], asked: Question, window: timedelta) -> None:
    amount, failed_at, paid_at, closed_at, by, decline = failure
    amount = int(amount)
    recovered = paid_at is not None and failed_at <= paid_at <= asked.until
    one.failed += 1
    one.failed_minor += amount
    one.declines[decline or "unknown"] += 1
    if recovered:
        one.recovered += 1
        one.recovered_minor += amount
        one.days.append((paid_at - failed_at) / timedelta(days=1))
        one.by[by or "unknown"] += 1
    elif closed_at is not None and closed_at <= asked.until:
        one.given_up += 1
    if failed_at + window <= asked.until:
        one.matured += 1
        one.matured_recovered += recovered and paid_at <= failed_at + window
