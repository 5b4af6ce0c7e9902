"""What the simulated Stripe tells: the same from the same seed, in order, and coherent."""

from __future__ import annotations

from collections import defaultdict
from hashlib import sha256
from typing import Any

import pytest

from ledger.simulator import NEWEST, Refused, Simulator, believable_business, random_business
from ledger.simulator.rendering.difference import SILENT
from tests.test_simulator_subscriptions import DAY, T0, Json, Shop

VERSIONS = (
    "2020-08-27",
    "2024-06-20",
    "2025-02-24.acacia",
    "2025-08-27.basil",
    "2025-10-29.clover",
    "2026-03-25.dahlia",
)
SEEDS = range(4)
LONG_SEEDS = range(4, 40)

# Where each kind of object may go from each of its statuses.
TRANSITIONS: dict[str, dict[str, str]] = {
    "subscription": {
        "incomplete": "active incomplete_expired canceled",
        "trialing": "active past_due paused canceled",
        "active": "past_due trialing paused canceled",
        "past_due": "active unpaid paused canceled trialing",
        "unpaid": "active canceled",
        "paused": "active past_due canceled",
        "canceled": "",
        "incomplete_expired": "",
    },
    "invoice": {
        "draft": "open paid",
        "open": "paid void uncollectible",
        "uncollectible": "paid void",
        "paid": "",
        "void": "",
    },
    "payment_intent": {
        "requires_payment_method": "requires_action requires_capture succeeded canceled"
        " requires_confirmation",
        "requires_confirmation": "requires_payment_method requires_action requires_capture"
        " succeeded canceled",
        "requires_action": "requires_payment_method requires_capture succeeded canceled",
        "requires_capture": "succeeded canceled",
        "succeeded": "",
        "canceled": "",
    },
    "dispute": {
        "warning_needs_response": "warning_under_review warning_closed needs_response prevented",
        "warning_under_review": "warning_closed needs_response",
        "warning_closed": "",
        "needs_response": "under_review won lost",
        "under_review": "won lost",
        "lost": "appeal_under_review",
        "appeal_under_review": "won lost under_review",
        "won": "",
        "prevented": "",
    },
    "refund": {"succeeded": "failed", "failed": ""},
    "payout": {
        "pending": "in_transit paid failed canceled",
        "in_transit": "paid failed",
        "paid": "failed",
        "failed": "",
        "canceled": "",
    },
    "subscription_schedule": {
        "not_started": "active canceled released",
        "active": "released canceled completed",
        "released": "",
        "canceled": "",
        "completed": "",
    },
    "checkout.session": {"open": "complete expired", "complete": "", "expired": ""},
    "credit_note": {"issued": "void", "void": ""},
    "setup_intent": {
        "requires_payment_method": "requires_action succeeded canceled requires_confirmation",
        "requires_confirmation": "requires_action requires_payment_method succeeded canceled",
        "requires_action": "succeeded canceled requires_payment_method",
        "succeeded": "",
        "canceled": "",
    },
}


def digest(simulator: Simulator) -> str:
    """Return a digest of every body an account has told."""
    hashed = sha256()
    for event in simulator.events:
        for version in sorted(event.bodies):
            hashed.update(event.bodies[version])
    return hashed.hexdigest()


def test_the_same_seed_and_calls_give_the_same_bytes_and_another_seed_others() -> None:
    first, again, other = (
        random_business(seed, 250, endpoint_versions=VERSIONS[:1]) for seed in (5, 5, 6)
    )

    assert digest(first) == digest(again)
    assert digest(first) != digest(other)


def test_a_believable_business_is_the_same_whatever_its_pace() -> None:
    daily, weekly = believable_business(3), believable_business(3)
    until = daily.start + 90 * DAY

    for day in range(1, 91):
        list(daily.live(daily.start + day * DAY))
    for day in (45, 90):
        list(weekly.live(weekly.start + day * DAY))

    assert daily.simulator.now == weekly.simulator.now == until
    assert digest(daily.simulator) == digest(weekly.simulator)


def check_previous_attributes(simulator: Simulator, version: str) -> int:
    """Apply each event's `previous_attributes` backwards and compare with what came before."""
    last: dict[tuple[str, str], Json] = {}
    checked = 0
    for event in simulator.events:
        if version not in event.bodies:
            continue
        data = event.body(version)["data"]
        key = data["object"]["object"], event.object_id
        if "previous_attributes" in data and key in last and event.type != "charge.refund.updated":
            before = undone(data["object"], data["previous_attributes"])
            assert loud(before) == loud(last[key]), (event.type, event.id)
            checked += 1
        last[key] = data["object"]
    return checked


def undone(now: Json, previous: Json) -> Json:
    """Return an object with what it was before put back."""
    before = dict(now)
    for key, old in previous.items():
        both = isinstance(old, dict) and isinstance(now.get(key), dict)
        before[key] = undone(now[key], old) if both else old
    return before


def loud(value: Any) -> Any:
    """Return a value without what changes unnamed; null is as good as absent."""
    if isinstance(value, dict):
        return {k: loud(v) for k, v in value.items() if k not in SILENT and v is not None}
    return value


@pytest.mark.parametrize("seed", SEEDS)
def test_previous_attributes_lead_back_to_the_snapshot_before(seed: int) -> None:
    simulator = random_business(seed, 250, endpoint_versions=VERSIONS)

    for version in (NEWEST, *VERSIONS):
        assert check_previous_attributes(simulator, version) > 50


@pytest.mark.long
@pytest.mark.parametrize("seed", LONG_SEEDS)
def test_previous_attributes_lead_back_over_many_seeds(seed: int) -> None:
    simulator = random_business(seed, 600, endpoint_versions=VERSIONS)

    for version in (NEWEST, *VERSIONS):
        check_previous_attributes(simulator, version)


def check_transitions(simulator: Simulator) -> set[str]:
    """Check every change of status that was told; return the subscription statuses seen."""
    seen: dict[tuple[str, str], str] = {}
    reached = set()
    for event in simulator.events:
        obj = event.body(NEWEST)["data"]["object"]
        kind, status = obj["object"], obj.get("status")
        if kind not in TRANSITIONS or "id" not in obj or event.type == "invoice.upcoming":
            continue
        before = seen.get((kind, obj["id"]), status)
        allowed = {before, *TRANSITIONS[kind][before].split()}
        assert status in allowed, (kind, obj["id"], before, status)
        seen[kind, obj["id"]] = status
        if kind == "subscription":
            reached.add(status)
    return reached


def test_every_status_changes_only_as_stripe_says_and_all_eight_are_reached() -> None:
    reached = set().union(*(check_transitions(random_business(seed, 250)) for seed in range(12)))

    assert reached == set(TRANSITIONS["subscription"])


@pytest.mark.long
@pytest.mark.parametrize("seed", LONG_SEEDS)
def test_every_status_changes_only_as_stripe_says_over_many_seeds(seed: int) -> None:
    check_transitions(random_business(seed, 800))


@pytest.mark.parametrize("seed", SEEDS)
def test_the_last_snapshot_of_each_object_is_what_it_ended_as(seed: int) -> None:
    simulator = random_business(seed, 250)
    last: dict[str, Json] = {}
    for event in simulator.events:
        obj = event.body(NEWEST)["data"]["object"]
        kinds = ("subscription", "invoice", "charge", "dispute", "refund", "payout")
        if obj["object"] in kinds and event.type != "invoice.upcoming":
            last[obj["id"]] = obj

    ended = simulator.final_objects()

    assert last.keys() <= ended.keys()
    compared = {i: obj for i, obj in last.items() if "deleted" not in ended[i]}
    assert len(compared) > 40
    for object_id, obj in compared.items():
        assert loud(ended[object_id]) == loud(obj)


def test_events_of_one_account_never_go_back_in_time() -> None:
    times = [event.created for event in random_business(1, 250).events]

    assert times == sorted(times)
    assert len(set(times)) < len(times) / 3


def test_ids_look_like_stripes() -> None:
    lengths = defaultdict(set)
    for object_id in random_business(2, 250).final_objects():
        prefix, _, rest = object_id.rpartition("_")
        lengths[prefix].add(len(rest))

    assert lengths["cus"] == lengths["prod"] == {14}
    for prefix in ("sub", "in", "pi", "ch", "pm", "price", "il", "re", "txn", "po", "dp"):
        assert lengths.get(prefix, {24}) == {24}


def test_the_event_list_is_newest_first_and_goes_back_thirty_days() -> None:
    shop = Shop.opened()
    shop.subscribe()
    shop.pass_days(40)

    page, has_more = shop.sim.event_list.page(limit=5)
    rest, _ = shop.sim.event_list.page(limit=100, starting_after=page[-1]["id"])
    again, _ = shop.sim.event_list.page(limit=100, ending_before=rest[0]["id"])

    assert has_more
    everything = [*page, *rest]
    assert [e["created"] for e in everything] == sorted(
        (e["created"] for e in everything), reverse=True
    )
    assert min(e["created"] for e in everything) >= T0 + 10 * DAY
    assert again == page
    with pytest.raises(Refused, match="No such event"):
        shop.sim.event_list.retrieve(shop.sim.events[0].id)


def test_the_event_list_is_filtered_by_type_time_and_delivery() -> None:
    shop = Shop.opened()
    shop.subscribe()
    shop.sim.events[-1].undelivered = 1

    def ids(**params: Any) -> list[str]:
        page, _ = shop.sim.event_list.page(**{"limit": 100, **params})
        return [event["id"] for event in page]

    assert len(ids(type="invoice.paid")) == 1
    assert len(ids(types=["invoice.paid", "invoice.created"])) == 2
    assert len(ids(type="invoice.*")) == 6
    assert ids(created={"gt": T0}) == []
    assert ids(created=T0) == ids(created={"gte": T0, "lt": T0 + 1}) == ids()
    assert ids(delivery_success=False) == [shop.sim.events[-1].id]
    with pytest.raises(Refused, match="limit"):
        ids(limit=101)


def test_a_rendered_body_never_changes_later() -> None:
    shop = Shop.opened()
    subscription = shop.subscribe()
    before = [event.bodies for event in shop.sim.events]
    kept = [dict(bodies) for bodies in before]

    shop.sim.subscriptions.update(subscription, metadata={"later": "yes"})
    shop.pass_days(60)

    assert before == kept
