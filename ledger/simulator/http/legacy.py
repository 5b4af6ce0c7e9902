"""Faces that older clients still ask for, and the account itself."""

from __future__ import annotations

from typing import Any, Required, TypedDict, Unpack

from ledger.simulator.catalogue import Interval, Metadata, plan_of
from ledger.simulator.engine import Json
from ledger.simulator.refusals import Refused, missing
from ledger.simulator.simulator import Simulator


class PlanCreate(TypedDict, total=False):
    """Parameters of a plan; amount in minor units."""

    amount: int
    currency: Required[str]
    interval: Required[Interval]
    interval_count: int
    metadata: Metadata
    nickname: str
    product: Required[dict[str, Any] | str]


class Legacy:
    """Plans as the prices they mirror; the account."""

    def __init__(self, simulator: Simulator) -> None:
        self.sim = simulator

    def plans(self) -> list[Json]:
        """Return every plan, oldest first."""
        return [plan_of(price) for price in self.sim.prices.all() if price["recurring"]]

    def create_plan(self, **params: Unpack[PlanCreate]) -> Json:
        """Make a plan: a recurring price."""
        product = params["product"]
        price: Any = {
            "currency": params["currency"],
            "metadata": params.get("metadata", {}),
            "nickname": params.get("nickname"),
            "product" if isinstance(product, str) else "product_data": product,
            "recurring": {
                "interval": params["interval"],
                "interval_count": params.get("interval_count", 1),
            },
            "unit_amount": params.get("amount", 0),
        }
        return plan_of(self.sim.prices.create(**price))

    def retrieve_plan(self, plan: str) -> Json:
        """Return a plan."""
        price = self.sim.prices.retrieve(plan)
        if not price["recurring"]:
            raise missing("plan", plan)
        return plan_of(price)

    def update_plan(
        self, plan: str, *, metadata: Metadata | None = None, nickname: str | None = None
    ) -> Json:
        """Change a plan's metadata or nickname."""
        self.retrieve_plan(plan)
        changes: Any = {"metadata": metadata, "nickname": nickname}
        given: Any = {key: value for key, value in changes.items() if value is not None}
        return plan_of(self.sim.prices.update(plan, **given))

    def entitlements(self) -> list[Json]:
        """Return what every customer is entitled to."""
        return [
            {**one, "customer": customer["id"]}
            for customer in self.sim.customers.all()
            for one in self.sim.features.entitlements_of(customer["id"])
        ]

    def account(self) -> Json:
        """Return the account."""
        settings = self.sim.engine.settings
        return {
            "id": self.sim.engine.ids.account,
            "object": "account",
            "business_profile": {"name": settings.display_name},
            "charges_enabled": True,
            "country": settings.country,
            "default_currency": "usd",
            "details_submitted": True,
            "email": "owner@example.test",
            "payouts_enabled": True,
            "settings": {
                "dashboard": {
                    "display_name": settings.display_name,
                    "timezone": settings.timezone,
                }
            },
            "type": "standard",
        }

    def account_named(self, account: str) -> Json:
        """Return the account if it is the one named."""
        own = self.account()
        if account != own["id"]:
            raise Refused(
                f"The provided key does not have access to account '{account}'.",
                code="account_invalid",
                status=403,
            )
        return own
