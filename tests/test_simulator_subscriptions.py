"""The simulated Stripe's subscriptions: how they begin, are billed, fail, pause and end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from ledger.simulator import NEWEST, AccountSettings, Behaviour, Refused, Simulator

T0 = 1_767_225_600  # 2026-01-01T00:00:00Z
DAY = 86_400
HOUR = 3_600

Json = dict[str, Any]


@dataclass
class Shop:
    """A shop with one product, a customer with a card, and a clock at T0."""

    sim: Simulator
    product: str
    price: str
    customer: str
    card: str

    @staticmethod
    def opened(**settings: Any) -> Shop:
        sim = Simulator(7, T0, AccountSettings(**settings))
        product = sim.products.create(name="Pro")["id"]
        price = sim.prices.create(
            product=product, currency="usd", unit_amount=3_000, recurring={"interval": "month"}
        )["id"]
        customer = sim.customers.create(email="andi@example.test", name="Andi")["id"]
        card = sim.payment_methods.attach("pm_card_visa", customer=customer)["id"]
        sim.customers.update(customer, invoice_settings={"default_payment_method": card})
        return Shop(sim, product, price, customer, card)

    def new_price(self, **terms: Any) -> str:
        terms = {"currency": "usd", "recurring": {"interval": "month"}, **terms}
        price: str = self.sim.prices.create(product=self.product, **terms)["id"]
        return price

    def subscribe(self, **params: Any) -> str:
        items = [{"price": params.pop("price", self.price)}]
        made = self.sim.subscriptions.create(
            **{"customer": self.customer, "items": items, **params}
        )
        subscription: str = made["id"]
        return subscription

    def subscription(self, subscription: str) -> Json:
        return self.sim.subscriptions.retrieve(subscription)

    def status(self, subscription: str) -> str:
        status: str = self.subscription(subscription)["status"]
        return status

    def item(self, subscription: str) -> Json:
        item: Json = self.subscription(subscription)["items"]["data"][0]
        return item

    def pass_days(self, days: float) -> None:
        self.sim.advance(self.sim.now + int(days * DAY))

    def let_card(self, **behaviour: Any) -> None:
        self.sim.payment_methods.behave(self.card, Behaviour(**behaviour))

    def told(self, since: int = 0) -> list[str]:
        return [event.type for event in self.sim.events[since:]]

    def last_invoice(self, subscription: str) -> Json:
        return self.sim.invoices.of_subscription(subscription)[-1]


@pytest.fixture
def shop() -> Shop:
    return Shop.opened()


def test_a_subscription_begins_incomplete_and_is_active_once_its_invoice_is_paid(
    shop: Shop,
) -> None:
    before = len(shop.sim.events)

    subscription = shop.subscribe()

    events = [event.body(NEWEST) for event in shop.sim.events[before:]]
    statuses = [
        e["data"]["object"]["status"] for e in events if "subscription" in e["type"].split(".")
    ]
    assert statuses == ["incomplete", "active"]
    assert {event["created"] for event in events} == {T0}
    assert len({event["request"]["id"] for event in events}) == 1
    assert sorted(shop.told(before)) == sorted(
        "customer.updated invoice.created customer.subscription.created payment_intent.created"
        " invoice.updated invoice.finalized charge.succeeded payment_intent.succeeded"
        " invoice.updated invoice.paid invoice.payment_succeeded invoice_payment.paid"
        " customer.subscription.updated".split()
    )
    assert shop.status(subscription) == "active"


def test_a_renewal_waits_an_hour_as_a_draft_and_nobody_asked_for_it(shop: Shop) -> None:
    subscription = shop.subscribe()
    before = len(shop.sim.events)

    shop.sim.advance(shop.item(subscription)["current_period_end"])

    draft = shop.last_invoice(subscription)
    assert (draft["status"], draft["billing_reason"]) == ("draft", "subscription_cycle")
    assert draft["automatically_finalizes_at"] == draft["created"] + HOUR
    shop.sim.advance(shop.sim.now + HOUR)
    assert shop.last_invoice(subscription)["status"] == "paid"
    assert "invoice.upcoming" in shop.told(before)
    assert all(event.body(NEWEST)["request"]["id"] is None for event in shop.sim.events[before:])


def test_months_end_where_they_end_and_come_back_to_the_anchor(shop: Shop) -> None:
    shop.sim.advance(T0 + 30 * DAY)  # the 31st of January
    subscription = shop.subscribe()

    ends = []
    for _ in range(3):
        ends.append(shop.item(subscription)["current_period_end"])
        shop.sim.advance(ends[-1])

    assert ends == [T0 + (31 + 27) * DAY, T0 + (31 + 28 + 30) * DAY, T0 + (31 + 28 + 31 + 29) * DAY]


@pytest.mark.parametrize(
    ("action", "status"),
    [("cancel", "canceled"), ("unpaid", "unpaid"), ("past_due", "past_due"), ("pause", "paused")],
)
def test_what_follows_the_last_retry_is_the_accounts_setting(action: str, status: str) -> None:
    shop = Shop.opened(final_action=action, retry_after_days=(3, 5))
    subscription = shop.subscribe()
    shop.let_card(decline="insufficient_funds")
    due = shop.item(subscription)["current_period_end"] + HOUR

    shop.sim.advance(due)
    first = shop.last_invoice(subscription)
    shop.sim.advance(due + 3 * DAY)
    second = shop.last_invoice(subscription)
    assert shop.status(subscription) == "past_due"
    assert shop.sim.customers.retrieve(shop.customer)["delinquent"]
    shop.sim.advance(due + 8 * DAY)

    assert (first["attempt_count"], first["next_payment_attempt"]) == (1, due + 3 * DAY)
    assert (second["attempt_count"], second["next_payment_attempt"]) == (2, due + 8 * DAY)
    last = shop.last_invoice(subscription)
    assert (last["attempt_count"], last["next_payment_attempt"]) == (3, None)
    assert shop.status(subscription) == status
    if action == "cancel":
        details = shop.subscription(subscription)["cancellation_details"]
        assert details["reason"] == "payment_failed"
    if action == "pause":
        paused = shop.subscription(subscription)["status_details"]["paused"]
        assert paused["subscription"]["type"] == "final_payment_failure"


def test_a_card_that_works_again_is_charged_by_a_retry(shop: Shop) -> None:
    subscription = shop.subscribe()
    shop.let_card(decline="do_not_honor", failures=2)

    shop.pass_days(45)

    invoice = shop.last_invoice(subscription)
    assert (invoice["status"], invoice["attempt_count"]) == ("paid", 3)
    assert shop.status(subscription) == "active"
    assert not shop.sim.customers.retrieve(shop.customer)["delinquent"]


def test_a_lost_card_is_not_charged_again_until_there_is_another(shop: Shop) -> None:
    subscription = shop.subscribe()
    shop.let_card(decline="lost_card")
    due = shop.item(subscription)["current_period_end"] + HOUR
    shop.sim.advance(due + 4 * DAY)
    failed = shop.told().count("charge.failed")
    assert shop.last_invoice(subscription)["attempt_count"] == 2

    card = shop.sim.payment_methods.attach("pm_card_mastercard", customer=shop.customer)["id"]
    shop.sim.customers.update(shop.customer, invoice_settings={"default_payment_method": card})
    shop.pass_days(5)

    assert failed == 1
    assert shop.last_invoice(subscription)["status"] == "paid"


def test_the_decline_is_told_by_the_charge_and_the_intent_and_not_by_the_invoice(
    shop: Shop,
) -> None:
    subscription = shop.subscribe()
    shop.let_card(decline="insufficient_funds")
    shop.sim.advance(shop.item(subscription)["current_period_end"] + HOUR)

    told = {event.type: event.body(NEWEST)["data"]["object"] for event in shop.sim.events}

    error = told["payment_intent.payment_failed"]["last_payment_error"]
    assert (error["code"], error["decline_code"]) == ("card_declined", "insufficient_funds")
    assert error["advice_code"] == "try_again_later"
    assert told["charge.failed"]["outcome"]["network_decline_code"] == "51"
    assert "last_payment_error" not in told["invoice.payment_failed"]
    reference = told["payment_intent.payment_failed"]["payment_details"]["order_reference"]
    assert reference == told["invoice.payment_failed"]["id"]


def test_a_card_that_asks_for_the_customer_waits_for_them(shop: Shop) -> None:
    subscription = shop.subscribe()
    shop.let_card(authenticates=True)
    before = len(shop.sim.events)
    shop.sim.advance(shop.item(subscription)["current_period_end"] + HOUR)
    assert {"invoice.payment_action_required", "payment_intent.requires_action"} <= set(
        shop.told(before)
    )
    assert shop.status(subscription) == "past_due"

    intent = shop.last_invoice(subscription)["_"]["payment_intent"]
    shop.sim.payment_intents.authenticate(intent)

    assert shop.status(subscription) == "active"


def test_a_first_invoice_that_is_not_paid_expires_after_23_hours(shop: Shop) -> None:
    shop.let_card(decline="generic_decline")
    subscription = shop.subscribe()
    assert shop.status(subscription) == "incomplete"
    assert shop.last_invoice(subscription)["next_payment_attempt"] is None

    shop.sim.advance(T0 + 23 * HOUR)

    assert shop.status(subscription) == "incomplete_expired"
    assert shop.last_invoice(subscription)["status"] == "void"
    shop.pass_days(60)
    assert len(shop.sim.invoices.of_subscription(subscription)) == 1


def test_error_if_incomplete_makes_nothing(shop: Shop) -> None:
    shop.let_card(decline="insufficient_funds")

    with pytest.raises(Refused) as refused:
        shop.subscribe(payment_behavior="error_if_incomplete")

    assert (refused.value.status, refused.value.code) == (402, "card_declined")
    assert shop.sim.subscriptions.all() == []


def test_a_trial_is_announced_three_days_before_it_ends_and_costs_nothing(shop: Shop) -> None:
    subscription = shop.subscribe(trial_period_days=14)
    assert shop.last_invoice(subscription)["status"] == "paid"
    assert shop.last_invoice(subscription)["total"] == 0

    shop.sim.advance(T0 + 11 * DAY - 1)
    assert "customer.subscription.trial_will_end" not in shop.told()
    shop.sim.advance(T0 + 11 * DAY)
    assert "customer.subscription.trial_will_end" in shop.told()
    shop.sim.advance(T0 + 14 * DAY + HOUR)

    assert shop.status(subscription) == "active"
    assert shop.last_invoice(subscription)["amount_paid"] == 3_000


@pytest.mark.parametrize(
    ("behavior", "status"),
    [("cancel", "canceled"), ("pause", "paused"), ("create_invoice", "past_due")],
)
def test_a_trial_without_a_card_ends_as_it_was_told_to(
    shop: Shop, behavior: str, status: str
) -> None:
    shop.sim.payment_methods.detach(shop.card)
    subscription = shop.subscribe(
        trial_period_days=7,
        trial_settings={"end_behavior": {"missing_payment_method": behavior}},
    )

    shop.sim.advance(T0 + 7 * DAY + HOUR)

    assert shop.status(subscription) == status
    if status == "paused":
        assert "customer.subscription.paused" in shop.told()


def test_an_end_set_for_the_periods_end_may_be_taken_back(shop: Shop) -> None:
    subscription = shop.subscribe()
    end = shop.item(subscription)["current_period_end"]
    shop.pass_days(3)

    scheduled = shop.sim.subscriptions.update(
        subscription,
        cancel_at_period_end=True,
        cancellation_details={"feedback": "too_expensive", "comment": "Sorry"},
    )
    assert scheduled["status"] == "active"
    assert (scheduled["cancel_at"], scheduled["canceled_at"]) == (end, T0 + 3 * DAY)
    assert scheduled["cancellation_details"]["reason"] == "cancellation_requested"
    kept = shop.sim.subscriptions.update(subscription, cancel_at_period_end=False)
    assert (kept["cancel_at"], kept["canceled_at"]) == (None, None)
    shop.sim.subscriptions.update(subscription, cancel_at_period_end=True)
    shop.sim.advance(end)

    ended = shop.subscription(subscription)
    assert (ended["status"], ended["ended_at"]) == ("canceled", end)
    assert ended["canceled_at"] == T0 + 3 * DAY
    assert ended["cancel_at_period_end"]


def test_an_end_now_forgets_the_end_that_was_set(shop: Shop) -> None:
    subscription = shop.subscribe()
    shop.sim.subscriptions.update(subscription, cancel_at_period_end=True)
    shop.pass_days(1)

    ended = shop.sim.subscriptions.cancel(subscription)

    assert ended["ended_at"] == ended["canceled_at"] == T0 + DAY
    assert (ended["cancel_at"], ended["cancel_at_period_end"]) == (None, False)


def test_who_comes_back_has_another_subscription(shop: Shop) -> None:
    first = shop.subscribe()
    shop.sim.subscriptions.cancel(first)

    assert shop.subscribe() != first
    with pytest.raises(Refused, match="No such subscription"):
        shop.sim.subscriptions.cancel(first)


def test_more_seats_are_prorated_on_the_next_invoice_or_at_once(shop: Shop) -> None:
    subscription = shop.subscribe()
    item = shop.item(subscription)
    half = (item["current_period_start"] + item["current_period_end"]) // 2
    shop.sim.advance(half)

    shop.sim.subscriptions.update(subscription, items=[{"id": item["id"], "quantity": 3}])
    waiting = [i["amount"] for i in shop.sim.invoice_items.all()]
    shop.sim.subscriptions.update(
        subscription,
        items=[{"id": item["id"], "quantity": 4}],
        proration_behavior="always_invoice",
    )

    assert waiting == [-1_500, 4_500]
    invoice = shop.last_invoice(subscription)
    assert (invoice["billing_reason"], invoice["total"]) == ("subscription_update", 4_500)
    assert invoice["status"] == "paid"
    credited = invoice["lines"]["data"][0]["parent"]["subscription_item_details"]
    assert credited["proration_details"]["credited_items"] is not None


def test_another_interval_begins_a_new_period_and_is_invoiced_at_once(shop: Shop) -> None:
    subscription = shop.subscribe()
    yearly = shop.new_price(unit_amount=30_000, recurring={"interval": "year"})
    shop.pass_days(1)

    shop.sim.subscriptions.update(
        subscription, items=[{"id": shop.item(subscription)["id"], "price": yearly}]
    )

    assert shop.item(subscription)["current_period_end"] == T0 + DAY + 365 * DAY
    assert shop.last_invoice(subscription)["total"] == 30_000 - half_up(3_000 * 30, 31)


def half_up(numerator: int, denominator: int) -> int:
    return (2 * numerator + denominator) // (2 * denominator)


def test_a_downgrade_leaves_credit_that_the_next_invoice_uses(shop: Shop) -> None:
    dear = shop.new_price(unit_amount=90_000)
    subscription = shop.subscribe(price=dear)
    shop.sim.subscriptions.update(
        subscription,
        items=[{"id": shop.item(subscription)["id"], "price": shop.price}],
        proration_behavior="always_invoice",
    )
    assert shop.sim.customers.retrieve(shop.customer)["balance"] == -87_000

    shop.pass_days(32)

    invoice = shop.last_invoice(subscription)
    assert (invoice["total"], invoice["amount_due"], invoice["status"]) == (3_000, 0, "paid")
    assert (invoice["starting_balance"], invoice["ending_balance"]) == (-87_000, -84_000)
    assert shop.sim.customers.retrieve(shop.customer)["balance"] == -84_000


@pytest.mark.parametrize(
    ("behavior", "status"),
    [("keep_as_draft", "draft"), ("void", "void"), ("mark_uncollectible", "uncollectible")],
)
def test_collection_is_paused_while_the_subscription_stays_active(
    shop: Shop, behavior: Any, status: str
) -> None:
    subscription = shop.subscribe()
    shop.sim.subscriptions.update(
        subscription, pause_collection={"behavior": behavior, "resumes_at": T0 + 40 * DAY}
    )

    shop.pass_days(35)
    assert shop.status(subscription) == "active"
    assert shop.last_invoice(subscription)["status"] == status
    shop.pass_days(40)

    assert shop.subscription(subscription)["pause_collection"] is None
    assert shop.last_invoice(subscription)["status"] == "paid"


def test_a_subscription_paused_by_request_invoices_nothing_until_resumed(shop: Shop) -> None:
    subscription = shop.subscribe()
    shop.pass_days(10)
    paused = shop.sim.subscriptions.pause(subscription)
    reason = paused["status_details"]["paused"]["subscription"]["type"]
    assert (paused["status"], reason) == ("paused", "pause_requested")
    shop.pass_days(90)
    assert len(shop.sim.invoices.of_subscription(subscription)) == 1

    resumed = shop.sim.subscriptions.resume(subscription)

    assert (resumed["status"], resumed["billing_cycle_anchor"]) == ("active", T0 + 100 * DAY)
    assert shop.item(subscription)["current_period_start"] == T0 + 100 * DAY
    assert len(shop.sim.invoices.of_subscription(subscription)) == 2


def test_a_sent_invoice_that_nobody_pays_falls_overdue(shop: Shop) -> None:
    subscription = shop.subscribe(collection_method="send_invoice", days_until_due=14)
    assert shop.status(subscription) == "active"
    shop.sim.advance(T0 + HOUR + 14 * DAY)
    assert shop.status(subscription) == "past_due"
    assert {"invoice.sent", "invoice.overdue"} <= set(shop.told())

    shop.sim.invoices.pay(shop.last_invoice(subscription)["id"], paid_out_of_band=True)

    assert shop.status(subscription) == "active"
    assert "invoice.paid" in shop.told()
    assert "invoice.payment_succeeded" not in shop.told()


def test_coupons_take_off_once_for_a_while_or_for_ever(shop: Shop) -> None:
    def totals(duration: Any, months: int | None = None) -> list[int]:
        terms: Any = {"percent_off": 50.0, "duration": duration}
        if months:
            terms["duration_in_months"] = months
        coupon = shop.sim.coupons.create(**terms)["id"]
        subscription = shop.subscribe(discounts=[{"coupon": coupon}])
        shop.pass_days(95)
        return [i["total"] for i in shop.sim.invoices.of_subscription(subscription)]

    assert totals("once") == [1_500, 3_000, 3_000, 3_000]
    assert totals("repeating", 2) == [1_500, 1_500, 3_000, 3_000]
    assert totals("forever") == [1_500, 1_500, 1_500, 1_500]


def test_taxes_are_added_or_contained_and_discounts_come_first(shop: Shop) -> None:
    added = shop.sim.tax_rates.create(display_name="PPN", percentage=11.0, inclusive=False)["id"]
    held = shop.sim.tax_rates.create(display_name="VAT", percentage=19.0, inclusive=True)["id"]
    coupon = shop.sim.coupons.create(percent_off=10.0, duration="forever")["id"]
    discounts = [{"coupon": coupon}]

    exclusive = shop.subscribe(default_tax_rates=[added], discounts=discounts)
    inclusive = shop.subscribe(default_tax_rates=[held], discounts=discounts)

    one, other = shop.last_invoice(exclusive), shop.last_invoice(inclusive)
    assert (one["subtotal"], one["total_excluding_tax"], one["total"]) == (3_000, 2_700, 2_997)
    assert other["total"] == 2_700
    assert other["total_taxes"][0]["amount"] == 2_700 - half_up(2_700 * 100, 119)


def test_tiers_and_meters_are_billed_as_they_say(shop: Shop) -> None:
    tiers: Any = [{"up_to": 2, "unit_amount": 1_000}, {"up_to": "inf", "unit_amount": 600}]
    graduated = shop.new_price(tiers=tiers, tiers_mode="graduated")
    volume = shop.new_price(tiers=tiers, tiers_mode="volume")
    meter = shop.sim.meters.create(display_name="Calls", event_name="call")["id"]
    metered = shop.new_price(
        unit_amount_decimal="0.5",
        recurring={"interval": "month", "usage_type": "metered", "meter": meter},
    )

    def first_total(price: str) -> int:
        made = shop.subscribe(items=[{"price": price, "quantity": 5}])
        total: int = shop.last_invoice(made)["total"]
        return total

    assert (first_total(graduated), first_total(volume)) == (3_800, 3_000)
    used = shop.subscribe(items=[{"price": metered}])
    shop.sim.meters.report(
        event_name="call", payload={"stripe_customer_id": shop.customer, "value": "301"}
    )
    shop.pass_days(32)
    assert shop.last_invoice(used)["total"] == 151


def test_a_schedule_changes_the_plan_when_its_phase_begins(shop: Shop) -> None:
    subscription = shop.subscribe()
    dear = shop.new_price(unit_amount=9_000)
    schedule = shop.sim.subscription_schedules.create(from_subscription=subscription)
    present = schedule["phases"][0]
    phases: Any = [
        {"items": [{"price": shop.price}], "end_date": present["end_date"]},
        {"items": [{"price": dear}], "iterations": 2},
    ]
    shop.sim.subscription_schedules.update(schedule["id"], phases=phases)

    shop.pass_days(32)
    assert shop.item(subscription)["price"]["id"] == dear
    shop.pass_days(62)

    done = shop.sim.subscription_schedules.retrieve(schedule["id"])
    assert done["status"] == "released"
    assert shop.subscription(subscription)["schedule"] is None


def test_a_deleted_customers_subscriptions_end(shop: Shop) -> None:
    subscription = shop.subscribe()

    shop.sim.customers.delete(shop.customer)

    assert shop.status(subscription) == "canceled"
    assert {"customer.deleted", "customer.subscription.deleted"} <= set(shop.told())
    with pytest.raises(Refused, match="No such customer"):
        shop.sim.customers.retrieve(shop.customer)
    assert shop.sim.truth.status_of(shop.customer, T0) == "deleted"
    gone = {"id": shop.customer, "object": "customer", "deleted": True}
    assert shop.sim.final_objects()[shop.customer] == gone


def test_a_test_clock_lets_years_pass_for_its_customers_only(shop: Shop) -> None:
    subscription = shop.subscribe()
    clock = shop.sim.test_clocks.create(frozen_time=T0 + 1_000 * DAY)["id"]
    customer = shop.sim.customers.create(test_clock=clock)["id"]
    card = shop.sim.payment_methods.attach("pm_card_visa", customer=customer)["id"]
    shop.sim.customers.update(customer, invoice_settings={"default_payment_method": card})
    of_the_clock = shop.subscribe(customer=customer)

    shop.sim.test_clocks.advance(clock, frozen_time=T0 + 1_065 * DAY)

    assert len(shop.sim.invoices.of_subscription(of_the_clock)) == 3
    assert len(shop.sim.invoices.of_subscription(subscription)) == 1
    assert shop.sim.now == T0
    assert {"test_helpers.test_clock.advancing", "test_helpers.test_clock.ready"} <= set(
        shop.told()
    )


def test_features_are_granted_while_the_subscription_gives_them(shop: Shop) -> None:
    feature = shop.sim.features.create(lookup_key="reports", name="Reports")["id"]
    shop.sim.features.attach(shop.product, entitlement_feature=feature)
    subscription = shop.subscribe()
    assert [e["lookup_key"] for e in shop.sim.features.entitlements_of(shop.customer)] == [
        "reports"
    ]

    shop.sim.subscriptions.cancel(subscription)

    assert shop.sim.features.entitlements_of(shop.customer) == []
    assert shop.told().count("entitlements.active_entitlement_summary.updated") == 2
