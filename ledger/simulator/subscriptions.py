"""Subscriptions: begun, changed, paused, ended."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from typing import Any, Unpack

from ledger.simulator.billing import next_end
from ledger.simulator.engine import Json
from ledger.simulator.family import Family, merged_metadata
from ledger.simulator.invoice_drafts import subscription_of
from ledger.simulator.refusals import Refused, not_now
from ledger.simulator.settings import FinalAction
from ledger.simulator.subscription_shape import (
    ENDED,
    Cancellation,
    SubscriptionCreate,
    SubscriptionUpdate,
)

_SIMPLE = (
    "collection_method",
    "days_until_due",
    "default_payment_method",
    "default_source",
    "description",
)


class Subscriptions(Family):
    """Subscriptions."""

    kind = "subscription"

    def __init__(self, simulator: Any) -> None:
        super().__init__(simulator)
        self._of_customer: defaultdict[str, list[str]] = defaultdict(list)

    def create(self, **params: Unpack[SubscriptionCreate]) -> Json:
        """Begin a subscription, with its first invoice."""
        customer = self.sim.customers.named(params.get("customer", ""), "customer")
        with self.engine.call(customer):
            subscription = self.sim.beginnings.make(customer, params)
            self._of_customer[customer["id"]].append(subscription["id"])
            self._discount(subscription, params)
            return self.sim.beginnings.start(subscription, params)

    def begin_by_schedule(self, customer: Json, params: SubscriptionCreate) -> Json:
        """Begin a subscription for a schedule: its first invoice waits an hour, as renewals do."""
        subscription = self.sim.beginnings.make(customer, params, by_schedule=True)
        self._of_customer[customer["id"]].append(subscription["id"])
        return self.sim.beginnings.start(subscription, params, by_schedule=True)

    def update(self, subscription: str, **changes: Unpack[SubscriptionUpdate]) -> Json:
        """Change a subscription."""
        known = self.retrieve(subscription)
        if known["status"] in ENDED:
            raise Refused(
                "A canceled subscription can only update its cancellation_details and metadata.",
                param="id",
            )
        with self.engine.call(known):
            leaves: dict[str, Any] = {key: changes.get(key) for key in _SIMPLE if key in changes}
            if "metadata" in changes:
                leaves["metadata"] = merged_metadata(known, changes["metadata"])
            if "default_tax_rates" in changes:
                rates = changes["default_tax_rates"]
                leaves["default_tax_rates"] = self.sim.tax_rates.named_all(rates)
            if leaves.get("default_payment_method"):
                method = self.sim.payment_methods.resolve(leaves["default_payment_method"])
                leaves["default_payment_method"] = method["id"]
            if "pause_collection" in changes:
                leaves["pause_collection"] = self._pause_collection(known, changes)
            leaves |= self._cancellation(known, changes)
            known = self.engine.change(known, **leaves)
            if known["cancel_at"] and not known["cancel_at_period_end"] and "cancel_at" in leaves:
                self.sim.billing.watch_cancellation(known)
            known = self._discount(known, changes)
            known = self.sim.changes.apply(known, changes)
            self.engine.tell("customer.subscription.updated", known)
            return self.retrieve(subscription)

    def cancel(self, subscription: str, **params: Unpack[Cancellation]) -> Json:
        """End a subscription now."""
        known = self.retrieve(subscription)
        if known["status"] in ENDED:
            raise Refused(
                f"No such subscription: '{subscription}'",
                code="resource_missing",
                param="id",
                status=404,
            )
        with self.engine.call(known):
            if params.get("prorate"):
                self.sim.changes.credit_unused(known)
            details = {
                **known["cancellation_details"],
                "reason": "cancellation_requested",
                **params.get("cancellation_details", {}),
            }
            known = self.engine.change(known, cancellation_details=details)
            if params.get("invoice_now"):
                self.sim.billing.invoice_now(known, [], "subscription_update")
            return self.end(self.retrieve(subscription))

    def pause(
        self,
        subscription: str,
        *,
        bill_for: dict[str, Any] | None = None,
        invoicing_behavior: str = "pending_invoice_item",
    ) -> Json:
        """Stop a subscription and its invoices until it is resumed."""
        known = self.retrieve(subscription)
        if known["status"] not in ("active", "past_due"):
            raise not_now("Only active subscriptions can be paused.", "subscription_not_active")
        with self.engine.call(known):
            credit = (bill_for or {}).get("unused_time_from", {}).get("type", "now")
            if credit != "none":
                self.sim.changes.credit_unused(known)
            paused = self.become_paused(known, "pause_requested")
            if invoicing_behavior == "invoice":
                self.sim.billing.invoice_now(paused, [], "subscription_update")
            return self.retrieve(subscription)

    def resume(
        self,
        subscription: str,
        *,
        billing_cycle_anchor: Any = "now",
        proration_behavior: str = "create_prorations",
    ) -> Json:
        """Go on with a paused subscription; a new period begins unless the old one goes on."""
        known = self.retrieve(subscription)
        if known["status"] != "paused":
            raise not_now("This subscription is not paused.", "subscription_not_paused")
        kind = billing_cycle_anchor
        anchor = kind["type"] if isinstance(kind, dict) else kind
        with self.engine.call(known):
            resumed = self.engine.change(known, status="active", status_details=None)
            if anchor == "now":
                resumed = self.engine.change(resumed, billing_cycle_anchor=self.engine.now)
            self.engine.tell("customer.subscription.updated", resumed)
            self.engine.tell("customer.subscription.resumed", resumed)
            runs = anchor == "unchanged" and next_end(resumed) > self.engine.now
            if runs and proration_behavior == "none":
                self.sim.billing.watch(resumed)
            else:
                self.sim.changes.begin_anew(resumed)
            self.sim.features.refresh(known["customer"])
            self.engine.tell("customer.subscription.updated", self.retrieve(subscription))
            return self.retrieve(subscription)

    def delete_discount(self, subscription: str) -> Json:
        """Take the subscription's discounts away."""
        known = self.retrieve(subscription)
        with self.engine.call(known):
            changed = self._without_discounts(known)
            self.engine.tell("customer.subscription.updated", changed)
        return {"object": "discount", "subscription": subscription, "deleted": True}

    # ----- what other families need

    def of_customer(self, customer: str) -> list[Json]:
        """Return a customer's subscriptions that have not ended, oldest first."""
        found = [self.retrieve(one) for one in self._of_customer[customer]]
        return [one for one in found if one["status"] not in ENDED]

    def end(
        self, subscription: Json, *, reason: str | None = None, at_its_time: bool = False
    ) -> Json:
        """End a subscription; `at_its_time` if that was set before, and is left as it was set."""
        now = self.engine.now
        leaves: dict[str, Any] = {"status": "canceled", "ended_at": now}
        if not at_its_time:
            leaves |= {"cancel_at": None, "cancel_at_period_end": False, "canceled_at": now}
        if reason:
            details = {**subscription["cancellation_details"], "reason": reason}
            leaves["cancellation_details"] = details
        leaves["pause_collection"] = None
        schedule = subscription["schedule"]
        ended = self.engine.change(subscription, **leaves)
        for invoice in self.sim.invoices.of_subscription(ended["id"]):
            if invoice["status"] in ("draft", "open") and invoice["auto_advance"]:
                self.sim.invoices.stop_collecting(invoice)
        self.engine.tell("customer.subscription.deleted", ended)
        if schedule:
            why = ended["cancellation_details"]["reason"]
            self.sim.subscription_schedules.subscription_ended(schedule, why)
        self.sim.features.refresh(ended["customer"])
        return ended

    def end_for_dispute(self, invoice: str | None) -> None:
        """End the subscription whose invoice's charge is disputed."""
        found = self.engine.find("invoice", invoice)
        subscription = found and self.engine.find(self.kind, subscription_of(found))
        if subscription and subscription["status"] not in ENDED:
            self.end(subscription, reason="payment_disputed")

    def become_paused(self, subscription: Json, why: str) -> Json:
        """Let a subscription be paused: nothing is invoiced while it is."""
        now = self.engine.now
        details = {
            "paused": {
                "subscription": {"type": why},
                "transitioned_at": now,
                "type": "subscription",
            }
        }
        paused = self.engine.change(subscription, status="paused", status_details=details)
        self.engine.tell("customer.subscription.updated", paused)
        self.engine.tell("customer.subscription.paused", paused)
        self.sim.features.refresh(paused["customer"])
        return paused

    def fell_behind(self, subscription: str | None) -> None:
        """Let a subscription whose invoice was not paid be past due."""
        known = self.engine.find(self.kind, subscription)
        if known and known["status"] in ("active", "trialing"):
            behind = self.engine.change(known, status="past_due")
            self.engine.tell("customer.subscription.updated", behind)

    def caught_up(self, subscription: str, invoice: Json) -> None:
        """Let a subscription be active once nothing of it is owed any more."""
        known = self.engine.find(self.kind, subscription)
        if known is None:
            return
        starts = known["status"] == "incomplete" and invoice["status"] == "paid"
        owed = known["status"] in ("past_due", "unpaid") and not any(
            self.sim.dunning.is_owed(one) for one in self.sim.invoices.of_subscription(subscription)
        )
        if starts or owed:
            active = self.engine.change(known, status="active")
            self.engine.tell("customer.subscription.updated", active)
            if starts:
                self.sim.billing.watch(active)
                self.sim.features.refresh(active["customer"])

    def final_action(self, subscription: str, action: FinalAction) -> None:
        """Do what the account has set for the time when no retry is left."""
        known = self.engine.find(self.kind, subscription)
        if known is None or known["status"] != "past_due":
            return
        if action == "cancel":
            self.end(known, reason="payment_failed")
        elif action == "unpaid":
            unpaid = self.engine.change(known, status="unpaid")
            self.engine.tell("customer.subscription.updated", unpaid)
        elif action == "pause":
            self.become_paused(known, "final_payment_failure")

    # ----- the steps of an update

    def _cancellation(self, known: Json, changes: SubscriptionUpdate) -> dict[str, Any]:
        """Return what scheduling or unscheduling an end changes."""
        leaves: dict[str, Any] = {}
        details = {**known["cancellation_details"], **changes.get("cancellation_details", {})}
        if "cancel_at_period_end" in changes:
            ends = changes["cancel_at_period_end"]
            leaves["cancel_at_period_end"] = ends
            leaves["cancel_at"] = next_end(known) if ends else None
        elif "cancel_at" in changes:
            if (changes["cancel_at"] or self.engine.now) < self.engine.now:
                raise Refused("`cancel_at` must be in the future.", param="cancel_at")
            leaves["cancel_at"] = changes["cancel_at"]
            leaves["cancel_at_period_end"] = False
        if leaves and leaves["cancel_at"] is not None:
            leaves["canceled_at"] = self.engine.now
            details["reason"] = "cancellation_requested"
        elif leaves:
            leaves["canceled_at"] = None
            details = {**dict.fromkeys(details), **changes.get("cancellation_details", {})}
        if details != known["cancellation_details"]:
            leaves["cancellation_details"] = details
        return leaves

    def _pause_collection(self, known: Json, changes: SubscriptionUpdate) -> Json | None:
        pause = changes["pause_collection"]
        if not pause:
            return None
        resumes_at = pause.get("resumes_at")
        if resumes_at:
            self.engine.later(int(resumes_at), self._resume_collection, known["id"], resumes_at)
        return {"behavior": pause["behavior"], "resumes_at": resumes_at}

    def _resume_collection(self, subscription_id: str, at: int) -> None:
        known = self.retrieve(subscription_id)
        pause = known["pause_collection"]
        if pause and pause["resumes_at"] == at and known["status"] not in ENDED:
            resumed = self.engine.change(known, pause_collection=None)
            self.engine.tell("customer.subscription.updated", resumed)

    def _discount(self, known: Json, params: Any) -> Json:
        given = params.get("discounts")
        if coupon := params.get("coupon"):
            given = [{"coupon": coupon}]
        elif code := params.get("promotion_code"):
            given = [{"promotion_code": code}]
        elif given is None and not ({"coupon", "discounts"} & params.keys()):
            return known
        kept_ids = {one["discount"] for one in given or [] if "discount" in one}
        keeps = [d for d in known["_"]["discounts"] if d["id"] in kept_ids]
        meant = [self.sim.coupons.meant(one) for one in given or [] if "discount" not in one]
        known = self._without_discounts(known, keep=kept_ids)
        made = [
            self.sim.coupons.redeem(
                coupon, customer=known["customer"], subscription=known["id"], code=code
            )
            for coupon, code in meant
        ]
        return self.engine.change(
            known,
            discounts=[d["id"] for d in [*keeps, *made]],
            _={**known["_"], "discounts": [*keeps, *made]},
        )

    def _without_discounts(self, known: Json, keep: Collection[str] = ()) -> Json:
        for discount in known["_"]["discounts"]:
            if discount["id"] not in keep:
                self.sim.coupons.end(discount)
        return self.engine.change(known, discounts=[], _={**known["_"], "discounts": []})
