"""`/v1/payments`: every amount once, with the invoice it was for and why it failed."""

from __future__ import annotations

from api.errors import ApiError
from api.v1 import schema, shapes
from api.v1.access import Caller
from api.v1.endpoints import Json, Reading
from api.v1.lists import ListQuery, id_filter, listed
from api.v1.objects import payment_json
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


ENDPOINTS = (
    Reading(
        path="/payments",
        handle=list_payments,
        answer=schema.list_of(shapes.PAYMENT),
        expands=True,
        query=PaymentsQuery,
    ),
    Reading(
        path="/payments/<payment_id>",
        handle=show_payment,
        answer=shapes.PAYMENT,
        expands=True,
    ),
)
