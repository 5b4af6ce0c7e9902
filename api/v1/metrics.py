"""`/v1/metrics`: the numbers by period, their movements, and the events that explain them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from flask import Blueprint, Response, jsonify
from marshmallow import fields, validate

from api.errors import ApiError
from api.v1.access import Caller, reading
from api.v1.lists import Query, id_filter, listed, query
from api.v1.moments import AtMoment
from ledger.metrics import telling
from ledger.metrics.answers import DIMENSIONS, Answer, answer, metric_named, reported_frames
from ledger.metrics.cohorts import cohorts
from ledger.metrics.frames import KINDS
from ledger.metrics.losses import FEEDBACK, NOT_TOLD, by_category, lost_customers, reasons
from ledger.metrics.metrics import METRICS
from ledger.metrics.movements import movements
from ledger.metrics.question import Question, now_of, question
from ledger.metrics.recovery import WINDOW_DAYS, recovery
from ledger.metrics.statuses import statuses
from ledger.moments import moment_of
from ledger.periods import INTERVALS

_SHORT = validate.Length(min=1, max=40)


class MetricQuery(AtMoment):
    """What every question about numbers takes."""

    start = fields.String(data_key="from", validate=_SHORT)
    end = fields.String(data_key="to", validate=_SHORT)
    interval = fields.String(validate=validate.OneOf(INTERVALS), load_default="month")
    definitions = fields.String(validate=_SHORT)
    convert_to = fields.String(validate=validate.Length(equal=3))
    currency = id_filter()
    product = id_filter()
    price = id_filter()
    plan = id_filter()
    billing_interval = fields.String(validate=validate.OneOf(("day", "week", "month", "year")))
    country = id_filter()
    cohort = fields.String(validate=_SHORT)


class GroupedQuery(MetricQuery):
    """A metric may be told apart by a dimension."""

    by = fields.String(validate=validate.OneOf(DIMENSIONS))


class MovementsQuery(MetricQuery):
    """Movements one by one, or summed by period."""

    kind = fields.String(validate=validate.OneOf(KINDS))
    customer = id_filter()
    period = fields.String(validate=_SHORT)
    limit = fields.Integer(load_default=100, validate=validate.Range(min=1, max=1000))
    starting_after = fields.String(validate=validate.Length(min=1, max=300))


class ReasonsQuery(MetricQuery):
    """Churn reasons in Stripe's words, or in categories of one's own."""

    by = fields.String(validate=validate.OneOf(("feedback", "category")), load_default="feedback")


class LostQuery(MetricQuery):
    """Lost customers, maybe of one reason only."""

    feedback = fields.String(validate=validate.OneOf((*FEEDBACK, NOT_TOLD)))
    limit = fields.Integer(load_default=100, validate=validate.Range(min=1, max=1000))


class RecoveryQuery(MetricQuery):
    """Failed payments, and within how many days they are to be recovered."""

    window_days = fields.Integer(load_default=WINDOW_DAYS)
    first_invoices = fields.Boolean(load_default=False)


def routes(blueprint: Blueprint) -> None:
    """Mount the routes."""
    blueprint.get("/metrics")(list_metrics)
    blueprint.get("/metrics/cohorts")(show_cohorts)
    blueprint.get("/metrics/churn_reasons")(show_churn_reasons)
    blueprint.get("/metrics/churn_reasons/customers")(list_lost_customers)
    blueprint.get("/metrics/recovery")(show_recovery)
    blueprint.get("/metrics/statuses")(show_statuses)
    blueprint.get("/metrics/mrr/movements")(show_movements)
    blueprint.get("/metrics/<name>")(show_metric)
    blueprint.get("/metrics/<name>/explain")(explain_metric)


def list_metrics() -> Response:
    """Return which metrics there are, with their formulas."""
    query(Query())
    with reading():
        return listed(
            (
                {"object": "metric", "name": one.name, "unit": one.unit, "what": one.what}
                for one in METRICS.values()
            ),
            has_more=False,
        )


def show_metric(name: str) -> Response:
    """Return a metric by period and currency."""
    asked_for = query(GroupedQuery())
    by = asked_for.pop("by", None)
    with reading() as caller:
        metric = metric_named(name)
        asked = _asked(caller, asked_for)
        found: Iterable[Answer] = answer(caller.connection, asked, name, by)
        return jsonify(
            object="metric",
            name=name,
            unit=metric.unit,
            what=metric.what,
            **telling.told_question(asked, converts=True),
            data=[telling.told_answer(asked, metric, one) for one in found],
        )


def show_movements() -> Response:
    """Return by what MRR went from the start to the end of each period."""
    asked_for = query(MetricQuery())
    with reading() as caller:
        asked = _asked(caller, asked_for)
        found = reported_frames(caller.connection, asked)
        return jsonify(
            object="mrr_movements",
            **telling.told_question(asked, converts=True),
            data=[telling.told_frame(asked, one) for one in found],
        )


def explain_metric(name: str) -> Response:
    """Return the movements of a period one by one, each with the events it follows from."""
    asked_for = query(MovementsQuery())
    if period := asked_for.pop("period", None):
        asked_for["start"] = asked_for["end"] = period
    limit, after = asked_for.pop("limit"), _cursor(asked_for.pop("starting_after", None))
    kind, customer = asked_for.pop("kind", None), asked_for.pop("customer", None)
    with reading() as caller:
        kind = kind or metric_named(name).kind
        asked = _asked(caller, asked_for)
        found = movements(
            caller.connection, asked, kind=kind, customer=customer, after=after, limit=limit + 1
        )
        return listed(
            map(telling.told_movement, found[:limit]),
            has_more=len(found) > limit,
            **telling.told_question(asked),
        )


def show_cohorts() -> Response:
    """Return what became of the customers of each month, month by month."""
    asked_for = query(MetricQuery())
    with reading() as caller:
        asked = _asked(caller, asked_for)
        return jsonify(
            object="cohorts",
            **telling.told_question(asked),
            data=[one.told() for one in cohorts(caller.connection, asked)],
        )


def show_churn_reasons() -> Response:
    """Return why customers left: Stripe's feedback, how many, which share, what MRR they paid."""
    asked_for = query(ReasonsQuery())
    by = asked_for.pop("by")
    with reading() as caller:
        asked = _asked(caller, asked_for)
        return jsonify(
            object="churn_reasons",
            **telling.told_question(asked),
            data=by_category(caller.connection, asked)
            if by == "category"
            else [one.told() for one in reasons(caller.connection, asked)],
        )


def show_recovery() -> Response:
    """Return what failed to be collected, and what of it was recovered, by when it failed."""
    asked_for = query(RecoveryQuery())
    days, firsts = asked_for.pop("window_days"), asked_for.pop("first_invoices")
    with reading() as caller:
        asked = _asked(caller, asked_for)
        found = recovery(caller.connection, asked, window_days=days, firsts=firsts)
        return jsonify(
            object="recovery",
            **telling.told_question(asked),
            window_days=days,
            data=[one.told(asked) for one in found],
        )


def show_statuses() -> Response:
    """Return how customers stood at the end of each period, and which share that was."""
    asked_for = query(MetricQuery())
    with reading() as caller:
        asked = _asked(caller, asked_for)
        return jsonify(
            object="statuses",
            **telling.told_question(asked),
            data=[one.told(asked) for one in statuses(caller.connection, asked)],
        )


def list_lost_customers() -> Response:
    """Return who was lost, the last one first."""
    asked_for = query(LostQuery())
    feedback, limit = asked_for.pop("feedback", None), asked_for.pop("limit")
    with reading() as caller:
        asked = _asked(caller, asked_for)
        found = lost_customers(caller.connection, asked, feedback, limit + 1)
        return listed(found[:limit], has_more=len(found) > limit, **telling.told_question(asked))


def _asked(caller: Caller, given: dict[str, Any]) -> Question:
    if given.get("price") and given.get("plan"):
        raise ApiError(400, "parameter_invalid", "`plan` is another name of `price`: give one.")
    now = now_of(caller.ledger, caller.connection)
    moment = moment_of(
        caller.connection, given.pop("as_of", None), given.pop("known_at", None), now
    )
    filters = {
        "currency": given.get("currency"),
        "product": given.get("product"),
        "price": given.get("price") or given.get("plan"),
        "interval": given.get("billing_interval"),
        "country": given.get("country"),
        "cohort": given.get("cohort"),
    }
    return question(
        caller.connection,
        now=now,
        start=given.get("start"),
        end=given.get("end"),
        interval=given["interval"],
        definitions=given.get("definitions"),
        moment=moment,
        filters={name: value for name, value in filters.items() if value},
        convert_to=given.get("convert_to"),
    )


def _cursor(text: str | None) -> tuple[datetime, str, str] | None:
    if text is None:
        return None
    at, _, rest = text.partition("~")
    customer, _, currency = rest.partition("~")
    if not (at.isdigit() and len(at) < 12 and customer and currency):
        raise ApiError(
            400, "parameter_invalid", "`starting_after`: must be the `id` of a movement."
        )
    return datetime.fromtimestamp(int(at), UTC), customer, currency
