"""Answers as JSON tells them: the same for the API and the command line."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from ledger.metrics.answers import Answer
from ledger.metrics.frames import KINDS, Frame
from ledger.metrics.metrics import Metric
from ledger.metrics.movements import Movement
from ledger.metrics.question import Period, Question
from ledger.projections.numbers.series import Series

DECIMALS = 6


def told_series(series: Series) -> dict[str, Any]:
    """Return by which definitions a number was told."""
    definitions = series.definitions
    return {
        "name": definitions.name,
        "version": definitions.version,
        "hash": definitions.hash,
        "calculation": series.calculation,
        "zone": definitions.reporting.zone,
    }


def told_question(asked: Question, *, converts: bool = False) -> dict[str, Any]:
    """Return what every answer says of its question; `converts`: it is in one currency if asked."""
    told: dict[str, Any] = {"convert_to": asked.reporting_currency} if converts else {}
    return {
        **told,
        "definitions": told_series(asked.series),
        "interval": asked.interval,
        "as_of": int(asked.until.timestamp()),
        "position": asked.position,
        "filters": dict(asked.filters),
    }


def told_period(asked: Question, period: Period) -> dict[str, Any]:
    """Return a period; `complete` is false while it has not ended."""
    return {
        "period": period.label,
        "start": int(asked.begins(period.start).timestamp()),
        "end": int(asked.begins(period.end).timestamp()),
        "complete": asked.is_over(period),
    }


def told_answer(asked: Question, metric: Metric, one: Answer) -> dict[str, Any]:
    """Return one value. Fractions are decimals, rounded; both their parts are exact."""
    value = one.value
    found: dict[str, Any] = {**told_period(asked, one.period), "currency": one.currency}
    if one.group is not None:
        found["group"] = one.group or None
    exact = value.exact
    found["value"] = decimal(exact) if isinstance(exact, Fraction) else exact
    if value.denominator is not None:
        found.update(numerator=value.numerator, denominator=value.denominator)
    if value.reason is not None:
        found["reason"] = value.reason
    if one.unknowns and metric.unit != "count":
        found["terms_unknown"] = one.unknowns
    return found


def decimal(exact: Fraction) -> float:
    """Return a fraction as a decimal of six places."""
    return round(float(exact), DECIMALS)


def told_frame(asked: Question, frame: Frame) -> dict[str, Any]:
    """Return how MRR went from one end of a period to the other; amounts are positive."""
    signs = {"contraction": -1, "churn": -1}
    return {
        **told_period(asked, frame.period),
        "currency": frame.currency,
        "mrr_start": frame.start_minor,
        **{kind: signs.get(kind, 1) * frame.amounts[kind] for kind in KINDS},
        "fx": frame.fx_minor,
        "mrr_end": frame.end_minor,
        "customers_start": frame.customers_start,
        "customers_end": frame.customers_end,
        "counts": {kind: frame.movements[kind] for kind in KINDS if kind != "transfer"},
        "terms_unknown": frame.unknowns,
    }


def told_movement(one: Movement) -> dict[str, Any]:
    """Return a movement with the events that it follows from."""
    return {
        "object": "mrr_movement",
        "id": one.cursor,
        "created": int(one.at.timestamp()),
        "customer": one.customer,
        "currency": one.currency,
        "kind": one.kind,
        "reasons": list(one.reasons),
        "amount": one.amount_minor,
        "customers": one.customers,
        "subscriptions": list(one.subscriptions),
        "events": [{"position": at, "url": f"/v1/events/{at}"} for at in one.positions],
    }
