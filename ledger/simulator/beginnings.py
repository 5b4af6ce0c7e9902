"""How a subscription begins: its items, its trial, its first invoice."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

from ledger.simulator.engine import Json
from ledger.simulator.moments import DAY, period_around
from ledger.simulator.payment_methods import declined
from ledger.simulator.refusals import Refused, needs
from ledger.simulator.subscription_shape import (
    ItemParams,
    SubscriptionCreate,
    discounted,
    new_item,
    new_subscription,
)

if TYPE_CHECKING:
    from ledger.simulator.simulator import Simulator


class Beginnings:
    """Begins the subscriptions of one account."""

    def __init__(self, simulator: Simulator) -> None:
        self.sim = simulator
        self.engine = simulator.engine

    def make(
        self, customer: Json, params: SubscriptionCreate, *, by_schedule: bool = False
    ) -> Json:
        """Make a subscription that nobody has heard of yet; by a schedule it is active at once."""
        given = params.get("items")
        if not given:
            raise needs("items")
        prices = [self.price_of(item) for item in given]
        if len({price["currency"] for price in prices}) > 1:
            raise Refused("All items must have the same currency.", param="items")
        currency = prices[0]["currency"]
        if customer["currency"] not in (None, currency):
            raise Refused(
                "You cannot combine currencies on a single customer. This customer has"
                f" {customer['currency']}.",
                param="currency",
            )
        if params.get("default_payment_method"):
            method = self.sim.payment_methods.resolve(params["default_payment_method"] or "")
            params = {**params, "default_payment_method": method["id"]}
        trial_end = self._trial_end(params)
        charges = params.get("collection_method", "charge_automatically") == "charge_automatically"
        if charges and not by_schedule and not trial_end:
            self._check_can_pay(customer, params)
        now = self.engine.now
        anchor = trial_end or params.get("billing_cycle_anchor") or now
        subscription_id = self.engine.new_id("sub")
        items = [
            self.item(
                subscription_id, customer["id"], price, item, anchor=anchor, trial_end=trial_end
            )
            for price, item in zip(prices, given, strict=True)
        ]
        waits = charges and not by_schedule
        status = "trialing" if trial_end else "incomplete" if waits else "active"
        rates = self.sim.tax_rates.named_all(params.get("default_tax_rates"))
        return self.engine.save(
            new_subscription(
                subscription_id,
                customer,
                items,
                params,
                now=now,
                anchor=anchor,
                currency=currency,
                status=status,
                tax_rates=rates,
                trial_end=trial_end,
            )
        )

    def price_of(self, item: ItemParams) -> Json:
        """Return the price an item names, or makes."""
        if "price_data" in item:
            return self.sim.prices.create(**item["price_data"])
        price = self.sim.prices.named(
            item.get("price") or item.get("plan") or "", "items[0][price]"
        )
        if price["type"] != "recurring":
            raise Refused(
                "The price specified is set to `type=one_time` but this field only accepts"
                " prices with `type=recurring`.",
                param="items[0][price]",
            )
        return price

    def item(
        self,
        subscription: str,
        customer: str,
        price: Json,
        given: ItemParams,
        *,
        anchor: int,
        trial_end: int | None,
    ) -> Json:
        """Return a new item in its first period."""
        now = self.engine.now
        recurring = price["recurring"]
        start, end = period_around(anchor, recurring["interval"], recurring["interval_count"], now)
        item = new_item(
            self.engine.new_id("si"),
            subscription,
            price,
            given,
            created=now,
            start=max(start, now),
            end=trial_end or end,
            tax_rates=self.sim.tax_rates.named_all(given.get("tax_rates")),
        )
        return self.with_discounts(item, customer, given)

    def with_discounts(self, item: Json, customer: str, given: ItemParams) -> Json:
        """Return an item with the discounts it is given instead of those it had."""
        if "discounts" not in given:
            return item
        meant = [self.sim.coupons.meant(one) for one in given["discounts"] or []]
        for discount in item["_"]["discounts"]:
            self.sim.coupons.end(discount)
        made = [
            self.sim.coupons.redeem(
                coupon,
                customer=customer,
                subscription=item["subscription"],
                subscription_item=item["id"],
                code=code,
            )
            for coupon, code in meant
        ]
        return discounted(item, made)

    def start(
        self, subscription: Json, params: SubscriptionCreate, *, by_schedule: bool = False
    ) -> Json:
        """Make the first invoice, tell of the subscription, and try to collect."""
        self._add_invoice_items(subscription, params)
        billing = self.sim.billing
        subscription = self.engine.get("subscription", subscription["id"])
        if subscription["status"] == "trialing":
            lines = billing.trial_lines(subscription)
        else:
            share = self._first_share(subscription)
            lines = billing.lines_in_advance(subscription, subscription["items"]["data"], share)
        waits = by_schedule or subscription["collection_method"] == "send_invoice"
        invoice = billing.draft(
            subscription, lines, "subscription_create", None, auto_advance=waits
        )
        subscription = self.engine.change(subscription, latest_invoice=invoice["id"])
        if waits or subscription["status"] == "trialing":
            billing.watch(subscription)
        if subscription["status"] == "trialing":
            billing.watch_trial(subscription)
        self._schedule_end(subscription, params)
        self.engine.tell(
            "customer.subscription.created", self.engine.get("subscription", subscription["id"])
        )
        if not waits:
            self._collect(subscription, self.sim.invoices.finalize(invoice), params)
        self.sim.features.refresh(subscription["customer"])
        self.engine.tell(
            "customer.subscription.updated", self.engine.get("subscription", subscription["id"])
        )
        return self.engine.get("subscription", subscription["id"])

    def _collect(self, subscription: Json, invoice: Json, params: SubscriptionCreate) -> None:
        if invoice["status"] == "paid":
            return
        waits = params.get("payment_behavior") == "default_incomplete"
        outcome = None
        if not waits:
            off_session = params.get("off_session", False)
            outcome = self.sim.dunning.attempt_first_invoice(invoice, off_session=off_session)
        if outcome != "succeeded" and subscription["status"] == "incomplete":
            self.sim.billing.watch_first_payment(subscription)

    def _trial_end(self, params: SubscriptionCreate) -> int | None:
        now = self.engine.now
        days = params.get("trial_period_days")
        if days:
            return now + days * DAY
        end = params.get("trial_end")
        if end in (None, "now"):
            return None
        if int(end) <= now:
            raise Refused("Invalid timestamp: must be in the future.", param="trial_end")
        return int(end)

    def _check_can_pay(self, customer: Json, params: SubscriptionCreate) -> None:
        """Refuse what Stripe refuses before anything is made."""
        behavior = params.get("payment_behavior", "allow_incomplete")
        if behavior == "default_incomplete":
            return
        method = (
            params.get("default_payment_method")
            or customer["invoice_settings"]["default_payment_method"]
            or customer["default_source"]
        )
        if not method:
            raise Refused(
                "This customer has no attached payment source or default payment method.",
                code="resource_missing",
            )
        if behavior == "error_if_incomplete":
            decline = self.sim.payment_methods.would_decline(method)
            if decline:
                raise declined(decline)

    def _first_share(self, subscription: Json) -> Fraction:
        """Return the share of the first period up to an anchor that was given."""
        item = subscription["items"]["data"][0]
        recurring = item["price"]["recurring"]
        start, end = period_around(
            subscription["billing_cycle_anchor"],
            recurring["interval"],
            recurring["interval_count"],
            self.engine.now,
        )
        return Fraction(end - self.engine.now, end - start)

    def _add_invoice_items(self, subscription: Json, params: Any) -> None:
        for given in params.get("add_invoice_items", []):
            self.sim.invoice_items.create(
                customer=subscription["customer"], subscription=subscription["id"], **given
            )

    def _schedule_end(self, subscription: Json, params: SubscriptionCreate) -> None:
        if params.get("cancel_at_period_end"):
            at: int | None = subscription["items"]["data"][0]["current_period_end"]
        else:
            at = params.get("cancel_at")
        if at is None:
            return
        scheduled = self.engine.change(
            subscription,
            cancel_at=at,
            cancel_at_period_end=bool(params.get("cancel_at_period_end")),
            canceled_at=self.engine.now,
            cancellation_details={
                **subscription["cancellation_details"],
                "reason": "cancellation_requested",
            },
        )
        if not scheduled["cancel_at_period_end"]:
            self.sim.billing.watch_cancellation(scheduled)
