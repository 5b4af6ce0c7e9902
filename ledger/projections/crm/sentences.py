"""What happened, in a sentence a person would say: one per event of a customer's story."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ledger.aggregates import BY_TOPIC
from ledger.clock import utc
from ledger.money import written
from ledger.stripe_objects.fields import Node, instant, nested, text, whole
from ledger.stripe_objects.readers import view_of
from ledger.stripe_objects.views import CatalogueItem, Invoice, Payment, Subscription

Sentence = Callable[[Node, Node], str]


def sentence_for(topic: str, data: Mapping[str, Any]) -> str:
    """Return the sentence for a recorded event; what has none of its own says what it is."""
    stripe_type = text(data, "type") or ""
    obj = nested(data, "data", "object")
    previous = nested(data, "data", "previous_attributes")
    if template := SENTENCES.get(stripe_type):
        return template(obj, previous)
    fact = BY_TOPIC.get(topic)
    if fact is None or fact.stripe_type is None or not fact.__doc__:
        return f"Stripe reported {stripe_type or topic}."
    return fact.__doc__.partition(": ")[2].strip()


def _money(amount: int | None, currency: str | None) -> str:
    return written(amount, currency) if amount is not None and currency else "an amount"


def _day(unix_seconds: int | None) -> str:
    return f"{utc(unix_seconds):%d %b %Y}" if unix_seconds is not None else "an unknown day"


def _plan(subscription: Subscription) -> str:
    told = []
    for item in subscription.items:
        amount = _money(item.unit_amount, item.currency) if item.unit_amount is not None else ""
        every = (
            f" per {item.interval}"
            if item.interval and item.interval_count in {1, None}
            else (f" every {item.interval_count} {item.interval}s" if item.interval else "")
        )
        count = f"{item.quantity} × " if item.quantity not in {None, 1} else ""
        told.append(
            f"{count}{item.nickname or item.price or 'a price'}"
            + (f" ({amount}{every})" if amount else "")
        )
    return ", ".join(told) or "no items"


def _subscription(obj: Node) -> Subscription:
    view = view_of({**obj, "object": "subscription"})
    assert isinstance(view, Subscription)
    return view


def _invoice(obj: Node) -> Invoice:
    view = view_of({**obj, "object": "invoice"})
    assert isinstance(view, Invoice)
    return view


def _invoice_name(invoice: Invoice) -> str:
    return f"invoice {invoice.number or invoice.id or ''}".strip()


def _started(obj: Node, _: Node) -> str:
    subscription = _subscription(obj)
    trial = f", on trial until {_day(subscription.trial_end)}" if subscription.trial_end else ""
    return f"Subscribed to {_plan(subscription)}: {subscription.status}{trial}."


def _subscription_updated(obj: Node, previous: Node) -> str:
    now = _subscription(obj)
    told = []
    if (old := text(previous, "status")) and old != now.status:
        told.append(f"went from {old} to {now.status}")
    if "cancel_at_period_end" in previous:
        told.append(
            f"will end on {_day(now.cancel_at or now.current_period_end)}"
            if now.cancel_at_period_end
            else "will go on: its cancellation was withdrawn"
        )
    if "items" in previous or "plan" in previous or "quantity" in previous:
        before = _plan(_subscription({**obj, **previous}))
        after = _plan(now)
        if before != after:
            told.append(f"changed from {before} to {after}")
    if "pause_collection" in previous:
        told.append("stopped collecting" if now.pause_behavior else "collects again")
    if not told and ("current_period_end" in previous or "items" in previous):
        told.append(f"renewed until {_day(now.current_period_end)}")
    if "trial_end" in previous:
        told.append(f"is on trial until {_day(now.trial_end)}")
    return f"Subscription {'; '.join(told)}." if told else "Subscription details changed."


def _ended(obj: Node, _: Node) -> str:
    subscription = _subscription(obj)
    reason = {
        "cancellation_requested": "the customer asked for it",
        "payment_failed": "payment failed",
        "payment_disputed": "a payment was disputed",
    }.get(subscription.cancellation_reason or "", subscription.cancellation_reason)
    feedback = f" ({subscription.feedback})" if subscription.feedback else ""
    return f"Subscription ended{f': {reason}' if reason else ''}{feedback}."


def _invoice_line(verb: str) -> Sentence:
    def tell(obj: Node, _: Node) -> str:
        invoice = _invoice(obj)
        total = invoice.total if invoice.total is not None else invoice.amount_due
        name = _invoice_name(invoice).replace("invoice", "Invoice", 1)
        return f"{name} for {_money(total, invoice.currency)} {verb}."

    return tell


def _payment_failed(obj: Node, _: Node) -> str:
    invoice = _invoice(obj)
    attempt = f", attempt {invoice.attempt_count}" if invoice.attempt_count else ""
    following = (
        f"; Stripe tries again on {_day(invoice.next_payment_attempt)}"
        if invoice.next_payment_attempt
        else "; Stripe will not try again by itself"
    )
    amount = _money(invoice.amount_due, invoice.currency)
    return f"Payment of {amount} for {_invoice_name(invoice)} failed{attempt}{following}."


def _payment(verb: str) -> Sentence:
    def tell(obj: Node, _: Node) -> str:
        payment = view_of(obj)
        if not isinstance(payment, Payment):
            return f"A payment {verb}."
        brand = (payment.brand or "").replace("_", " ").title()
        card = f" with {brand} …{payment.last4}" if payment.last4 and brand else ""
        why = payment.decline_code or payment.failure_code
        reason = f" ({why.replace('_', ' ')})" if why and "fail" in verb else ""
        return f"Payment of {_money(payment.amount, payment.currency)}{card} {verb}{reason}."

    return tell


def _refunded(obj: Node, _: Node) -> str:
    payment = view_of({**obj, "object": "charge"})
    assert isinstance(payment, Payment)
    return f"{_money(payment.amount_refunded, payment.currency)} refunded in all on this payment."


def _customer_updated(_: Node, previous: Node) -> str:
    if "delinquent" in previous:
        return (
            "No longer behind with payments."
            if previous["delinquent"]
            else "Behind with payments: Stripe marked the customer delinquent."
        )
    changed = ", ".join(sorted(key.replace("_", " ") for key in previous))
    return f"Customer details changed: {changed}." if changed else "Customer details changed."


def _amount_line(what: str) -> Sentence:
    def tell(obj: Node, _: Node) -> str:
        return f"{what} {_money(whole(obj, 'amount'), text(obj, 'currency'))}."

    return tell


def _discount(obj: Node, _: Node) -> str:
    terms = view_of({**nested(obj, "coupon"), "object": "coupon"})
    assert isinstance(terms, CatalogueItem)
    if terms.percent_off is not None:
        return f"Got a discount of {terms.percent_off:g} %."
    if terms.amount_off is not None:
        return f"Got a discount of {_money(terms.amount_off, terms.currency)}."
    return "Got a discount."


SENTENCES: Mapping[str, Sentence] = {
    "customer.created": lambda obj, _: "Became a customer.",
    "customer.updated": _customer_updated,
    "customer.deleted": lambda obj, _: "Was deleted at Stripe.",
    "customer.erased": lambda obj, _: "What was personal about this customer was erased.",
    "customer.discount.created": _discount,
    "customer.subscription.created": _started,
    "customer.subscription.updated": _subscription_updated,
    "customer.subscription.deleted": _ended,
    "customer.subscription.trial_will_end": lambda obj, _: (
        f"Trial ends on {_day(instant(obj, 'trial_end'))}."
    ),
    "invoice.created": _invoice_line("was drafted"),
    "invoice.finalized": _invoice_line("was issued"),
    "invoice.paid": _invoice_line("is paid"),
    "invoice.payment_succeeded": _invoice_line("was collected"),
    "invoice.payment_failed": _payment_failed,
    "invoice.voided": _invoice_line("was voided"),
    "invoice.marked_uncollectible": _invoice_line("was given up as uncollectible"),
    "invoice.sent": _invoice_line("was mailed by Stripe"),
    "payment_intent.succeeded": _payment("succeeded"),
    "payment_intent.payment_failed": _payment("failed"),
    "charge.succeeded": _payment("went through"),
    "charge.failed": _payment("failed"),
    "charge.refunded": _refunded,
    "refund.created": _amount_line("Refund of"),
    "charge.dispute.created": _amount_line("Disputed at the bank:"),
}
