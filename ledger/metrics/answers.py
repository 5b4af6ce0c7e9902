"""Answers a question: the values of a metric, per period and currency."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ledger.errors import NotFound
from ledger.metrics.frames import Frame, frames
from ledger.metrics.levels import levels
from ledger.metrics.metrics import METRICS, Facts, Metric, Value
from ledger.metrics.outcomes import Outcome, outcomes
from ledger.metrics.question import FILTERS, Period, Question, first_of
from ledger.metrics.rates import ended_trials, thirty_days
from ledger.projections.projection import Connection

DIMENSIONS = tuple(one for one in FILTERS if one not in ("currency", "country"))
_LEVELS = ("at_risk", "scheduled", "trial", "trial_scheduled", "paused")


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
    shown = len(asked.periods)
    if "before" in metric.needs:
        asked = _with_before(asked)
    found: list[Answer] = []
    for (_, group), facts in facts_of(connection, asked, metric.needs, by).items():
        known = _chained(facts) if "before" in metric.needs else facts
        found += [
            Answer(
                one.frame.period, one.frame.currency, metric.formula(one), one.frame.unknowns,
                group if by else None,
            )
            for one in known[-shown:]
        ]  # fmt: skip
    return found


def facts_of(
    connection: Connection, asked: Question, needs: frozenset[str], by: str | None = None
) -> dict[tuple[str, str], list[Facts]]:
    """Return what formulas use, by currency and value of the dimension, period by period."""
    told = frames(connection, asked, by)
    became = outcomes(connection, asked) if "outcomes" in needs else {}
    beside: dict[tuple[Period, str, str], tuple[int, int]] = {}
    if "levels" in needs:
        beside = levels(connection, asked, "%")
        for currency in {currency for _, _, currency in beside if currency}:
            told.setdefault((currency, ""), [Frame(period, currency) for period in asked.periods])
    more: dict[tuple[Period, str], dict[str, int]] = {}
    if "trials" in needs:
        more = ended_trials(connection, asked)
        for currency in {currency for _, currency in more}:
            told.setdefault((currency, ""), [Frame(one, currency) for one in asked.periods])
    if "days" in needs:
        more = thirty_days(connection, asked)
    return {
        key: [_facts(frame, became, beside, more) for frame in of_key]
        for key, of_key in told.items()
    }


def _facts(
    frame: Frame,
    became: dict[tuple[Period, str], Outcome],
    beside: dict[tuple[Period, str, str], tuple[int, int]],
    more: dict[tuple[Period, str], dict[str, int]],
) -> Facts:
    outcome = became.get((frame.period, frame.currency), Outcome())
    amounts: dict[str, Any] = more.get((frame.period, frame.currency), {}) | {
        f"{measure}_minor": beside.get((frame.period, measure, frame.currency), (0, 0))[0]
        for measure in _LEVELS
    }
    return Facts(frame, outcome.lost, outcome.shrunk_minor, outcome.change_minor, **amounts)


def _with_before(asked: Question) -> Question:
    """Return the question with two periods more at its beginning."""
    periods = asked.periods
    for _ in range(2):
        first = periods[0]
        start = first_of(_day_before(first), first.interval)
        periods = (Period(start, first.start, first.interval), *periods)
    return replace(asked, periods=periods)


def _day_before(period: Period) -> Any:
    return period.start.fromordinal(period.start.toordinal() - 1)


def _chained(facts: list[Facts]) -> list[Facts]:
    return [
        replace(one, before=tuple(facts[max(index - 2, 0) : index]))
        for index, one in enumerate(facts)
    ]
