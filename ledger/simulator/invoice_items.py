"""Invoice items: amounts that wait for an invoice to take them in."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, TypedDict, Unpack

from ledger.simulator import pricing
from ledger.simulator.catalogue import Metadata, exact_decimal, shown
from ledger.simulator.engine import Json
from ledger.simulator.family import Family, merged_metadata
from ledger.simulator.invoice_lines import (
    Wording,
    line,
    of_invoice_item,
    of_subscription_item,
    pricing_of,
)
from ledger.simulator.moments import half_up
from ledger.simulator.refusals import Refused, needs


class InvoiceItemParams(TypedDict, total=False):
    """Parameters of an invoice item; amounts in minor units."""

    amount: int
    description: str | None
    discountable: bool
    metadata: Metadata
    period: dict[str, int]
    price: str
    pricing: dict[str, str]
    quantity: int
    tax_rates: list[str]
    unit_amount_decimal: str


class InvoiceItemCreate(InvoiceItemParams, total=False):
    """Parameters of a new invoice item."""

    customer: str
    currency: str
    invoice: str
    subscription: str


class InvoiceItems(Family):
    """Invoice items."""

    kind = "invoiceitem"

    def __init__(self, simulator: Any) -> None:
        super().__init__(simulator)
        self._waiting: defaultdict[str, list[str]] = defaultdict(list)

    def create(self, **params: Unpack[InvoiceItemCreate]) -> Json:
        """Make an invoice item, for a draft invoice or for the next one."""
        if "customer" not in params:
            raise needs("customer")
        customer = self.sim.customers.named(params["customer"], "customer")
        invoice = params.get("invoice")
        if invoice and self.sim.invoices.named(invoice, "invoice")["status"] != "draft":
            raise Refused("Invoice is no longer editable.", code="invoice_not_editable")
        with self.engine.call(customer):
            item = self._new(customer, params)
            if invoice:
                self.sim.invoices.take_in(invoice)
                item = self.retrieve(item["id"])
            return item

    def _new(self, customer: Json, params: InvoiceItemCreate) -> Json:
        now = self.engine.now
        price_id = params.get("price") or params.get("pricing", {}).get("price")
        price = self.sim.prices.named(price_id, "price") if price_id else None
        quantity = params.get("quantity", 1)
        if price:
            amount, currency = pricing.amount(price, quantity), price["currency"]
        else:
            amount = params.get("amount", 0)
            currency = params.get("currency") or customer["currency"] or "usd"
            if "unit_amount_decimal" in params:
                amount = half_up(exact_decimal(params["unit_amount_decimal"]) * quantity)
        customer = self.sim.customers.use_currency(customer, currency)
        self.engine.tell("customer.updated", customer)
        period = params.get("period", {"end": now, "start": now})
        return self.keep(
            Wording(
                params.get("description") or "",
                amount,
                quantity,
                period["start"],
                period["end"],
                params.get("discountable", amount > 0),
            ),
            customer=customer,
            currency=currency,
            price=price and shown(price),
            subscription=params.get("subscription"),
            metadata=params.get("metadata", {}),
            invoice=params.get("invoice"),
            tax_rates=self.sim.tax_rates.named_all(params.get("tax_rates", [])),
        )

    def keep(
        self,
        wording: Wording,
        *,
        customer: Json,
        currency: str,
        price: Json | None,
        subscription: str | None = None,
        subscription_item: str | None = None,
        credited: Json | None = None,
        **more: Any,
    ) -> Json:
        """Keep an amount for an invoice; with a subscription item it is a proration."""
        parent = subscription and {
            "subscription_details": {
                "subscription": subscription,
                "subscription_item": subscription_item,
            },
            "type": "subscription_details",
        }
        item = self.engine.save(
            {
                "id": self.engine.new_id("ii"),
                "object": "invoiceitem",
                "amount": wording.amount,
                "currency": currency,
                "customer": customer["id"],
                "customer_account": None,
                "date": self.engine.now,
                "description": wording.description or None,
                "discountable": wording.is_discountable,
                "discounts": [],
                "invoice": more.get("invoice"),
                "livemode": False,
                "metadata": more.get("metadata", {}),
                "parent": parent,
                "period": {"end": wording.end, "start": wording.start},
                "pricing": price and pricing_of(price),
                "proration": subscription_item is not None,
                "quantity": wording.quantity,
                "quantity_decimal": str(wording.quantity),
                "tax_rates": more.get("tax_rates", []),
                "test_clock": customer["test_clock"],
                "_": {"price": price, "credited": credited, "line": self.engine.new_id("il")},
            }
        )
        if item["invoice"] is None:
            self._waiting[customer["id"]].append(item["id"])
        self.engine.tell("invoiceitem.created", item)
        return item

    def update(self, invoiceitem: str, **changes: Unpack[InvoiceItemParams]) -> Json:
        """Change an item that no finalised invoice has taken in."""
        known = self._free(invoiceitem)
        leaves: dict[str, Any] = {
            key: value
            for key, value in changes.items()
            if key in ("amount", "description", "discountable", "metadata", "period", "quantity")
        }
        with self.engine.call(known):
            if "metadata" in leaves:
                leaves["metadata"] = merged_metadata(known, leaves["metadata"])
            changed = self.engine.change(known, **leaves)  # Stripe has no event for this
            if known["invoice"]:
                self.sim.invoices.take_in(known["invoice"])
            return changed

    def delete(self, invoiceitem: str) -> Json:
        """Delete an item that no finalised invoice has taken in."""
        known = self._free(invoiceitem)
        with self.engine.call(known):
            self.engine.tell("invoiceitem.deleted", known)
            self.engine.remove(self.kind, invoiceitem)
            if known["invoice"]:
                self.sim.invoices.take_in(known["invoice"])
        return {"id": invoiceitem, "object": "invoiceitem", "deleted": True}

    def waiting(self, customer: str, subscription: str | None, currency: str) -> list[Json]:
        """Return the items that the customer's next invoice takes in, oldest first."""
        items = [self.engine.find(self.kind, item) for item in self._waiting[customer]]
        return [
            item
            for item in items
            if item
            and item["invoice"] is None
            and item["currency"] == currency
            and _subscription_of(item) in (None, subscription)
        ]

    def taken_in(self, item: Json, invoice: str) -> None:
        """Let an invoice have the item."""
        self.engine.change(item, invoice=invoice)
        self._waiting[item["customer"]].remove(item["id"])

    def of_invoice(self, invoice: str) -> list[Json]:
        """Return the items that an invoice has taken in, oldest first."""
        return [item for item in self.all() if item["invoice"] == invoice]

    def line_of(self, item: Json) -> Json:
        """Return the invoice line of an item."""
        subscription = _subscription_of(item)
        if item["proration"]:
            parent = of_subscription_item(
                subscription or "",
                item["parent"]["subscription_details"]["subscription_item"],
                invoice_item=item["id"],
                credited=item["_"]["credited"],
            )
        else:
            parent = of_invoice_item(item["id"], subscription)
        wording = Wording(
            item["description"],
            item["amount"],
            item["quantity"],
            item["period"]["start"],
            item["period"]["end"],
            item["discountable"],
        )
        made = line(
            item["_"]["line"],
            wording,
            price=item["_"]["price"],
            tax_rates=item["tax_rates"],
            parent=parent,
        )
        return {**made, "metadata": item["metadata"]}

    def _free(self, invoiceitem: str) -> Json:
        item = self.retrieve(invoiceitem)
        invoice = self.engine.find("invoice", item["invoice"])
        if invoice and invoice["status"] != "draft":
            raise Refused("This invoice item is no longer editable.", code="invoice_not_editable")
        return item


def _subscription_of(item: Json) -> str | None:
    parent = item["parent"]
    return parent["subscription_details"]["subscription"] if parent else None
