"""`/v1/invoices`: what was asked for, what was paid, and why the last try failed."""

from __future__ import annotations

from api.v1 import schema, shapes
from api.v1.access import Caller
from api.v1.endpoints import Json, Reading
from api.v1.lists import ListQuery, id_filter, listed
from api.v1.moments import AtMoment, moment_asked, not_found, told
from api.v1.objects import invoices_json
from ledger.projections.crm import past, queries


class InvoicesQuery(ListQuery, AtMoment):
    """Filters of the invoice list."""

    customer = id_filter()
    subscription = id_filter()
    status = id_filter()


def list_invoices(caller: Caller, asked: Json) -> Json:
    """Return invoices, newest first."""
    moment = moment_asked(caller, asked)
    page = past.page(caller.connection, queries.INVOICES, moment, **asked)
    return listed(invoices_json(caller, page.rows, moment), has_more=page.has_more, **told(moment))


def show_invoice(caller: Caller, asked: Json, invoice_id: str) -> Json:
    """Return one invoice."""
    moment = moment_asked(caller, asked)
    row = past.one(caller.connection, queries.INVOICES, invoice_id, moment)
    if row is None:
        raise not_found("invoice", invoice_id, moment)
    (invoice,) = invoices_json(caller, [row], moment)
    return {**invoice, **told(moment)}


ENDPOINTS = (
    Reading(
        path="/invoices",
        handle=list_invoices,
        answer=schema.list_in_time(shapes.INVOICE),
        expands=True,
        query=InvoicesQuery,
    ),
    Reading(
        path="/invoices/<invoice_id>",
        handle=show_invoice,
        answer=schema.in_time(shapes.INVOICE),
        expands=True,
        query=AtMoment,
    ),
)
