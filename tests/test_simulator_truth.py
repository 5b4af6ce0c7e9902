"""The simulator's own record agrees with its events and with arithmetic done by hand."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from datetime import UTC, datetime
from fractions import Fraction
from itertools import groupby
from typing import Any

import pytest

from ledger.simulator import NEWEST, Simulator, random_business
from tests.test_simulator_subscriptions import DAY, T0, Shop

SEEDS = range(4)


@pytest.fixture
def shop() -> Shop:
    return Shop.opened()


def check_statuses(simulator: Simulator) -> int:
    """At the end of each second a status is that of the last event's snapshot."""
    told: defaultdict[str, list[tuple[int, str]]] = defaultdict(list)
    for event in simulator.events:
        obj = event.body(NEWEST)["data"]["object"]
        if obj["object"] in ("subscription", "invoice") and event.type != "invoice.upcoming":
            status = "deleted" if event.type == "invoice.deleted" else obj["status"]
            told[obj["id"]].append((event.created, status))
    for object_id, snapshots in told.items():
        times = [at for at, _ in snapshots]
        for at in {*times, times[-1] + DAY}:
            last = snapshots[bisect_right(times, at) - 1][1]
            assert simulator.truth.status_of(object_id, at) == last, (object_id, at)
    return len(told)


def check_cash(simulator: Simulator) -> None:
    """Cash is the sum of charges, refunds, disputes and fees as the objects ended."""
    ended = simulator.final_objects().values()
    collected: Counter[str] = Counter()
    refunded: Counter[str] = Counter()
    fees: Counter[str] = Counter()
    for obj in ended:
        if obj["object"] == "charge" and obj["balance_transaction"]:
            collected[obj["currency"]] += obj["amount_captured"]
        elif obj["object"] == "refund" and obj["status"] == "succeeded":
            refunded[obj["currency"]] += obj["amount"]
        elif obj["object"] == "balance_transaction":
            fees[obj["currency"]] += obj["fee"]
    for currency in {*collected, *refunded}:
        cash = simulator.truth.cash_total(currency)
        assert cash.collected == collected[currency]
        assert cash.refunded == refunded[currency]
        assert cash.fees == fees[currency]
        movements = [
            obj["net"]
            for obj in ended
            if obj["object"] == "balance_transaction"
            and obj["currency"] == currency
            and obj["type"] not in ("payout", "payout_failure")
        ]
        assert cash.net == sum(movements)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_record_agrees_with_the_events(seed: int) -> None:
    simulator = random_business(seed, 250)

    assert check_statuses(simulator) > 30
    check_cash(simulator)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(4, 40))
def test_the_record_agrees_with_the_events_over_many_seeds(seed: int) -> None:
    simulator = random_business(seed, 800)

    check_statuses(simulator)
    check_cash(simulator)


@pytest.mark.parametrize("seed", SEEDS)
def test_mrr_of_a_day_is_mrr_at_its_last_second_and_its_steps_are_complete(seed: int) -> None:
    simulator = random_business(seed, 150)
    truth = simulator.truth
    start = simulator.events[0].created // DAY * DAY
    end = min(simulator.now, start + 40 * DAY)

    per_day: defaultdict[str, dict[tuple[str, str], int]] = defaultdict(dict)
    for (day, customer, currency), amount in truth.mrr_per_day(start, end).items():
        per_day[day][customer, currency] = amount

    for at in range(start, end, DAY):
        day = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d")
        assert per_day[day] == truth.mrr(at + DAY - 1)


def test_an_invoice_is_paid_from_the_second_it_was_paid(shop: Shop) -> None:
    shop.let_card(decline="insufficient_funds", failures=1)
    subscription = shop.subscribe(collection_method="send_invoice", days_until_due=9)
    shop.pass_days(3)
    invoice = shop.last_invoice(subscription)["id"]
    shop.sim.invoices.pay(invoice, paid_out_of_band=True)

    truth = shop.sim.truth

    assert not truth.is_paid(invoice, T0 + 3 * DAY - 1)
    assert truth.is_paid(invoice, T0 + 3 * DAY)
    state = truth.invoice_at(invoice, T0 + 2 * DAY)
    assert state
    assert (state.status, state.amount_remaining) == ("open", 3_000)
    assert truth.cash_total("usd").collected == 0


@pytest.mark.parametrize(
    ("terms", "quantity", "monthly"),
    [
        ({"unit_amount": 10_000, "recurring": {"interval": "year"}}, 1, 833),
        (
            {"unit_amount": 10_000, "recurring": {"interval": "month", "interval_count": 3}},
            1,
            3_333,
        ),
        ({"unit_amount": 900, "recurring": {"interval": "week"}}, 1, 3_900),
        ({"unit_amount": 150, "recurring": {"interval": "day"}}, 1, 4_563),
        ({"unit_amount_decimal": "33.3333"}, 3, 100),
        ({"unit_amount": 10_000_000, "currency": "idr"}, 2, 20_000_000),
        (
            {
                "tiers": [{"up_to": 5, "unit_amount": 1_000}, {"up_to": "inf", "unit_amount": 500}],
                "tiers_mode": "graduated",
            },
            8,
            6_500,
        ),
        (
            {"unit_amount": 2_000, "transform_quantity": {"divide_by": 5, "round": "up"}},
            11,
            6_000,
        ),
    ],
)
def test_prices_of_all_kinds_are_worth_so_much_a_month(
    terms: Any, quantity: int, monthly: int
) -> None:
    shop = Shop.opened()
    items = [{"price": shop.new_price(**terms), "quantity": quantity}]
    subscription = shop.subscribe(items=items)

    assert shop.sim.truth.mrr_of(subscription, T0) == monthly


def test_a_trial_and_a_pause_are_worth_nothing(shop: Shop) -> None:
    subscription = shop.subscribe(trial_period_days=7)
    truth = shop.sim.truth
    shop.pass_days(10)
    shop.sim.subscriptions.update(subscription, pause_collection={"behavior": "void"})
    shop.pass_days(1)
    shop.sim.subscriptions.update(subscription, pause_collection=None)

    assert truth.mrr_steps(subscription) == [
        (T0 + 7 * DAY, 3_000),
        (T0 + 10 * DAY, 0),
        (T0 + 11 * DAY, 3_000),
    ]


def test_a_free_month_given_later_lowers_nothing(shop: Shop) -> None:
    subscription = shop.subscribe()
    shop.pass_days(5)

    shop.sim.subscriptions.update(subscription, trial_end=T0 + 35 * DAY)

    assert shop.status(subscription) == "trialing"
    assert shop.sim.truth.mrr_of(subscription, T0 + 6 * DAY) == 3_000


def test_a_customer_is_delinquent_from_the_failure_until_the_payment(shop: Shop) -> None:
    subscription = shop.subscribe()
    shop.let_card(decline="insufficient_funds", failures=1)
    failed_at = shop.item(subscription)["current_period_end"] + 3_600

    shop.pass_days(40)

    assert shop.sim.truth.statuses_of(shop.customer) == [
        (T0, "ok"),
        (failed_at, "delinquent"),
        (failed_at + 3 * DAY, "ok"),
    ]


def test_past_due_counts_until_the_subscription_ends(shop: Shop) -> None:
    subscription = shop.subscribe()
    shop.let_card(decline="insufficient_funds")

    shop.pass_days(60)

    ended = shop.subscription(subscription)["ended_at"]
    assert shop.sim.truth.mrr_steps(subscription) == [(T0, 3_000), (ended, 0)]


def test_a_repeating_coupon_ends_by_itself_and_once_never_counts(shop: Shop) -> None:
    once = shop.sim.coupons.create(percent_off=50.0, duration="once")["id"]
    repeating = shop.sim.coupons.create(
        percent_off=20.0, duration="repeating", duration_in_months=2
    )["id"]
    subscription = shop.subscribe(discounts=[{"coupon": once}, {"coupon": repeating}])

    shop.pass_days(80)

    assert shop.sim.truth.mrr_steps(subscription) == [(T0, 2_400), (T0 + (31 + 28) * DAY, 3_000)]


def test_fixed_discounts_are_split_over_items_and_contained_tax_is_taken_out(shop: Shop) -> None:
    coupon = shop.sim.coupons.create(amount_off=100, currency="usd", duration="forever")["id"]
    vat = shop.sim.tax_rates.create(display_name="VAT", percentage=20.0, inclusive=True)["id"]
    yearly = shop.new_price(unit_amount=12_000, recurring={"interval": "month"})
    items = [{"price": shop.price}, {"price": yearly}]
    subscription = shop.subscribe(
        items=items, discounts=[{"coupon": coupon}], default_tax_rates=[vat]
    )

    # 2,500 and 10,000 without tax; 20 and 80 of the coupon.
    assert shop.sim.truth.mrr_of(subscription, T0) == 2_480 + 9_920


def test_an_items_own_discount_comes_before_the_subscriptions(shop: Shop) -> None:
    own = shop.sim.coupons.create(
        amount_off=1_000, currency="usd", duration="repeating", duration_in_months=1
    )["id"]
    whole = shop.sim.coupons.create(percent_off=50.0, duration="forever")["id"]
    items: Any = [{"price": shop.price, "discounts": [{"coupon": own}]}, {"price": shop.price}]
    subscription = shop.subscribe(items=items, discounts=[{"coupon": whole}])
    first = shop.last_invoice(subscription)
    shop.pass_days(32)

    assert first["total"] == 1_000 + 1_500
    assert first["lines"]["data"][0]["discounts"] == [
        d["discount"] for d in first["lines"]["data"][0]["discount_amounts"][:1]
    ]
    assert shop.last_invoice(subscription)["total"] == 3_000
    assert shop.item(subscription)["discounts"] == []
    assert shop.sim.truth.mrr_steps(subscription) == [(T0, 2_500), (T0 + 31 * DAY, 3_000)]


def test_a_customers_discount_counts_where_the_subscription_has_none(shop: Shop) -> None:
    subscription = shop.subscribe()
    coupon = shop.sim.coupons.create(percent_off=10.0, duration="forever")["id"]
    shop.pass_days(1)
    shop.sim.customers.update(shop.customer, coupon=coupon)
    shop.pass_days(1)
    shop.sim.customers.delete_discount(shop.customer)

    assert shop.sim.truth.mrr_steps(subscription) == [
        (T0, 3_000),
        (T0 + DAY, 2_700),
        (T0 + 2 * DAY, 3_000),
    ]
    assert shop.sim.truth.mrr(T0) == {(shop.customer, "usd"): 3_000}


class Reckoner:
    """Somebody who knows only what is told, and reckons MRR from that."""

    def __init__(self) -> None:
        self.latest: dict[str, Any] = {}
        self.has_paid: set[str] = set()

    def hear(self, obj: Any) -> None:
        if "id" not in obj:
            return
        if obj["object"] == "invoice" and obj["status"] == "paid" and obj["amount_paid"]:
            parent = obj["parent"]
            if parent:
                self.has_paid.add(parent["subscription_details"]["subscription"])
        if obj["object"] in ("subscription", "customer", "discount", "coupon"):
            self.latest[obj["id"]] = obj

    def mrr_of(self, subscription: str, at: int) -> int | None:
        known = self.latest[subscription]
        counts = known["status"] in ("active", "past_due") or (
            known["status"] == "trialing" and subscription in self.has_paid
        )
        if not counts or known["pause_collection"]:
            return 0
        items = known["items"]["data"]
        if any(item["price"]["billing_scheme"] == "tiered" for item in items):
            return None  # tiers are never told
        amounts = []
        for item in items:
            amount = self._listed(item, known["default_tax_rates"])
            amounts.append(self._less([amount], item["discounts"], known["currency"], at)[0])
        whole = known["discounts"]
        customer = self.latest[known["customer"]]
        if not whole and customer["discount"]:
            self.latest[customer["discount"]["id"]] = customer["discount"]
            whole = [customer["discount"]["id"]]
        amounts = self._less(amounts, whole, known["currency"], at)
        months = {"month": 12, "year": 1, "week": 52, "day": 365}
        total = 0
        for amount, item in zip(amounts, items, strict=True):
            recurring = item["price"]["recurring"]
            exact = amount * months[recurring["interval"]] / (12 * recurring["interval_count"])
            total += (2 * exact.numerator + exact.denominator) // (2 * exact.denominator)
        return total

    def _listed(self, item: Any, default_rates: list[Any]) -> Fraction:
        is_metered = item["price"]["recurring"]["usage_type"] == "metered"
        if is_metered or item["quantity"] is None:
            return Fraction(0)
        quantity, packages = item["quantity"], item["price"]["transform_quantity"]
        if packages:
            quantity = -(-quantity // packages["divide_by"])
        contained = [r["percentage"] for r in item["tax_rates"] or default_rates if r["inclusive"]]
        amount: Fraction = Fraction(item["price"]["unit_amount_decimal"]) * quantity
        return amount / (1 + sum(map(Fraction, map(str, contained)), Fraction(0)) / 100)

    def _less(
        self, amounts: list[Fraction], discounts: list[str], currency: str, at: int
    ) -> list[Fraction]:
        for discount in (self.latest[one] for one in discounts):
            coupon = self.latest[discount["source"]["coupon"]]
            over = discount["end"] is not None and discount["end"] <= at
            if over or coupon["duration"] == "once":
                continue
            if coupon["percent_off"] is not None:
                kept = 1 - Fraction(str(coupon["percent_off"])) / 100
                amounts = [amount * kept for amount in amounts]
            elif coupon["currency"] == currency:
                amounts = self._split(amounts, coupon["amount_off"])
        return amounts

    def _split(self, amounts: list[Fraction], off: int) -> list[Fraction]:
        total = sum(amounts, Fraction(0))
        if total <= off:
            return [Fraction(0) for _ in amounts]
        shares = [off * amount / total for amount in amounts]
        whole = [int(share) for share in shares]
        by_rest = sorted(range(len(shares)), key=lambda i: (whole[i] - shares[i], i))
        for i in by_rest[: off - sum(whole)]:
            whole[i] += 1
        return [amount - part for amount, part in zip(amounts, whole, strict=True)]


def check_what_is_told_suffices(simulator: Simulator) -> int:
    """At the end of each second, MRR reckoned from what was told is that of the record."""
    reckoner = Reckoner()
    compared = 0
    for at, events in groupby(simulator.events, key=lambda event: event.created):
        touched = set()
        for event in events:
            obj = event.body(NEWEST)["data"]["object"]
            reckoner.hear(obj)
            if obj["object"] == "subscription":
                touched.add(obj["id"])
        for subscription in touched:
            reckoned = reckoner.mrr_of(subscription, at)
            if reckoned is not None:
                assert reckoned == simulator.truth.mrr_of(subscription, at), (subscription, at)
                compared += 1
    return compared


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_told_suffices_to_reckon_the_same_mrr(seed: int) -> None:
    assert check_what_is_told_suffices(random_business(seed, 250)) > 100


@pytest.mark.long
@pytest.mark.parametrize("seed", range(4, 40))
def test_what_is_told_suffices_over_many_seeds(seed: int) -> None:
    check_what_is_told_suffices(random_business(seed, 600))
