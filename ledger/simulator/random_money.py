"""What happens to money at random."""

from __future__ import annotations

from typing import Any

from ledger.simulator.moments import DAY
from ledger.simulator.random_choices import Choices

_REFUND_REASONS = "duplicate fraudulent requested_by_customer".split()
_NOTE_REASONS = "duplicate fraudulent order_change product_unsatisfactory".split()


class MoneySteps(Choices):
    """Steps about invoices, payments, refunds, disputes, and what is for sale."""

    def pay_invoice(self) -> None:
        """An open invoice is paid by hand, out of band, or by a customer who authenticates."""
        which = self.chance.randrange(4)
        if which == 0:
            intent = self.some_of("payment_intent", "requires_action")["id"]
            succeeds = self.chance.random() < 0.7
            self.sim.payment_intents.authenticate(intent, succeeds=succeeds)
            return
        invoice = self.some_of("invoice", "open", "uncollectible")["id"]
        if which == 1:
            self.sim.invoices.pay(invoice, paid_out_of_band=True)
        elif which == 2:
            self.sim.invoices.pay(invoice, payment_method=self.some_card())
        else:
            self.sim.invoices.pay(invoice)

    def handle_invoice(self) -> None:
        """An invoice is finalised, sent, voided, written off, changed, or previewed."""
        which = self.chance.randrange(6)
        if which == 0:
            draft = self.some_of("invoice", "draft")["id"]
            self.sim.invoices.finalize_invoice(draft)
        elif which == 1:
            self.sim.invoices.void_invoice(self.some_of("invoice", "open")["id"])
        elif which == 2:
            self.sim.invoices.mark_uncollectible(self.some_of("invoice", "open")["id"])
        elif which == 3:
            self.sim.invoices.send_invoice(self.some_of("invoice", "draft", "open")["id"])
        elif which == 4:
            invoice = self.some_of("invoice")["id"]
            self.sim.invoices.update(invoice, metadata={"seen": str(self.sim.now)})
        else:
            subscription = self.some_subscription()["id"]
            self.sim.previews.create_preview(subscription=subscription)

    def one_off_invoice(self) -> None:
        """Something is invoiced once, now or with the next invoice."""
        customer = self.some_customer()
        known = self.sim.customers.retrieve(customer)
        currency = known["currency"] or self.chance.choice(["usd", "idr"])
        price = self.some([p for p in self.shelf.one_time if p["currency"] == currency])["id"]
        self.sim.invoice_items.create(
            customer=customer, price=price, quantity=self.chance.randrange(1, 4)
        )
        if self.chance.random() < 0.3:
            self.sim.invoice_items.create(
                customer=customer, currency=currency, amount=-1_000, description="Goodwill"
            )
        if self.chance.random() < 0.3:
            return
        method: Any = self.chance.choice(["charge_automatically", "send_invoice"])
        invoice = self.sim.invoices.create(
            customer=customer,
            currency=currency,
            collection_method=method,
            days_until_due=10,
            auto_advance=self.chance.random() < 0.6,
        )
        if self.chance.random() < 0.2:
            self.sim.invoices.update(
                invoice["id"], discounts=[{"coupon": self.some(self.shelf.coupons)}]
            )

    def one_off_payment(self) -> None:
        """Money is taken without an invoice, reserved, captured, or let go."""
        which = self.chance.randrange(6)
        amount = self.chance.randrange(100, 50_000)
        if which == 0:
            reserved = self.some_of("payment_intent", "requires_capture")
            part = self.chance.randrange(1, reserved["amount"] + 1)
            self.sim.payment_intents.capture(reserved["id"], amount_to_capture=part)
        elif which == 1:
            open_ = ("requires_payment_method", "requires_action", "requires_capture")
            self.sim.payment_intents.cancel(
                self.some_of("payment_intent", *open_)["id"], cancellation_reason="abandoned"
            )
        elif which == 2:
            token = self.chance.choice(["tok_visa", "tok_chargeDeclined"])
            self.sim.charges.create(amount=amount, currency="usd", source=token)
        else:
            owner: Any = {"customer": self.some_customer()} if which == 3 else {}
            self.sim.payment_intents.create(
                amount=amount,
                currency=self.chance.choice(["usd", "eur", "jpy"]),
                payment_method=self.some_card(),
                confirm=True,
                capture_method=self.chance.choice(["automatic", "manual"]),
                **owner,
            )

    def refund(self) -> None:
        """A charge is refunded, in part or whole."""
        charge = self.some_of("charge", "succeeded")
        params: Any = {"charge": charge["id"], "reason": self.chance.choice(_REFUND_REASONS)}
        left = charge["amount"] - charge["amount_refunded"]
        if left > 1 and self.chance.random() < 0.5:
            params["amount"] = self.chance.randrange(1, left)
        self.sim.refunds.create(**params)

    def credit(self) -> None:
        """A credit note is issued or voided."""
        if self.chance.random() < 0.2:
            self.sim.credit_notes.void_credit_note(self.some_of("credit_note", "issued")["id"])
            return
        invoice = self.some_of("invoice", "open", "paid")
        most = invoice["amount_remaining"] or invoice["amount_paid"]
        amount = self.chance.randrange(1, max(most, 1) + 1)
        params: Any = {"invoice": invoice["id"], "amount": amount}
        if invoice["status"] == "paid":
            way = self.chance.choice(["refund_amount", "credit_amount", "out_of_band_amount"])
            params[way] = amount
        self.sim.credit_notes.create(**params, reason=self.chance.choice(_NOTE_REASONS))

    def dispute(self) -> None:
        """A charge is disputed, or a dispute goes on."""
        which = self.chance.randrange(6)
        if which == 0:
            paid = self.some_of("charge", "succeeded")
            if paid["disputed"] or not paid["captured"] or paid["refunded"]:
                return
            if self.chance.random() < 0.2:
                self.sim.disputes.prevent(paid["id"])
            else:
                inquiry = self.chance.random() < 0.3
                self.sim.disputes.open(paid["id"], inquiry=inquiry)
            return
        dispute = self.some_of("dispute")["id"]
        if which == 1:
            self.sim.disputes.update(dispute, evidence={"uncategorized_text": "It was used."})
        elif which == 2:
            self.sim.disputes.decide(dispute, won=self.chance.random() < 0.5)
        elif which == 3:
            self.sim.disputes.escalate(dispute)
        elif which == 4:
            self.sim.disputes.appeal(dispute)
        else:
            self.sim.disputes.close(dispute)

    def check_out(self) -> None:
        """A checkout page is opened, and completed, left, or closed."""
        mode: Any = self.chance.choice(["payment", "subscription", "setup"])
        params: Any = {"mode": mode, "success_url": "https://shop.example.test/thanks"}
        if mode == "payment":
            price = self.some(self.shelf.one_time)["id"]
            params["line_items"] = [{"price": price, "quantity": 1}]
        elif mode == "subscription":
            params["line_items"] = [{"price": self.some_price(), "quantity": 1}]
        if mode == "setup" or self.chance.random() < 0.5:
            params["customer"] = self.some_customer()
        session = self.sim.checkout_sessions.create(**params)["id"]
        which = self.chance.randrange(4)
        if which == 0:
            self.sim.checkout_sessions.expire(session)
        elif which < 3:
            self.sim.checkout_sessions.complete(session, payment_method=self.some_card())

    def sell_differently(self) -> None:
        """Something in the catalogue changes."""
        which = self.chance.randrange(5)
        number = str(self.chance.randrange(1_000))
        if which == 0:
            self.sim.products.update(self.some_of("product")["id"], description=number)
        elif which == 1:
            self.sim.prices.update(self.some(self.shelf.recurring)["id"], nickname=number)
        elif which == 2:
            self.sim.coupons.update(self.some(self.shelf.coupons), name=number)
        elif which == 3:
            code = self.some(self.shelf.promotion_codes)
            self.sim.promotion_codes.update(code, active=self.chance.random() < 0.8)
        else:
            self.sim.tax_rates.update(self.some(self.shelf.tax_rates), description=number)

    def tidy(self) -> None:
        """Something is deleted, or a detail is put right."""
        which = self.chance.randrange(6)
        if which == 0 and len(self.shelf.coupons) > 4:
            self.sim.coupons.delete(self.shelf.coupons.pop())
        elif which == 1:
            waiting = [i for i in self.sim.invoice_items.all() if i["invoice"] is None]
            self.sim.invoice_items.delete(self.some(waiting)["id"])
        elif which == 2:
            drafts = [i for i in self.sim.invoices.all() if i["status"] == "draft"]
            one_off = self.some([i for i in drafts if not i["parent"]])
            self.sim.invoices.delete(one_off["id"])
        elif which == 3:
            card = self.some_of("payment_method")["id"]
            details = {"name": f"Name {self.chance.randrange(100)}"}
            self.sim.payment_methods.update(card, billing_details=details)
        elif which == 4:
            intent = self.sim.setup_intents.create()["id"]
            if self.chance.random() < 0.5:
                self.sim.setup_intents.cancel(intent)
            else:
                self.sim.setup_intents.confirm(intent, payment_method="pm_card_chargeDeclined")
        else:
            self.sim.credit_notes.update(self.some_of("credit_note")["id"], memo="Checked")

    def use_meter(self) -> None:
        """A customer uses what is metered."""
        payload = {
            "stripe_customer_id": self.some_customer(),
            "value": str(self.chance.randrange(1, 500)),
        }
        self.sim.meters.report(event_name="message_sent", payload=payload)

    def move_money(self) -> None:
        """A payout by hand, one that fails, one that is stopped."""
        which = self.chance.randrange(3)
        if which == 0:
            available = self.sim.balance_transactions.available("usd")
            if available > 0:
                amount = self.chance.randrange(1, available + 1)
                self.sim.payouts.create(amount=amount, currency="usd")
        elif which == 1:
            payout = self.some_of("payout", "in_transit", "paid")
            if self.sim.now - payout["created"] < 10 * DAY:
                self.sim.payouts.fail(payout["id"])
        else:
            self.sim.payouts.cancel(self.some_of("payout", "pending")["id"])
