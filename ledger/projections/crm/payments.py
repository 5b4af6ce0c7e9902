"""Payments: a payment intent with its charges is one amount of money, however often told of."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
import psycopg

from ledger.clock import utc
from ledger.stripe_objects.views import Payment

FAILURES = ("payment_intent.payment_failed", "charge.failed")

# Which payments the touched objects may have changed: themselves, those they name, and those
# whose order reference may mean a touched invoice. A charge counts as its payment intent's.
_TOUCHED = """
WITH near (id) AS (
    SELECT unnest(%(ids)s::text[])
    UNION
    SELECT to_id FROM links WHERE from_id = ANY (%(ids)s)
        AND relation IN ('payment_intent', 'charge', 'latest_charge')
    UNION
    SELECT p.id FROM payments AS p
    JOIN unnest(%(ids)s::text[]) AS touched (id) ON touched.id LIKE 'in\\_%%'
        AND left(p.order_reference, 25) = left(touched.id, 25)
)
SELECT DISTINCT coalesce(intent.to_id, near.id), near.id
FROM near
LEFT JOIN links AS intent ON intent.from_id = near.id AND intent.relation = 'payment_intent'
    AND near.id !~ '^(in|inpay|re|pyr|dp|du|cn|cs)_'
WHERE near.id ~ '^(pi|ch|py)_' OR intent.to_id IS NOT NULL
"""

_BETWEEN = """
SELECT object_id FROM objects
WHERE object_id > %(low)s AND object_id <= %(high)s AND kind IN ('payment_intent', 'charge')
    AND object_id ~ '^(pi|ch|py)_' AND NOT EXISTS (
        SELECT FROM links WHERE from_id = object_id AND relation = 'payment_intent'
    )
UNION
SELECT to_id FROM links
WHERE to_id > %(low)s AND to_id <= %(high)s AND relation = 'payment_intent'
    AND from_id ~ '^(ch|py)_'
"""

_VERSIONS = """
SELECT k.id, f.object_id, f.kind, f.customer_id, f.occurred_at, f.type, f.canonical::text,
    f.doubtful, f.position = o.position
FROM (
    SELECT id, id AS member FROM unnest(%(keys)s::text[]) AS id
    UNION
    SELECT l.to_id, l.from_id FROM links AS l
    WHERE l.to_id = ANY (%(keys)s) AND l.relation = 'payment_intent' AND l.from_id ~ '^(ch|py)_'
) AS k
JOIN objects AS o ON o.object_id = k.member
JOIN facts AS f ON f.object_id = k.member AND f.canonical IS NOT NULL
    AND (f.position = o.position OR f.type IN ('payment_intent.payment_failed', 'charge.failed'))
WHERE f.kind IN ('payment_intent', 'charge')
ORDER BY f.occurred_at, f.kind DESC, f.stripe_event_id
"""

# An invoice names its payment (before basil), or an invoice payment names both (since).
_INVOICES = """
SELECT l.to_id, coalesce(named.to_id, l.from_id)
FROM links AS l
LEFT JOIN links AS named ON named.from_id = l.from_id AND named.relation = 'invoice'
WHERE l.to_id = ANY (%(members)s) AND l.relation IN ('payment_intent', 'charge')
    AND (l.from_id LIKE 'in\\_%%' OR (l.from_id LIKE 'inpay\\_%%' AND named.to_id IS NOT NULL))
ORDER BY 2
"""

# The one invoice of the customer that an order reference means, and that is of this amount.
_BY_REFERENCE = """
SELECT p.id, min(i.id)
FROM unnest(
    %(ids)s::text[], %(customers)s::text[], %(references)s::text[], %(amounts)s::numeric[]
) AS p (id, customer_id, reference, amount)
JOIN invoices AS i ON i.customer_id = p.customer_id AND left(i.id, 25) = left(p.reference, 25)
    AND p.amount IN (
        (i.canonical ->> 'amount_due')::numeric, (i.canonical ->> 'total')::numeric
    )
GROUP BY p.id HAVING count(*) = 1
"""

# What became of the money afterwards; a charge that says so itself may never be told of again.
_AFTERWARDS = """
SELECT DISTINCT l.to_id, o.kind, o.id, o.status, (o.canonical ->> 'amount')::numeric
FROM links AS l
JOIN current_objects AS o ON o.id = l.from_id AND o.kind IN ('refund', 'dispute')
WHERE l.to_id = ANY (%(members)s) AND l.relation IN ('payment_intent', 'charge')
"""
REFUND_CAME_TO_NOTHING = frozenset({"failed", "canceled"})


class PaymentRow(msgspec.Struct):
    """A row of `payments`; amounts in minor units, instants UTC."""

    id: str
    customer_id: str | None
    invoice_id: str | None
    invoice_join: str
    status: str
    currency: str | None
    amount_minor: int | None
    amount_received_minor: int | None
    amount_refunded_minor: int | None
    disputed: bool
    attempt: int | None
    failed_at: datetime | None
    failure_code: str | None
    decline_code: str | None
    advice_code: str | None
    network_decline_code: str | None
    method_type: str | None
    brand: str | None
    last4: str | None
    order_reference: str | None
    created: datetime
    provisional: list[str]


@dataclass(frozen=True, slots=True)
class _Afterwards:
    """A refund or a dispute of a payment."""

    kind: str
    object_id: str
    status: str | None
    amount_minor: int


@dataclass(frozen=True, slots=True)
class _Version:
    object_id: str
    kind: str
    customer_id: str | None
    occurred_at: datetime
    type: str
    payment: Payment
    doubtful: list[str]
    is_current: bool


def derive_payments(
    connection: psycopg.Connection[tuple[Any, ...]], touched: Sequence[str]
) -> None:
    """Make again every payment that the touched objects may have changed, owners being known."""
    near = connection.execute(_TOUCHED, {"ids": list(touched)}).fetchall()
    if not near:
        return
    keys = sorted({key for key, _ in near})
    stale = sorted({*keys, *(id_ for _, id_ in near)})
    connection.execute("DELETE FROM payments WHERE id = ANY(%s)", [stale])
    make_payments(connection, keys)


def payments_between(
    connection: psycopg.Connection[tuple[Any, ...]], low: str, high: str
) -> list[str]:
    """Return the ids of all payments there are, low < id ≤ high."""
    found = connection.execute(_BETWEEN, {"low": low, "high": high}).fetchall()
    return [row[0] for row in found]


def make_payments(connection: psycopg.Connection[tuple[Any, ...]], keys: Sequence[str]) -> None:
    """Write the rows of these payments, which must not be there."""
    by_key: dict[str, list[_Version]] = defaultdict(list)
    for row in connection.execute(_VERSIONS, {"keys": list(keys)}).fetchall():
        key, object_id, kind, customer, occurred_at, type_, canonical, doubtful, is_current = row
        payment = msgspec.json.decode(canonical, type=Payment)
        by_key[key].append(
            _Version(object_id, kind, customer, occurred_at, type_, payment, doubtful, is_current)
        )
    members = {version.object_id for versions in by_key.values() for version in versions}
    members |= set(keys)
    invoices: dict[str, str] = {}
    for member, invoice in connection.execute(_INVOICES, {"members": sorted(members)}).fetchall():
        invoices.setdefault(member, invoice)
    afterwards: dict[str, set[_Afterwards]] = defaultdict(set)
    for member, kind, object_id, status, amount in connection.execute(
        _AFTERWARDS, {"members": sorted(members)}
    ).fetchall():
        afterwards[member].add(_Afterwards(kind, object_id, status, int(amount or 0)))
    traced = dict(
        connection.execute(
            "SELECT object_id, customer_id FROM owners WHERE object_id = ANY(%s)", [list(by_key)]
        ).fetchall()
    )
    rows = [
        _row(key, versions, invoices, afterwards, traced.get(key))
        for key, versions in by_key.items()
    ]
    _find_by_reference(connection, rows)
    names = ", ".join(PaymentRow.__struct_fields__)
    with connection.cursor() as cursor, cursor.copy(f"COPY payments ({names}) FROM STDIN") as copy:
        for made in rows:
            copy.write_row(msgspec.structs.astuple(made))


def _row(
    key: str,
    versions: list[_Version],
    invoices: dict[str, str],
    afterwards: dict[str, set[_Afterwards]],
    traced_to: str | None,
) -> PaymentRow:
    current = [version for version in versions if version.is_current]
    charges = [version.payment for version in current if version.kind == "charge"]
    intent = next((v.payment for v in current if v.kind == "payment_intent"), None)
    last = charges[-1] if charges else None
    main = intent or last or versions[-1].payment
    failed = [version for version in versions if version.type in FAILURES]
    failure = _failure(failed)
    received = intent.amount_received if intent else None
    if received is None and charges:
        received = sum(charge.amount_received or 0 for charge in charges)
    customer = next((v.customer_id for v in versions if v.customer_id), None)
    ids = {key, *(version.object_id for version in versions)}
    invoice = _invoice(ids, versions, invoices)
    shown = next((one for one in (*reversed(charges), intent) if one and one.last4), main)
    created = [version.payment.created for version in versions if version.payment.created]
    later = {one for id_ in ids for one in afterwards[id_]}
    return PaymentRow(
        id=key,
        customer_id=customer or traced_to,
        invoice_id=invoice,
        invoice_join="link" if invoice else "unknown",
        status=main.status or "unknown",
        currency=main.currency,
        amount_minor=main.amount,
        amount_received_minor=received,
        amount_refunded_minor=_refunded(charges, later),
        disputed=any(charge.disputed for charge in charges)
        or any(one.kind == "dispute" for one in later),
        attempt=_attempts(charges, intent, failed),
        failed_at=failed[-1].occurred_at if failed else None,
        failure_code=failure.failure_code if failure else None,
        decline_code=failure.decline_code if failure else None,
        advice_code=failure.advice_code if failure else None,
        network_decline_code=failure.network_decline_code if failure else None,
        method_type=shown.method_type,
        brand=shown.brand,
        last4=shown.last4,
        order_reference=intent.order_reference if intent else None,
        created=utc(min(created)) if created else min(version.occurred_at for version in versions),
        provisional=sorted({leaf for version in current for leaf in version.doubtful}),
    )


def _refunded(charges: list[Payment], later: set[_Afterwards]) -> int | None:
    """Return what went back: as the charges say, or as the refunds say that came after them."""
    refunds = [one for one in later if one.kind == "refund"]
    if not charges and not refunds:
        return None
    of_charges = sum(map(_given_back, charges))
    of_refunds = sum(
        one.amount_minor for one in refunds if one.status not in REFUND_CAME_TO_NOTHING
    )
    # If all that the charges count is known refund by refund, the refunds know better: one may
    # have failed since. Otherwise some were never told of, and whoever counts more is right.
    if sum(one.amount_minor for one in refunds) >= of_charges:
        return of_refunds
    return max(of_charges, of_refunds)


def _given_back(charge: Payment) -> int:
    """Return what of a charge was taken and given back, as it says itself.

    What was authorized and never captured counts as refunded at Stripe, when it is let go.
    """
    if charge.amount_received is None or charge.amount is None:
        return charge.amount_refunded or 0
    let_go = charge.amount - charge.amount_received
    return max(0, (charge.amount_refunded or 0) - let_go)


def _attempts(charges: list[Payment], intent: Payment | None, failed: list[_Version]) -> int | None:
    """Return how often it was tried: each try makes a charge, each failure an event."""
    of_intent = sum(version.type == "payment_intent.payment_failed" for version in failed)
    of_intent += intent is not None and intent.status == "succeeded"
    return max(len(charges), of_intent) or (1 if failed else None)


def _failure(failed: list[_Version]) -> Payment | None:
    """Return the last failure; a charge tells more of it than the intent of the same second."""
    if not failed:
        return None
    at = failed[-1].occurred_at
    last = [version for version in failed if version.occurred_at == at]
    return min(last, key=lambda version: version.kind).payment


def _invoice(ids: set[str], versions: list[_Version], invoices: dict[str, str]) -> str | None:
    """Return the invoice that a payment names, or that names it."""
    named = {version.payment.invoice for version in versions if version.payment.invoice}
    named |= {invoices[member] for member in ids if member in invoices}
    return min(named, default=None)


def _find_by_reference(
    connection: psycopg.Connection[tuple[Any, ...]], rows: Sequence[PaymentRow]
) -> None:
    """Give payments that no link ties to an invoice the one that their order reference means."""
    open_ = {row.id: row for row in rows if row.invoice_id is None and row.order_reference}
    if not open_:
        return
    found = connection.execute(
        _BY_REFERENCE,
        {
            "ids": list(open_),
            "customers": [row.customer_id for row in open_.values()],
            "references": [row.order_reference for row in open_.values()],
            "amounts": [row.amount_minor for row in open_.values()],
        },
    ).fetchall()
    for key, invoice in found:
        open_[key].invoice_id, open_[key].invoice_join = invoice, "order_reference"
