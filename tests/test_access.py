"""Access: given subscriptions and decisions, then these features."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from ledger.application import Ledger
from ledger.cancellations import accept_offer
from ledger.orders import add_campaign
from ledger.projections import Access
from ledger.projections.rebuild import Rebuild
from ledger.settings import Settings
from tests.facts import Json, event, project, record, subscription
from tests.reactions import START, Reactor, Recorder, andi, failed, paid, seconds
from tests.test_retention import ALWAYS, leaves

PLANS: Json = {
    "name": "plans", "version": 1, "kind": "plans",
    "features": {"prod_premium": ["reports", "export"], "price_basic": ["reports"]},
}  # fmt: skip


@pytest.fixture
def reactor(ledger: Ledger) -> Reactor:
    made = Reactor(ledger)
    made.told(*andi())
    return made


def features(reactor: Reactor) -> list[tuple[str, str]]:
    rows = reactor.rows("SELECT feature, because FROM entitlements ORDER BY feature")
    return [(row["feature"], row["because"]) for row in rows]


def updated(at: int, **changes: Any) -> Json:
    return event("customer.subscription.updated", subscription(**changes), at=at,
                 previous={"status": "x"})  # fmt: skip


def test_a_subscription_gives_access_or_the_features_of_its_plan(reactor: Reactor) -> None:
    assert features(reactor) == [("access", "active")]
    reactor.decide(lambda desk: add_campaign(desk, PLANS, "tests"))
    project(reactor.ledger)

    assert features(reactor) == [("export", "active"), ("reports", "active")]


@pytest.mark.parametrize(
    ("status", "gives"),
    [("trialing", True), ("past_due", True), ("unpaid", False), ("paused", False),
     ("canceled", False), ("incomplete", False)],
)  # fmt: skip
def test_access_follows_the_status(reactor: Reactor, status: str, gives: bool) -> None:
    reactor.told(updated(reactor.at(), status=status))

    assert bool(features(reactor)) == gives


def test_access_is_kept_while_past_due_until_it_is_revoked_and_comes_back_with_the_payment(
    reactor: Reactor,
) -> None:
    reactor.performers["mail"] = Recorder()
    reactor.switch_on()
    reactor.told(updated(reactor.at(), status="past_due"), *failed(reactor.at()))
    reactor.wait(days=20)
    assert features(reactor) == [("access", "past_due")]
    reactor.wait(days=2)
    assert features(reactor) == []
    assert reactor.rows("SELECT invoice_id FROM revocations") == [{"invoice_id": "in_andi"}]
    reactor.told(paid(seconds(reactor.now)), updated(seconds(reactor.now), status="active"))

    assert features(reactor) == [("access", "active")]


def test_a_campaign_in_shadow_revokes_nothing(reactor: Reactor) -> None:
    reactor.told(updated(reactor.at(), status="past_due"), *failed(reactor.at()))
    reactor.wait(days=31)

    assert features(reactor) == [("access", "past_due")]


def test_an_accepted_offer_gives_a_feature_for_a_time(reactor: Reactor) -> None:
    gift = {"name": "gift", "kind": "free_feature", "reasons": ["*"], "feature": "priority",
            "days": 60}  # fmt: skip
    reactor.switch_on()
    reactor.campaign({**ALWAYS, "offers": [gift]})
    reactor.told(leaves(reactor.at()))
    reactor.decide(lambda desk: accept_offer(desk, "retention:sub_andi:1", "customer"))
    reactor.react()

    assert ("priority", "gift") in features(reactor)
    assert reactor.rows("SELECT until FROM entitlements WHERE because = 'gift'") == [
        {"until": START + timedelta(days=60)}
    ]


def test_rebuilt_access_is_the_live_one(settings: Settings, ledger: Ledger) -> None:
    reactor = Reactor(ledger)
    reactor.told(*andi())
    reactor.switch_on()
    reactor.decide(lambda desk: add_campaign(desk, PLANS, "tests"))
    for number in range(5):
        sub = subscription(f"sub_{number}", of=f"cus_{number}", status="past_due")
        record(ledger, event("customer.subscription.created", sub, at=reactor.at()))
    reactor.told(updated(reactor.at(), status="past_due"), *failed(reactor.at()))
    reactor.wait(days=25)

    done = Rebuild(settings, ledger, Access, workers=0).run(swap=False)
    assert done.differences == []
