"""What happened in a subscription's life, read from a fact: each trigger in one function."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ledger.aggregates import Customer, Subscription
from ledger.clock import utc
from ledger.log import RecordedEvent
from ledger.policies.worth import monthly_minor
from ledger.standing import Standing
from ledger.stripe_objects import views
from ledger.stripe_objects.fields import nested, text
from ledger.stripe_objects.readers import view_of

_RUNNING = frozenset({"active", "past_due"})


@dataclass(frozen=True)
class Happened:
    """One trigger: `key` is what it is about, so that it is answered once."""

    on: str
    key: str
    params: dict[str, Any] = field(default_factory=dict)
    unless: dict[str, str] = field(default_factory=dict)


Reader = Callable[[RecordedEvent, Standing], Iterator[Happened]]


def _subscription_params(subscription: views.Subscription) -> dict[str, Any]:
    return {
        "subscription": subscription.id,
        "prices": [item.price for item in subscription.items if item.price],
        "currency": subscription.currency,
    }


def _instant(unix_seconds: int | None) -> str | None:
    return utc(unix_seconds).isoformat() if unix_seconds is not None else None


def trial_will_end(event: RecordedEvent, standing: Standing) -> Iterator[Happened]:
    """Tell of `customer.subscription.trial_will_end`, if the trial still is one that goes on."""
    subscription = standing.subscription
    if subscription is None or subscription.status != "trialing" or standing.has_ended:
        return
    if subscription.cancel_at_period_end or subscription.cancel_at is not None:
        return  # they know: they are leaving
    yield Happened(
        "trial_will_end",
        f"{subscription.id}:{subscription.trial_end}",
        {
            **_subscription_params(subscription),
            "ends_at": _instant(subscription.trial_end),
            "amount_minor": _due_each_period(subscription),
        },
    )


def updated(event: RecordedEvent, standing: Standing) -> Iterator[Happened]:
    """Tell of `customer.subscription.updated`: a trial that ended, another plan."""
    previous = nested(event.data, "data", "previous_attributes")
    snapshot = nested(event.data, "data", "object")
    now = view_of(snapshot)
    if not isinstance(now, views.Subscription):
        return
    if text(previous, "status") == "trialing" and now.status in _RUNNING:
        yield Happened(
            "trial_ended", f"{now.id}:{now.trial_end}",
            {**_subscription_params(now), "amount_minor": _due_each_period(now)},
        )  # fmt: skip
    if "items" not in previous and "plan" not in previous:
        return
    before = view_of({**snapshot, **previous})
    assert isinstance(before, views.Subscription)
    were = {item.price for item in before.items}
    was, worth = monthly_minor(before), monthly_minor(now)
    if were == {item.price for item in now.items} or was is None or worth is None or was == worth:
        return
    yield Happened(
        "plan_upgraded" if worth > was else "plan_downgraded",
        event.stripe_event_id or str(event.position),
        {
            **_subscription_params(now),
            "amount_minor": _due_each_period(now),
            "was": sorted(price for price in were if price),
        },
    )


def _due_each_period(subscription: views.Subscription) -> int | None:
    """Return what is due each period at list price, None where it cannot be told."""
    amounts = [
        None if item.unit_amount is None or item.tiers_mode else item.unit_amount * item.quantity
        for item in subscription.items
        if item.quantity is not None
    ]
    return sum(a for a in amounts if a is not None) if None not in amounts and amounts else None


def ended(event: RecordedEvent, standing: Standing) -> Iterator[Happened]:
    """Tell of `customer.subscription.deleted`."""
    gone = view_of(nested(event.data, "data", "object"))
    if isinstance(gone, views.Subscription):
        yield Happened(
            "subscription_ended",
            gone.id or "",
            {**_subscription_params(gone), "cancellation_reason": gone.cancellation_reason},
        )


def _invoice_params(invoice: views.Invoice) -> dict[str, Any]:
    return {
        "invoice": invoice.id,
        "subscription": invoice.subscription,
        "number": invoice.number,
        "currency": invoice.currency,
        "prices": invoice.prices,
    }


def paid(event: RecordedEvent, standing: Standing) -> Iterator[Happened]:
    """Tell of `invoice.paid`, where money was paid."""
    invoice = view_of(nested(event.data, "data", "object"))
    if isinstance(invoice, views.Invoice) and invoice.amount_paid:
        params = {**_invoice_params(invoice), "amount_minor": invoice.amount_paid}
        yield Happened("payment_succeeded", invoice.id or "", params)


def finalized(event: RecordedEvent, standing: Standing) -> Iterator[Happened]:
    """Tell of `invoice.finalized`, where the customer is to pay by themselves."""
    invoice = view_of(nested(event.data, "data", "object"))
    if not isinstance(invoice, views.Invoice) or invoice.collection_method != "send_invoice":
        return
    if not invoice.amount_due or standing.settled_as(invoice.id or "") is not None:
        return
    params = {
        **_invoice_params(invoice),
        "amount_minor": invoice.amount_due,
        "due_at": _instant(invoice.due_date),
    }
    unless = {"invoice_settled": invoice.id or "", "subscription": standing.subscription_id or ""}
    yield Happened("invoice_sent", invoice.id or "", params, unless)


def card_expiring(event: RecordedEvent, standing: Standing) -> Iterator[Happened]:
    """Tell of a card that was found to expire soon, if it is still the one that is charged."""
    obj = nested(event.data, "data", "object")
    method = text(obj, "payment_method")
    subscription, customer = standing.subscription, standing.customer
    charged = subscription.default_payment_method if subscription else None
    charged = charged or (customer.default_payment_method if customer else None)
    if method and charged in (None, method) and not standing.is_gone:
        params = {"last4": text(obj, "last4"), "brand": text(obj, "brand")}
        about = {"subscription": text(obj, "subscription")}
        yield Happened("card_expiring", f"{method}:{text(obj, 'month')}", {**about, **params})


READERS: Mapping[str, Reader] = {
    Subscription.TrialEnding.TOPIC: trial_will_end,
    Subscription.Updated.TOPIC: updated,
    Subscription.Ended.TOPIC: ended,
    Subscription.InvoicePaid.TOPIC: paid,
    Subscription.InvoiceFinalized.TOPIC: finalized,
    Customer.CardExpiring.TOPIC: card_expiring,
}
