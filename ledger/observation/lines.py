"""Lines of invoices past the tenth: an invoice tells ten, all of them are a list of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from ledger.aggregates import Account
from ledger.aggregates.base import LINES_STREAM
from ledger.log import Log, NewEvent
from ledger.privacy.classify import classify
from ledger.stripe_api import StripeApi, StripeLacks

if TYPE_CHECKING:
    from ledger.application import Ledger

WANTED_MAX = 200  # invoices of one round; the next goes on
_LINES = "lines of "
_encode = msgspec.json.Encoder().encode

# What was asked for is not asked again, nor what Stripe has no more.
_WANTED = """
SELECT n.document, n.customer_id FROM journal_notes AS n
WHERE n.content ->> 'all_lines' = 'false'
    AND NOT EXISTS (
        SELECT FROM events AS e
        WHERE e.data ->> 'delivery_key' = %s || n.document AND e.stripe_event_id IS NULL
    )
ORDER BY n.document LIMIT %s
"""


def observe_lines(ledger: Ledger, api: StripeApi) -> int:
    """Record all lines of invoices that told only the first of them; return of how many.

    Raises StripeUnavailable, StripeRefused.
    """
    with ledger.pool.connection() as connection:
        wanted = connection.execute(_WANTED, [_LINES, WANTED_MAX]).fetchall()
    for invoice, customer in wanted:
        key = _LINES + invoice
        try:
            lines = [line for page in api.invoice_lines(invoice) for line in page]
        except StripeLacks:
            lines = []
        told = {"id": invoice, "object": "observed_lines", "lines": {"data": lines}}
        body = {"data": {"object": told}}
        classify(body)  # what is personal is of no use here, and is left out
        event = NewEvent(
            LINES_STREAM,
            Account.InvoiceLinesObserved.TOPIC,
            ledger.clock.now(),
            _encode({"type": "invoice_lines.observed", "delivery_key": key, **body}),
            customer_id=customer,
            delivery_key=key,
        )
        with ledger.pool.connection() as connection:
            Log(connection).append([event])
    if wanted:
        ledger.announce()
    return len(wanted)
