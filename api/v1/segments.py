"""`/v1/segments`, `/v1/assignment_rules`: saved filters, and how new customers are shared out."""

from __future__ import annotations

from marshmallow import fields, validate

from api.errors import ApiError
from api.v1 import people_shapes as shapes
from api.v1 import schema
from api.v1.access import Caller
from api.v1.customers import SegmentFilters
from api.v1.endpoints import Acting, Body, Json, Reading
from api.v1.lists import id_filter, listed
from ledger.aggregates.customer_work import WorkRules
from ledger.customer_work import rules_of, share_out
from ledger.decisions import Decisions
from ledger.policies.desk import Desk

_NAME = validate.Regexp(r"[a-z][a-z0-9_-]{0,39}\Z")


class RuleBody(Body):
    """To whom new customers go."""

    name = fields.String(required=True, validate=_NAME)
    owners = fields.List(id_filter(), required=True, validate=validate.Length(min=1, max=100))
    countries = fields.List(fields.String(validate=validate.Regexp(r"[A-Z]{2}\Z")))
    currencies = fields.List(fields.String(validate=validate.Regexp(r"[a-z]{3}\Z")))


class RulesBody(Body):
    """All rules; the first that fits counts."""

    rules = fields.List(fields.Nested(RuleBody), required=True)


class SegmentBody(Body):
    """A filter of customers, and what it is called."""

    name = fields.String(required=True, validate=_NAME)
    filters = fields.Nested(SegmentFilters, required=True)


class SegmentName(Body):
    """Which saved filter."""

    name = fields.String(required=True, validate=_NAME)


def show_rules(caller: Caller, _: Json) -> Json:
    """Return by which rules new customers are shared out."""
    return _rules(_known_rules(caller))


def set_rules(desk: Desk, caller: Caller, given: Json) -> Json:
    """Let these rules share new customers out; those who have an owner keep them."""
    return _rules(share_out(desk, given["rules"], caller.actor.name))


def list_segments(caller: Caller, _: Json) -> Json:
    """Return the saved filters of customers."""
    found = _known_rules(caller)
    named = sorted(found.segments.items()) if found else []
    return listed((_segment(*one) for one in named), has_more=False)


def save_segment(desk: Desk, caller: Caller, given: Json) -> Json:
    """Save a filter of customers under a name; `/v1/customers?segment=` uses it."""
    if not given["filters"]:
        raise ApiError(400, "parameter_invalid", "`filters` must name something.")
    rules_of(desk).save_segment(
        given["name"], given["filters"], actor=caller.actor.name, now=desk.now
    )
    return _segment(given["name"], given["filters"])


def remove_segment(desk: Desk, caller: Caller, given: Json) -> Json:
    """Forget a saved filter."""
    rules = rules_of(desk)
    filters = rules.segments.get(given["name"], {})
    rules.remove_segment(given["name"], actor=caller.actor.name, now=desk.now)
    return _segment(given["name"], filters)


def _known_rules(caller: Caller) -> WorkRules | None:
    return Decisions(caller.connection, caller.ledger.keys).find(WorkRules, WorkRules.STREAM)


def _rules(rules: WorkRules | None) -> Json:
    return {
        "object": "assignment_rules",
        "version": rules.version if rules else 0,
        "rules": [
            {"name": one.name, "owners": one.owners, "countries": one.countries,
             "currencies": one.currencies}
            for one in (rules.assignment if rules else [])
        ],
    }  # fmt: skip


def _segment(name: str, filters: Json) -> Json:
    return {"object": "segment", "name": name, "filters": filters}


def _version_of_rules(desk: Desk, _: Json) -> int:
    found = desk.find(WorkRules, WorkRules.STREAM)
    return found.version if found else 0


ENDPOINTS = (
    Reading(path="/assignment_rules", handle=show_rules, answer=shapes.ASSIGNMENT_RULES),
    Acting(
        path="/assignment_rules",
        handle=set_rules,
        answer=shapes.ASSIGNMENT_RULES,
        body=RulesBody,
        permission="campaigns",
        version=_version_of_rules,
    ),
    Reading(path="/segments", handle=list_segments, answer=schema.list_of(shapes.SEGMENT)),
    Acting(
        path="/segments",
        handle=save_segment,
        answer=shapes.SEGMENT,
        body=SegmentBody,
        permission="work",
    ),
    Acting(
        path="/segments/remove",
        handle=remove_segment,
        answer=shapes.SEGMENT,
        body=SegmentName,
        permission="work",
    ),
)
