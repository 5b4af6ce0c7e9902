"""Subscription schedules: changes of a subscription that are set for later."""

from __future__ import annotations

from typing import Any, Literal, Required, TypedDict, Unpack

from ledger.simulator.catalogue import Interval, Metadata
from ledger.simulator.engine import Json
from ledger.simulator.family import Family, merged_metadata
from ledger.simulator.moments import DAY, nth_boundary
from ledger.simulator.refusals import Refused, needs, not_now
from ledger.simulator.schedule_shape import new_phase, new_schedule
from ledger.simulator.subscription_shape import ENDED, ItemParams

EXPIRY_NOTICE_DAYS = 7
_RUNNING = ("not_started", "active")


class Duration(TypedDict, total=False):
    """How long a phase lasts."""

    interval: Required[Interval]
    interval_count: int


class PhaseParams(TypedDict, total=False):
    """One phase: which items until when; `iterations` counts billing periods."""

    items: list[ItemParams]
    start_date: int | str
    end_date: int | str
    duration: Duration
    iterations: int
    trial_end: int
    discounts: list[dict[str, str]]
    coupon: str
    proration_behavior: str
    metadata: Metadata


class ScheduleParams(TypedDict, total=False):
    """What may change about a schedule."""

    end_behavior: Literal["release", "cancel", "none", "renew"]
    metadata: Metadata
    phases: list[PhaseParams]
    proration_behavior: str


class ScheduleCreate(ScheduleParams, total=False):
    """Parameters of a new schedule."""

    customer: str
    from_subscription: str
    start_date: int | str


class SubscriptionSchedules(Family):
    """Subscription schedules."""

    kind = "subscription_schedule"

    def create(self, **params: Unpack[ScheduleCreate]) -> Json:
        """Make a schedule, for a subscription that runs or for one that it begins."""
        existing = params.get("from_subscription")
        if existing:
            subscription = self.sim.subscriptions.named(existing, "from_subscription")
            if subscription["schedule"]:
                raise Refused("The subscription has a schedule already.", param="from_subscription")
            with self.engine.call(subscription):
                return self._of(subscription, params)
        if "customer" not in params or not params.get("phases"):
            raise needs("customer" if "customer" not in params else "phases")
        customer = self.sim.customers.named(params["customer"], "customer")
        with self.engine.call(customer):
            start = self._moment(params.get("start_date", "now"))
            phases = self._phases(params["phases"], start)
            schedule = self._new(customer["id"], phases, params)
            self.engine.tell("subscription_schedule.created", schedule)
            if start <= self.engine.now:
                return self._begin(schedule["id"])
            self.engine.later(start, self._begin, schedule["id"])
            return schedule

    def _of(self, subscription: Json, params: ScheduleCreate) -> Json:
        items = [
            {"price": i["price"]["id"], "quantity": i["quantity"]}
            for i in subscription["items"]["data"]
        ]
        period = subscription["items"]["data"][0]
        phase: Json = {
            "items": items,
            "start_date": period["current_period_start"],
            "end_date": period["current_period_end"],
        }
        phases = self._phases([phase], period["current_period_start"])
        schedule = self._new(subscription["customer"], phases, params)
        schedule = self._in_phase(
            schedule, phases[0], status="active", subscription=subscription["id"]
        )
        self.engine.tell("subscription_schedule.created", schedule)
        bound = self.engine.change(subscription, schedule=schedule["id"])
        self.engine.tell("customer.subscription.updated", bound)
        self._watch(schedule)
        return schedule

    def update(self, schedule: str, **changes: Unpack[ScheduleParams]) -> Json:
        """Change the phases to come, or what follows the last one."""
        known = self._running(schedule)
        leaves: dict[str, Any] = {}
        if "end_behavior" in changes:
            leaves["end_behavior"] = changes["end_behavior"]
        if "metadata" in changes:
            leaves["metadata"] = merged_metadata(known, changes["metadata"])
        with self.engine.call(known):
            if "phases" in changes:
                leaves["phases"] = self._phases_given(known, changes)
            changed = self.engine.change(known, **leaves)
            if known["current_phase"] and "phases" in changes:
                changed = self._in_phase(changed, self._present(changed["phases"]))
            self.engine.tell("subscription_schedule.updated", changed)
            if changed["status"] == "active":
                self._watch(changed)
            return changed

    def release(self, schedule: str) -> Json:
        """Let the subscription go on without a schedule."""
        known = self._running(schedule)
        with self.engine.call(known):
            return self._release(known)

    def cancel(self, schedule: str, *, invoice_now: bool = False, prorate: bool = False) -> Json:
        """Give a schedule up, and its subscription with it."""
        known = self._running(schedule)
        with self.engine.call(known):
            subscription = self.engine.find("subscription", known["subscription"])
            canceled = self._finish(known, "canceled", canceled_at=self.engine.now)
            self.engine.tell("subscription_schedule.canceled", canceled)
            if subscription and subscription["status"] not in ENDED:
                free = self.engine.change(subscription, schedule=None)
                self.sim.subscriptions.cancel(free["id"], invoice_now=invoice_now, prorate=prorate)
            return canceled

    def subscription_ended(self, schedule: str, reason: str | None = None) -> None:
        """Let a schedule be over whose subscription has ended, or could not begin."""
        known = self.engine.find(self.kind, schedule)
        if known and known["status"] in _RUNNING:
            ended = self._finish(known, "canceled", canceled_at=self.engine.now)
            aborted = reason == "payment_failed"
            self.engine.tell(f"subscription_schedule.{'aborted' if aborted else 'canceled'}", ended)

    # ----- phases

    def _begin(self, schedule_id: str) -> Json:
        schedule = self.retrieve(schedule_id)
        if schedule["status"] != "not_started":
            return schedule
        phase = schedule["phases"][0]
        try:
            customer = self.engine.get("customer", schedule["customer"])
            subscription = self.sim.subscriptions.begin_by_schedule(
                customer,
                {"items": [_item(i) for i in phase["items"]], "metadata": phase["metadata"]},
            )
        except Refused:  # the customer is gone, or has come to another currency since
            self.subscription_ended(schedule_id)
            return self.retrieve(schedule_id)
        bound = self.engine.change(subscription, schedule=schedule_id)
        schedule = self.engine.change(schedule, subscription=subscription["id"])
        schedule = self._in_phase(schedule, phase, status="active")
        self.engine.tell("subscription_schedule.updated", schedule)
        self.engine.tell("customer.subscription.updated", bound)
        self._watch(schedule)
        return schedule

    def _watch(self, schedule: Json) -> None:
        at = schedule["current_phase"]["end_date"]
        self.engine.later(at, self._phase_ends, schedule["id"], at)
        end = schedule["phases"][-1]["end_date"]
        if at == end and end - EXPIRY_NOTICE_DAYS * DAY > self.engine.now:
            notice = end - EXPIRY_NOTICE_DAYS * DAY
            self.engine.later(notice, self._announce_end, schedule["id"], end)

    def _announce_end(self, schedule_id: str, end: int) -> None:
        schedule = self.retrieve(schedule_id)
        if schedule["status"] == "active" and schedule["phases"][-1]["end_date"] == end:
            self.engine.tell("subscription_schedule.expiring", schedule)

    def _phase_ends(self, schedule_id: str, at: int) -> None:
        schedule = self.retrieve(schedule_id)
        current = schedule["current_phase"]
        if schedule["status"] != "active" or current is None or current["end_date"] != at:
            return
        following = [p for p in schedule["phases"] if p["start_date"] >= at]
        subscription = self.sim.subscriptions.retrieve(schedule["subscription"])
        if subscription["status"] in ENDED:
            self.subscription_ended(schedule_id)
        elif following:
            phase = following[0]
            schedule = self._in_phase(schedule, phase)
            self.engine.tell("subscription_schedule.updated", schedule)
            self._watch(schedule)
            self._enter(subscription, phase)
        elif schedule["end_behavior"] == "cancel":
            done = self._finish(schedule, "completed", completed_at=self.engine.now)
            self.engine.tell("subscription_schedule.completed", done)
            free = self.engine.change(subscription, schedule=None)
            self.sim.subscriptions.end(free, reason="cancellation_requested")
        else:
            self._release(schedule)

    def _enter(self, subscription: Json, phase: Json) -> None:
        """Let the subscription have the items of a phase that begins."""
        old = subscription["items"]["data"]
        items: list[Any] = []
        for i, wanted in enumerate(phase["items"]):
            change = _item(wanted)
            items.append({**change, "id": old[i]["id"]} if i < len(old) else change)
        items += [{"id": gone["id"], "deleted": True} for gone in old[len(phase["items"]) :]]
        behavior = phase["proration_behavior"]
        self.sim.subscriptions.update(subscription["id"], items=items, proration_behavior=behavior)

    def _release(self, schedule: Json) -> Json:
        subscription = self.engine.find("subscription", schedule["subscription"])
        released = self._finish(
            schedule,
            "released",
            released_at=self.engine.now,
            released_subscription=schedule["subscription"],
            subscription=None,
        )
        self.engine.tell("subscription_schedule.released", released)
        if subscription and subscription["status"] not in ENDED:
            free = self.engine.change(subscription, schedule=None)
            self.engine.tell("customer.subscription.updated", free)
        return released

    def _finish(self, schedule: Json, status: str, **leaves: Any) -> Json:
        return self.engine.change(schedule, status=status, current_phase=None, **leaves)

    def _in_phase(self, schedule: Json, phase: Json, **leaves: Any) -> Json:
        current = {"end_date": phase["end_date"], "start_date": phase["start_date"]}
        return self.engine.change(schedule, current_phase=current, **leaves)

    def _phases_given(self, known: Json, changes: ScheduleParams) -> list[Json]:
        first = changes["phases"][0].get("start_date")
        start = known["phases"][0]["start_date"] if first is None else self._moment(first)
        phases = self._phases(changes["phases"], start)
        if known["current_phase"]:
            self._present(phases)
        return phases

    def _present(self, phases: list[Json]) -> Json:
        """Return the phase that holds now; refuse phases that are all over."""
        for phase in phases:
            if phase["end_date"] > self.engine.now:
                return phase
        raise Refused("The last phase must end in the future.", param="phases")

    def _phases(self, given: list[Any], start: int) -> list[Json]:
        phases = []
        for params in given:
            phase = self._phase(params, start)
            phases.append(phase)
            start = phase["end_date"]
        return phases

    def _phase(self, given: Any, start: int) -> Json:
        price = self.sim.prices.named(given["items"][0]["price"], "phases[0][items][0][price]")
        recurring = price["recurring"]
        if "end_date" in given:
            end = self._moment(given["end_date"])
        else:
            length = given.get("duration") or {
                "interval": recurring["interval"],
                "interval_count": recurring["interval_count"] * int(given.get("iterations", 1)),
            }
            count = int(length.get("interval_count", 1))
            end = nth_boundary(start, length["interval"], count, 1)
        return new_phase(given, price["currency"], start, end)

    def _new(self, customer: str, phases: list[Json], params: Any) -> Json:
        owner = self.engine.get("customer", customer)
        schedule_id = self.engine.new_id("sub_sched")
        return self.engine.save(
            new_schedule(schedule_id, owner, phases, params, now=self.engine.now)
        )

    def _moment(self, given: int | str) -> int:
        return self.engine.now if given == "now" else int(given)

    def _running(self, schedule: str) -> Json:
        known = self.retrieve(schedule)
        if known["status"] not in _RUNNING:
            raise not_now(
                f"This subscription schedule is {known['status']}.",
                "subscription_schedule_not_running",
            )
        return known


def _item(phase_item: Json) -> Any:
    return {"price": phase_item["price"], "quantity": phase_item["quantity"]}
