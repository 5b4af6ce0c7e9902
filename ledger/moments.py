"""A moment in the past, on two axes: what was true then, and what was known then.

`as_of` is an instant: what objects were at the end of its second, by the time Stripe says things
happened. `known_at` is a position of the log: nothing recorded later is looked at.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, time

import psycopg

from ledger.clock import utc
from ledger.errors import RequestInvalid
from ledger.log import Log
from ledger.stripe_objects.fields import LAST_SECOND

_NUMBER = re.compile(r"\d{1,18}").fullmatch
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}").fullmatch
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
    instant = _instant(as_of, "as_of") if as_of else None
    if instant is not None and instant > now:
        raise RequestInvalid(f"`as_of` {as_of} is in the future; what will be is not recorded.")
    if not known_at:
        return Moment(instant)
    log = Log(connection)
    if _NUMBER(known_at):
        position, last = int(known_at), log.last_position()
        if position > last:
            raise RequestInvalid(f"`known_at` {known_at} is past the log's end, {last}.")
        return Moment(instant, position)
    recorded = _instant(known_at, "known_at")
    if recorded > now:
        raise RequestInvalid(f"`known_at` {known_at} is in the future; nobody knows yet.")
    return Moment(instant, log.position_at(recorded))


def _instant(text: str, name: str) -> datetime:
    if _NUMBER(text):
        seconds = int(text)
        if seconds > LAST_SECOND:
            raise RequestInvalid(f"`{name}` {text} is beyond the year 9999: unix seconds, not ms.")
        return utc(seconds)
    try:
        if _DAY(text):
            day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
            return datetime.combine(day, time.max, UTC)
        # A `+` in a query string arrives as a blank.
        given = datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)
    except ValueError as error:
        raise RequestInvalid(
            f"`{name}` {text!r} is no instant: use 2026-03-31, 2026-03-31T12:00:00Z"
            + (" or a position." if name == "known_at" else " or unix seconds.")
        ) from error
    return (given if given.tzinfo else given.replace(tzinfo=UTC)).astimezone(UTC)
