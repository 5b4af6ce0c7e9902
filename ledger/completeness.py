"""Whether the log has everything that Stripe's own list of events has; what is missing is fetched.

Webhooks may never arrive: an endpoint was disabled, an outage lasted longer than Stripe's retries.
The list goes back thirty days. Each comparison starts a little before the last one's end, so that
an outage is covered whenever it ends; what is not there is recorded like a delivery, and
`Account.GapFilled` says that it did not come by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import psycopg

from ledger.aggregates import Account
from ledger.aggregates.base import ACCOUNT_STREAM
from ledger.clock import utc
from ledger.errors import LedgerError, SettingsInvalid
from ledger.log import Log, NewEvent
from ledger.stripe_api import StripeApi

if TYPE_CHECKING:
    from ledger.application import Ledger

Connection = psycopg.Connection[tuple[Any, ...]]
Progress = Callable[[str, float, float], None]

KEPT_BY_STRIPE = timedelta(days=30)
OVERLAP = timedelta(hours=1)  # events appear in the list a little after they are created
IN_FLIGHT = timedelta(minutes=2)  # younger ones may still be on their way
NAMED_MAX = 500  # ids in one event of ours
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True)
class Comparison:
    """What a comparison with Stripe's list found; instants are Stripe's `created`."""

    since: datetime
    until: datetime
    listed: int
    in_flight: int
    filled: tuple[str, ...]
    unfilled: tuple[str, ...]
    newest_at_stripe: datetime | None


def compare(
    ledger: Ledger,
    api: StripeApi,
    *,
    since: datetime | None = None,
    progress: Progress = lambda *_: None,
) -> Comparison:
    """Compare the log with Stripe's list from `since` on, by default from where the last ended.

    Fills what is missing and notes how far the log is complete. Raises what the API raises, noted
    as well.
    """
    now = ledger.clock.now()
    with ledger.pool.connection() as connection:
        before = _last(connection)
        start = since or (before["complete_until"] - OVERLAP if before else now - KEPT_BY_STRIPE)
        start = max(start, now - KEPT_BY_STRIPE)
        try:
            found = _compare(ledger, connection, api, start, now, progress)
        except LedgerError as error:
            connection.execute("UPDATE completeness SET error = %s", [str(error)])
            raise
        _note(connection, before, found, now)
    return found


def _compare(
    ledger: Ledger,
    connection: Connection,
    api: StripeApi,
    since: datetime,
    now: datetime,
    progress: Progress,
) -> Comparison:
    listed = in_flight = 0
    newest: datetime | None = None
    filled: list[str] = []
    unfilled: list[str] = []
    log = Log(connection)
    for page in api.events(int(since.timestamp()), int(now.timestamp())):
        listed += len(page)
        by_id = {event["id"]: event for event in page}
        for id_ in by_id.keys() - log.known(by_id):
            event = by_id[id_]
            if utc(event["created"]) > now - IN_FLIGHT:
                in_flight += 1
                continue
            receipt = ledger.intake.receive(_encode(event), obtained="listed")
            (unfilled if receipt.outcome == "unreadable" else filled).append(id_)
        if page:
            newest = newest or utc(page[0]["created"])
            reached = utc(page[-1]["created"])
            progress("comparing", (now - reached).total_seconds(), (now - since).total_seconds())
    if filled:
        note_filled(ledger, connection, since, now, sorted(filled))
    return Comparison(
        since, now, listed, in_flight, tuple(sorted(filled)), tuple(sorted(unfilled)), newest
    )


def note_filled(
    ledger: Ledger, connection: Connection, since: datetime, now: datetime, filled: list[str]
) -> None:
    """Record which events had to be fetched."""
    Log(connection).append(
        [
            NewEvent(
                stream=ACCOUNT_STREAM,
                topic=Account.GapFilled.TOPIC,
                occurred_at=now,
                data=_encode(
                    {
                        "type": "gap.filled",
                        "since": int(since.timestamp()),
                        "until": int(now.timestamp()),
                        "stripe_event_ids": filled[at : at + NAMED_MAX],
                    }
                ),
            )
            for at in range(0, len(filled), NAMED_MAX)
        ]
    )
    ledger.announce()


def _last(connection: Connection) -> dict[str, Any] | None:
    row = connection.execute(
        "SELECT checked_at, complete_from, complete_until, listed, missing, filled,"
        " newest_at_stripe, error FROM completeness"
    ).fetchone()
    names = ("checked_at", "complete_from", "complete_until", "listed", "missing", "filled")
    return dict(zip((*names, "newest_at_stripe", "error"), row, strict=True)) if row else None


def _note(
    connection: Connection, before: dict[str, Any] | None, found: Comparison, now: datetime
) -> None:
    """Note how far the log is complete: on from the last comparison, if this one meets it."""
    until = found.until - IN_FLIGHT
    if before and found.since <= before["complete_until"]:
        complete_from = min(before["complete_from"], found.since)
        until = max(until, before["complete_until"])
    else:
        complete_from = found.since
    missing = len(found.filled) + len(found.unfilled)
    connection.execute(
        "INSERT INTO completeness AS known (checked_at, complete_from, complete_until, listed,"
        " missing, filled, newest_at_stripe, error)"
        " VALUES (%(now)s, %(from)s, %(until)s, %(listed)s, %(missing)s, %(filled)s, %(newest)s,"
        " %(error)s)"
        " ON CONFLICT (singleton) DO UPDATE SET checked_at = EXCLUDED.checked_at,"
        " complete_from = EXCLUDED.complete_from, complete_until = EXCLUDED.complete_until,"
        " listed = EXCLUDED.listed, missing = known.missing + EXCLUDED.missing,"
        " filled = known.filled + EXCLUDED.filled, error = EXCLUDED.error,"
        " newest_at_stripe = coalesce(EXCLUDED.newest_at_stripe, known.newest_at_stripe)",
        {
            "now": now,
            "from": complete_from,
            "until": until,
            "listed": found.listed,
            "missing": missing,
            "filled": len(found.filled),
            "newest": found.newest_at_stripe,
            "error": f"{len(found.unfilled)} events could not be read" if found.unfilled else None,
        },
    )


def status(connection: Connection) -> dict[str, Any] | None:
    """Return how complete the log is, as `/v1/status` tells it; None if it was never compared.

    `lag_seconds` is how far the newest event here is behind the newest at Stripe.
    """
    known = _last(connection)
    if known is None:
        return None
    newest_here = connection.execute(
        "SELECT max(occurred_at) FROM (SELECT occurred_at FROM events"
        " WHERE stripe_event_id IS NOT NULL ORDER BY position DESC LIMIT 1000) AS newest"
    ).fetchone()
    here = newest_here[0] if newest_here else None
    at_stripe = known["newest_at_stripe"]
    lag = (at_stripe - here).total_seconds() if at_stripe and here else None
    return {
        "checked_at": int(known["checked_at"].timestamp()),
        "complete_from": int(known["complete_from"].timestamp()),
        "complete_until": int(known["complete_until"].timestamp()),
        "listed": known["listed"],
        "missing": known["missing"],
        "filled": known["filled"],
        "newest_at_stripe": int(at_stripe.timestamp()) if at_stripe else None,
        "lag_seconds": max(0.0, lag) if lag is not None else None,
        "error": known["error"],
    }


def api_of(ledger: Ledger) -> StripeApi:
    """Return this ledger's way to Stripe; raise SettingsInvalid if it has no key."""
    key = ledger.settings.api_key
    if key is None:
        raise SettingsInvalid(
            "No key for Stripe's API is set, so nothing can be compared with its list. Set"
            " STRIPE_API_KEY to a restricted key that may read events."
        )
    return StripeApi(key, ledger.settings.api_base)


def keep_complete(ledger: Ledger) -> None:
    """Compare, if there is a key: the periodic job."""
    if ledger.settings.api_key is not None:
        compare(ledger, api_of(ledger))
