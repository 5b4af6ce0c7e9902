"""`/v1/invoices`: what was asked for, what was paid, and why the last try failed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flask import Blueprint, Response, jsonify

from api.v1.access import Caller, reading
from api.v1.lists import ListQuery, id_filter, listed, query
from api.v1.moments import AtMoment, moment_asked, not_found, told
from ledger.moments import Moment
from ledger.projections.crm import past, queries

COPIED = (
    "created", "status", "number", "subscription", "billing_reason", "collection_method",
    "currency", "amount_due", "amount_paid", "amount_remaining", "subtotal", "total", "tax",
    "attempt_count", "attempted", "auto_advance", "next_payment_attempt", "due_date",
    "receipt_number", "livemode",
)  # fmt: skip
TRANSITIONS = ("finalized_at", "paid_at", "voided_at", "marked_uncollectible_at")


class InvoicesQuery(ListQuery, AtMoment):
    """Filters of the invoice list."""

    customer = id_filter()
    subscription = id_filter()
    status = id_filter()


def routes(blueprint: Blueprint) -> None:
    """Mount the routes."""
    blueprint.get("/invoices")(list_invoices)
    blueprint.get("/invoices/<invoice_id>")(show_invoice)


def list_invoices() -> Response:
    """Return invoices, newest first."""
    asked = query(InvoicesQuery())
    with reading() as caller:
        moment = moment_asked(caller, asked)
        page = past.page(caller.connection, queries.INVOICES, moment, **asked)
        return listed(
            _with_failures(caller, page.rows, moment), has_more=page.has_more, **told(moment)
        )


def show_invoice(invoice_id: str) -> Response:
    """Return one invoice."""
    asked = query(AtMoment())
    with reading() as caller:
        moment = moment_asked(caller, asked)
        row = past.one(caller.connection, queries.INVOICES, invoice_id, moment)
        if row is None:
            raise not_found("invoice", invoice_id, moment)
        (invoice,) = _with_failures(caller, [row], moment)
        return jsonify({**invoice, **told(moment)})


def _with_failures(
    caller: Caller, rows: list[queries.Row], moment: Moment
) -> Iterator[dict[str, Any]]:
    """Yield invoices with `last_failure`, joined from their payments, which have no past."""
    if moment.is_past:
        yield from map(invoice_json, rows)
        return
    failures = queries.last_failures(caller.connection, [row["id"] for row in rows])
    for row in rows:
        failure = failures.get(row["id"])
        yield {**invoice_json(row), "last_failure": failure and _failure(failure)}


def _failure(failure: queries.Row) -> dict[str, Any]:
    return {
        "payment": failure["id"],
        "failed_at": int(failure["failed_at"].timestamp()),
        "failure_code": failure["failure_code"],
        "decline_code": failure["decline_code"],
        "advice_code": failure["advice_code"],
        "network_decline_code": failure["network_decline_code"],
    }


def invoice_json(row: queries.Row) -> dict[str, Any]:
    """Return an invoice, amounts in minor units."""
    view = row["canonical"]
    return {
        "id": row["id"],
        "object": "invoice",
        "customer": row["customer_id"],
        **{name: view.get(name) for name in COPIED},
        "prices": view.get("prices", []),
        "status_transitions": {name: view.get(name) for name in TRANSITIONS},
        "deleted": row["is_deleted"],
        "provisional": row["provisional"],
        "event": row["position"],
    }
