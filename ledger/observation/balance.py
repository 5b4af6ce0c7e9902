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
SELECT data -> 'until' FROM events WHERE stream = %s ORDER BY version DESC LIMIT 1
"""
_encode = msgspec.json.Encoder().encode


def observe_balance(ledger: Ledger, api: StripeApi) -> int:
    """Record the balance transactions since the last ones; return how many.

    Raises StripeUnavailable, StripeRefused.
    """
    now = int(ledger.clock.now().timestamp()) - SETTLED_SECONDS
    with ledger.pool.connection() as connection:
        since = _begin(connection)
    found, noted = 0, since
    for _ in range(SPANS_MAX):
        if since is None or noted is None or since >= now:
            break
        until = min(since + SPAN_SECONDS, now)
        moved = [_kept(one) for page in api.balance_transactions(since, until) for one in page]
        if moved:
            _record(ledger, moved, since, until)
            noted = until
        found += len(moved)
        since = until
    if since is not None and noted is not None and since - noted >= SPAN_SECONDS:
        _record(ledger, [], noted, since)  # nothing for long: that need not be asked again
    if found:
        ledger.announce()
    return found


def _begin(connection: psycopg.Connection[tuple[Any, ...]]) -> int | None:
    row = connection.execute(_LAST, [BALANCE_STREAM]).fetchone()
    if row is None:
        row = connection.execute(_FIRST).fetchone()
    return None if row is None or row[0] is None else int(row[0])


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
        kept["source_amount"] = whole(source, "amount")
        kept["source_currency"] = text(source, "currency")
    return kept


def _record(ledger: Ledger, moved: list[dict[str, Any]], since: int, until: int) -> None:
    """Record what a span held, in one commit; only the last event says that it is done."""
    moved.sort(key=lambda one: (one["created"] or 0, one["id"] or ""))
    parts = [moved[i : i + PER_EVENT] for i in range(0, len(moved), PER_EVENT)] or [[]]
    events = []
    for number, part in enumerate(parts, 1):
        key = f"balance {since} to {until}, {number}"
        data = {
            "type": "balance.observed",
            "delivery_key": key,
            "until": until if number == len(parts) else since,
            "data": {"object": {"object": "observed_balance", "data": part}},
        }
        events.append(
            NewEvent(
                BALANCE_STREAM,
                Account.BalanceObserved.TOPIC,
                ledger.clock.now(),
                _encode(data),
                delivery_key=key,
            )
        )
    with ledger.pool.connection() as connection:
        Log(connection).append(events)
