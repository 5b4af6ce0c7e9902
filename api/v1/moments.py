"""`as_of` and `known_at`: which moment of the ledger a request looks at."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from marshmallow import fields, validate

from api.errors import ApiError
from api.v1.access import Caller
from api.v1.lists import Query
from ledger.clock import midnight
from ledger.errors import RequestInvalid
from ledger.metrics.question import period_of
from ledger.moments import Moment, moment_of

YEAR = timedelta(days=365)
_LENGTH = validate.Length(min=1, max=40)


class AtMoment(Query):
    """The parameters of what can be asked of the past."""

    as_of = fields.String(validate=_LENGTH)
    known_at = fields.String(validate=_LENGTH)


def moment_asked(caller: Caller, asked: dict[str, Any]) -> Moment:
    """Take the moment out of the parameters."""
    return moment_of(
        caller.connection,
        asked.pop("as_of", None),
        asked.pop("known_at", None),
        caller.ledger.clock.now(),
    )


def not_found(kind: str, own_id: str, moment: Moment) -> ApiError:
    """Return the error for what is not, or was not known at that moment."""
    when = " at that moment" if moment.is_past else ""
    return ApiError(404, "not_found", f"There is no {kind} {own_id!r}{when}.")


def told(moment: Moment) -> dict[str, Any]:
    """Return the moment as an answer about the past names it; nothing for the present."""
    if not moment.is_past:
        return {}
    return {
        "as_of": int(moment.as_of.timestamp()) if moment.as_of else None,
        "known_at": moment.known_at,
    }


def span_asked(caller: Caller, asked: dict[str, Any]) -> tuple[datetime, datetime]:
    """Return the instants that `from` and `to` mean (UTC), the year before now if none is given.

    Both are a day, month, quarter or year; the last is included. Raises RequestInvalid.
    """
    now = caller.ledger.clock.now()
    last = period_of(asked["end"], "to")[1] if asked.get("end") else now.date() + timedelta(days=1)
    first = period_of(asked["start"], "from")[0] if asked.get("start") else last - YEAR
    if first >= last:
        raise RequestInvalid("`from` is after `to`.")
    return midnight(first), midnight(last)
