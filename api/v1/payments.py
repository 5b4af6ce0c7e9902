"""`/v1/payments`: every amount once, with the invoice it was for and why it failed."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from api.errors import ApiError
from api.v1 import schema, shapes
from api.v1.access import Caller
from api.v1.endpoints import Json, Reading
from api.v1.lists import ListQuery, id_filter, listed
from ledger.projections.crm import queries


class PaymentsQuery(ListQuery):
    """Filters of the payment list."""

    customer = id_filter()
    invoice = id_filter()
    status = id_filter()


def list_payments(caller: Caller, asked: Json) -> Json:
    """Return payments, newest first."""
    page = queries.page(caller.connection, queries.PAYMENTS, **asked)
    return listed(map(payment_json, page.rows), has_more=page.has_more)


def show_payment(caller: Caller, _: Json, payment_id: str) -> Json:
    """Return one payment."""
    row = queries.one(caller.connection, queries.PAYMENTS, payment_id)
    if row is None:
        raise ApiError(404, "not_found", f"There is no payment {payment_id!r}.")
    return payment_json(row)


def payment_json(row: queries.Row) -> Json:
    """Return a payment, amounts in minor units."""
    return {
        "id": row["id"],
        "object": "payment",
        "created": _unix(row["created"]),
        "customer": row["customer_id"],
        "invoice": row["invoice_id"],
        "invoice_found_by": row["invoice_join"],
        "status": row["status"],
        "currency": row["currency"],
        "amount": _whole(row["amount_minor"]),
        "amount_received": _whole(row["amount_received_minor"]),
        "amount_refunded": _whole(row["amount_refunded_minor"]),
        "disputed": row["disputed"],
        "attempt": row["attempt"],
        "failed_at": _unix(row["failed_at"]),
        "failure_code": row["failure_code"],
        "decline_code": row["decline_code"],
        "advice_code": row["advice_code"],
        "network_decline_code": row["network_decline_code"],
        "method_type": row["method_type"],
        "brand": row["brand"],
        "last4": row["last4"],
        "provisional": row["provisional"],
    }


def _unix(instant: datetime | None) -> int | None:
    return int(instant.timestamp()) if instant else None


def _whole(amount: Any) -> int | None:
    return int(amount) if amount is not None else None


ENDPOINTS = (
    Reading(
        path="/payments",
        handle=list_payments,
        answer=schema.list_of(shapes.PAYMENT),
        query=PaymentsQuery,
    ),
    Reading(path="/payments/<payment_id>", handle=show_payment, answer=shapes.PAYMENT),
)
