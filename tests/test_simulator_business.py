"""Businesses: one that does anything, and one that could have been."""

from __future__ import annotations

from collections import Counter
from copy import deepcopy

import pytest

from ledger.simulator import NEWEST, BelievableBusiness, believable_business, random_business
from tests.test_simulator_subscriptions import DAY


@pytest.fixture(scope="module")
def lived() -> BelievableBusiness:
    business = believable_business(0)
    for _ in business.story():
        pass
    return business


def test_a_random_business_does_nearly_everything() -> None:
    told: set[str] = set()
    for seed in range(10):
        told |= {event.type for event in random_business(seed, 250).events}

    assert len(told) >= 75
    for family in (
        "charge.dispute.created charge.refunded credit_note.created customer.deleted"
        " customer.discount.created customer.subscription.paused customer.subscription.resumed"
        " invoice.marked_uncollectible invoice.overdue invoice.voided payout.paid refund.failed"
        " subscription_schedule.released checkout.session.completed promotion_code.updated"
    ).split():
        assert family in told


def test_a_believable_business_has_grown_for_two_years(lived: BelievableBusiness) -> None:
    sim = lived.simulator
    events = Counter(event.type for event in sim.events)

    assert 30_000 < len(sim.events) <= 40_000
    assert 560 <= events["customer.created"] <= 640
    for currency in ("usd", "idr"):
        early, middle, late = (
            sum(
                amount
                for (_, code), amount in sim.truth.mrr(lived.start + month * 30 * DAY).items()
                if code == currency
            )
            for month in (4, 12, 24)
        )
        assert early * 2 < middle < late / 2


def test_a_believable_business_fails_and_loses_as_businesses_do(lived: BelievableBusiness) -> None:
    sim = lived.simulator
    failed = Counter(
        charge["outcome"]["reason"] for charge in sim.charges.all() if charge["status"] == "failed"
    )
    ended = [s for s in sim.subscriptions.all() if s["status"] == "canceled"]
    reasons = Counter(s["cancellation_details"]["reason"] for s in ended)
    feedback = Counter(s["cancellation_details"]["feedback"] for s in ended)

    assert failed.most_common(1)[0][0] in ("insufficient_funds", "expired_card")
    assert failed["expired_card"] > failed["lost_card"]
    assert 0.08 < failed.total() / len(sim.charges.all()) < 0.25
    assert reasons["payment_failed"] > 20
    assert reasons["cancellation_requested"] > 40
    assert feedback["too_expensive"] > feedback["low_quality"]
    assert sum(1 for c in sim.customers.all() if not c["email"].endswith("@example.test")) == 0
    assert {s["currency"] for s in sim.subscriptions.all()} == {"idr", "usd", "eur"}


def test_people_come_back_with_another_subscription(lived: BelievableBusiness) -> None:
    owners = Counter(s["customer"] for s in lived.simulator.subscriptions.all())

    assert sum(1 for count in owners.values() if count > 1) >= 5


def test_the_story_goes_on_after_two_years(lived: BelievableBusiness) -> None:
    living = deepcopy(lived)
    before = len(living.simulator.events)
    living.forget_events_before(living.simulator.now - 30 * DAY)
    kept = len(living.simulator.events)

    later = list(living.live(living.end_of_story + 7 * DAY))

    assert kept < before
    assert len(later) > 100
    assert later == living.simulator.events[kept:]
    assert all(event.body(NEWEST)["created"] >= living.end_of_story for event in later)
