"""What happens to subscriptions at random."""

from __future__ import annotations

from typing import Any

from ledger.simulator.moments import DAY
from ledger.simulator.random_choices import Choices
from ledger.simulator.subscription_shape import ENDED, PauseCollection

FEEDBACK = (
    "customer_service low_quality missing_features other switched_service too_complex"
    " too_expensive unused"
).split()


class SubscriptionSteps(Choices):
    """Steps about subscriptions and schedules."""

    def subscribe(self) -> None:
        """A subscription begins, in one of many ways."""
        params: Any = {"customer": self.some_customer()}
        params["items"] = [{"price": self.some_price(), **self._quantity()}]
        if self.chance.random() < 0.2:
            params["items"].append({"price": self.some_price()})
        if self.chance.random() < 0.1:
            params["items"][0]["discounts"] = [{"coupon": self.some(self.shelf.coupons)}]
        if self.chance.random() < 0.25:
            params["trial_period_days"] = self.chance.choice([1, 7, 14, 30])
            ends = self.chance.choice(["cancel", "pause", "create_invoice"])
            params["trial_settings"] = {"end_behavior": {"missing_payment_method": ends}}
        if self.chance.random() < 0.2:
            params["collection_method"] = "send_invoice"
            params["days_until_due"] = self.chance.choice([1, 14, 30])
        if self.chance.random() < 0.25:
            params["discounts"] = [{"coupon": self.some(self.shelf.coupons)}]
        if self.chance.random() < 0.2:
            params["default_tax_rates"] = [self.some(self.shelf.tax_rates)]
        if self.chance.random() < 0.1:
            params["billing_cycle_anchor"] = self.sim.now + self.chance.randrange(1, 20) * DAY
        if self.chance.random() < 0.15:
            params["payment_behavior"] = self.chance.choice(
                ["default_incomplete", "error_if_incomplete"]
            )
        if self.chance.random() < 0.1:
            params["billing_mode"] = {"type": "classic"}
        self.sim.subscriptions.create(**params)

    def _quantity(self) -> dict[str, int]:
        return {"quantity": self.chance.randrange(1, 30)} if self.chance.random() < 0.4 else {}

    def change_plan(self) -> None:
        """Another price, another number, another item."""
        subscription = self.some_subscription()
        items = subscription["items"]["data"]
        item: Any = {"id": self.some(items)["id"]}
        which = self.chance.randrange(4)
        if which == 0:
            item["price"] = self.some_price(subscription)
        elif which == 1:
            item["quantity"] = self.chance.randrange(1, 40)
        elif which == 2:
            item = {"price": self.some_price(subscription)}
        else:
            item["deleted"] = True
        behavior: Any = self.chance.choice(["create_prorations", "always_invoice", "none"])
        self.sim.subscriptions.update(subscription["id"], items=[item], proration_behavior=behavior)

    def change_subscription(self) -> None:
        """Its discount, trial, anchor, method of collection, or text."""
        subscription = self.some_subscription()["id"]
        changes: list[Any] = [
            {"discounts": [{"coupon": self.some(self.shelf.coupons)}]},
            {"discounts": [{"promotion_code": self.some(self.shelf.promotion_codes)}]},
            {"discounts": []},
            {"trial_end": "now"},
            {"trial_end": self.sim.now + self.chance.randrange(1, 30) * DAY},
            {"billing_cycle_anchor": "now"},
            {"metadata": {"step": str(self.chance.randrange(9))}},
            {"description": "Changed"},
            {"collection_method": "send_invoice", "days_until_due": 7},
            {"collection_method": "charge_automatically"},
            {"default_payment_method": self.some_card()},
            {"default_tax_rates": [self.some(self.shelf.tax_rates)]},
        ]
        self.sim.subscriptions.update(subscription, **self.chance.choice(changes))

    def cancel(self) -> None:
        """Now, with the period, at a moment, or not after all."""
        subscription = self.some_subscription()
        subscription_id = subscription["id"]
        feedback = self.chance.choice(FEEDBACK)
        which = self.chance.randrange(6)
        if which == 0:
            self.sim.subscriptions.cancel(
                subscription_id,
                cancellation_details={"feedback": feedback, "comment": "Not for me."},
                prorate=self.chance.random() < 0.5,
                invoice_now=self.chance.random() < 0.3,
            )
        elif which in (1, 2):
            self.sim.portal_sessions.cancel(subscription_id, feedback=feedback, comment=None)
        elif which == 3:
            at = self.sim.now + self.chance.randrange(1, 60) * DAY
            self.sim.subscriptions.update(subscription_id, cancel_at=at)
        else:
            scheduled = [s for s in self.sim.subscriptions.all() if s["cancel_at_period_end"]]
            known = self.some([s for s in scheduled if s["status"] not in ENDED])
            self.sim.subscriptions.update(known["id"], cancel_at_period_end=False)

    def pause_or_resume(self) -> None:
        """Pause collection or the subscription itself, or go on."""
        which = self.chance.randrange(5)
        if which == 0:
            self.sim.subscriptions.resume(self.some_of("subscription", "paused")["id"])
            return
        subscription = self.some_subscription()["id"]
        if which == 1:
            self.sim.subscriptions.pause(subscription)
        elif which == 2:
            self.sim.subscriptions.update(subscription, pause_collection=None)
        else:
            behavior: Any = self.chance.choice(["keep_as_draft", "mark_uncollectible", "void"])
            pause: PauseCollection = {"behavior": behavior}
            if self.chance.random() < 0.5:
                pause["resumes_at"] = self.sim.now + self.chance.randrange(1, 70) * DAY
            self.sim.subscriptions.update(subscription, pause_collection=pause)

    def schedule(self) -> None:
        """Changes are set for later, released, or given up."""
        which = self.chance.randrange(4)
        if which == 0:
            phases: Any = [
                {"items": [{"price": self.some_price()}], "iterations": n} for n in (1, 2)
            ]
            self.sim.subscription_schedules.create(
                customer=self.some_customer(),
                start_date=self.sim.now + self.chance.randrange(3) * DAY,
                end_behavior=self.chance.choice(["release", "cancel"]),
                phases=phases,
            )
        elif which == 1:
            subscription = self.some_subscription()
            made = self.sim.subscription_schedules.create(from_subscription=subscription["id"])
            phase = made["phases"][0]
            later: Any = {"items": [{"price": self.some_price(subscription)}], "iterations": 1}
            now: Any = {"items": phase["items"], "end_date": phase["end_date"]}
            self.sim.subscription_schedules.update(made["id"], phases=[now, later])
        else:
            running = self.some_of("subscription_schedule", "active", "not_started")["id"]
            if which == 2:
                self.sim.subscription_schedules.release(running)
            else:
                self.sim.subscription_schedules.cancel(running)
