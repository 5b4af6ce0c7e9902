"""`/v1/customers`: who they are, how they stand, what happened to them."""

from __future__ import annotations

from marshmallow import fields, validate

from api.errors import ApiError
from api.v1 import schema, shapes
from api.v1.access import Caller
from api.v1.endpoints import Body, Json, Reading
from api.v1.lists import ListQuery, PageQuery, id_filter, listed, text_filter
from api.v1.moments import AtMoment, moment_asked, not_found, told
from api.v1.objects import contacts_told, customer_json, subscription_json
from ledger.aggregates.customer_work import WorkRules
from ledger.decisions import Decisions
from ledger.errors import RequestInvalid
from ledger.moments import Moment
from ledger.projections.crm import past, queries
from ledger.projections.reactions.queries import tags_of
from ledger.projections.work.queries import work_of

STATUSES = (
    "active", "trialing", "past_due", "paused", "pending", "inactive", "expired", "lead",
)  # fmt: skip


class SegmentFilters(Body):
    """Filters of the customer list that can be saved under a name."""

    status = fields.String(validate=validate.OneOf(STATUSES))
    delinquent = fields.Boolean()
    tag = id_filter()
    owner = id_filter()


class CustomersQuery(ListQuery, AtMoment):
    """Filters of the customer list."""

    status = fields.String(validate=validate.OneOf(STATUSES))
    delinquent = fields.Boolean()
    tag = id_filter()
    owner = id_filter()
    segment = id_filter()
    email = text_filter()
    search = text_filter(data_key="query")


class StoryQuery(PageQuery, AtMoment):
    """A story is paged by its events' positions."""

    starting_after = fields.Integer(validate=validate.Range(min=0, max=2**63 - 1))


def list_customers(caller: Caller, asked: Json) -> Json:
    """Return customers, newest first."""
    asked = _with_segment(caller, asked)
    email, text = asked.pop("email", None), asked.pop("search", None)
    if (email or text) and not caller.sees_personal:
        raise ApiError(
            403, "scope_missing", "Searching by name or e-mail needs the scope `personal`."
        )
    found = queries.search_filter(caller.ledger.master.derive("search"), email=email, query=text)
    moment = moment_asked(caller, asked)
    page = past.page(caller.connection, queries.CUSTOMERS, moment, found=found, **asked)
    known = contacts_told(caller, page.rows)
    ids = [one["id"] for one in page.rows]
    tags = {} if moment.is_past else _noted(caller, ids)
    return listed(
        (
            {**customer_json(row, known.get(row["id"]), caller), **tags.get(row["id"], {})}
            for row in page.rows
        ),
        has_more=page.has_more,
        **told(moment),
    )


def show_customer(caller: Caller, asked: Json, customer_id: str) -> Json:
    """Return one customer with their subscriptions."""
    moment = moment_asked(caller, asked)
    row = _customer(caller, customer_id, moment)
    known = contacts_told(caller, [row])
    subscriptions = past.page(
        caller.connection, queries.SUBSCRIPTIONS, moment, limit=100, customer=customer_id
    )
    return {
        **customer_json(row, known.get(customer_id), caller),
        **({} if moment.is_past else _noted(caller, [customer_id])[customer_id]),
        "subscriptions": [subscription_json(one) for one in subscriptions.rows],
        **told(moment),
    }


def list_timeline(caller: Caller, asked: Json, customer_id: str) -> Json:
    """Return what happened to a customer, in sentences, each linked to its event."""
    moment = moment_asked(caller, asked)
    _customer(caller, customer_id, moment)
    story = queries.story(
        caller.connection,
        customer_id,
        moment,
        limit=asked["limit"],
        after=asked.get("starting_after"),
    )
    return listed(
        (
            {
                "object": "timeline_entry",
                "id": line["position"],
                "created": int(line["occurred_at"].timestamp()),
                "sentence": line["sentence"],
                "type": line["type"],
                "event": {
                    "position": line["position"],
                    "stripe_event_id": line["stripe_event_id"],
                    "url": f"/v1/events/{line['position']}",
                },
            }
            for line in story.rows
        ),
        has_more=story.has_more,
        **told(moment),
    )


def _noted(caller: Caller, ids: list[str]) -> dict[str, Json]:
    """Return owner and tags of customers now: ours, and those that follow from what is open."""
    work = work_of(caller.connection, ids)
    return {
        one: {
            "tags": [*tags, *(work[one]["tags"] if one in work else [])],
            "owner": work[one]["owner"] if one in work else None,
        }
        for one, tags in tags_of(caller.connection, ids).items()
    }


def _with_segment(caller: Caller, asked: Json) -> Json:
    """Return the parameters with those of the segment that they name; its own count first."""
    segment = asked.pop("segment", None)
    if segment is None:
        return asked
    rules = Decisions(caller.connection, caller.ledger.keys).find(WorkRules, WorkRules.STREAM)
    if rules is None or segment not in rules.segments:
        raise RequestInvalid(f"There is no segment {segment!r}; `/v1/segments` lists them.")
    return {**rules.segments[segment], **asked}


def _customer(caller: Caller, customer_id: str, moment: Moment) -> queries.Row:
    row = past.one(caller.connection, queries.CUSTOMERS, customer_id, moment)
    if row is None:
        raise not_found("customer", customer_id, moment)
    return row


ENDPOINTS = (
    Reading(
        path="/customers",
        handle=list_customers,
        answer=schema.list_in_time(shapes.CUSTOMER),
        query=CustomersQuery,
    ),
    Reading(
        path="/customers/<customer_id>",
        handle=show_customer,
        answer=schema.in_time(shapes.CUSTOMER_WHOLE),
        query=AtMoment,
    ),
    Reading(
        path="/customers/<customer_id>/timeline",
        handle=list_timeline,
        answer=schema.list_in_time(shapes.TIMELINE_ENTRY),
        query=StoryQuery,
    ),
)
