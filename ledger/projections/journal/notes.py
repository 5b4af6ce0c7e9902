"""What single events tell of documents: each telling once, where it is told first.

Stripe never changes what a finalized invoice asks, what a charge took or a refund gave: whichever
event tells it first tells it right, and every later one repeats it.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from hashlib import sha256

import msgspec

from ledger.aggregates.base import is_set_aside
from ledger.log import RecordedEvent
from ledger.stripe_objects import facts
from ledger.stripe_objects.fields import (
    Node,
    first,
    flag,
    instant,
    members,
    nested,
    reference,
    text,
    whole,
)
from ledger.stripe_objects.references import kind_of

NO_RATE = "unknown"


class _Note(msgspec.Struct, frozen=True, tag=True, tag_field="told", omit_defaults=True):
    """`at`: when it happened, unix seconds UTC. Amounts are minor units of `currency`."""

    at: int


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line of an invoice: what it asks without tax and discounts, for a period of service."""

    id: str
    net: int
    start: int
    end: int
    price: str | None = None
    product: str | None = None


class Sale(_Note, frozen=True, tag=True, tag_field="told"):
    """An invoice was finalized. `applied`: what it took from the customer's credit balance."""

    currency: str
    total: int
    applied: int
    lines: list[Line]
    taxes: dict[str, int]
    due_at: int
    all_lines: bool = True


class LinesTold(_Note, frozen=True, tag=True, tag_field="told"):
    """All lines of an invoice of which an event told only the first."""

    lines: list[Line]


class Paid(_Note, frozen=True, tag=True, tag_field="told"):
    """So much of an invoice is paid by now, of it `elsewhere` not through Stripe."""

    amount: int
    elsewhere: int = 0


class GivenUp(_Note, frozen=True, tag=True, tag_field="told"):
    """An invoice was marked uncollectible."""


class Voided(_Note, frozen=True, tag=True, tag_field="told"):
    """An invoice was voided."""


class Credited(_Note, frozen=True, tag=True, tag_field="told"):
    """A credit note was issued: less is owed (`before`), or paid money goes back.

    `lines`: amounts with tax by invoice line; what names none is the invoice's as a whole.
    `untold`: what is given back in a way that is not told.
    """

    note: str
    amount: int
    taxes: dict[str, int]
    lines: dict[str, int]
    before: int = 0
    refunded: int = 0
    credit: int = 0
    elsewhere: int = 0
    untold: int = 0


class NoteVoided(_Note, frozen=True, tag=True, tag_field="told"):
    """A credit note was voided."""

    note: str


class Captured(_Note, frozen=True, tag=True, tag_field="told"):
    """A charge took money. `exact`: told by the event that did it, so that its time is right."""

    currency: str
    amount: int
    exact: bool = False


class Returned(_Note, frozen=True, tag=True, tag_field="told"):
    """A charge counts so much as refunded."""

    currency: str
    amount: int


class Refunded(_Note, frozen=True, tag=True, tag_field="told"):
    """A refund gave money back."""

    refund: str
    currency: str
    amount: int


class RefundFailed(_Note, frozen=True, tag=True, tag_field="told"):
    """A refund came to nothing: the money is the account's again."""

    refund: str


class Disputed(_Note, frozen=True, tag=True, tag_field="told"):
    """A dispute moved money; what it moved is told with its fee, under a balance transaction."""

    transaction: str
    currency: str
    amount: int
    fee: int


class PaidOut(_Note, frozen=True, tag=True, tag_field="told"):
    """A payout left for the bank."""

    currency: str
    amount: int


class Arrived(_Note, frozen=True, tag=True, tag_field="told"):
    """A payout arrived."""


class SentBack(_Note, frozen=True, tag=True, tag_field="told"):
    """A payout came back or was canceled."""


class SoldAtOnce(_Note, frozen=True, tag=True, tag_field="told"):
    """A checkout without an invoice was paid."""

    currency: str
    amount: int
    tax: int = 0


class Credit(_Note, frozen=True, tag=True, tag_field="told"):
    """A customer's balance: negative is credit. `before`: what it had been, if that is told."""

    event: str
    currency: str
    balance: int
    before: int | None = None


class Moved(_Note, frozen=True, tag=True, tag_field="told"):
    """A balance transaction was observed: gross amount and what Stripe kept of it.

    If the money was converted, `source_amount` is in `source_currency`.
    """

    currency: str
    amount: int
    fee: int
    type: str
    source: str | None = None
    source_amount: int | None = None
    source_currency: str | None = None


_OfInvoice = Sale | LinesTold | Paid | GivenUp | Voided | Credited | NoteVoided
_OfPayment = Captured | Returned | Refunded | RefundFailed | Disputed | SoldAtOnce
Note = _OfInvoice | _OfPayment | PaidOut | Arrived | SentBack | Credit | Moved


class Told(msgspec.Struct, frozen=True):
    """A note about a document, as it is kept: once per content."""

    document: str
    position: int
    recorded_at: datetime
    customer: str | None
    content: bytes

    @property
    def digest(self) -> bytes:
        """What tells one content from another."""
        return sha256(self.content).digest()[:16]


_encode = msgspec.json.Encoder().encode


def told_by(event: RecordedEvent) -> Iterator[Told]:
    """Yield what an event tells of documents."""
    if is_set_aside(event.data):
        return
    obj = nested(event.data, "data", "object")
    reader = _READERS.get(kind_of(obj))
    if reader is None:
        return
    customer = event.customer_id or facts.customer_of(obj)
    for document, note in reader(obj, event):
        yield Told(document, event.position, event.recorded_at, customer, _encode(note))


def _moment(event: RecordedEvent) -> int:
    return int(event.occurred_at.timestamp())


def _type(event: RecordedEvent) -> str:
    return text(event.data, "type") or ""


def _invoice(invoice: Node, event: RecordedEvent) -> Iterator[tuple[str, Note]]:
    key, currency = text(invoice, "id"), text(invoice, "currency")
    moments = facts.invoice_transitions(invoice)
    status = facts.invoice_status(invoice)
    if key is None or currency is None or status in (None, "draft"):
        return
    finalized = first(
        instant(moments, "finalized_at"), instant(invoice, "created"), instant(invoice, "date")
    )
    if finalized is None or (total := whole(invoice, "total")) is None:
        return
    yield key, _sale(invoice, finalized, currency, total)
    paid = facts.amount_paid_minor(invoice) or 0
    if paid:
        elsewhere = paid if flag(invoice, "paid_out_of_band") else None
        at = instant(moments, "paid_at") if status == "paid" else None
        yield (
            key,
            Paid(
                at if at is not None else _moment(event),
                paid,
                first(elsewhere, whole(invoice, "amount_paid_off_stripe")) or 0,
            ),
        )
    for member, note in (("marked_uncollectible_at", GivenUp), ("voided_at", Voided)):
        if (at := instant(moments, member)) is not None:
            yield key, note(at)


def _sale(invoice: Node, at: int, currency: str, total: int) -> Sale:
    starting, ending = whole(invoice, "starting_balance"), whole(invoice, "ending_balance")
    taxes = _taxes(invoice)
    lines = [_line(line, at) for line in members(invoice, "lines")]
    all_lines = not flag(invoice, "lines", "has_more")
    if all_lines:
        lines = fitted(lines, total - sum(taxes.values()), at)
    return Sale(
        at,
        currency,
        total,
        0 if starting is None or ending is None else ending - starting,
        lines,
        taxes,
        instant(invoice, "due_date") or at,
        all_lines,
    )


def _line(line: Node, at: int) -> Line:
    discounts = sum(whole(part, "amount") or 0 for part in members(line, "discount_amounts"))
    contained = sum(
        whole(part, "amount") or 0
        for part in (*members(line, "taxes"), *members(line, "tax_amounts"))
        if flag(part, "inclusive") or text(part, "tax_behavior") == "inclusive"
    )
    start, end = instant(line, "period", "start"), instant(line, "period", "end")
    served = start is not None and end is not None and start < end
    return Line(
        text(line, "id") or "",
        (whole(line, "amount") or 0) - discounts - contained,
        start if served and start is not None else at,
        end if served and end is not None else at,
        facts.price_of(line),
        facts.product_of(line),
    )


def fitted(lines: list[Line], net: int, at: int) -> list[Line]:
    """Return lines that add up to what the invoice says they do, without tax.

    Versions that do not tell a line's share of a discount leave a difference; it is shared out.
    """
    rest = net - sum(line.net for line in lines)
    if not rest:
        return lines
    parts = split(rest, [max(line.net, 0) for line in lines])
    if not any(parts):
        return [*lines, Line("", rest, at, at)]
    return [
        msgspec.structs.replace(line, net=line.net + part)
        for line, part in zip(lines, parts, strict=True)
    ]


def split(amount: int, weights: list[int]) -> list[int]:
    """Return shares of an amount by weight, adding up to it; all 0 if there is no weight.

    What rounding down leaves goes to the largest remainders, the first ones first.
    """
    total = sum(weights)
    if not total:
        return [0] * len(weights)
    sign = -1 if amount < 0 else 1
    shares = [divmod(abs(amount) * weight, total) for weight in weights]
    left = abs(amount) - sum(share for share, _ in shares)
    order = sorted(range(len(weights)), key=lambda i: -shares[i][1])
    more = set(order[:left])
    return [sign * (share + (i in more)) for i, (share, _) in enumerate(shares)]


def _taxes(obj: Node) -> dict[str, int]:
    """Return tax by rate, contained in prices or added to them."""
    taxes: dict[str, int] = {}
    for name in ("total_taxes", "total_tax_amounts", "tax_amounts"):
        if isinstance(obj.get(name), list):
            for part in members(obj, name):
                rate = reference(part, "tax_rate_details", "tax_rate") or reference(
                    part, "tax_rate"
                )
                taxes[rate or NO_RATE] = taxes.get(rate or NO_RATE, 0) + (
                    whole(part, "amount") or 0
                )
            return {rate: amount for rate, amount in taxes.items() if amount}
    tax = whole(obj, "tax")
    return {NO_RATE: tax} if tax else {}


def _credit_note(note: Node, event: RecordedEvent) -> Iterator[tuple[str, Note]]:
    key, invoice = text(note, "id"), reference(note, "invoice")
    amount = first(whole(note, "total"), whole(note, "amount"))
    if key is None or invoice is None or amount is None:
        return
    lines: dict[str, int] = {}
    for line in members(note, "lines"):
        if named := reference(line, "invoice_line_item"):
            lines[named] = lines.get(named, 0) + (whole(line, "amount") or 0)
    after = whole(note, "post_payment_amount")
    if after is None:
        after = amount if text(note, "type") == "post_payment" else 0
    elsewhere = whole(note, "out_of_band_amount") or 0
    refunds = [whole(one, "amount_refunded") or 0 for one in members(note, "refunds")]
    rest = after - elsewhere - sum(refunds)
    has_credit = reference(note, "customer_balance_transaction") is not None
    by_refund = reference(note, "refund") is not None and not refunds
    yield (
        invoice,
        Credited(
            first(instant(note, "created"), _moment(event)) or 0,
            key,
            amount,
            _taxes(note),
            lines,
            before=amount - after,
            refunded=sum(refunds) + (rest if by_refund and not has_credit else 0),
            credit=rest if has_credit and not by_refund else 0,
            elsewhere=elsewhere,
            untold=rest if has_credit == by_refund else 0,
        ),
    )
    if text(note, "status") == "void":
        yield invoice, NoteVoided(first(instant(note, "voided_at"), _moment(event)) or 0, key)


def _charge(charge: Node, event: RecordedEvent) -> Iterator[tuple[str, Note]]:
    key, currency, amount = text(charge, "id"), text(charge, "currency"), whole(charge, "amount")
    captured = whole(charge, "amount_captured")
    if captured is None:
        captured = amount if flag(charge, "captured") is not False else 0
    if (
        key is None or currency is None or amount is None or not captured
        or facts.charge_status_of(charge) != "succeeded"
    ):  # fmt: skip
        return
    exact = _type(event) in ("charge.succeeded", "charge.captured")
    made = first(instant(charge, "created"), _moment(event)) or 0
    yield key, Captured(_moment(event) if exact else made, currency, captured, exact)
    # What was authorized and never captured counts as refunded at Stripe, when it is let go.
    refunded = (whole(charge, "amount_refunded") or 0) - (amount - captured)
    if refunded > 0:
        yield key, Returned(_moment(event), currency, refunded)


def _refund(refund: Node, event: RecordedEvent) -> Iterator[tuple[str, Note]]:
    key, currency, amount = text(refund, "id"), text(refund, "currency"), whole(refund, "amount")
    if key is None or currency is None or amount is None:
        return
    document = reference(refund, "charge") or key
    made = first(instant(refund, "created"), _moment(event)) or 0
    yield document, Refunded(made, key, currency, amount)
    if text(refund, "status") in ("failed", "canceled"):
        yield document, RefundFailed(_moment(event), key)


def _dispute(dispute: Node, event: RecordedEvent) -> Iterator[tuple[str, Note]]:
    key = text(dispute, "id")
    for one in members(dispute, "balance_transactions"):
        transaction, currency = text(one, "id"), text(one, "currency")
        amount = whole(one, "amount")
        if key and transaction and currency and amount is not None:
            at = first(instant(one, "created"), _moment(event)) or 0
            fee = whole(one, "fee") or 0
            yield key, Disputed(at, transaction, currency, amount, fee)


def _payout(payout: Node, event: RecordedEvent) -> Iterator[tuple[str, Note]]:
    key, currency, amount = text(payout, "id"), text(payout, "currency"), whole(payout, "amount")
    if key is None or currency is None or amount is None:
        return
    yield key, PaidOut(first(instant(payout, "created"), _moment(event)) or 0, currency, amount)
    status = text(payout, "status")
    if status == "paid":
        yield key, Arrived(_moment(event))
    elif status in ("failed", "canceled"):
        yield key, SentBack(_moment(event))


def _session(session: Node, event: RecordedEvent) -> Iterator[tuple[str, Note]]:
    key, currency = text(session, "id"), text(session, "currency")
    amount = whole(session, "amount_total")
    if (
        key is None or currency is None or not amount or text(session, "mode") != "payment"
        or text(session, "payment_status") != "paid" or reference(session, "invoice")
    ):  # fmt: skip
        return
    tax = whole(session, "total_details", "amount_tax") or 0
    yield key, SoldAtOnce(_moment(event), currency, amount, tax)


def _customer(customer: Node, event: RecordedEvent) -> Iterator[tuple[str, Note]]:
    key, currency = text(customer, "id"), text(customer, "currency")
    balance = first(whole(customer, "balance"), whole(customer, "account_balance"))
    previous = nested(event.data, "data", "previous_attributes")
    before = first(whole(previous, "balance"), whole(previous, "account_balance"))
    if key is None or currency is None or balance is None or flag(customer, "deleted"):
        return
    if balance or before:
        told_by = event.stripe_event_id or ""
        yield key, Credit(_moment(event), told_by, currency, balance, before)


def _list(listed: Node, _: RecordedEvent) -> Iterator[tuple[str, Note]]:
    """Read what was fetched from Stripe: balance transactions, or all lines of an invoice."""
    for one in members(listed):
        key, currency = text(one, "id"), text(one, "currency")
        amount, at = whole(one, "amount"), instant(one, "created")
        kind = text(one, "type")
        if key and currency and kind and amount is not None and at is not None:
            yield (
                key,
                Moved(
                    at,
                    currency,
                    amount,
                    whole(one, "fee") or 0,
                    kind,
                    reference(one, "source"),
                    whole(one, "source_amount"),
                    text(one, "source_currency"),
                ),
            )


def _invoice_lines(observed: Node, event: RecordedEvent) -> Iterator[tuple[str, Note]]:
    invoice = text(observed, "id")
    at = _moment(event)
    if invoice:
        yield invoice, LinesTold(at, [_line(line, at) for line in members(observed, "lines")])


_READERS = {
    "invoice": _invoice,
    "credit_note": _credit_note,
    "charge": _charge,
    "refund": _refund,
    "dispute": _dispute,
    "payout": _payout,
    "checkout.session": _session,
    "customer": _customer,
    "observed_balance": _list,
    "observed_lines": _invoice_lines,
}
