"""How invoices are collected: attempts, retries, and what follows the last of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ledger.simulator.declines import DECLINES
from ledger.simulator.engine import Json
from ledger.simulator.invoice_drafts import subscription_of
from ledger.simulator.moments import DAY
from ledger.simulator.payment_intents import Outcome
from ledger.simulator.refusals import Refused, not_now

if TYPE_CHECKING:
    from ledger.simulator.simulator import Simulator


class Dunning:
    """The collection of one account's invoices."""

    def __init__(self, simulator: Simulator) -> None:
        self.sim = simulator
        self.engine = simulator.engine

    def first_attempt(self, invoice_id: str) -> None:
        """Try to collect an invoice that has just been finalised."""
        self._attempt(self.engine.get("invoice", invoice_id))

    def _retry(self, invoice_id: str, at: int) -> None:
        invoice = self.engine.find("invoice", invoice_id)
        if invoice and invoice["status"] == "open" and invoice["next_payment_attempt"] == at:
            self._attempt(invoice)

    def _attempt(self, invoice: Json) -> None:
        if invoice["status"] != "open":
            return
        method = self.method_for(invoice)
        intent = self._intent(invoice)
        if method is None or self._is_hopeless(intent, method):
            self._failed(invoice, by_schedule=True)
            return
        outcome = self.sim.payment_intents.attempt(intent, method, off_session=True)
        self._follow(invoice, outcome, by_schedule=True)

    def attempt_first_invoice(self, invoice: Json, *, off_session: bool) -> Outcome | None:
        """Try to collect a new subscription's first invoice; no retry follows a failure."""
        method = self.method_for(invoice)
        if method is None:
            return None
        intent = self._intent(invoice)
        outcome = self.sim.payment_intents.attempt(intent, method, off_session=off_session)
        self._follow(invoice, outcome, by_schedule=False)
        return outcome

    def pay_by_hand(self, invoice: Json, method: str | None, *, off_session: bool) -> Json:
        """Collect an open invoice on request; raises the card's error."""
        method = method or self.method_for(invoice)
        if method is None:
            raise not_now(
                "There is no `default_payment_method` set on this Customer or Invoice.",
                "invoice_no_payment_method",
            )
        intent = self._intent(invoice)
        outcome = self.sim.payment_intents.attempt(intent, method, off_session=off_session)
        self._follow(invoice, outcome, by_schedule=False)
        if outcome == "failed":
            raise self.sim.payment_intents.error_of(self._intent(invoice))
        if outcome == "requires_action":
            raise Refused(
                "Payment for this invoice requires additional user action before it can be"
                " completed successfully.",
                code="invoice_payment_intent_requires_action",
                status=402,
                kind="card_error",
            )
        return self.engine.get("invoice", invoice["id"])

    def failed_by_hand(self, invoice_id: str) -> None:
        """Tell that a customer's own try to pay an invoice has failed."""
        self._failed(self.engine.get("invoice", invoice_id), by_schedule=False)

    def _follow(self, invoice: Json, outcome: Outcome, *, by_schedule: bool) -> None:
        if outcome == "succeeded":
            if by_schedule:
                count = invoice["attempt_count"] + 1
                invoice = self.engine.change(invoice, attempt_count=count)
            self.sim.invoices.collected(invoice["id"], by=self._intent(invoice))
        else:
            needs_action = outcome == "requires_action"
            self._failed(invoice, by_schedule=by_schedule, needs_action=needs_action)

    def _failed(self, invoice: Json, *, by_schedule: bool, needs_action: bool = False) -> None:
        retries = self.engine.settings.retry_after_days
        count = invoice["attempt_count"] + by_schedule
        first = invoice["billing_reason"] == "subscription_create" and self._is_incomplete(invoice)
        leaves: Json = {"attempted": True, "attempt_count": max(count, 1)}
        if by_schedule:
            again = None
            if 0 < count <= len(retries):
                again = self.engine.now + retries[count - 1] * DAY
                self.engine.later(again, self._retry, invoice["id"], again)
            leaves["next_payment_attempt"] = again
        elif first:
            leaves["next_payment_attempt"] = None
        intent = self._intent(invoice)
        leaves["_"] = {**invoice["_"], "charge": intent["latest_charge"]}
        invoice = self.engine.change(invoice, **leaves)
        self.engine.tell("invoice.updated", invoice)
        if needs_action:
            self.engine.tell("invoice.payment_action_required", invoice)
        self.engine.tell("invoice.payment_failed", invoice)
        if not first:
            self.sim.subscriptions.fell_behind(subscription_of(invoice))
            self.sim.customers.set_delinquent(invoice["customer"], True)
        if by_schedule and invoice["next_payment_attempt"] is None:
            self._exhausted(invoice)

    def _exhausted(self, invoice: Json) -> None:
        settings = self.engine.settings
        stopped = self.engine.change(invoice, auto_advance=False)
        self.engine.tell("invoice.updated", stopped)
        if settings.invoice_final_action == "uncollectible":
            self.sim.invoices.write_off(stopped, "max_payment_attempts")
        if subscription := subscription_of(invoice):
            self.sim.subscriptions.final_action(subscription, settings.final_action)

    def fell_due(self, invoice_id: str) -> None:
        """Let an invoice that was sent and not paid be overdue."""
        invoice = self.engine.find("invoice", invoice_id)
        if not invoice or invoice["status"] != "open":
            return
        self.engine.tell("invoice.overdue", invoice)
        self.sim.subscriptions.fell_behind(subscription_of(invoice))
        self.sim.customers.set_delinquent(invoice["customer"], True)
        wait = self.engine.settings.unpaid_after_due_days * DAY
        self.engine.later(self.engine.now + wait, self._long_overdue, invoice_id)

    def _long_overdue(self, invoice_id: str) -> None:
        invoice = self.engine.find("invoice", invoice_id)
        if invoice and invoice["status"] == "open":
            self._exhausted(invoice)

    def recovered(self, invoice: Json) -> None:
        """Let the subscription and customer be well again if nothing else is owed."""
        customer = self.engine.find("customer", invoice["customer"])
        subscription = subscription_of(invoice)
        if subscription:
            self.sim.subscriptions.caught_up(subscription, invoice)
        if customer and customer["delinquent"] and not self._owes(customer["id"]):
            self.sim.customers.set_delinquent(customer["id"], False)

    def _owes(self, customer: str) -> bool:
        return any(
            self.is_owed(invoice)
            for subscription in self.sim.subscriptions.of_customer(customer)
            for invoice in self.sim.invoices.of_subscription(subscription["id"])
        )

    def is_owed(self, invoice: Json) -> bool:
        """Return whether an invoice is open and was tried in vain, or is past its due date."""
        if invoice["status"] != "open":
            return False
        due = invoice["due_date"]
        return bool(invoice["attempted"]) or (due is not None and due <= self.engine.now)

    def method_for(self, invoice: Json) -> str | None:
        """Return the payment method an invoice is charged to, by Stripe's order of preference."""
        customer = self.engine.find("customer", invoice["customer"])
        subscription = self.engine.find("subscription", subscription_of(invoice))
        chosen: tuple[Any, ...] = (
            invoice["default_payment_method"],
            subscription and subscription["default_payment_method"],
            customer and customer["invoice_settings"]["default_payment_method"],
            customer and customer["default_source"],
        )
        for method in chosen:
            found = self.engine.find("payment_method", method)
            if found and found["customer"] in (None, invoice["customer"]):
                found_id: str = found["id"]
                return found_id
        return None

    def _intent(self, invoice: Json) -> Json:
        return self.engine.get("payment_intent", invoice["_"]["payment_intent"])

    def _is_hopeless(self, intent: Json, method: str) -> bool:
        """Return whether this very card was refused for good."""
        error = intent["last_payment_error"]
        if not error or error["payment_method"]["id"] != method:
            return False
        decline = DECLINES.get(error["decline_code"] or error["code"])
        return decline is not None and not decline.is_retryable

    def _is_incomplete(self, invoice: Json) -> bool:
        subscription = self.engine.find("subscription", subscription_of(invoice))
        return subscription is not None and subscription["status"] == "incomplete"
