"""Invoice payments: what ties an invoice to the payment intents that pay it."""

from __future__ import annotations

from typing import Any

from ledger.simulator.engine import Json
from ledger.simulator.family import Family


class InvoicePayments(Family):
    """Invoice payments."""

    kind = "invoice_payment"

    def __init__(self, simulator: Any) -> None:
        super().__init__(simulator)
        self._default: dict[str, str] = {}

    def prepare(self, invoice: Json) -> Json:
        """Make the payment intent that is to collect what an open invoice asks for."""
        intent = self.sim.payment_intents.new(
            invoice["amount_due"],
            invoice["currency"],
            invoice=invoice["id"],
            customer=invoice["customer"],
            description=_DESCRIPTIONS.get(invoice["billing_reason"], "Payment for Invoice"),
            setup_future_usage="off_session" if invoice["parent"] else None,
        )
        payment = self._new(invoice, {"payment_intent": intent["id"], "type": "payment_intent"})
        self._default[invoice["id"]] = payment["id"]
        return self.engine.change(invoice, _={**invoice["_"], "payment_intent": intent["id"]})

    def _new(self, invoice: Json, payment: Json) -> Json:
        return self.engine.save(
            {
                "id": self.engine.new_id("inpay"),
                "object": "invoice_payment",
                "amount_paid": None,
                "amount_requested": invoice["amount_due"],
                "created": self.engine.now,
                "currency": invoice["currency"],
                "invoice": invoice["id"],
                "is_default": True,
                "livemode": False,
                "payment": payment,
                "status": "open",
                "status_transitions": {"canceled_at": None, "paid_at": None},
            }
        )

    def paid(self, invoice: Json, amount: int, *, out_of_band: bool) -> None:
        """Tell that an amount (minor units) has paid an invoice, if any payment was needed."""
        payment = self.engine.find(self.kind, self._default.get(invoice["id"]))
        if payment is None:
            return
        if out_of_band:
            self.cancel(invoice)
            return
        transitions = {"canceled_at": None, "paid_at": self.engine.now}
        done = self.engine.change(
            payment, amount_paid=amount, status="paid", status_transitions=transitions
        )
        self.engine.tell("invoice_payment.paid", done)

    def cancel(self, invoice: Json) -> None:
        """Give up the payment that an invoice no longer needs."""
        payment = self.engine.find(self.kind, self._default.get(invoice["id"]))
        if payment is None or payment["status"] != "open":
            return
        transitions = {"canceled_at": self.engine.now, "paid_at": None}
        self.engine.change(payment, status="canceled", status_transitions=transitions)
        intent = self.engine.get("payment_intent", payment["payment"]["payment_intent"])
        if intent["status"] not in ("succeeded", "canceled"):
            self.sim.payment_intents.give_up(intent, "void_invoice")

    def ask_for(self, invoice: Json, amount: int) -> None:
        """Let the payment ask for another amount (minor units), after a credit note."""
        payment = self.engine.find(self.kind, self._default.get(invoice["id"]))
        if payment:
            self.engine.change(payment, amount_requested=amount)
            intent = self.engine.get("payment_intent", payment["payment"]["payment_intent"])
            self.engine.change(intent, amount=amount)

    def of_invoice(self, invoice: str) -> list[Json]:
        """Return an invoice's payments."""
        payment = self.engine.find(self.kind, self._default.get(invoice))
        return [payment] if payment else []


_DESCRIPTIONS = {
    "subscription_create": "Subscription creation",
    "subscription_update": "Subscription update",
    "subscription_cycle": "Subscription update",
}
