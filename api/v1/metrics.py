"""`/v1/metrics`: the numbers by period, their movements, and the events that explain them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from marshmallow import fields, validate

from api.errors import ApiError
from api.v1 import schema, shapes
from api.v1.access import Caller
from api.v1.endpoints import Json, Reading
from api.v1.lists import id_filter, listed
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


def list_metrics(caller: Caller, _: Json) -> Json:
    """Return which metrics there are, with their formulas."""
    return listed(
        (
            {"object": "metric", "name": one.name, "unit": one.unit, "what": one.what}
            for one in METRICS.values()
        ),
        has_more=False,
    )


def show_metric(caller: Caller, asked_for: Json, name: str) -> Json:
    """Return a metric by period and currency."""
    by = asked_for.pop("by", None)
    metric = metric_named(name)
    asked = question_asked(caller, asked_for)
    found: Iterable[Answer] = answer(caller.connection, asked, name, by)
    return {
        "object": "metric",
        "name": name,
        "unit": metric.unit,
        "what": metric.what,
        **telling.told_question(asked, converts=True),
        "data": [telling.told_answer(asked, metric, one) for one in found],
    }


def show_movements(caller: Caller, asked_for: Json) -> Json:
    """Return by what MRR went from the start to the end of each period."""
    asked = question_asked(caller, asked_for)
    found = reported_frames(caller.connection, asked)
    return {
        "object": "mrr_movements",
        **telling.told_question(asked, converts=True),
        "data": [telling.told_frame(asked, one) for one in found],
    }


def explain_metric(caller: Caller, asked_for: Json, name: str) -> Json:
    """Return the movements of a period one by one, each with the events it follows from."""
    if period := asked_for.pop("period", None):
        asked_for["start"] = asked_for["end"] = period
    limit, after = asked_for.pop("limit"), _cursor(asked_for.pop("starting_after", None))
    kind, customer = asked_for.pop("kind", None), asked_for.pop("customer", None)
    kind = kind or metric_named(name).kind
    asked = question_asked(caller, asked_for)
    found = movements(
        caller.connection, asked, kind=kind, customer=customer, after=after, limit=limit + 1
    )
    return listed(
        map(telling.told_movement, found[:limit]),
        has_more=len(found) > limit,
        **telling.told_question(asked),
    )


def show_cohorts(caller: Caller, asked_for: Json) -> Json:
    """Return what became of the customers of each month, month by month."""
    asked = question_asked(caller, asked_for)
    return {
        "object": "cohorts",
        **telling.told_question(asked),
        "data": [one.told() for one in cohorts(caller.connection, asked)],
    }


def show_churn_reasons(caller: Caller, asked_for: Json) -> Json:
    """Return why customers left: Stripe's feedback, how many, which share, what MRR they paid."""
    by = asked_for.pop("by")
    asked = question_asked(caller, asked_for)
    return {
        "object": "churn_reasons",
        **telling.told_question(asked),
        "data": by_category(caller.connection, asked)
        if by == "category"
        else [one.told() for one in reasons(caller.connection, asked)],
    }


def show_recovery(caller: Caller, asked_for: Json) -> Json:
    """Return what failed to be collected, and what of it was recovered, by when it failed."""
    days, firsts = asked_for.pop("window_days"), asked_for.pop("first_invoices")
    asked = question_asked(caller, asked_for)
    found = recovery(caller.connection, asked, window_days=days, firsts=firsts)
    return {
        "object": "recovery",
        **telling.told_question(asked),
        "window_days": days,
        "data": [one.told(asked) for one in found],
    }


def show_statuses(caller: Caller, asked_for: Json) -> Json:
    """Return how customers stood at the end of each period, and which share that was."""
    asked = question_asked(caller, asked_for)
    return {
        "object": "statuses",
        **telling.told_question(asked),
        "data": [one.told(asked) for one in statuses(caller.connection, asked)],
    }


def list_lost_customers(caller: Caller, asked_for: Json) -> Json:
    """Return who was lost, the last one first."""
    feedback, limit = asked_for.pop("feedback", None), asked_for.pop("limit")
    asked = question_asked(caller, asked_for)
    found = lost_customers(caller.connection, asked, feedback, limit + 1)
    return listed(found[:limit], has_more=len(found) > limit, **telling.told_question(asked))


def question_asked(caller: Caller, given: dict[str, Any]) -> Question:
    """Return the question that a request asks; raise RequestInvalid, ApiError."""
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


ENDPOINTS = (
    Reading(path="/metrics", handle=list_metrics, answer=schema.list_of(shapes.METRIC_NAMED)),
    Reading(path="/metrics/cohorts", handle=show_cohorts, answer=shapes.COHORTS, query=MetricQuery),
    Reading(
        path="/metrics/churn_reasons",
        handle=show_churn_reasons,
        answer=shapes.CHURN_REASONS,
        query=ReasonsQuery,
    ),
    Reading(
        path="/metrics/churn_reasons/customers",
        handle=list_lost_customers,
        answer=schema.list_of(shapes.LOST_CUSTOMER, **shapes.QUESTION),
        query=LostQuery,
    ),
    Reading(
        path="/metrics/recovery", handle=show_recovery, answer=shapes.RECOVERY, query=RecoveryQuery
    ),
    Reading(
        path="/metrics/statuses", handle=show_statuses, answer=shapes.STATUSES, query=MetricQuery
    ),
    Reading(
        path="/metrics/mrr/movements",
        handle=show_movements,
        answer=shapes.MOVEMENTS,
        query=MetricQuery,
    ),
    Reading(path="/metrics/<name>", handle=show_metric, answer=shapes.METRIC, query=GroupedQuery),
    Reading(
        path="/metrics/<name>/explain",
        handle=explain_metric,
        answer=schema.list_of(shapes.MOVEMENT, **shapes.QUESTION),
        query=MovementsQuery,
    ),
)
