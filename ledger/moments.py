"""A moment in the past, on two axes: what was true then, and what was known then.

`as_of` is an instant: what objects were at the end of its second, by the time Stripe says things
happened. `known_at` is a position of the log: no fact recorded later is
looked at.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, time

import psycopg

from ledger.clock import utc
from ledger.errors import RequestInvalid
from ledger.log import Log
from ledger.stripe_objects.fields import LAST_SECOND

_NUMBER = re.compile(r"\d{1,18}").fullmatch
_SECONDS = re.compile(r"\d{9,18}").fullmatch  # fewer digits are a year or a day, not 1970
_LAST_INSTANT = utc(LAST_SECOND)


@dataclass(frozen=True)
class Moment:
    """What to look at; None on both axes is the present."""

    as_of: datetime | None = None
    known_at: int | None = None

    @property
    def is_past(self) -> bool:
        """Whether anything is left out."""
        return self.as_of is not None or self.known_at is not None

    @property
    def until(self) -> datetime:
        """The instant after which nothing has happened yet."""
        return self.as_of or _LAST_INSTANT

    @property
    def position(self) -> int:
        """The position after which nothing is known yet."""
        return 2**63 - 1 if self.known_at is None else self.known_at


PRESENT = Moment()


def moment_of(
    connection: psycopg.Connection[tuple[object, ...]],
    as_of: str | None,
    known_at: str | None,
    now: datetime,
) -> Moment:
    """Return the moment that is asked for; raise RequestInvalid naming what cannot be meant.

    `as_of` is an ISO 8601 instant, a day (its end, UTC) or unix seconds; `known_at` a position of
    the log, or an instant or a day: then the last position recorded until then.
    """
    instant = None if as_of is None else instant_of(as_of, "as_of", now)
    if known_at is None:
        return Moment(instant)
    log = Log(connection)
    if _NUMBER(known_at):
        position, last = int(known_at), log.last_position()
        if position > last:
            raise RequestInvalid(f"`known_at` {known_at} is past the log's end, {last}.")
        return Moment(instant, position)
    return Moment(instant, log.position_at(instant_of(known_at, "known_at", now)))


def instant_of(text: str, name: str, now: datetime, *, day_begins: bool = False) -> datetime:
    """Return the past instant that is meant; a day means its end, today means now.

    With `day_begins` a day means its beginning.

    Raises RequestInvalid naming `name` for what is none, or in the future.
    """
    try:
        found = _instant(text)
    except (ValueError, OverflowError) as error:
        raise RequestInvalid(
            f"`{name}` {text!r} is no instant: use 2026-03-31, 2026-03-31T12:00:00Z"
            + (" or a position." if name == "known_at" else " or unix seconds (not milliseconds).")
        ) from error
    if not isinstance(found, datetime):
        if day_begins:
            found = datetime.combine(found, time.min, UTC)
        elif found == now.date():
            return now
        else:
            found = datetime.combine(found, time.max, UTC)
    if found > now:
        raise RequestInvalid(f"`{name}` {text} is in the future; what will be is not recorded.")
    return found


def _instant(text: str) -> datetime | date:
    if _SECONDS(text):
        if int(text) > LAST_SECOND:
            raise ValueError("beyond the year 9999: these are milliseconds")
        return utc(int(text))
    with suppress(ValueError):
        return date.fromisoformat(text)
    # A `+` in a query string arrives as a blank.
    given = datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)
    return (given if given.tzinfo else given.replace(tzinfo=UTC)).astimezone(UTC)
