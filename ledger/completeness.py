"""Whether the log has everything that Stripe's own list of events has; what is missing is fetched.

Webhooks may never arrive: an endpoint was disabled, an outage lasted longer than Stripe's retries.
The list goes back thirty days. Each comparison starts a little before the last one's end, so that
an outage is covered whenever it ends; what is not there is recorded like a delivery, and
`Account.GapFilled` says that it did not come by itself.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
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


# Not listed for this account: what is thin, of the other mode or of a connected account.
_HELD = """
SELECT DISTINCT occurred_at FROM events
WHERE stripe_event_id IS NOT NULL AND occurred_at >= %s AND NOT data ? 'account'
    AND NOT coalesce(data -> '_ledger' ?| ARRAY['set_aside', 'noted'], false)
ORDER BY occurred_at
"""


class AccountMismatch(LedgerError):
    """The key for Stripe's API is of another account than the log."""


@dataclass
class Comparison:
    """What a comparison with Stripe's list found; instants are Stripe's `created`.

    `missing` had not arrived. Of these `filled` are in the log now and `aside` recorded without
    being in any view (of the other mode); `unfilled` could not be read, now or earlier.
    """

    since: datetime
    until: datetime
    listed: int = 0
    in_flight: int = 0
    missing: int = 0
    filled: list[str] = field(default_factory=list)
    aside: list[str] = field(default_factory=list)
    unfilled: list[str] = field(default_factory=list)
    newest_at_stripe: datetime | None = None


def compare(
    ledger: Ledger,
    api: StripeApi,
    *,
    since: datetime | None = None,
    progress: Progress = lambda *_: None,
) -> Comparison:
    """Compare the log with Stripe's list from where the last ended, or from before that: `since`.

    Fills what is missing and notes how far the log is complete. Raises what the API raises and
    AccountMismatch, noted as well; what was filled until then is filled.
    """
    now = ledger.clock.now()
    with ledger.pool.connection() as connection:
        before = _last(connection)
        complete_until = before["complete_until"] if before else None
        start = complete_until - OVERLAP if complete_until else since or now - KEPT_BY_STRIPE
        start = min(start, since or start)  # never leaving out what was not compared yet
        found = Comparison(max(start, now - KEPT_BY_STRIPE), now)
        try:
            require_own_account(ledger, api)
            _compare(ledger, connection, api, found, progress)
            if not found.listed:
                _require_nothing_between(_held(connection, found.since), found.since, now - OVERLAP)
        except LedgerError as error:
            connection.execute(
                "INSERT INTO completeness AS known (missing, filled, error) VALUES (%s, %s, %s)"
                " ON CONFLICT (singleton) DO UPDATE SET error = EXCLUDED.error,"
                " missing = known.missing + EXCLUDED.missing,"
                " filled = known.filled + EXCLUDED.filled",
                [found.missing, len(found.filled), str(error)],
            )
            raise
        finally:
            if found.filled:
                note_filled(ledger, connection, found.since, now, sorted(found.filled))
        _note(connection, before, found)
    return found


def _compare(
    ledger: Ledger,
    connection: Connection,
    api: StripeApi,
    found: Comparison,
    progress: Progress,
) -> None:
    """Compare page by page, newest first, and add to what was found."""
    since, now = found.since, found.until
    log = Log(connection)
    held: list[datetime] | None = None
    for page in api.events(int(since.timestamp()), int(now.timestamp())):
        if not page:
            continue
        newest, oldest = utc(page[0]["created"]), utc(page[-1]["created"])
        found.listed += len(page)
        found.newest_at_stripe = found.newest_at_stripe or newest
        by_id = {event["id"]: event for event in page}
        missing = by_id.keys() - log.known(by_id)
        if len(missing) == len(by_id) and oldest < newest:
            held = _held(connection, since) if held is None else held  # read once: it takes long
            _require_nothing_between(held, oldest, newest)
        for id_, event in by_id.items():
            if id_ not in missing:
                continue
            if utc(event["created"]) > now - IN_FLIGHT:
                found.in_flight += 1
                continue
            outcome = ledger.intake.receive(_encode(event), obtained="listed").outcome
            if outcome == "recorded":
                found.filled.append(id_)
            elif outcome == "set_aside":
                found.aside.append(id_)
            elif not log.known([id_]):
                found.unfilled.append(id_)
            # A webhook that came in between is no gap, what was unreadable before no new one.
            found.missing += outcome in ("recorded", "set_aside", "unreadable")
        progress("comparing", (now - oldest).total_seconds(), (now - since).total_seconds())


def require_own_account(ledger: Ledger, api: StripeApi) -> None:
    """Raise AccountMismatch if the key is of another account than the ledger's."""
    own = ledger.settings.stripe_account
    if own and (account := api.account()) not in (None, own):
        raise AccountMismatch(
            f"STRIPE_API_KEY is of the account {account}, STRIPE_ACCOUNT is {own}: nothing was"
            " compared. Set the key of that account."
        )


def _held(connection: Connection, since: datetime) -> list[datetime]:
    """Return when what the log has of this account since then happened, in order."""
    return [row[0] for row in connection.execute(_HELD, [since]).fetchall()]


def _require_nothing_between(held: Sequence[datetime], oldest: datetime, newest: datetime) -> None:
    """Raise AccountMismatch if a page of which nothing is known has passed over what is known.

    Between its first and its last event a page lists all there are of the account.
    """
    if bisect_right(held, oldest) < bisect_left(held, newest):
        raise AccountMismatch(
            f"Of what STRIPE_API_KEY lists from {oldest:%F %T} to {newest:%F %T} UTC the log has"
            " nothing, and it has other events of that time: the key is of another account. They"
            " were not recorded; set the key of the account whose webhooks come here."
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


def _note(connection: Connection, before: dict[str, Any] | None, found: Comparison) -> None:
    """Note how far the log is complete: on from the last comparison, if this one meets it."""
    until = found.until - IN_FLIGHT
    if before and before["complete_until"] and found.since <= before["complete_until"]:
        complete_from = min(before["complete_from"], found.since)
        until = max(until, before["complete_until"])
    else:
        complete_from = found.since
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
            "now": found.until,
            "from": complete_from,
            "until": until,
            "listed": found.listed,
            "missing": found.missing,
            "filled": len(found.filled),
            "newest": found.newest_at_stripe,
            "error": f"{len(found.unfilled)} events could not be read" if found.unfilled else None,
        },
    )


def status(connection: Connection) -> dict[str, Any] | None:
    """Return how complete the log is, as `/v1/status` tells it; None if it was never compared.

    Instants are null, and `error` says why, until a comparison has succeeded. `lag_seconds` is how
    far the newest event here is behind the newest at Stripe.
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
        "checked_at": _seconds(known["checked_at"]),
        "complete_from": _seconds(known["complete_from"]),
        "complete_until": _seconds(known["complete_until"]),
        "listed": known["listed"],
        "missing": known["missing"],
        "filled": known["filled"],
        "newest_at_stripe": _seconds(at_stripe),
        "lag_seconds": max(0.0, lag) if lag is not None else None,
        "error": known["error"],
    }


def _seconds(instant: datetime | None) -> int | None:
    return int(instant.timestamp()) if instant else None


def api_of(ledger: Ledger) -> StripeApi:
    """Return this ledger's way to Stripe; raise SettingsInvalid if it has no key."""
    key = ledger.settings.api_key
    if key is None:
        raise SettingsInvalid(
            "No key for Stripe's API is set, so nothing can be fetched from it. Set"
            " STRIPE_API_KEY to a restricted key that may read events,"
            " coupons, prices, invoices and balance transactions."
        )
    return StripeApi(key, ledger.settings.api_base)


def keep_complete(ledger: Ledger) -> None:
    """Compare, if there is a key: the periodic job."""
    if ledger.settings.api_key is not None:
        compare(ledger, api_of(ledger))
