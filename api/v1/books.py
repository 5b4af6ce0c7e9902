"""`/v1/books`: the reports of the journal; `/v1/closings`: the months that are closed."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

from marshmallow import fields, validate

from api.v1 import schema, shapes
from api.v1.access import Caller
from api.v1.endpoints import Body, Json, Reading, Taking
from api.v1.lists import id_filter, listed
from api.v1.metrics import question_asked
from api.v1.moments import AtMoment
from ledger.accounting.by_name import BOOK_REPORTS, book_report
from ledger.accounting.closing import Closing, close, closings
from ledger.errors import NotFound
from ledger.metrics import telling
from ledger.periods import INTERVALS

_SHORT = validate.Length(min=1, max=40)


class BooksQuery(AtMoment):
    """What is asked of the books: which periods, one currency or all, as known when."""

    start = fields.String(data_key="from", validate=_SHORT)
    end = fields.String(data_key="to", validate=_SHORT)
    interval = fields.String(validate=validate.OneOf(INTERVALS), load_default="month")
    definitions = fields.String(validate=_SHORT)
    currency = id_filter()


class ClosingBody(Body):
    """The month to close."""

    period = fields.String(
        required=True,
        validate=validate.Regexp(r"[0-9]{4}-[0-9]{2}\Z"),
        metadata={"pattern": "^[0-9]{4}-[0-9]{2}$"},
    )


def list_books(caller: Caller, _: Json) -> Json:
    """Return which reports of the journal there are."""
    found = ({"object": "book_report", "name": name} for name in BOOK_REPORTS)
    return listed(found, has_more=False)


def show_book(caller: Caller, asked_for: Json, report: str) -> Json:
    """Return a report of the journal; amounts in minor units."""
    if report not in BOOK_REPORTS:
        raise NotFound(f"There is no report {report!r}; there are {', '.join(BOOK_REPORTS)}.")
    asked = question_asked(caller, asked_for)
    made = book_report(caller.connection, asked, report)
    return {
        "object": "book_report",
        "name": report,
        **telling.told_question(asked),
        "columns": list(made.columns),
        "data": [{key: _told(value) for key, value in row.items()} for row in made.rows],
    }


def _told(value: Any) -> Any:
    """Return a cell as JSON has it: instants in unix seconds, amounts as integers."""
    if isinstance(value, datetime):
        return int(value.timestamp())
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return int(value) if value == int(value) else str(value)
    return value


def list_closings(caller: Caller, _: Json) -> Json:
    """Return the months that are closed, the last one first."""
    found = reversed(closings(caller.connection))
    return listed(map(_closing, found), has_more=False)


def close_month(caller: Caller, given: Json) -> Json:
    """Close a month, as it is known now; one that is closed already stays as it is."""
    found, _ = close(caller.ledger, given["period"], actor=caller.actor.name)
    return _closing(found)


def _closing(one: Closing) -> Json:
    kept = ("period", "zone", "closed_until", "actor", "definitions", "trial_balance", "metrics")
    return {
        "object": "closing",
        "event": one.position,
        **{name: one.data[name] for name in kept},
        "starts_at": int(datetime.fromisoformat(one.data["starts_at"]).timestamp()),
        "ends_at": int(datetime.fromisoformat(one.data["ends_at"]).timestamp()),
    }


ENDPOINTS = (
    Reading(
        path="/books",
        handle=list_books,
        answer=schema.list_of(shapes.BOOK_REPORT_NAMED),
        permission="books",
    ),
    Reading(
        path="/books/<report>",
        handle=show_book,
        answer=shapes.BOOK_REPORT,
        query=BooksQuery,
        permission="books",
    ),
    Reading(
        path="/closings",
        handle=list_closings,
        answer=schema.list_of(shapes.CLOSING),
        permission="books",
    ),
    Taking(
        path="/closings",
        handle=close_month,
        answer=shapes.CLOSING,
        body=ClosingBody,
        permission="close",
    ),
)
