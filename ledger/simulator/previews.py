"""Previews: what the next invoice would say, without making it."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from ledger.simulator.billing import next_end
from ledger.simulator.engine import Json
from ledger.simulator.invoice_shape import new_invoice
from ledger.simulator.moments import period_around
from ledger.simulator.refusals import Refused, needs
from ledger.simulator.subscription_shape import ENDED, ItemParams

if TYPE_CHECKING:
    from ledger.simulator.simulator import Simulator


class PreviewDetails(TypedDict, total=False):
    """What the subscription previewed would have."""

    items: list[ItemParams]
    proration_behavior: str
    proration_date: int


class Previews:
    """Previews of one account's invoices."""

    def __init__(self, simulator: Simulator) -> None:
        self.sim = simulator
        self.engine = simulator.engine

    def create_preview(
        self,
        *,
        customer: str | None = None,
        subscription: str | None = None,
        subscription_details: PreviewDetails | None = None,
    ) -> Json:
        """Return the next invoice of a subscription as it would be now, or of given items."""
        details = subscription_details or PreviewDetails()
        known = self.engine.find("subscription", subscription)
        if subscription and known is None:
            self.sim.subscriptions.named(subscription, "subscription")
        if known is None:
            if not customer or "items" not in details:
                raise needs("subscription")
            known = self._imagined(customer, details)
        elif details.get("items"):
            known = self._changed(known, details["items"])
        if known["status"] in ENDED:
            raise Refused("No upcoming invoices for customer", code="invoice_upcoming_none")
        return self.upcoming(known, next_end(known))

    def upcoming(self, subscription: Json, at: int) -> Json:
        """Return the invoice that the period beginning at `at` (unix seconds) would bring."""
        items = []
        for item in subscription["items"]["data"]:
            recurring = item["price"]["recurring"]
            anchor = subscription["billing_cycle_anchor"]
            start, end = period_around(
                anchor, recurring["interval"], recurring["interval_count"], at
            )
            items.append({**item, "current_period_start": start, "current_period_end": end})
        customer = self.engine.get("customer", subscription["customer"])
        waiting = self.sim.invoice_items.waiting(
            customer["id"], subscription["id"], subscription["currency"]
        )
        lines = [
            *self.sim.billing.lines_in_advance(subscription, items),
            *(self.sim.invoice_items.line_of(item) for item in waiting),
        ]
        discounts = self.sim.billing.discounts_in_force(subscription)
        earlier = min(i["current_period_start"] for i in subscription["items"]["data"])
        invoice = new_invoice(
            self.engine.ids.of_family("upcoming_in", "1", self.engine.now),
            self.engine.settings,
            customer,
            now=at,
            currency=subscription["currency"],
            billing_reason="upcoming",
            parent={
                "quote_details": None,
                "subscription_details": {
                    "metadata": subscription["metadata"],
                    "subscription": subscription["id"],
                },
                "type": "subscription_details",
            },
            period_start=earlier,
            period_end=at,
            discounts=[one["id"] for one in discounts],
            collection_method=subscription["collection_method"],
            default_tax_rates=subscription["default_tax_rates"],
        )
        invoice["_"] = {
            "payment_intent": None,
            "charge": None,
            "paid_out_of_band": False,
            "discounts": discounts,
            "days_until_due": None,
        }
        return self.sim.invoices.with_lines(invoice, lines, customer["balance"])

    def _changed(self, subscription: Json, changes: list[ItemParams]) -> Json:
        items = self.sim.changes.changed_items(subscription, changes)
        return {**subscription, "items": {**subscription["items"], "data": items}}

    def _imagined(self, customer: str, details: PreviewDetails) -> Json:
        owner = self.sim.customers.named(customer, "customer")
        prices = [self.sim.beginnings.price_of(item) for item in details["items"]]
        now = self.engine.now
        items = [
            self.sim.beginnings.item("", owner["id"], price, item, anchor=now, trial_end=None)
            for price, item in zip(prices, details["items"], strict=True)
        ]
        return {
            "id": "",
            "billing_cycle_anchor": now,
            "collection_method": "charge_automatically",
            "currency": prices[0]["currency"],
            "customer": owner["id"],
            "default_tax_rates": [],
            "items": {"data": items},
            "metadata": {},
            "status": "active",
            "_": {"discounts": []},
        }
