"""Balance transactions: what each movement of money cost, which webhooks name by id alone.

Stripe is asked for one span of time after the other, from the first event of the ledger on; what a
span held is recorded together with where it ended, so that nothing is asked twice or left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import psycopg

from ledger.aggregates import Account
from ledger.aggregates.base import BALANCE_STREAM
from ledger.errors import VersionConflict
from ledger.log import Log, NewEvent
from ledger.stripe_api import StripeApi
from ledger.stripe_objects.fields import Node, nested, reference, text, whole

if TYPE_CHECKING:
    from ledger.application import Ledger

SPAN_SECONDS = 7 * 86_400
SPANS_MAX = 60  # of one round; the next goes on
SETTLED_SECONDS = 600  # what is younger may still come into Stripe's list
PER_EVENT = 100

_FIRST = "SELECT extract(epoch FROM min(occurred_at))::bigint FROM events"
_LAST = """
SELECT (data ->> 'until')::bigint, version FROM events WHERE stream = %s
ORDER BY version DESC LIMIT 1
"""
_encode = msgspec.json.Encoder().encode


def observe_balance(ledger: Ledger, api: StripeApi) -> int:
    """Record the balance transactions since the last ones; return how many.

    Raises StripeUnavailable, StripeRefused.
    """
    now = int(ledger.clock.now().timestamp()) - SETTLED_SECONDS
    with ledger.pool.connection() as connection:
        since, version = _begin(connection)
    if since is None:
        return 0
    found, noted = 0, since
    try:
        for _ in range(SPANS_MAX):
            if since >= now:
                break
            until = min(since + SPAN_SECONDS, now)
            moved = [_kept(one) for page in api.balance_transactions(since, until) for one in page]
            if moved:
                version = _record(ledger, moved, until, version)
                noted = until
            found += len(moved)
            since = until
        if since - noted >= SPAN_SECONDS:
            _record(ledger, [], since, version)  # nothing for long: that is not asked again
    except VersionConflict:
        return 0  # somebody else is at it
    if found:
        ledger.announce()
    return found


def _begin(connection: psycopg.Connection[tuple[Any, ...]]) -> tuple[int | None, int]:
    """Return from when on (unix seconds) is to be asked, and the stream's last version."""
    row = connection.execute(_LAST, [BALANCE_STREAM]).fetchone()
    if row is not None:
        return row[0], row[1]
    first = connection.execute(_FIRST).fetchone()
    return (first[0] if first else None), 0


def _kept(transaction: Node) -> dict[str, Any]:
    """Return what is kept of a balance transaction: numbers, kinds and ids."""
    kept = {
        "id": text(transaction, "id"),
        "amount": whole(transaction, "amount"),
        "fee": whole(transaction, "fee"),
        "currency": text(transaction, "currency"),
        "type": text(transaction, "type"),
        "created": whole(transaction, "created"),
        "source": reference(transaction, "source"),
    }
    source = nested(transaction, "source")
    if transaction.get("exchange_rate") is not None and source:
        taken = whole(source, "amount_captured")  # of a charge; else all of it
        kept["source_amount"] = whole(source, "amount") if taken is None else taken
        kept["source_currency"] = text(source, "currency")
    return kept


def _record(ledger: Ledger, moved: list[dict[str, Any]], until: int, version: int) -> int:
    """Record what a span held, in one commit; return the stream's last version then.

    Raises VersionConflict if somebody else has recorded something meanwhile.
    """
    moved.sort(key=lambda one: (one["created"] or 0, one["id"] or ""))
    parts = [moved[i : i + PER_EVENT] for i in range(0, len(moved), PER_EVENT)] or [[]]
    events = [
        NewEvent(
            BALANCE_STREAM,
            Account.BalanceObserved.TOPIC,
            ledger.clock.now(),
            _encode(
                {
                    "type": "balance.observed",
                    "until": until,
                    "data": {"object": {"object": "observed_balance", "data": part}},
                }
            ),
            version=version + number,
        )
        for number, part in enumerate(parts, 1)
    ]
    with ledger.pool.connection() as connection:
        Log(connection).append(events)
    return version + len(parts)
