"""Rates over other spans than the period asked for: trials that ended, the last thirty days."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from datetime import date, timedelta
from fractions import Fraction

from ledger.metrics.frames import frames
from ledger.metrics.question import Period, Question
from ledger.projections.projection import Connection

# By Stripe's definition a trial of which nothing is known yet, but that it ended, is no conversion:
# https://support.stripe.com/questions/calculating-trial-conversion-rate-in-stripe-billing
_TRIALS = """
SELECT a.number, t.currency, count(*), count(*) FILTER (WHERE t.outcome = 'converted')
FROM unnest(%(numbers)s::int[], %(starts)s::timestamptz[], %(ends)s::timestamptz[])
    AS a (number, starts, ends)
JOIN trials AS t ON t.ended_at >= a.starts AND t.ended_at < a.ends AND t.ended_at <= %(until)s
WHERE t.currency IS NOT NULL {conditions}
GROUP BY 1, 2
"""


def ended_trials(
    connection: Connection, asked: Question
) -> dict[tuple[Period, str], dict[str, int]]:
    """Return how many first trials ended in each period, and how many of these were paid for.

    Raises RequestInvalid for other filters than the currency, and for what was known in the past:
    trials are kept as known now.
    """
    asked.require_filters("trial_conversion_rate", {"currency"})
    asked.require_present("trial_conversion_rate")
    query = _TRIALS.format(conditions=asked.conditions)
    bounds = {
        **asked.bounds,
        "numbers": list(range(len(asked.periods))),
        "starts": [asked.begins(one.start) for one in asked.periods],
        "ends": [asked.begins(one.end) for one in asked.periods],
    }
    return {
        (asked.periods[number], currency): {"trials_ended": ended, "trials_converted": converted}
        for number, currency, ended, converted in connection.execute(
            query.encode(), bounds
        ).fetchall()
    }


def thirty_days(
    connection: Connection, asked: Question
) -> dict[tuple[Period, str], dict[str, int]]:
    """Return who was lost in the thirty days before each period's end, and of how many.

    https://support.stripe.com/questions/calculating-churn-rate-in-billing: who was there thirty
    days ago, and who came since.
    """
    first = asked.periods[0].end - timedelta(days=30)
    days = tuple(
        Period(day, day + timedelta(days=1), "day") for day in _days(first, asked.periods[-1].end)
    )
    found: dict[tuple[Period, str], dict[str, int]] = {}
    for (currency, _), told in frames(
        connection, replace(asked, periods=days, interval="day")
    ).items():
        by_day = {one.period.start: one for one in told}
        for period in asked.periods:
            window = [by_day[day] for day in _days(period.end - timedelta(days=30), period.end)]
            found[period, currency] = {
                "churned_30_days": sum(one.movements["churn"] for one in window),
                "customers_30_days": window[0].customers_start
                + sum(one.movements["new"] + one.movements["reactivation"] for one in window),
            }
    return found


def daily_sums(
    connection: Connection, asked: Question
) -> dict[tuple[Period, str], dict[str, Fraction]]:
    """Return per period the sum of each day's rate: lost on it / customers at its start.

    Days without customers count nothing; a period of such days only has no sum. In a reporting
    currency, the customers of all currencies are counted together.
    https://help.chartmogul.com/hc/en-us/articles/203359061
    """
    first, last = asked.periods[0].start, asked.periods[-1].end
    days = tuple(Period(day, day + timedelta(days=1), "day") for day in _days(first, last))
    counted: dict[tuple[str, date], list[int]] = defaultdict(lambda: [0, 0])
    for (currency, _), told in frames(
        connection, replace(asked, periods=days, interval="day")
    ).items():
        for one in told:
            sums = counted[asked.reporting_currency or currency, one.period.start]
            sums[0] += one.movements["churn"]
            sums[1] += one.customers_start
    found: dict[tuple[Period, str], dict[str, Fraction]] = {}
    for (currency, day), (lost, there) in counted.items():
        if there:
            period = next(one for one in asked.periods if one.start <= day < one.end)
            of = found.setdefault((period, currency), {"daily_churn": Fraction(0)})
            of["daily_churn"] += Fraction(lost, there)
    return found


def _days(first: date, end: date) -> list[date]:
    return [first + timedelta(days=number) for number in range((end - first).days)]
