"""Older API versions: the members they have, held against payloads recorded from Stripe."""

from __future__ import annotations

import json
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from ledger.simulator import NEWEST, random_business
from ledger.simulator.rendering import render
from tests.test_simulator_subscriptions import DAY, Json, Shop

# Members that are there only when asked for (expanded), or that recorders have blotted out.
ON_REQUEST = {"refunds", "payments", "tax", "invoice_credit_balance", "client_secret"}
# Members present only where something happened.
SOMETIMES = {
    "payment_details",
    "failure_balance_transaction",
    "failure_reason",
    "subscription_item",
}


def recorded_objects(shared: Path) -> dict[tuple[str, str], list[Json]]:
    """Return recorded objects by (API version, kind)."""
    found: defaultdict[tuple[str, str], list[Json]] = defaultdict(list)

    def collect(value: Any, version: str) -> None:
        if isinstance(value, dict):
            if isinstance(value.get("object"), str) and "id" in value and not value.get("deleted"):
                found[version, value["object"]].append(value)
            for inner in value.values():
                collect(inner, version)
        elif isinstance(value, list):
            for inner in value:
                collect(inner, version)

    folder = shared / "data" / "stripe-events"
    for path in sorted((folder / "pay-rails-cassettes").glob("*.json")):
        collect(json.loads(path.read_text()), path.name.split("__")[0])
    for path in sorted((folder / "zulip-stories-2020-08-27").glob("*.json")):
        for event in json.loads(path.read_text())["data"]:
            collect(event["data"]["object"], event["api_version"])
    return found


@cache
def simulated_objects() -> dict[str, list[Json]]:
    """Return objects of every kind as the engine holds them."""
    found: defaultdict[str, list[Json]] = defaultdict(list)
    for seed in range(3):
        engine = random_business(seed, 250).engine
        for kind in engine.kinds():
            found[kind] += engine.all(kind)[-60:]
    return found


def members(objects: list[Json]) -> set[str]:
    """Return the members of some objects that are neither on request nor blotted out."""
    found = {key for obj in objects for key in obj}
    return {key for key in found - ON_REQUEST if "<" not in key}


def line_members(objects: list[Json]) -> set[str]:
    """Return the members of the lines or items inside some objects."""
    return members(
        [
            line
            for obj in objects
            for name in ("lines", "items")
            if isinstance(obj.get(name), dict)
            for line in obj[name]["data"]
        ]
    )


KINDS = (
    "customer subscription invoice payment_intent charge payment_method price plan refund"
    " balance_transaction discount coupon invoiceitem invoice_payment checkout.session setup_intent"
).split()


@pytest.mark.parametrize("kind", KINDS)
def test_each_rendering_has_the_members_stripe_was_recorded_with(shared: Path, kind: str) -> None:
    ours = simulated_objects()
    compared = 0
    for (version, recorded_kind), recorded in recorded_objects(shared).items():
        if recorded_kind != kind or kind not in ours:
            continue
        rendered = [render(obj, version) for obj in ours[kind]]
        theirs = [one for one in recorded if one.get("type") == "card" or kind != "payment_method"]
        assert members(rendered) - SOMETIMES == members(theirs) - SOMETIMES, version
        if kind in ("invoice", "subscription"):
            found, wanted = line_members(rendered), line_members(theirs)
            assert found - SOMETIMES - {"discounts"} == wanted - SOMETIMES - {"discounts"}, version
        compared += 1
    assert compared or kind == "plan"


def test_a_subscription_names_its_period_where_its_version_does() -> None:
    shop = Shop.opened()
    known = shop.subscription(shop.subscribe())

    newest, old = render(known, NEWEST), render(known, "2024-06-20")

    assert "current_period_end" not in newest
    assert newest["items"]["data"][0]["current_period_end"] == old["current_period_end"]
    assert "current_period_end" not in old["items"]["data"][0]
    assert "_" not in newest
    assert "status_details" in newest
    assert "status_details" not in render(known, "2026-03-25.dahlia")


def test_an_invoice_names_subscription_charge_and_tax_where_its_version_does() -> None:
    shop = Shop.opened()
    rate = shop.sim.tax_rates.create(display_name="PPN", percentage=10.0, inclusive=False)["id"]
    coupon = shop.sim.coupons.create(percent_off=50.0, duration="forever")["id"]
    subscription = shop.subscribe(default_tax_rates=[rate], discounts=[{"coupon": coupon}])
    known = shop.last_invoice(subscription)

    newest, old = render(known, NEWEST), render(known, "2024-06-20")

    assert newest["parent"]["subscription_details"]["subscription"] == subscription
    assert old["subscription"] == subscription
    assert (old["paid"], old["tax"]) == (True, 150)
    assert old["charge"] == known["_"]["charge"]
    assert old["discount"]["coupon"]["id"] == coupon
    assert old["total_tax_amounts"][0]["tax_rate"] == rate
    assert not {"subscription", "charge", "tax", "discount", "paid"} & newest.keys()
    line, older = newest["lines"]["data"][0], old["lines"]["data"][0]
    assert line["pricing"]["price_details"]["price"] == older["price"]["id"] == shop.price
    assert (older["type"], older["proration"]) == ("subscription", False)
    assert "_" not in line


def test_discounts_name_their_coupon_whole_before_clover_and_by_id_since() -> None:
    shop = Shop.opened()
    coupon = shop.sim.coupons.create(percent_off=50.0, duration="forever")["id"]
    shop.subscribe(discounts=[{"coupon": coupon}])
    discount = shop.sim.engine.all("discount")[0]

    assert render(discount, "2025-08-27.basil")["coupon"]["percent_off"] == 50.0
    since = render(discount, "2025-09-30.clover")
    assert since["source"] == {"coupon": coupon, "type": "coupon"}
    assert "coupon" not in since


def test_the_reference_to_the_invoice_is_cut_on_clover_only() -> None:
    shop = Shop.opened()
    invoice = shop.last_invoice(shop.subscribe())
    intent = shop.sim.payment_intents.retrieve(invoice["_"]["payment_intent"])

    def reference(version: str) -> str:
        found: str = render(intent, version)["payment_details"]["order_reference"]
        return found

    assert reference(NEWEST) == reference("2026-03-25.dahlia") == invoice["id"]
    assert reference("2025-10-29.clover") == invoice["id"][:25]
    assert render(intent, "2024-12-18.acacia")["invoice"] == invoice["id"]


def test_the_oldest_rendering_lists_charges_and_refunds_inside() -> None:
    shop = Shop.opened()
    invoice = shop.last_invoice(shop.subscribe())
    charge_id = invoice["_"]["charge"]
    shop.sim.refunds.create(charge=charge_id, amount=100)
    intent = shop.sim.payment_intents.retrieve(invoice["_"]["payment_intent"])
    charge = shop.sim.charges.retrieve(charge_id)

    assert render(intent, "2020-08-27")["charges"]["data"][0]["id"] == charge_id
    assert render(charge, "2020-08-27")["refunds"]["data"][0]["amount"] == 100
    assert "refunds" not in render(charge, "2024-06-20")
    assert "advice_code" in render(charge, "2024-12-18.acacia")["outcome"]
    assert "advice_code" not in render(charge, "2024-06-20")["outcome"]


def test_an_endpoint_of_an_old_version_hears_nothing_of_invoice_payments() -> None:
    shop = Shop.opened()
    for version in ("2024-06-20", "2025-06-30.basil"):
        shop.sim.webhook_endpoints.create(url="https://l.example.test", api_version=version)

    shop.subscribe()

    (paid,) = (event for event in shop.sim.events if event.type == "invoice_payment.paid")
    assert set(paid.bodies) == {NEWEST, "2025-06-30.basil"}


def test_an_upcoming_invoice_has_an_id_since_basil() -> None:
    shop = Shop.opened()
    preview = shop.sim.previews.create_preview(subscription=shop.subscribe())

    assert render(preview, NEWEST)["id"] == preview["id"]
    assert "id" not in render(preview, "2024-06-20")


def test_a_change_that_a_version_does_not_show_is_not_told_in_it() -> None:
    shop = Shop.opened(retry_after_days=(1,))
    old = "2025-10-29.clover"
    shop.sim.webhook_endpoints.create(url="https://l.example.test", api_version=old)
    subscription = shop.subscribe(collection_method="send_invoice", days_until_due=30)
    shop.pass_days(1)

    shop.sim.invoices.mark_uncollectible(shop.last_invoice(subscription)["id"])

    told = [event for event in shop.sim.events if event.type == "invoice.updated"][-1]
    newest = told.body(NEWEST)["data"]["previous_attributes"]
    older = told.body(old)["data"]["previous_attributes"]
    assert newest["status_details"] == {"uncollectible": None}
    assert "status_details" not in older
    assert older["status"] == newest["status"] == "open"
    assert shop.sim.now < told.created + 2 * DAY
