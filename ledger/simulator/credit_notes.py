"""Credit notes: what an invoice asked for and is not owed, or is given back."""

from __future__ import annotations

from collections import Counter
from typing import Any, TypedDict, Unpack

from ledger.simulator.catalogue import Metadata
from ledger.simulator.engine import Json
from ledger.simulator.family import Family
from ledger.simulator.refusals import Refused, needs, not_now


class CreditNoteParams(TypedDict, total=False):
    """What may change about a credit note."""

    memo: str | None
    metadata: Metadata


class CreditedLine(TypedDict, total=False):
    """One line to credit: of the invoice, or of its own; amounts in minor units."""

    type: str
    invoice_line_item: str
    amount: int
    description: str
    quantity: int
    unit_amount: int


class CreditNoteCreate(CreditNoteParams, total=False):
    """Parameters of a credit note; amounts in minor units.

    Of a paid invoice the amount is refunded, credited to the balance, or settled elsewhere.
    """

    invoice: str
    amount: int
    lines: list[CreditedLine]
    credit_amount: int
    out_of_band_amount: int
    refund_amount: int
    reason: str


class CreditNotes(Family):
    """Credit notes."""

    kind = "credit_note"

    def __init__(self, simulator: Any) -> None:
        super().__init__(simulator)
        self._issued: Counter[str] = Counter()

    def create(self, **params: Unpack[CreditNoteCreate]) -> Json:
        """Issue a credit note for an invoice that is open or paid."""
        if "invoice" not in params:
            raise needs("invoice")
        invoice = self.sim.invoices.named(params["invoice"], "invoice")
        if invoice["status"] not in ("open", "paid"):
            raise not_now(
                "You can only issue credit notes for open or paid invoices, not"
                f" {invoice['status']} ones.",
                "invoice_not_open",
            )
        amount = self._amount(invoice, params)
        if amount <= 0:
            raise Refused("The credit note amount must be positive.", param="amount")
        with self.engine.call(invoice):
            if invoice["status"] == "open":
                return self._before_payment(invoice, amount, params)
            return self._after_payment(invoice, amount, params)

    def void_credit_note(self, credit_note: str) -> Json:
        """Take back a credit note of an open invoice."""
        note = self.retrieve(credit_note)
        invoice = self.engine.get("invoice", note["invoice"])
        if note["status"] == "void" or invoice["status"] != "open":
            raise not_now("You cannot void this credit note.", "credit_note_not_voidable")
        with self.engine.call(invoice):
            self._reduce(invoice, -note["pre_payment_amount"])
            voided = self.engine.change(note, status="void", voided_at=self.engine.now)
            self.engine.tell("credit_note.voided", voided)
            return voided

    def update(self, credit_note: str, **changes: Unpack[CreditNoteParams]) -> Json:
        """Change memo or metadata."""
        return self.amend(credit_note, changes)

    def lines(self, credit_note: str) -> list[Json]:
        """Return a credit note's lines."""
        found: list[Json] = self.retrieve(credit_note)["lines"]["data"]
        return found

    def _before_payment(self, invoice: Json, amount: int, params: CreditNoteCreate) -> Json:
        if amount > invoice["amount_remaining"]:
            raise Refused("The credit note exceeds what remains of the invoice.", param="amount")
        note = self._issue(invoice, amount, params, pre=amount)
        invoice = self._reduce(invoice, amount)
        if invoice["amount_remaining"] == 0:
            self.sim.invoice_payments.cancel(invoice)
            self.sim.invoices.settle(invoice, 0)
        return note

    def _reduce(self, invoice: Json, amount: int) -> Json:
        left = invoice["amount_remaining"] - amount
        noted = invoice["pre_payment_credit_notes_amount"] + amount
        invoice = self.engine.change(
            invoice,
            amount_due=invoice["amount_due"] - amount,
            amount_remaining=left,
            pre_payment_credit_notes_amount=noted,
        )
        if left:
            self.sim.invoice_payments.ask_for(invoice, left)
        self.engine.tell("invoice.updated", invoice)
        return invoice

    def _after_payment(self, invoice: Json, amount: int, params: CreditNoteCreate) -> Json:
        credit = params.get("credit_amount", 0)
        elsewhere = params.get("out_of_band_amount", 0)
        refund_amount = params.get("refund_amount", 0)
        noted = invoice["post_payment_credit_notes_amount"] + amount
        if credit + elsewhere + refund_amount != amount:
            raise Refused(
                "The sum of credit amount, refund amount and out of band amount must equal the"
                f" credit note amount ({amount}).",
                param="amount",
            )
        if noted > invoice["amount_paid"]:
            raise Refused("The credit notes exceed what was paid.", param="amount")
        refunds = []
        if refund_amount:
            refund = self._refund(invoice, refund_amount)
            refunds = [
                {
                    "amount_refunded": refund_amount,
                    "payment_record_refund": None,
                    "refund": refund["id"],
                    "type": "refund",
                }
            ]
        booked = None
        if credit:
            customer = self.engine.get("customer", invoice["customer"])
            booked = self.sim.customers.post(customer, -credit, "credit_note")["id"]
            customer = self.engine.get("customer", invoice["customer"])
            self.engine.tell("customer.updated", customer)
        note = self._issue(
            invoice,
            amount,
            params,
            post=amount,
            refunds=refunds,
            customer_balance_transaction=booked,
            out_of_band_amount=elsewhere or None,
        )
        changed = self.engine.change(invoice, post_payment_credit_notes_amount=noted)
        self.engine.tell("invoice.updated", changed)
        return note

    def _refund(self, invoice: Json, amount: int) -> Json:
        charge = self.engine.find("charge", invoice["_"]["charge"])
        if charge is None:
            raise Refused("This invoice was not paid by a charge.", param="refund_amount")
        if charge["amount"] - charge["amount_refunded"] < amount:
            raise Refused("The charge has been refunded.", code="charge_already_refunded")
        return self.sim.refunds.give_back(charge, amount, metadata={})

    def _issue(
        self,
        invoice: Json,
        amount: int,
        params: CreditNoteCreate,
        *,
        pre: int = 0,
        post: int = 0,
        **leaves: Any,
    ) -> Json:
        self._issued[invoice["id"]] += 1
        note_id = self.engine.new_id("cn")
        line = {
            "id": self.engine.new_id("cnli"),
            "object": "credit_note_line_item",
            "amount": amount,
            "description": f"Credit for invoice {invoice['number']}",
            "discount_amount": 0,
            "discount_amounts": [],
            "livemode": False,
            "metadata": None,
            "pretax_credit_amounts": [],
            "quantity": 1,
            "tax_rates": [],
            "taxes": None,
            "type": "custom_line_item",
            "unit_amount": amount,
            "unit_amount_decimal": str(amount),
        }
        note = self.engine.save(
            {
                "id": note_id,
                "object": "credit_note",
                "amount": amount,
                "amount_shipping": 0,
                "created": self.engine.now,
                "currency": invoice["currency"],
                "customer": invoice["customer"],
                "customer_account": None,
                "customer_balance_transaction": None,
                "discount_amount": 0,
                "discount_amounts": [],
                "effective_at": self.engine.now,
                "invoice": invoice["id"],
                "lines": {
                    "object": "list",
                    "data": [line],
                    "has_more": False,
                    "url": f"/v1/credit_notes/{note_id}/lines",
                },
                "livemode": False,
                "memo": params.get("memo"),
                "metadata": params.get("metadata", {}),
                "number": f"{invoice['number']}-CN-{self._issued[invoice['id']]:02d}",
                "out_of_band_amount": None,
                "pdf": f"https://pay.stripe.com/credit_notes/{self.engine.ids.letters(32)}/pdf",
                "post_payment_amount": post,
                "pre_payment_amount": pre,
                "pretax_credit_amounts": [],
                "reason": params.get("reason"),
                "refunds": [],
                "shipping_cost": None,
                "status": "issued",
                "subtotal": amount,
                "subtotal_excluding_tax": amount,
                "total": amount,
                "total_excluding_tax": amount,
                "total_taxes": [],
                "type": "pre_payment" if pre else "post_payment",
                "voided_at": None,
                **leaves,
            }
        )
        self.engine.tell("credit_note.created", note)
        return note

    def _amount(self, invoice: Json, params: CreditNoteCreate) -> int:
        if "amount" in params:
            return params["amount"]
        if "lines" in params:
            return sum(self._line_amount(invoice, line) for line in params["lines"])
        parts = ("credit_amount", "out_of_band_amount", "refund_amount")
        given: Json = dict(params)
        return sum(given.get(part, 0) for part in parts)

    def _line_amount(self, invoice: Json, line: CreditedLine) -> int:
        if "amount" in line:
            return line["amount"]
        if "unit_amount" in line:
            return line["unit_amount"] * line.get("quantity", 1)
        named = line.get("invoice_line_item")
        for one in invoice["lines"]["data"]:
            if one["id"] == named:
                amount: int = one["amount"]
                return amount
        raise Refused(f"No such invoice line item: '{named}'", code="resource_missing")
