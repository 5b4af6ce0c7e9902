"""How a customer stands with one subscription: folded from the log, from two of its streams.

A subscription's stream has what happened to it and to its invoices, the customer's what they are
and how payments went. Whatever decides about somebody reads these, never a read model: nothing
that the log has recorded can be missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, TypeVar

import psycopg

from ledger.aggregates import BY_TOPIC, Customer, StripeFact, Subscription
from ledger.aggregates.base import ObjectState, fold_objects, is_set_aside
from ledger.facts import as_fact
from ledger.log import Log
from ledger.stripe_objects import views
from ledger.stripe_objects.fields import nested, reference, text
from ledger.stripe_objects.readers import view_of
from ledger.stripe_objects.views import View

Connection = psycopg.Connection[tuple[Any, ...]]
V = TypeVar("V", bound=View)

SETTLED = frozenset({"paid", "void", "uncollectible"})
ENDED = frozenset({"canceled", "incomplete_expired"})
_FAILED_PAYMENTS = frozenset({Customer.ChargeFailed.TOPIC, Customer.PaymentIntentFailed.TOPIC})
_PAID = frozenset({Subscription.InvoicePaid.TOPIC, Subscription.PaymentSucceeded.TOPIC})
_REFERENCE_MAX = 25  # since clover an order reference is cut to that


@dataclass(frozen=True)
class Failures:
    """How collecting an invoice failed so far; codes as Stripe spells them, of the last try."""

    count: int
    first_at: datetime
    last_at: datetime
    decline_code: str | None = None
    advice_code: str | None = None
    failure_code: str | None = None
    brand: str | None = None
    payment_method: str | None = None
    needs_action: bool = False
    is_overdue: bool = False  # nothing was tried: the customer was to pay by themselves


class Standing:
    """What these facts say of a customer, of a subscription, and of its invoices."""

    def __init__(
        self, customer_id: str, subscription_id: str | None, facts: Sequence[StripeFact]
    ) -> None:
        self.customer_id = customer_id
        self.subscription_id = subscription_id
        self.facts = facts

    @cached_property
    def _objects(self) -> dict[str, ObjectState]:
        wanted = {self.customer_id, self.subscription_id}
        return fold_objects(
            fact
            for fact in self.facts
            if fact.object_id in wanted or text(fact.snapshot, "object") == "invoice"
        )

    def _view(self, key: str | None, kind: type[V]) -> V | None:
        state = self._objects.get(key) if key else None
        if state is None:
            return None
        found = view_of(dict(state.settled.winner.snapshot))
        return found if isinstance(found, kind) else None

    @property
    def customer(self) -> views.Customer | None:
        """The customer as they are now."""
        return self._view(self.customer_id, views.Customer)

    @property
    def subscription(self) -> views.Subscription | None:
        """The subscription as it is now."""
        return self._view(self.subscription_id, views.Subscription)

    def invoice(self, invoice_id: str) -> views.Invoice | None:
        """Return an invoice as it is now."""
        return self._view(invoice_id, views.Invoice)

    def invoice_snapshot(self, invoice_id: str) -> dict[str, Any]:
        """Return an invoice as Stripe shows it (clear leaves)."""
        state = self._objects.get(invoice_id)
        return dict(state.settled.winner.snapshot) if state else {}

    @property
    def is_gone(self) -> bool:
        """Whether the customer was deleted or erased: nobody is to be written to."""
        gone = (Customer.CustomerErased.TOPIC, Customer.Deleted.TOPIC)
        return any(fact.TOPIC in gone for fact in self.facts)

    @property
    def has_ended(self) -> bool:
        """Whether the subscription is over."""
        if any(fact.TOPIC == Subscription.Ended.TOPIC for fact in self.facts):
            return True
        subscription = self.subscription
        return subscription is not None and subscription.status in ENDED

    @property
    def is_leaving(self) -> bool:
        """Whether the end of the subscription is scheduled."""
        found = self.subscription
        return found is not None and (
            bool(found.cancel_at_period_end) or found.cancel_at is not None
        )

    def settled_as(self, invoice_id: str) -> str | None:
        """Return how an invoice was settled: paid, void, uncollectible, deleted; None if it is not.

        One word that it was paid is enough, whatever else is told of that second: rather no
        reminder than one too many.
        """
        state = self._objects.get(invoice_id)
        about = [fact for fact in self.facts if fact.object_id == invoice_id]
        if any(fact.TOPIC in _PAID for fact in about):
            return "paid"
        if any(fact.TOPIC == Subscription.InvoiceVoided.TOPIC for fact in about):
            return "void"
        if state is None:
            return None
        if state.settled.is_deleted:
            return "deleted"
        invoice = self.invoice(invoice_id)
        assert invoice is not None
        if invoice.amount_remaining == 0 and invoice.status == "open":
            return "paid"
        return invoice.status if invoice.status in SETTLED else None

    def settling_position(self, invoice_id: str) -> int | None:
        """Return where the log first says that an invoice was paid."""
        return min(
            (
                fact.position
                for fact in self.facts
                if fact.object_id == invoice_id and fact.TOPIC in _PAID
            ),
            default=None,
        )

    def failures(self, invoice_id: str) -> Failures | None:
        """Return how collecting an invoice failed, None if it never did."""
        failed = self._about(invoice_id, Subscription.PaymentFailed)
        if not failed:
            overdue = self._about(invoice_id, Subscription.InvoiceOverdue)
            if not overdue:
                return None
            at = min(fact.occurred_at for fact in overdue)
            return Failures(1, at, at, is_overdue=True)
        failed.sort(key=lambda fact: fact.occurred_at)
        last = failed[-1]
        tried = self._last_try(invoice_id, last.occurred_at)
        action = [
            fact.occurred_at for fact in self._about(invoice_id, Subscription.PaymentActionRequired)
        ]
        needs_action = bool(action) and max(action) >= last.occurred_at
        payment = view_of(tried.snapshot) if tried else None
        if not isinstance(payment, views.Payment):
            return Failures(
                len(failed), failed[0].occurred_at, last.occurred_at, needs_action=needs_action
            )
        return Failures(
            len(failed),
            failed[0].occurred_at,
            last.occurred_at,
            payment.decline_code,
            payment.advice_code,
            payment.failure_code,
            payment.brand,
            _method_of(tried.snapshot) if tried else None,
            needs_action or payment.decline_code == "authentication_required",
        )

    def _about(self, object_id: str, kind: type[StripeFact]) -> list[StripeFact]:
        return [
            fact for fact in self.facts if fact.object_id == object_id and isinstance(fact, kind)
        ]

    def _last_try(self, invoice_id: str, at: datetime) -> StripeFact | None:
        """Return the failed payment that is nearest to a failure of an invoice.

        A payment names its invoice until basil; since then it has an order reference, or only the
        customer, the amount and the moment.
        """
        snapshot = self.invoice_snapshot(invoice_id)
        intent = reference(snapshot, "payment_intent")
        due = self.invoice(invoice_id)
        candidates = []
        for fact in self.facts:
            if fact.TOPIC not in _FAILED_PAYMENTS:
                continue
            payment = view_of(fact.snapshot)
            assert isinstance(payment, views.Payment)
            named = payment.invoice or self._referred(payment.payment_intent or payment.id)
            is_named = named is not None and invoice_id[:_REFERENCE_MAX] == named[:_REFERENCE_MAX]
            is_intent = intent is not None and intent in (payment.id, payment.payment_intent)
            is_like = (
                named is None
                and due is not None
                and payment.amount == due.amount_due
                and payment.currency == due.currency
                and abs((fact.occurred_at - at).total_seconds()) <= 60
            )
            if is_named or is_intent or is_like:
                # The charge tells more than the intent: what the bank advises.
                candidates.append((fact.occurred_at, fact.object_id or "", fact))
        late = [one for one in candidates if one[0] <= at] or candidates
        late.sort(key=lambda one: (one[0], one[1].startswith(("ch_", "py_"))))
        return late[-1][2] if late else None

    def _referred(self, intent_id: str | None) -> str | None:
        for fact in self.facts:
            if fact.object_id == intent_id and intent_id is not None:
                found = view_of(fact.snapshot)
                if isinstance(found, views.Payment) and found.order_reference:
                    return found.order_reference
        return None


def standing_of(
    connection: Connection, customer_id: str, subscription_id: str | None, until: int
) -> Standing:
    """Return how a customer stands with a subscription, as recorded until a position."""
    log = Log(connection)
    streams = [customer_id, *([subscription_id] if subscription_id else [])]
    return Standing(
        customer_id,
        subscription_id,
        list(
            facts_in(
                event for name in streams for event in log.stream(name) if event.position <= until
            )
        ),
    )


def facts_in(events: Iterable[Any]) -> Iterable[StripeFact]:
    """Yield the facts among recorded events; decisions and what was set aside are none."""
    for event in events:
        if event.topic in BY_TOPIC and not is_set_aside(event.data):
            yield as_fact(event)


def _method_of(payment: dict[str, Any]) -> str | None:
    return reference(payment, "payment_method") or reference(
        nested(payment, "last_payment_error"), "payment_method"
    )
