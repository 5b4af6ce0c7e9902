"""`/v1/dunning`: unpaid invoices, what is done about them, and what came of it."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, jsonify
from marshmallow import fields, validate

from api.v1.access import Caller, reading
from api.v1.acting import Answer, Body, acting, body
from api.v1.lists import ListQuery, Query, id_filter, listed, query
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


def routes(blueprint: Blueprint) -> None:
    """Mount the routes."""
    blueprint.get("/dunning/cases")(list_cases)
    blueprint.get("/dunning/board")(show_dunning_board)
    blueprint.get("/dunning/cases/<case_id>")(show_case)
    for name, action in (
        ("pause", pause_case),
        ("resume", resume),
        ("stop", stop_case),
        ("skip", skip_step),
        ("send", send_step),
    ):
        blueprint.post(f"/dunning/cases/<case_id>/{name}")(action)


def list_cases() -> Response:
    """Return cases, newest first."""
    asked = query(CasesQuery())
    with reading() as caller:
        page = lists.page(caller.connection, queries.CASES, **asked)
        return listed(map(case_json, page.rows), has_more=page.has_more)


def show_dunning_board() -> Response:
    """Return what became of the cases of a span, each share with what it is of."""
    asked = query(BoardQuery())
    with reading() as caller:
        start, end = span_asked(caller, asked)
        rows = queries.dunning_board(caller.connection, asked["by"], start, end)
        return jsonify(
            object="dunning_board",
            by=asked["by"],
            **{"from": start.isoformat(), "to": end.isoformat()},
            data=[
                {
                    **{name: row[name] for name in ("currency", "key", "cases", "recovered",
                                                    "in_progress", "lost")},
                    "amount_minor": int(row["amount_minor"]),
                    "recovered_minor": int(row["recovered_minor"]),
                    "recovered_share": row["recovered"] / row["cases"],
                }
                for row in rows
            ],
        )  # fmt: skip


def show_case(case_id: str) -> Response:
    """Return one case with its steps, as the log has them."""
    query(Query())
    with reading() as caller:
        stream = case_id if case_id.startswith("dunning:") else DunningCase.stream_of(case_id)
        row = lists.one(caller.connection, queries.CASES, stream)
        case = Decisions(caller.connection, caller.ledger.keys).find(DunningCase, stream)
        if row is None or case is None:
            raise NotFound(f"There is no dunning case {case_id!r}.")
        return jsonify({**case_json(row), "steps": _steps(case)})


def pause_case(case_id: str) -> Response:
    """Let a case rest."""
    given = body(ReasonBody())

    def order(desk: Desk, caller: Caller) -> Answer:
        case = case_of(desk, case_id)
        case.pause(given["reason"], actor=caller.token.name, now=desk.now)
        return 200, _short(case)

    return acting(order)


def resume(case_id: str) -> Response:
    """Let a case go on."""
    given = body(ReasonBody())

    def order(desk: Desk, caller: Caller) -> Answer:
        return 200, _short(resume_case(desk, case_id, given["reason"], caller.token.name))

    return acting(order)


def stop_case(case_id: str) -> Response:
    """End a case."""
    given = body(ReasonBody())

    def order(desk: Desk, caller: Caller) -> Answer:
        case = case_of(desk, case_id)
        case.close(
            "stopped",
            now=desk.now,
            read_until=desk.read_until,
            reason=given["reason"],
            actor=caller.token.name,
        )
        return 200, _short(case)

    return acting(order)


def skip_step(case_id: str) -> Response:
    """Leave a step out."""
    given = body(StepBody())

    def order(desk: Desk, caller: Caller) -> Answer:
        case = case_of(desk, case_id)
        case.skip(
            given["step"],
            "by_hand",
            now=desk.now,
            read_until=desk.read_until,
            actor=caller.token.name,
            reason=given.get("reason"),
        )
        return 200, _short(case)

    return acting(order)


def send_step(case_id: str) -> Response:
    """Take a message's step now."""
    given = body(StepBody())

    def order(desk: Desk, caller: Caller) -> Answer:
        outcome = send_step_now(desk, case_id, given["step"], caller.token.name)
        return 200, {**_short(case_of(desk, case_id)), "outcome": outcome}

    return acting(order)


def _short(case: DunningCase) -> dict[str, Any]:
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


def case_json(row: queries.Row) -> dict[str, Any]:
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
