"""Changes of plan, quantity and cycle, and the prorations they bring about."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

from ledger.simulator import pricing
from ledger.simulator.catalogue import plan_of, shown
from ledger.simulator.engine import Json
from ledger.simulator.family import merged_metadata
from ledger.simulator.invoice_lines import Wording
from ledger.simulator.moments import half_away, period_around, spoken_day
from ledger.simulator.refusals import Refused, missing
from ledger.simulator.subscription_shape import (
    PAID,
    ItemParams,
    SubscriptionUpdate,
    items_of,
    mirrored,
)

if TYPE_CHECKING:
    from ledger.simulator.simulator import Simulator


_BILLED = frozenset({"items", "trial_end", "billing_cycle_anchor"})


class Changes:
    """Changes the subscriptions of one account."""

    def __init__(self, simulator: Simulator) -> None:
        self.sim = simulator
        self.engine = simulator.engine

    def apply(self, subscription: Json, params: SubscriptionUpdate) -> Json:
        """Carry out what an update says of items, anchor and trial."""
        before = subscription
        if subscription["status"] == "incomplete" and _BILLED & params.keys():
            raise Refused("An incomplete subscription cannot be changed in this way.", param="id")
        ends_trial = self._move_trial(subscription, params)
        subscription = self.engine.get("subscription", subscription["id"])
        resets = ends_trial or params.get("billing_cycle_anchor") == "now"
        if "items" in params:
            items = self.changed_items(subscription, params["items"])
            resets = resets or _interval_differs(before["items"]["data"], items)
            subscription = self._with_items(subscription, items)
        if "items" not in params and not resets:
            return subscription
        behavior = params.get("proration_behavior", "create_prorations")
        at = int(params.get("proration_date", self.engine.now))
        runs = before["status"] in PAID and subscription["status"] in PAID
        if resets:
            subscription = self._reset(before, subscription, behavior, prorates=runs)
        elif runs and behavior != "none":
            self._prorate(before, subscription, at)
            if behavior == "always_invoice":
                self.sim.billing.invoice_now(subscription, [], "subscription_update")
        self.sim.features.refresh(subscription["customer"])
        return self.engine.get("subscription", subscription["id"])

    def begin_anew(self, subscription: Json) -> None:
        """Begin a period now and invoice it at once."""
        subscription = self._with_items(subscription, self._items_from_now(subscription))
        lines = self.sim.billing.lines_in_advance(subscription, subscription["items"]["data"])
        self.sim.billing.watch(subscription)
        self.sim.billing.invoice_now(subscription, lines, "subscription_cycle")

    def credit_unused(self, subscription: Json) -> None:
        """Credit what is left of the present periods."""
        for item in subscription["items"]["data"]:
            self._credit(subscription, item, self.engine.now)

    # ----- items

    def changed_items(self, subscription: Json, given: list[ItemParams]) -> list[Json]:
        """Return a subscription's items after changes, additions and removals."""
        items = {item["id"]: item for item in subscription["items"]["data"]}
        for change in given:
            if "id" not in change:
                added = self._added(subscription, change)
                items[added["id"]] = added
            elif change["id"] not in items:
                raise missing("subscription_item", change["id"], "items[0][id]")
            elif change.get("deleted"):
                del items[change["id"]]
            else:
                changed = self._changed(items[change["id"]], change)
                customer = subscription["customer"]
                items[change["id"]] = self.sim.beginnings.with_discounts(changed, customer, change)
        if not items:
            raise Refused("A subscription must have at least one active plan.", param="items")
        return list(items.values())

    def _added(self, subscription: Json, change: ItemParams) -> Json:
        price = self.sim.beginnings.price_of(change)
        if price["currency"] != subscription["currency"]:
            raise Refused("The price has another currency than the subscription.", param="items")
        trial_end = subscription["trial_end"] if subscription["status"] == "trialing" else None
        anchor = subscription["billing_cycle_anchor"]
        item = self.sim.beginnings.item(
            subscription["id"],
            subscription["customer"],
            price,
            change,
            anchor=anchor,
            trial_end=trial_end,
        )
        for known in subscription["items"]["data"]:
            if known["price"]["recurring"]["interval"] == price["recurring"]["interval"]:
                item["current_period_start"] = known["current_period_start"]
                item["current_period_end"] = known["current_period_end"]
        return item

    def _changed(self, item: Json, change: ItemParams) -> Json:
        leaves: dict[str, Any] = {}
        if "price" in change or "plan" in change or "price_data" in change:
            price = self.sim.beginnings.price_of(change)
            leaves |= {"price": shown(price), "plan": plan_of(price)}
            metered = price["recurring"]["usage_type"] == "metered"
            leaves["quantity"] = None if metered else change.get("quantity", item["quantity"] or 1)
        elif "quantity" in change:
            leaves["quantity"] = change["quantity"]
        if "tax_rates" in change:
            leaves["tax_rates"] = self.sim.tax_rates.named_all(change["tax_rates"])
        if "metadata" in change:
            leaves["metadata"] = merged_metadata(item, change["metadata"])
        return {**item, **leaves}

    def _with_items(self, subscription: Json, items: list[Json]) -> Json:
        return self.engine.change(
            subscription, items=items_of(subscription["id"], items), **mirrored(items)
        )

    def _items_from_now(self, subscription: Json) -> list[Json]:
        now = self.engine.now
        moved = []
        for item in subscription["items"]["data"]:
            recurring = item["price"]["recurring"]
            _, end = period_around(
                subscription["billing_cycle_anchor"],
                recurring["interval"],
                recurring["interval_count"],
                now,
            )
            moved.append({**item, "current_period_start": now, "current_period_end": end})
        return moved

    # ----- trials and cycles

    def _move_trial(self, subscription: Json, params: SubscriptionUpdate) -> bool:
        """Move or end a trial; return whether it ended now."""
        end = params.get("trial_end")
        if end is None:
            return False
        if end == "now":
            if subscription["status"] != "trialing":
                return False
            ended = self.engine.change(subscription, trial_end=self.engine.now)
            if self.sim.billing.ends_for_want_of_a_method(ended):
                return False
            self.engine.change(ended, status="active")
            return True
        if subscription["status"] not in ("trialing", "active", "past_due"):
            raise Refused("This subscription cannot be given a trial.", param="trial_end")
        end = int(end)
        if end <= self.engine.now:
            raise Refused("Invalid timestamp: must be in the future.", param="trial_end")
        items = [{**i, "current_period_end": end} for i in subscription["items"]["data"]]
        moved = self._with_items(
            self.engine.change(
                subscription,
                status="trialing",
                trial_start=subscription["trial_start"] or self.engine.now,
                trial_end=end,
                billing_cycle_anchor=end,
            ),
            items,
        )
        self.sim.billing.watch(moved)
        self.sim.billing.watch_trial(moved)
        return False

    def _reset(self, before: Json, after: Json, behavior: str, *, prorates: bool) -> Json:
        """Begin the cycle anew now: credit the old periods, charge the new ones at once."""
        now = self.engine.now
        after = self.engine.change(after, billing_cycle_anchor=now)
        after = self._with_items(after, self._items_from_now(after))
        self.sim.billing.watch(after)
        if after["status"] == "trialing":
            return after
        if prorates and behavior != "none":
            for item in before["items"]["data"]:
                self._credit(before, item, now)
        lines = self.sim.billing.lines_in_advance(after, after["items"]["data"])
        self.sim.billing.invoice_now(after, lines, "subscription_update")
        return self.engine.get("subscription", after["id"])

    # ----- prorations

    def _prorate(self, before: Json, after: Json, at: int) -> None:
        old = {item["id"]: item for item in before["items"]["data"]}
        new = {item["id"]: item for item in after["items"]["data"]}
        for item_id in dict.fromkeys([*old, *new]):
            was, now = old.get(item_id), new.get(item_id)
            same = (
                was
                and now
                and (was["price"]["id"], was["quantity"]) == (now["price"]["id"], now["quantity"])
            )
            if same:
                continue
            if was:
                self._credit(before, was, at)
            if now:
                self._debit(after, now, at)

    def _credit(self, subscription: Json, item: Json, at: int) -> None:
        amount = self._part(subscription, item, at)
        if amount:
            text = f"Unused time on {self._product(item)} after {spoken_day(at)}"
            credited = self._credited_by(subscription, item)
            self._keep(subscription, item, at, (text, -amount), credited)

    def _debit(self, subscription: Json, item: Json, at: int) -> None:
        amount = self._part(subscription, item, at)
        if amount:
            text = f"Remaining time on {self._product(item)} after {spoken_day(at)}"
            self._keep(subscription, item, at, (text, amount), None)

    def _part(self, subscription: Json, item: Json, at: int) -> int:
        """Return what the rest of the item's period costs (minor units), discounts taken off."""
        start, end = item["current_period_start"], item["current_period_end"]
        if item["quantity"] is None or end <= at:
            return 0
        price = self.engine.get("price", item["price"]["id"])
        amount = pricing.exact_amount(price, item["quantity"])
        billing = self.sim.billing
        own = billing.in_force(item["_"]["discounts"])
        for discount in [*own, *billing.discounts_in_force(subscription)]:
            if percent := discount["_"]["coupon"]["percent_off"]:
                amount *= 1 - Fraction(str(percent)) / 100
        return half_away(amount * Fraction(end - max(at, start), end - start))

    def _keep(
        self,
        subscription: Json,
        item: Json,
        at: int,
        said: tuple[str, int],
        credited: Json | None,
    ) -> None:
        customer = self.engine.get("customer", subscription["customer"])
        text, amount = said
        self.sim.invoice_items.keep(
            Wording(text, amount, item["quantity"], at, item["current_period_end"], False),
            customer=customer,
            currency=subscription["currency"],
            price=item["price"],
            subscription=subscription["id"],
            subscription_item=item["id"],
            credited=credited,
            tax_rates=item["tax_rates"],
        )

    def _product(self, item: Json) -> str:
        name: str = self.engine.get("product", item["price"]["product"])["name"]
        return name

    def _credited_by(self, subscription: Json, item: Json) -> Json | None:
        """Return which line of which invoice charged what is credited now."""
        for invoice in reversed(self.sim.invoices.of_subscription(subscription["id"])):
            lines = [
                line["id"]
                for line in invoice["lines"]["data"]
                if (details := line["parent"]["subscription_item_details"])
                and details["subscription_item"] == item["id"]
                and line["amount"] > 0
            ]
            if lines:
                return {"invoice": invoice["id"], "invoice_line_items": lines[-1:]}
        return None


def _interval_differs(before: list[Json], after: list[Json]) -> bool:
    """Return whether an item that stays is billed in another rhythm."""
    rhythm = {i["id"]: _rhythm(i) for i in before}
    return any(i["id"] in rhythm and rhythm[i["id"]] != _rhythm(i) for i in after)


def _rhythm(item: Json) -> tuple[str, int]:
    recurring = item["price"]["recurring"]
    return recurring["interval"], recurring["interval_count"]
