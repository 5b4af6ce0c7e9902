"""The billing clock of subscriptions: periods, renewals, trials, and what each invoice asks."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

from ledger.money import written
from ledger.simulator import pricing
from ledger.simulator.engine import Json
from ledger.simulator.invoice_lines import Wording, line, of_subscription_item
from ledger.simulator.moments import DAY, HOUR, half_up, period_around
from ledger.simulator.subscription_shape import ENDED, discounted, items_of

if TYPE_CHECKING:
    from ledger.simulator.simulator import Simulator

INCOMPLETE_EXPIRES_HOURS = 23
TRIAL_NOTICE_DAYS = 3


class Billing:
    """Moves the subscriptions of one account through their periods."""

    def __init__(self, simulator: Simulator) -> None:
        self.sim = simulator
        self.engine = simulator.engine

    # ----- what falls due

    def watch(self, subscription: Json) -> None:
        """Note when the subscription's next period begins, and when to announce it."""
        at = next_end(subscription)
        self.engine.later(at, self._period_ends, subscription["id"], at)
        days = self.engine.settings.upcoming_days
        if days is not None and at - days * DAY > self.engine.now:
            self.engine.later(at - days * DAY, self._announce, subscription["id"], at)

    def watch_trial(self, subscription: Json) -> None:
        """Note when to say that a trial ends."""
        notice = subscription["trial_end"] - TRIAL_NOTICE_DAYS * DAY
        at = max(notice, self.engine.now)
        self.engine.later(at, self._trial_will_end, subscription["id"], subscription["trial_end"])

    def watch_first_payment(self, subscription: Json) -> None:
        """Note when a subscription that is not paid for expires."""
        at = self.engine.now + INCOMPLETE_EXPIRES_HOURS * HOUR
        self.engine.later(at, self._expire, subscription["id"])

    def watch_cancellation(self, subscription: Json) -> None:
        """Note when a subscription is to be cancelled."""
        at = subscription["cancel_at"]
        self.engine.later(at, self._cancel_due, subscription["id"], at)

    def _period_ends(self, subscription_id: str, at: int) -> None:
        subscription = self.engine.get("subscription", subscription_id)
        if subscription["status"] in ENDED | {"paused"} or next_end(subscription) != at:
            return
        cancel_at = subscription["cancel_at"]
        if subscription["cancel_at_period_end"] or (cancel_at is not None and cancel_at <= at):
            self.sim.subscriptions.end(subscription, at_its_time=True)
        elif subscription["status"] == "trialing":
            self._end_trial(subscription)
        elif subscription["status"] != "incomplete":
            self.renew(subscription)

    def _trial_will_end(self, subscription_id: str, at: int) -> None:
        subscription = self.engine.get("subscription", subscription_id)
        if subscription["status"] == "trialing" and subscription["trial_end"] == at:
            self.engine.tell("customer.subscription.trial_will_end", subscription)

    def _expire(self, subscription_id: str) -> None:
        subscription = self.engine.get("subscription", subscription_id)
        if subscription["status"] != "incomplete":
            return
        expired = self.engine.change(
            subscription, status="incomplete_expired", ended_at=self.engine.now
        )
        self.engine.tell("customer.subscription.updated", expired)
        for invoice in self.sim.invoices.of_subscription(subscription_id):
            if invoice["status"] == "open":
                self.sim.invoices.void(invoice)

    def _cancel_due(self, subscription_id: str, at: int) -> None:
        subscription = self.engine.get("subscription", subscription_id)
        if subscription["cancel_at"] == at and subscription["status"] not in ENDED:
            self.sim.subscriptions.end(subscription, at_its_time=True)

    def _announce(self, subscription_id: str, at: int) -> None:
        subscription = self.engine.get("subscription", subscription_id)
        if subscription["status"] not in ("active", "past_due", "trialing"):
            return
        if next_end(subscription) == at and subscription["cancel_at"] is None:
            preview = self.sim.previews.upcoming(subscription, at)
            self.engine.tell("invoice.upcoming", preview)

    # ----- periods

    def _end_trial(self, subscription: Json) -> None:
        if not self.ends_for_want_of_a_method(subscription):
            self.renew(self.engine.change(subscription, status="active"))

    def ends_for_want_of_a_method(self, subscription: Json) -> bool:
        """End or pause a subscription whose trial is over and that nothing pays for."""
        customer = self.engine.get("customer", subscription["customer"])
        has_method = (
            subscription["default_payment_method"]
            or customer["invoice_settings"]["default_payment_method"]
            or customer["default_source"]
        )
        behavior = subscription["trial_settings"]["end_behavior"]["missing_payment_method"]
        sends = subscription["collection_method"] == "send_invoice"
        if sends or has_method or behavior == "create_invoice":
            return False
        if behavior == "cancel":
            self.sim.subscriptions.end(subscription)
        else:
            self.sim.subscriptions.become_paused(subscription, "trial_end_without_payment_method")
        return True

    def renew(self, subscription: Json) -> None:
        """Begin the next period of the items whose period ends now, and invoice it."""
        now = self.engine.now
        ended = [i for i in subscription["items"]["data"] if i["current_period_end"] <= now]
        moved = [
            self.begin_period(item, subscription["billing_cycle_anchor"])
            if item["current_period_end"] <= now
            else item
            for item in subscription["items"]["data"]
        ]
        subscription = self.engine.change(
            subscription,
            items=items_of(subscription["id"], moved),
            **self._live_discounts(subscription),
        )
        lines = [one for item in ended for one in self._lines_at_renewal(subscription, item)]
        earlier = min(item["current_period_start"] for item in ended)
        self.invoice_cycle(subscription, lines, (earlier, now))

    def begin_period(self, item: Json, anchor: int) -> Json:
        """Return an item in the period that holds now."""
        recurring = item["price"]["recurring"]
        start, end = period_around(
            anchor, recurring["interval"], recurring["interval_count"], self.engine.now
        )
        live = self.in_force(item["_"]["discounts"])
        return {**discounted(item, live), "current_period_start": start, "current_period_end": end}

    def invoice_cycle(
        self, subscription: Json, lines: Sequence[Json], period: tuple[int, int]
    ) -> None:
        """Draft the invoice of a new period; how it goes on depends on status and pauses."""
        pause = subscription["pause_collection"]
        behavior = pause and pause["behavior"]
        advances = subscription["status"] != "unpaid" and behavior is None
        invoice = self.draft(
            subscription, lines, "subscription_cycle", period, auto_advance=advances
        )
        subscription = self.engine.change(subscription, latest_invoice=invoice["id"])
        self.engine.tell("customer.subscription.updated", subscription)
        if behavior in ("void", "mark_uncollectible"):
            opened = self.sim.invoices.finalize(invoice)
            if opened["status"] == "open" and behavior == "void":
                self.sim.invoices.void(opened)
            elif opened["status"] == "open":
                self.sim.invoices.write_off(opened, "subscription_paused")
        self.watch(self.engine.get("subscription", subscription["id"]))

    def invoice_now(self, subscription: Json, lines: Sequence[Json], reason: str) -> Json:
        """Draft and finalise an invoice at once, and try to collect it."""
        invoice = self.draft(subscription, lines, reason, None, auto_advance=False)
        subscription = self.engine.change(subscription, latest_invoice=invoice["id"])
        opened = self.sim.invoices.finalize(invoice)
        if opened["status"] == "open":
            if opened["collection_method"] == "send_invoice":
                self.engine.tell("invoice.sent", opened)
            else:
                self.sim.dunning.first_attempt(opened["id"])
        return self.engine.get("invoice", invoice["id"])

    def draft(
        self,
        subscription: Json,
        lines: Sequence[Json],
        reason: str,
        period: tuple[int, int] | None,
        *,
        auto_advance: bool,
    ) -> Json:
        """Make the draft of a subscription's invoice, with the items that wait for it."""
        customer = self.engine.get("customer", subscription["customer"])
        customer = self.sim.customers.use_currency(customer, subscription["currency"])
        discounts = self.discounts_in_force(subscription)
        waiting = self.sim.invoice_items.waiting(
            customer["id"], subscription["id"], subscription["currency"]
        )
        invoice = self.sim.invoices.draft(
            customer,
            currency=subscription["currency"],
            lines=lines,
            items=waiting,
            reason=reason,
            subscription=subscription,
            discounts=discounts,
            period=period,
            auto_advance=auto_advance,
            collection_method=subscription["collection_method"],
            days_until_due=subscription["days_until_due"],
            default_tax_rates=subscription["default_tax_rates"],
        )
        own = [d for one in lines for d in one["_"]["discounts"]]
        self._spend(subscription, [*discounts, *own])
        return invoice

    # ----- lines

    def lines_in_advance(
        self, subscription: Json, items: Sequence[Json], share: Fraction = Fraction(1)
    ) -> list[Json]:
        """Return a line for the present period of each licensed item, or for a share of it."""
        return [
            self._line(subscription, item, item["quantity"], share=share)
            for item in items
            if item["price"]["recurring"]["usage_type"] == "licensed"
        ]

    def trial_lines(self, subscription: Json) -> list[Json]:
        """Return the lines of a trial: they cost nothing."""
        return [
            self._line(subscription, item, item["quantity"], is_free=True)
            for item in subscription["items"]["data"]
        ]

    def usage_line(self, subscription: Json, item: Json, until: int) -> Json:
        """Return the line for what a metered item has used in its period until then."""
        used = self.sim.meters.usage_of(
            item["price"]["recurring"]["meter"],
            subscription["customer"],
            item["current_period_start"],
            until,
        )
        return self._line(subscription, item, used)

    def _lines_at_renewal(self, subscription: Json, ended: Json) -> list[Json]:
        if ended["price"]["recurring"]["usage_type"] == "metered":
            return [self.usage_line(subscription, ended, ended["current_period_end"])]
        now = next(i for i in subscription["items"]["data"] if i["id"] == ended["id"])
        return self.lines_in_advance(subscription, [now])

    def _line(
        self,
        subscription: Json,
        item: Json,
        quantity: int,
        *,
        share: Fraction = Fraction(1),
        is_free: bool = False,
    ) -> Json:
        price = self.engine.get("price", item["price"]["id"])
        product = self.engine.get("product", price["product"])
        recurring = price["recurring"]
        amount = 0 if is_free else half_up(pricing.exact_amount(price, quantity) * share)
        if is_free:
            text = f"Free trial for {quantity or 0} × {product['name']}"
        else:
            each = price["unit_amount"]
            rate = written(each, price["currency"]) if each is not None else "tiered"
            text = f"{quantity} × {product['name']} (at {rate} / {recurring['interval']})"
        return line(
            self.engine.new_id("il"),
            Wording(
                text, amount, quantity, item["current_period_start"], item["current_period_end"]
            ),
            price=item["price"],
            tax_rates=item["tax_rates"],
            parent=of_subscription_item(subscription["id"], item["id"]),
            discounts=self.in_force(item["_"]["discounts"]),
        )

    # ----- discounts

    def discounts_in_force(self, subscription: Json) -> list[Json]:
        """Return the discounts an invoice made now takes off: its own, else the customer's."""
        own = subscription["_"]["discounts"]
        if not own:
            customer = self.engine.get("customer", subscription["customer"])
            shown = customer["discount"]
            found = self.engine.find("discount", shown and shown["id"])
            own = [found] if found else []
        return self.in_force(own)

    def in_force(self, discounts: Sequence[Json]) -> list[Json]:
        """Return those of some discounts whose time is not over."""
        now = self.engine.now
        return [d for d in discounts if d["end"] is None or d["end"] > now]

    def _live_discounts(self, subscription: Json) -> Json:
        """Return the subscription's discounts without those whose time is over."""
        live = self.in_force(subscription["_"]["discounts"])
        if len(live) == len(subscription["_"]["discounts"]):
            return {}
        return {
            "discounts": [d["id"] for d in live],
            "_": {**subscription["_"], "discounts": live},
        }

    def _spend(self, subscription: Json, used: Sequence[Json]) -> None:
        """Take away the discounts that hold for one invoice only."""
        spent = {d["id"] for d in used if d["_"]["coupon"]["duration"] == "once"}
        if not spent:
            return
        current = self.engine.get("subscription", subscription["id"])
        left = [d for d in current["_"]["discounts"] if d["id"] not in spent]
        items = [
            discounted(item, [d for d in item["_"]["discounts"] if d["id"] not in spent])
            for item in current["items"]["data"]
        ]
        self.engine.change(
            current,
            discounts=[d["id"] for d in left],
            items=items_of(current["id"], items),
            _={**current["_"], "discounts": left},
        )
        customer = self.engine.get("customer", subscription["customer"])
        if customer["discount"] and customer["discount"]["id"] in spent:
            customer = self.engine.change(customer, discount=None)
            self.engine.tell("customer.updated", customer)


def next_end(subscription: Json) -> int:
    """Return when the period that ends first does so (unix seconds)."""
    ends: int = min(item["current_period_end"] for item in subscription["items"]["data"])
    return ends
