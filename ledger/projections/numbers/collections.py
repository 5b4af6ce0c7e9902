"""How invoices were collected: tried when, failed when, paid after all, and by what.

A row per invoice of which Stripe tried to collect something, as known now, made anew whenever
something is told of the invoice or of its payments.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ledger.log import RecordedEvent
from ledger.projections.projection import Connection
from ledger.stripe_objects.fields import nested, reference, text
from ledger.stripe_objects.references import kind_of

# `recovered_by`: outside (not through Stripe), card_updated (by another card than those that
# failed), retry (nobody asked for it: Stripe's own schedule), request (somebody did: the customer
# on a page, or a program), unknown (the event that tells was not heard). What is credited in full
# was not collected: it is closed. So is what Stripe will not try again, until it is paid after all.
_MAKE = """
INSERT INTO collections (
    invoice_id, customer_id, subscription_id, currency, amount_minor, billing_reason,
    attempted_at, failed_at, failures, decline_code, paid_at, recovered_by, closed_at, payment_id
)
SELECT object_id, customer_id, canonical ->> 'subscription', canonical ->> 'currency',
    coalesce(failed_minor, (canonical ->> 'amount_due')::numeric, 0),
    canonical ->> 'billing_reason', least(failed_at, paid_at), failed_at, failures, decline_code,
    paid_at,
    CASE WHEN failed_at IS NULL OR paid_at IS NULL THEN NULL
        WHEN is_outside THEN 'outside'
        WHEN cards_differ THEN 'card_updated'
        WHEN body IS NULL THEN 'unknown'
        WHEN body #>> '{{request,id}}' IS NULL AND jsonb_typeof(body -> 'request')
            IS DISTINCT FROM 'string' THEN 'retry'
        ELSE 'request'
    END,
    CASE WHEN paid_at IS NULL THEN coalesce(given_up_at, settled_at, left_at) END, payment_id
FROM (
    SELECT i.*, paying.id AS payment_id, paying.decline_code, cards.differ AS cards_differ,
        CASE WHEN (i.canonical ->> 'amount_paid')::numeric > 0 THEN i.settled_at END AS paid_at,
        coalesce(
            (i.body #>> '{{data,object,paid_out_of_band}}')::boolean
            OR (i.body #>> '{{data,object,amount_paid_off_stripe}}')::numeric > 0
            OR paying.status <> 'succeeded',
            false
        ) AS is_outside
    FROM (
        SELECT o.object_id, o.customer_id, now.canonical, told.failed_at, told.failures,
            told.failed_minor,
            CASE WHEN now.canonical ->> 'status' = 'paid' THEN coalesce(
                to_timestamp((now.canonical ->> 'paid_at')::bigint), told.paid_at
            ) END AS settled_at,
            to_timestamp(least(
                (now.canonical ->> 'voided_at')::bigint,
                (now.canonical ->> 'marked_uncollectible_at')::bigint
            )) AS given_up_at,
            CASE WHEN now.canonical ->> 'status' = 'open'
                AND now.canonical ->> 'collection_method' = 'charge_automatically'
                AND now.canonical ->> 'next_payment_attempt' IS NULL THEN now.occurred_at
            END AS left_at,
            (SELECT e.data FROM events AS e WHERE e.position = told.paid_position) AS body
        FROM objects AS o JOIN facts AS now ON now.position = o.position
        CROSS JOIN LATERAL (
            SELECT min(f.occurred_at) FILTER (WHERE f.type = 'invoice.payment_failed')
                    AS failed_at,
                count(*) FILTER (WHERE f.type = 'invoice.payment_failed') AS failures,
                max((f.canonical ->> 'amount_due')::numeric)
                    FILTER (WHERE f.type = 'invoice.payment_failed') AS failed_minor,
                min(f.occurred_at) FILTER (WHERE f.type = 'invoice.paid') AS paid_at,
                min(f.position) FILTER (WHERE f.type = 'invoice.paid') AS paid_position
            FROM facts AS f WHERE f.object_id = o.object_id
        ) AS told
        WHERE o.kind = 'invoice' AND {which} AND now.canonical ->> 'currency' IS NOT NULL
    ) AS i
    LEFT JOIN LATERAL (
        SELECT p.id, p.decline_code, p.last4, p.status FROM payments AS p
        WHERE p.invoice_id = i.object_id ORDER BY p.status = 'succeeded' DESC, p.id LIMIT 1
    ) AS paying ON true
    LEFT JOIN LATERAL (
        SELECT bool_and(f.canonical ->> 'last4' <> paying.last4) AS differ
        FROM links AS l JOIN facts AS f ON f.object_id = l.from_id AND f.type = 'charge.failed'
        WHERE l.to_id = paying.id AND l.relation = 'payment_intent'
    ) AS cards ON i.failed_at IS NOT NULL
) AS collected
WHERE failed_at IS NOT NULL OR (paid_at IS NOT NULL AND NOT is_outside)
"""
_OF_PAYMENTS = """
SELECT invoice_id FROM payments WHERE id = ANY (%(ids)s) AND invoice_id IS NOT NULL
UNION SELECT invoice_id FROM collections WHERE payment_id = ANY (%(ids)s)
"""


def touched_invoices(connection: Connection, events: Iterable[RecordedEvent]) -> list[str]:
    """Return the invoices whose collection these events may tell of."""
    invoices: set[str] = set()
    payments: set[str] = set()
    for event in events:
        obj: dict[str, Any] = nested(event.data, "data", "object")
        kind = kind_of(obj)
        if kind == "invoice" and event.object_id:
            invoices.add(event.object_id)
        elif kind == "invoice_payment" and (named := reference(obj, "invoice")):
            invoices.add(named)
        elif kind in ("charge", "payment_intent"):
            found = (text(obj, "id"), reference(obj, "payment_intent"))
            payments.update(filter(None, found))
    if payments:
        rows = connection.execute(_OF_PAYMENTS, {"ids": sorted(payments)}).fetchall()
        invoices.update(row[0] for row in rows)
    return sorted(invoices)


def make_collections(connection: Connection, invoices: Sequence[str]) -> None:
    """Make the rows of these invoices anew."""
    connection.execute("DELETE FROM collections WHERE invoice_id = ANY (%s)", [list(invoices)])
    query = _MAKE.format(which="o.object_id = ANY (%(ids)s)")
    connection.execute(query.encode(), {"ids": list(invoices)})


def make_between(connection: Connection, low: str, high: str) -> None:
    """Make the rows of all invoices, low < id ≤ high, of which there are none."""
    query = _MAKE.format(which="o.object_id > %(low)s AND o.object_id <= %(high)s")
    connection.execute(query.encode(), {"low": low, "high": high})
