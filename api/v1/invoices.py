"""`/v1/invoices`: what was asked for, what was paid, and why the last try failed."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, jsonify

from api.errors import ApiError
from api.v1.access import reading
from api.v1.lists import ListQuery, id_filter, listed, query
from ledger.projections.crm import queries

COPIED = (
    "created", "status", "number", "subscription", "billing_reason", "collection_method",
    "currency", "amount_due", "amount_paid", "amount_remaining", "subtotal", "total", "tax",
    "attempt_count", "attempted", "auto_advance", "next_payment_attempt", "due_date",
    "receipt_number", "livemode",
)  # fmt: skip
TRANSITIONS = ("finalized_at", "paid_at", "voided_at", "marked_uncollectible_at")


class InvoicesQuery(ListQuery):
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
        page = queries.page(caller.connection, queries.INVOICES, **asked)
        failures = queries.last_failures(caller.connection, [row["id"] for row in page.rows])
        return listed(
            (invoice_json(row, failures.get(row["id"])) for row in page.rows),
            has_more=page.has_more,
        )


def show_invoice(invoice_id: str) -> Response:
    """Return one invoice."""
    with reading() as caller:
        row = queries.one(caller.connection, queries.INVOICES, invoice_id)
        if row is None:
            raise ApiError(404, "not_found", f"There is no invoice {invoice_id!r}.")
        failures = queries.last_failures(caller.connection, [invoice_id])
        return jsonify(invoice_json(row, failures.get(invoice_id)))


def invoice_json(row: queries.Row, failure: queries.Row | None) -> dict[str, Any]:
    """Return an invoice, amounts in minor units; `last_failure` is joined from its payments."""
    view = row["canonical"]
    return {
        "id": row["id"],
        "object": "invoice",
        "customer": row["customer_id"],
        **{name: view.get(name) for name in COPIED},
        "prices": view.get("prices", []),
        "status_transitions": {name: view.get(name) for name in TRANSITIONS},
        "last_failure": {
            "payment": failure["id"],
            "failed_at": int(failure["failed_at"].timestamp()),
            "failure_code": failure["failure_code"],
            "decline_code": failure["decline_code"],
            "advice_code": failure["advice_code"],
            "network_decline_code": failure["network_decline_code"],
        }
        if failure
        else None,
        "deleted": row["is_deleted"],
        "provisional": row["provisional"],
        "event": row["position"],
    }
