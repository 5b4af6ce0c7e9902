"""Invoices: finalised, collected or given up."""

from __future__ import annotations

from ledger.simulator import invoice_lines
from ledger.simulator.engine import Json
from ledger.simulator.invoice_drafts import Drafts
from ledger.simulator.moments import DAY
from ledger.simulator.refusals import Refused, not_now


class Invoices(Drafts):
    """Invoices."""

    def finalize_invoice(self, invoice: str, *, auto_advance: bool | None = None) -> Json:
        """Finalise a draft now; with automatic collection the first attempt follows."""
        known = self._in_status(invoice, "draft")
        with self.engine.call(known):
            if auto_advance is not None:
                known = self.engine.change(known, auto_advance=auto_advance)
            opened = self.finalize(known)
            collects = opened["collection_method"] == "charge_automatically"
            if opened["status"] == "open" and collects and opened["auto_advance"]:
                self.engine.later(self.engine.now, self.sim.dunning.first_attempt, invoice)
            return opened

    def send_invoice(self, invoice: str) -> Json:
        """Send an invoice to the customer, finalised if it was not."""
        known = self.retrieve(invoice)
        if known["collection_method"] != "send_invoice":
            raise Refused(
                "You can only manually send an invoice if its collection method is 'send_invoice'."
            )
        with self.engine.call(known):
            if known["status"] == "draft":
                known = self.finalize(known)
            self.engine.tell("invoice.sent", known)
            return known

    def finalize_by_itself(self, invoice_id: str) -> None:
        """Finalise a draft whose hour has passed, and send it or try to collect it."""
        invoice = self.engine.find(self.kind, invoice_id)
        if invoice is None or not self.engine.find("customer", invoice["customer"]):
            return
        if invoice["status"] == "draft" and invoice["auto_advance"]:
            opened = self.finalize(invoice)
            if opened["status"] != "open":
                return
            if opened["collection_method"] == "send_invoice":
                self.engine.tell("invoice.sent", opened)
            else:
                self.sim.dunning.first_attempt(invoice_id)

    def finalize(self, invoice: Json) -> Json:
        """Number an invoice and open it; nothing due means paid."""
        now = self.engine.now
        customer = self.engine.get("customer", invoice["customer"])
        number = f"{customer['invoice_prefix']}-{customer['next_invoice_sequence']:04d}"
        self.engine.change(customer, next_invoice_sequence=customer["next_invoice_sequence"] + 1)
        lines = invoice["lines"]["data"]
        sums = invoice_lines.totals(lines, customer["balance"])
        ending = min(sums["total"] + customer["balance"], 0)
        secret = self.engine.ids.letters(24)
        page = f"{self.engine.ids.account}/test_{secret}"
        leaves = {
            **sums,
            "ending_balance": ending,
            "automatically_finalizes_at": None,
            "effective_at": now,
            "hosted_invoice_url": f"https://invoice.stripe.com/i/{page}?s=ap",
            "invoice_pdf": f"https://pay.stripe.com/invoice/{page}/pdf?s=ap",
            "number": number,
            "status": "open",
            "status_transitions": {**invoice["status_transitions"], "finalized_at": now},
        }
        if invoice["collection_method"] == "send_invoice":
            days = invoice["_"]["days_until_due"] or 30
            leaves["due_date"] = invoice["due_date"] or now + days * DAY
            self.engine.later(leaves["due_date"], self.sim.dunning.fell_due, invoice["id"])
        opened = self.engine.change(invoice, **leaves)
        opened = self._use_balance(opened, ending)
        if opened["amount_due"] > 0:
            opened = self.sim.invoice_payments.prepare(opened)
        self.engine.tell("invoice.updated", opened)
        self.engine.tell("invoice.finalized", opened)
        return opened if opened["amount_due"] else self.settle(opened, 0)

    def _use_balance(self, invoice: Json, ending: int) -> Json:
        customer = self.engine.get("customer", invoice["customer"])
        if ending != customer["balance"]:
            amount = ending - customer["balance"]
            self.sim.customers.post(customer, amount, "applied_to_invoice", invoice=invoice["id"])
            customer = self.engine.get("customer", invoice["customer"])
            self.engine.tell("customer.updated", customer)
        return invoice

    def pay(
        self,
        invoice: str,
        *,
        payment_method: str | None = None,
        source: str | None = None,
        paid_out_of_band: bool = False,
        off_session: bool = True,
        forgive: bool = False,
    ) -> Json:
        """Collect an invoice now; raises the card's error if it is declined."""
        known = self.retrieve(invoice)
        if known["status"] == "paid":
            raise not_now("Invoice is already paid", "invoice_already_paid")
        if known["status"] == "void":
            raise not_now("This invoice is void.", "invoice_no_payment_method")
        with self.engine.call(known):
            if known["status"] == "draft":
                known = self.finalize(known)
                if known["status"] == "paid":
                    return known
            if paid_out_of_band or forgive:
                return self.settle(known, known["amount_remaining"], out_of_band=True)
            given = payment_method or source
            method = self.sim.payment_methods.resolve(given)["id"] if given else None
            return self.sim.dunning.pay_by_hand(known, method, off_session=off_session)

    def collected(self, invoice: str, *, by: Json) -> Json:
        """Let a payment intent that has succeeded pay the invoice."""
        known = self.retrieve(invoice)
        if known["status"] in ("open", "uncollectible"):
            return self.settle(known, by["amount_received"], intent=by)
        return known

    def settle(
        self, invoice: Json, amount: int, *, intent: Json | None = None, out_of_band: bool = False
    ) -> Json:
        """Mark an invoice paid by an amount (minor units) and tell of it."""
        now = self.engine.now
        inner = {**invoice["_"], "paid_out_of_band": out_of_band}
        if intent:
            inner["charge"] = intent["latest_charge"]
        paid = self.engine.change(
            invoice,
            amount_paid=invoice["amount_paid"] + amount,
            amount_paid_off_stripe=amount if out_of_band else 0,
            amount_remaining=invoice["amount_remaining"] - amount,
            attempt_count=max(invoice["attempt_count"], 1 if intent else 0),
            attempted=True,
            auto_advance=False,
            next_payment_attempt=None,
            status="paid",
            status_details={"uncollectible": None},
            status_transitions={**invoice["status_transitions"], "paid_at": now},
            webhooks_delivered_at=invoice["webhooks_delivered_at"] or now,
            _=inner,
        )
        self.engine.tell("invoice.updated", paid)
        self.engine.tell("invoice.paid", paid)
        if not out_of_band:
            self.engine.tell("invoice.payment_succeeded", paid)
        self.sim.invoice_payments.paid(paid, amount, out_of_band=out_of_band)
        self.sim.dunning.recovered(paid)
        return paid

    def void_invoice(self, invoice: str) -> Json:
        """Declare that an open invoice was never owed."""
        known = self._in_status(invoice, "open", "uncollectible")
        with self.engine.call(known):
            return self.void(known)

    def void(self, invoice: Json) -> Json:
        """Void an invoice: nothing remains to be collected."""
        voided = self._give_up(invoice, "void", "voided_at")
        self.engine.tell("invoice.voided", voided)
        self.sim.invoice_payments.cancel(voided)
        self.sim.dunning.recovered(voided)
        return voided

    def mark_uncollectible(self, invoice: str) -> Json:
        """Write an open invoice off."""
        known = self._in_status(invoice, "open")
        with self.engine.call(known):
            return self.write_off(known, "user_forgiven")

    def write_off(self, invoice: Json, reason: str) -> Json:
        """Mark an invoice uncollectible; it may still be paid."""
        written = self._give_up(invoice, "uncollectible", "marked_uncollectible_at", reason)
        self.engine.tell("invoice.marked_uncollectible", written)
        return written

    def _give_up(self, invoice: Json, status: str, at: str, reason: str | None = None) -> Json:
        changed = self.engine.change(
            invoice,
            auto_advance=False,
            next_payment_attempt=None,
            status=status,
            status_details={"uncollectible": reason and {"reason": reason}},
            status_transitions={**invoice["status_transitions"], at: self.engine.now},
        )
        self.engine.tell("invoice.updated", changed)
        return changed

    def lines(self, invoice: str) -> list[Json]:
        """Return an invoice's lines."""
        found: list[Json] = self.retrieve(invoice)["lines"]["data"]
        return found

    def stop_collecting(self, invoice: Json) -> None:
        """Let an invoice stand as it is: no step follows by itself."""
        stopped = self.engine.change(
            invoice,
            auto_advance=False,
            next_payment_attempt=None,
            automatically_finalizes_at=None,
        )
        self.engine.tell("invoice.updated", stopped)
