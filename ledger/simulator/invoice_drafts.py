"""Drafts of invoices: what they take in, and what it adds up to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, TypedDict, Unpack

from ledger.simulator import invoice_lines
from ledger.simulator.catalogue import Metadata
from ledger.simulator.engine import Json
from ledger.simulator.family import Family, merged_metadata
from ledger.simulator.invoice_shape import new_invoice
from ledger.simulator.refusals import Refused, needs, not_now


class InvoiceParams(TypedDict, total=False):
    """What may change about a draft, and in part about an open invoice."""

    auto_advance: bool
    collection_method: str
    custom_fields: list[dict[str, str]]
    days_until_due: int
    default_payment_method: str | None
    default_tax_rates: list[str]
    description: str | None
    discounts: list[dict[str, str]]
    due_date: int
    footer: str | None
    metadata: Metadata
    payment_settings: dict[str, Any]
    statement_descriptor: str


class InvoiceCreate(InvoiceParams, total=False):
    """Parameters of an invoice by hand."""

    currency: str
    customer: str
    pending_invoice_items_behavior: str
    subscription: str


class Drafts(Family):
    """Invoices as long as they are drafts."""

    kind = "invoice"

    def __init__(self, simulator: Any) -> None:
        super().__init__(simulator)
        self._of_subscription: defaultdict[str, list[str]] = defaultdict(list)

    def create(self, **params: Unpack[InvoiceCreate]) -> Json:
        """Draft an invoice by hand, with the customer's waiting items unless excluded."""
        if "customer" not in params:
            raise needs("customer")
        customer = self.sim.customers.named(params["customer"], "customer")
        with self.engine.call(customer):
            currency = params.get("currency") or customer["currency"] or "usd"
            subscription = self.engine.find("subscription", params.get("subscription"))
            takes_in = params.get("pending_invoice_items_behavior", "include") == "include"
            items = self.sim.invoice_items.waiting(
                customer["id"], params.get("subscription"), currency
            )
            return self.draft(
                self.sim.customers.use_currency(customer, currency),
                currency=currency,
                lines=[],
                items=items if takes_in or subscription else [],
                reason="manual",
                subscription=subscription,
                auto_advance=params.get("auto_advance", False),
                collection_method=params.get("collection_method", "charge_automatically"),
                days_until_due=params.get("days_until_due"),
                discounts=self._discounts(params, customer),
                default_tax_rates=self.sim.tax_rates.named_all(params.get("default_tax_rates")),
                description=params.get("description"),
                metadata=params.get("metadata", {}),
                default_payment_method=params.get("default_payment_method"),
            )

    def draft(
        self,
        customer: Json,
        *,
        currency: str,
        lines: Sequence[Json],
        items: Sequence[Json],
        reason: str,
        subscription: Json | None = None,
        discounts: Sequence[Json] = (),
        period: tuple[int, int] | None = None,
        **leaves: Any,
    ) -> Json:
        """Make a draft of lines and waiting items; it finalises itself an hour later."""
        now = self.engine.now
        start, end = period or (now, now)
        taken = [*lines, *(self.sim.invoice_items.line_of(item) for item in items)]
        invoice = new_invoice(
            self.engine.new_id("in"),
            self.engine.settings,
            customer,
            now=now,
            currency=currency,
            billing_reason=reason,
            parent=_parent(subscription),
            period_start=start,
            period_end=end,
            discounts=[one["id"] for one in discounts],
            **leaves,
        )
        invoice["_"] = {
            "payment_intent": None,
            "charge": None,
            "paid_out_of_band": False,
            "discounts": list(discounts),
            "days_until_due": leaves.get("days_until_due"),
        }
        invoice = self.engine.save(self.with_lines(invoice, taken, customer["balance"]))
        for item in items:
            self.sim.invoice_items.taken_in(item, invoice["id"])
        if subscription:
            self._of_subscription[subscription["id"]].append(invoice["id"])
        if invoice["auto_advance"]:
            at = now + self.engine.settings.draft_seconds
            invoice = self.engine.change(invoice, automatically_finalizes_at=at)
            self.engine.later(at, self.sim.invoices.finalize_by_itself, invoice["id"])
        self.engine.tell("customer.updated", self.sim.customers.retrieve(customer["id"]))
        self.engine.tell("invoice.created", invoice)
        return invoice

    def with_lines(self, invoice: Json, lines: Sequence[Json], balance: int) -> Json:
        """Return an invoice with lines, discounted, taxed and added up."""
        rated = [
            one
            if one["_"]["tax_rates"]
            else {**one, "_": {**one["_"], "tax_rates": invoice["default_tax_rates"]}}
            for one in lines
        ]
        priced = invoice_lines.with_taxes(
            invoice_lines.with_discounts(rated, invoice["_"]["discounts"])
        )
        return {
            **invoice,
            **invoice_lines.totals(priced, balance),
            "lines": invoice_lines.of_invoice(priced, invoice["id"], invoice["currency"]),
        }

    def take_in(self, invoice: str) -> Json:
        """Add up a draft again after its items have changed."""
        known = self.retrieve(invoice)
        own = [
            one
            for one in known["lines"]["data"]
            if one["parent"]["type"] == "subscription_item_details"
        ]
        items = self.sim.invoice_items.of_invoice(invoice)
        lines = [*own, *(self.sim.invoice_items.line_of(item) for item in items)]
        changed = self.engine.save(self.with_lines(known, lines, known["starting_balance"]))
        self.engine.tell("invoice.updated", changed)
        return changed

    def update(self, invoice: str, **changes: Unpack[InvoiceParams]) -> Json:
        """Change a draft, or what may change about a finalised invoice."""
        known = self.retrieve(invoice)
        leaves: dict[str, Any] = dict(changes)
        fixed = set(leaves) - {"auto_advance", "metadata", "default_payment_method", "description"}
        if fixed and known["status"] != "draft":
            raise not_now(
                "Finalized invoices can't be updated in this way.", "invoice_not_editable"
            )
        leaves.pop("days_until_due", None)
        if "metadata" in leaves:
            leaves["metadata"] = merged_metadata(known, leaves["metadata"])
        customer = self.engine.get("customer", known["customer"])
        with self.engine.call(known):
            rates = leaves.pop("default_tax_rates", None)
            if rates is not None:
                leaves["default_tax_rates"] = self.sim.tax_rates.named_all(rates)
            if "discounts" in leaves:
                made = self._discounts(changes, customer)
                leaves["discounts"] = [one["id"] for one in made]
                leaves["_"] = {**known["_"], "discounts": made}
            changed = self.engine.change(known, **leaves)
            if "discounts" in leaves or rates is not None:
                return self.take_in(invoice)
            self.engine.tell("invoice.updated", changed)
            return changed

    def delete(self, invoice: str) -> Json:
        """Delete a draft; its items wait again."""
        known = self._in_status(invoice, "draft")
        if known["parent"]:
            raise Refused("You can only delete drafts of one-off invoices.")
        with self.engine.call(known):
            self.engine.tell("invoice.deleted", known)
            self.engine.remove(self.kind, invoice)
        return {"id": invoice, "object": "invoice", "deleted": True}

    def of_subscription(self, subscription: str) -> list[Json]:
        """Return a subscription's invoices, oldest first."""
        found = (self.engine.find(self.kind, one) for one in self._of_subscription[subscription])
        return [invoice for invoice in found if invoice]

    def _discounts(self, params: Any, customer: Json) -> list[Json]:
        made = []
        for given in params.get("discounts") or []:
            coupon, code = self.sim.coupons.meant(given)
            made.append(
                self.sim.coupons.redeem(
                    coupon, customer=customer["id"], subscription=None, code=code
                )
            )
        return made

    def _in_status(self, invoice: str, *statuses: str) -> Json:
        known = self.retrieve(invoice)
        if known["status"] not in statuses:
            raise not_now(
                f"This invoice is {known['status']}; only invoices that are"
                f" {' or '.join(statuses)} allow this.",
                "invoice_not_editable",
            )
        return known


def _parent(subscription: Json | None) -> Json | None:
    if subscription is None:
        return None
    return {
        "quote_details": None,
        "subscription_details": {
            "metadata": subscription["metadata"],
            "subscription": subscription["id"],
        },
        "type": "subscription_details",
    }


def subscription_of(invoice: Json) -> str | None:
    """Return the id of the subscription an invoice is for."""
    parent = invoice["parent"]
    return parent["subscription_details"]["subscription"] if parent else None
