"""Answers a question: the values of a metric, per period and currency."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from ledger.errors import NotFound, RequestInvalid
from ledger.metrics.conversion import converted
from ledger.metrics.frames import Frame, frames
from ledger.metrics.levels import MEASURES, levels
from ledger.metrics.metrics import METRICS, Facts, Metric, Value
from ledger.metrics.outcomes import Outcome, outcomes
from ledger.metrics.question import FILTERS, OF_ITEMS, Period, Question
from ledger.metrics.rates import daily_sums, ended_trials, thirty_days
from ledger.periods import first_of
from ledger.projections.projection import Connection

DIMENSIONS = tuple(one for one in FILTERS if one not in ("currency", "country"))


@dataclass(frozen=True, slots=True)
class Answer:
    """The value of one metric in one period and currency; `group`: of which product, price, …."""

    period: Period
    currency: str
    value: Value
    unknowns: int
    group: str | None = None


def metric_named(name: str) -> Metric:
    """Return a metric; raise NotFound naming those there are."""
    if name not in METRICS:
        raise NotFound(f"There is no metric {name!r}; there are {', '.join(METRICS)}.")
    return METRICS[name]


def answer(
    connection: Connection, asked: Question, name: str, by: str | None = None
) -> list[Answer]:
    """Return the values of a metric, by currency and period; by a dimension too if one is named."""
    metric = metric_named(name)
    if metric.of_customers:
        asked.require_whole_customers(name)
    asked.require_filters(name, set(FILTERS) - _not_of(metric))
    if by and (by in _not_of(metric) or metric.needs - {"levels"}):
        raise RequestInvalid(f"`{name}` cannot be told apart by {by}.")
    shown = len(asked.periods)
    if "before" in metric.needs:
        asked = _with_before(asked)
    found: list[Answer] = []
    for (_, group), facts in facts_of(connection, asked, metric.needs, by).items():
        known = _chained(facts) if "before" in metric.needs else facts
        found += [
            Answer(
                one.frame.period, one.frame.currency, metric.value(one), one.frame.unknowns,
                group if by else None,
            )
            for one in known[-shown:]
        ]  # fmt: skip
    return found


def _not_of(metric: Metric) -> frozenset[str]:
    """Return the dimensions that a metric does not know.

    Customers are counted whole, not by what they have; levels are not kept by cohort.
    """
    if metric.of_customers:
        return OF_ITEMS
    return frozenset({"cohort"}) if "levels" in metric.needs else frozenset()


def facts_of(
    connection: Connection, asked: Question, needs: frozenset[str], by: str | None = None
) -> dict[tuple[str, str], list[Facts]]:
    """Return what formulas use, by currency and value of the dimension, period by period."""
    told = frames(connection, asked, by)
    became = outcomes(connection, asked) if "outcomes" in needs else {}
    beside = levels(connection, asked, by) if "levels" in needs else {}
    for currency, group in beside.keys() - told.keys():
        told[currency, group] = [Frame(period, currency) for period in asked.periods]
    more: Mapping[tuple[Period, str], Mapping[str, Any]] = {}
    if "trials" in needs:
        more = ended_trials(connection, asked)
        for currency in {currency for _, currency in more}:
            told.setdefault((currency, ""), [Frame(one, currency) for one in asked.periods])
    if "days" in needs:
        more = thirty_days(connection, asked)
    if "each_day" in needs:
        more = daily_sums(connection, asked)
    found = {
        key: [_facts(frame, became, beside.get(key, {}), more) for frame in of_key]
        for key, of_key in told.items()
    }
    if (to := asked.reporting_currency) is not None:
        churn = {key: one["daily_churn"] for key, one in more.items() if "daily_churn" in one}
        return converted(connection, asked, found, to, churn, by)
    return found


def reported_frames(connection: Connection, asked: Question) -> list[Frame]:
    """Return the frames of every currency, or of the one that is reported in.

    Raises RequestInvalid where a rate to that one lacks.
    """
    found = [one for of in facts_of(connection, asked, frozenset()).values() for one in of]
    for one in found:
        for lacking in one.lacking.values():
            raise RequestInvalid(f"There is {lacking}: `ledger import rates` takes rates in.")
    return [one.frame for one in found]


def _facts(
    frame: Frame,
    became: dict[tuple[Period, str], Outcome],
    beside: dict[tuple[Period, str], int],
    more: Mapping[tuple[Period, str], Mapping[str, Any]],
) -> Facts:
    outcome = became.get((frame.period, frame.currency), Outcome())
    amounts: dict[str, Any] = {
        **more.get((frame.period, frame.currency), {}),
        **{f"{measure}_minor": beside.get((frame.period, measure), 0) for measure in MEASURES},
    }
    return Facts(frame, outcome.lost, outcome.shrunk_minor, outcome.change_minor, **amounts)


def _with_before(asked: Question) -> Question:
    """Return the question with two periods more at its beginning."""
    periods = asked.periods
    for _ in range(2):
        first = periods[0]
        start = first_of(first.start - timedelta(days=1), first.interval)
        periods = (Period(start, first.start, first.interval), *periods)
    return replace(asked, periods=periods)


def _chained(facts: list[Facts]) -> list[Facts]:
    return [
        replace(one, before=tuple(facts[max(index - 2, 0) : index]))
        for index, one in enumerate(facts)
    ]
