"""Entitlements: the features that a customer's subscriptions grant."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, Required, TypedDict, Unpack

from ledger.simulator.catalogue import Metadata
from ledger.simulator.engine import Json
from ledger.simulator.family import Family

_GRANTING = frozenset({"active", "trialing", "past_due"})


class FeatureParams(TypedDict, total=False):
    """What may change about a feature."""

    active: bool
    metadata: Metadata
    name: str


class FeatureCreate(TypedDict, total=False):
    """Parameters of a new feature."""

    lookup_key: Required[str]
    name: Required[str]
    metadata: Metadata


class Features(Family):
    """Features, which products have, and who is entitled to them."""

    kind = "entitlements.feature"

    def __init__(self, simulator: Any) -> None:
        super().__init__(simulator)
        self._of_product: defaultdict[str, list[str]] = defaultdict(list)
        self._entitled: dict[str, list[Json]] = {}

    def create(self, **params: Unpack[FeatureCreate]) -> Json:
        """Make a feature."""
        with self.engine.call():
            return self.engine.save(
                {
                    "id": self.engine.new_id("feat"),
                    "object": "entitlements.feature",
                    "active": True,
                    "livemode": False,
                    "lookup_key": params["lookup_key"],
                    "metadata": params.get("metadata", {}),
                    "name": params["name"],
                }
            )

    def update(self, feature: str, **changes: Unpack[FeatureParams]) -> Json:
        """Change a feature."""
        known = self.retrieve(feature)
        with self.engine.call():
            return self.engine.change(known, **changes)

    def attach(self, product: str, *, entitlement_feature: str) -> Json:
        """Give a product a feature; whoever has the product is entitled from now on."""
        feature = self.named(entitlement_feature, "entitlement_feature")
        self.sim.products.named(product, "product")
        with self.engine.call():
            self._of_product[product].append(entitlement_feature)
            for customer in self.sim.customers.all():
                self.refresh(customer["id"])
            return {
                "id": self.engine.new_id("prodft"),
                "object": "product_feature",
                "entitlement_feature": feature,
                "livemode": False,
            }

    def entitlements_of(self, customer: str) -> list[Json]:
        """Return what a customer is entitled to now."""
        return self._entitled.get(customer, [])

    def refresh(self, customer: str) -> None:
        """Tell if what a customer is entitled to has changed."""
        if not self._of_product:
            return
        granted = {
            feature: None
            for subscription in self.sim.subscriptions.of_customer(customer)
            if subscription["status"] in _GRANTING
            for item in subscription["items"]["data"]
            for feature in self._of_product[item["price"]["product"]]
        }
        before = {one["feature"]: one for one in self._entitled.get(customer, [])}
        if list(before) == list(granted):
            return
        entitled = [before.get(feature) or self._entitlement(feature) for feature in granted]
        self._entitled[customer] = entitled
        summary = {
            "object": "entitlements.active_entitlement_summary",
            "customer": customer,
            "entitlements": {
                "object": "list",
                "data": entitled,
                "has_more": False,
                "url": f"/v1/customer/{customer}/entitlements",
            },
            "livemode": False,
        }
        self.engine.tell(
            "entitlements.active_entitlement_summary.updated", summary, key=f"features:{customer}"
        )

    def _entitlement(self, feature: str) -> Json:
        return {
            "id": self.engine.new_id("ent"),
            "object": "entitlements.active_entitlement",
            "feature": feature,
            "livemode": False,
            "lookup_key": self.retrieve(feature)["lookup_key"],
        }
