"""`/v1/dunning`: unpaid invoices, what is done about them, and what came of it."""

from __future__ import annotations

from typing import Any

from marshmallow import fields, validate

from api.v1 import schema, shapes
from api.v1.access import Caller
from api.v1.endpoints import Acting, Body, Json, Reading
from api.v1.lists import ListQuery, Query, id_filter, listed
from api.v1.moments import span_asked
from ledger.aggregates.dunning_case import DunningCase
from ledger.decisions import Decisions
from ledger.errors import NotFound
from ledger.orders import case_of, resume_case, send_step_now
from ledger.policies.desk import Desk
from ledger.projections.crm import queries as lists
from ledger.projections.reactions import queries

BY = ("step", "decline_code", "campaign", "status")


class CasesQuery(ListQuery):
    """Filters of the list of cases."""

    customer = id_filter()
    invoice = id_filter()
    status = id_filter()
    campaign = id_filter()
    open = fields.Boolean()


class BoardQuery(Query):
    """Of which cases, by what."""

    start = fields.String(data_key="from")
    end = fields.String(data_key="to")
    by = fields.String(validate=validate.OneOf(BY), load_default="step")


class ReasonBody(Body):
    """Why somebody decides so."""

    reason = fields.String(required=True, validate=validate.Length(min=1, max=500))


class StepBody(Body):
    """Which step, and why it is left out."""

    step = fields.String(required=True, validate=validate.Length(min=1, max=40))
    reason = fields.String(validate=validate.Length(min=1, max=500))


def list_cases(caller: Caller, asked: Json) -> Json:
    """Return cases, newest first."""
    page = lists.page(caller.connection, queries.CASES, **asked)
    return listed(map(case_json, page.rows), has_more=page.has_more)


def show_dunning_board(caller: Caller, asked: Json) -> Json:
    """Return what became of the cases of a span, each share with what it is of."""
    start, end = span_asked(caller, asked)
    rows = queries.dunning_board(caller.connection, asked["by"], start, end)
    return {
        "object": "dunning_board",
        "by": asked["by"],
        "from": start.isoformat(),
        "to": end.isoformat(),
        "data": [
            {
                **{
                    name: row[name]
                    for name in ("currency", "key", "cases", "recovered", "in_progress", "lost")
                },
                "amount_minor": int(row["amount_minor"]),
                "recovered_minor": int(row["recovered_minor"]),
                "recovered_share": row["recovered"] / row["cases"],
            }
            for row in rows
        ],
    }


def show_case(caller: Caller, _: Json, case_id: str) -> Json:
    """Return one case with its steps, as the log has them."""
    stream = case_id if case_id.startswith("dunning:") else DunningCase.stream_of(case_id)
    row = lists.one(caller.connection, queries.CASES, stream)
    case = Decisions(caller.connection, caller.ledger.keys).find(DunningCase, stream)
    if row is None or case is None:
        raise NotFound(f"There is no dunning case {case_id!r}.")
    return {**case_json(row), "steps": _steps(case)}


def pause_case(desk: Desk, caller: Caller, given: Json, case_id: str) -> Json:
    """Let a case rest."""
    case = case_of(desk, case_id)
    case.pause(given["reason"], actor=caller.actor.name, now=desk.now)
    return _short(case)


def resume(desk: Desk, caller: Caller, given: Json, case_id: str) -> Json:
    """Let a case go on."""
    return _short(resume_case(desk, case_id, given["reason"], caller.actor.name))


def stop_case(desk: Desk, caller: Caller, given: Json, case_id: str) -> Json:
    """End a case."""
    case = case_of(desk, case_id)
    case.close(
        "stopped",
        now=desk.now,
        read_until=desk.read_until,
        reason=given["reason"],
        actor=caller.actor.name,
    )
    return _short(case)


def skip_step(desk: Desk, caller: Caller, given: Json, case_id: str) -> Json:
    """Leave a step out."""
    case = case_of(desk, case_id)
    case.skip(
        given["step"],
        "by_hand",
        now=desk.now,
        read_until=desk.read_until,
        actor=caller.actor.name,
        reason=given.get("reason"),
    )
    return _short(case)


def send_step(desk: Desk, caller: Caller, given: Json, case_id: str) -> Json:
    """Take a message's step now."""
    outcome = send_step_now(desk, case_id, given["step"], caller.actor.name)
    return {**_short(case_of(desk, case_id)), "step_outcome": outcome}


def _short(case: DunningCase) -> Json:
    return {
        "id": case.id,
        "object": "dunning_case",
        "invoice": case.terms.invoice,
        "customer": case.customer_id,
        "open": case.is_open,
        "outcome": case.outcome,
        "paused": case.is_paused,
        "waiting": case.is_waiting,
        "steps": _steps(case),
    }


def _steps(case: DunningCase) -> list[dict[str, Any]]:
    return [
        {
            "name": step.name,
            "due_at": int(step.due_at.timestamp()),
            "outcome": step.outcome,
            "done_at": int(step.done_at.timestamp()) if step.done_at else None,
        }
        for step in sorted(case.steps.values(), key=lambda one: one.due_at)
    ]


def case_json(row: queries.Row) -> Json:
    """Return a case as the board tells it."""
    seconds = {
        name: int(row[name].timestamp()) if row[name] else None
        for name in (
            "first_failed_at",
            "next_attempt_at",
            "last_step_at",
            "next_step_at",
            "closed_at",
        )
    }
    return {
        "id": row["id"],
        "object": "dunning_case",
        "created": int(row["opened_at"].timestamp()),
        "invoice": row["invoice_id"],
        "invoice_number": row["invoice_number"],
        "customer": row["customer_id"],
        "subscription": row["subscription_id"],
        "currency": row["currency"],
        "amount_minor": int(row["amount_minor"]) if row["amount_minor"] is not None else None,
        "campaign": row["campaign"],
        "campaign_version": row["campaign_version"],
        "mode": row["mode"],
        "status": row["status"],
        "status_words": queries.status_words(row["status"], row["failures"]),
        "failures": row["failures"],
        "decline_code": row["decline_code"],
        "advice_code": row["advice_code"],
        "decline_class": row["decline_class"],
        "last_step": row["last_step"],
        "next_step": row["next_step"],
        "access_revoked": row["is_revoked"],
        "inactive": row["is_inactive"],
        "language": row["language"],
        "zone": row["zone"],
        "outcome": row["outcome"],
        **seconds,
    }


ENDPOINTS = (
    Reading(
        path="/dunning/cases",
        handle=list_cases,
        answer=schema.list_of(shapes.DUNNING_CASE),
        query=CasesQuery,
    ),
    Reading(
        path="/dunning/board",
        handle=show_dunning_board,
        answer=shapes.DUNNING_BOARD,
        query=BoardQuery,
    ),
    Reading(path="/dunning/cases/<case_id>", handle=show_case, answer=shapes.DUNNING_CASE_WHOLE),
    *(
        Acting(
            path=f"/dunning/cases/<case_id>/{name}",
            handle=handle,
            answer=shapes.DUNNING_CASE_NOW,
            body=body,
        )
        for name, handle, body in (
            ("pause", pause_case, ReasonBody),
            ("resume", resume, ReasonBody),
            ("stop", stop_case, ReasonBody),
            ("skip", skip_step, StepBody),
        )
    ),
    Acting(
        path="/dunning/cases/<case_id>/send",
        handle=send_step,
        answer=schema.more(shapes.DUNNING_CASE_NOW, step_outcome=schema.STRING),
        body=StepBody,
    ),
)
