"""Reads from events what they tell of documents: each telling once, where it is told first.

Stripe never changes what a finalized invoice asks, what a charge took or a refund gave: whichever
event tells it first tells it right, and every later one repeats it.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from ledger.aggregates import FACTS, Account
from ledger.aggregates.base import is_set_aside
from ledger.log import RecordedEvent
from ledger.projections.journal.accounts import UNTOLD_RATE
from ledger.projections.journal.notes import (
    Arrived,
    Captured,
    Credit,
    Credited,
    Disputed,
    GivenUp,
    Line,
    LinesTold,
    Moved,
    Note,
    NoteVoided,
    Paid,
    PaidOut,
    Refunded,
    RefundFailed,
    Returned,
    Sale,
    SentBack,
    SoldAtOnce,
    Told,
    Voided,
    fitted,
)
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

_encode = msgspec.json.Encoder().encode
# Of these Stripe types, and of what we observed ourselves, is read what is told of money.
_TYPES = (
    "invoice.", "credit_note.", "charge.", "refund.", "payout.", "checkout.session.",
    "customer.created", "customer.updated", "customer.deleted",
)  # fmt: skip
TOPICS = frozenset(
    fact.TOPIC for fact in FACTS if fact.stripe_type and fact.stripe_type.startswith(_TYPES)
) | {Account.BalanceObserved.TOPIC, Account.InvoiceLinesObserved.TOPIC}


def told_by(event: RecordedEvent) -> Iterator[Told]:
    """Yield what an event tells of documents."""
    if event.topic not in TOPICS or is_set_aside(event.data):
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
        at = instant(moments, "paid_at") if status == "paid" else None
        yield key, Paid(at if at is not None else _moment(event), paid, _elsewhere(invoice, paid))
    for member, word, note in (
        ("marked_uncollectible_at", "uncollectible", GivenUp),
        ("voided_at", "void", Voided),
    ):
        if (at := instant(moments, member)) is not None:
            yield key, note(at)
        elif status == word:  # before 2018-11 nothing told when
            yield key, note(_moment(event))


def _elsewhere(invoice: Node, paid: int) -> int:
    """Return what of an invoice was not paid through Stripe.

    Before basil `amount_paid` was what Stripe collected, and a flag told of the rest.
    """
    if flag(invoice, "paid_out_of_band"):
        return paid - (whole(invoice, "amount_paid") or 0)
    return whole(invoice, "amount_paid_off_stripe") or 0


def _sale(invoice: Node, at: int, currency: str, total: int) -> Sale:
    starting, ending = whole(invoice, "starting_balance"), whole(invoice, "ending_balance")
    due = whole(invoice, "amount_due")
    applied = total - due if due is not None else 0  # where balances are not told
    if starting is not None and ending is not None:
        applied = ending - starting
    taxes = _taxes(invoice)
    lines = [_line(line, at) for line in members(invoice, "lines")]
    all_lines = not flag(invoice, "lines", "has_more")
    if all_lines:
        lines = fitted(lines, total - sum(taxes.values()), at)
    return Sale(
        at,
        currency,
        total,
        applied,
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


def _taxes(obj: Node) -> dict[str, int]:
    """Return tax by rate, contained in prices or added to them."""
    taxes: dict[str, int] = {}
    for name in ("total_taxes", "total_tax_amounts", "tax_amounts"):
        if isinstance(obj.get(name), list):
            for part in members(obj, name):
                rate = reference(part, "tax_rate_details", "tax_rate") or reference(
                    part, "tax_rate"
                )
                taxes[rate or UNTOLD_RATE] = taxes.get(rate or UNTOLD_RATE, 0) + (
                    whole(part, "amount") or 0
                )
            return {rate: amount for rate, amount in taxes.items() if amount}
    tax = whole(obj, "tax")
    return {UNTOLD_RATE: tax} if tax else {}


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
    if key is None or currency is None or balance is None:
        return
    if _type(event) == "customer.deleted":
        balance, before = 0, balance  # what was left lapses
    yield key, Credit(_moment(event), event.stripe_event_id or "", currency, balance, before)


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
