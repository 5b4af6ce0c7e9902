"""`/v1/invoices`: what was asked for, what was paid, and why the last try failed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from api.v1 import schema, shapes
from api.v1.access import Caller
from api.v1.endpoints import Json, Reading
from api.v1.lists import ListQuery, id_filter, listed
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


def list_invoices(caller: Caller, asked: Json) -> Json:
    """Return invoices, newest first."""
    moment = moment_asked(caller, asked)
    page = past.page(caller.connection, queries.INVOICES, moment, **asked)
    return listed(_with_failures(caller, page.rows, moment), has_more=page.has_more, **told(moment))


def show_invoice(caller: Caller, asked: Json, invoice_id: str) -> Json:
    """Return one invoice."""
    moment = moment_asked(caller, asked)
    row = past.one(caller.connection, queries.INVOICES, invoice_id, moment)
    if row is None:
        raise not_found("invoice", invoice_id, moment)
    (invoice,) = _with_failures(caller, [row], moment)
    return {**invoice, **told(moment)}


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


def _failure(failure: queries.Row) -> Json:
    return {
        "payment": failure["id"],
        "failed_at": int(failure["failed_at"].timestamp()),
        "failure_code": failure["failure_code"],
        "decline_code": failure["decline_code"],
        "advice_code": failure["advice_code"],
        "network_decline_code": failure["network_decline_code"],
    }


def invoice_json(row: queries.Row) -> Json:
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


ENDPOINTS = (
    Reading(
        path="/invoices",
        handle=list_invoices,
        answer=schema.list_in_time(shapes.INVOICE),
        query=InvoicesQuery,
    ),
    Reading(
        path="/invoices/<invoice_id>",
        handle=show_invoice,
        answer=schema.in_time(shapes.INVOICE),
        query=AtMoment,
    ),
)
