"""Subscription items as the API names them: changes of one item of a subscription."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack, cast

from ledger.simulator.catalogue import Metadata, PriceCreate
from ledger.simulator.engine import Json
from ledger.simulator.refusals import missing, needs
from ledger.simulator.subscription_shape import SubscriptionUpdate

if TYPE_CHECKING:
    from ledger.simulator.simulator import Simulator

_OF_THE_SUBSCRIPTION = ("proration_behavior", "proration_date", "payment_behavior")


class SubscriptionItemParams(TypedDict, total=False):
    """Parameters of a change of one item."""

    price: str
    price_data: PriceCreate
    quantity: int
    metadata: Metadata
    tax_rates: list[str]
    proration_behavior: Literal["create_prorations", "always_invoice", "none"]
    proration_date: int
    payment_behavior: str


class SubscriptionItemCreate(SubscriptionItemParams, total=False):
    """Parameters of a new item."""

    subscription: str


class SubscriptionItems:
    """The items of one account's subscriptions."""

    def __init__(self, simulator: Simulator) -> None:
        self.sim = simulator

    def create(self, **params: Unpack[SubscriptionItemCreate]) -> Json:
        """Add an item to a subscription."""
        if "subscription" not in params:
            raise needs("subscription")
        subscription = params["subscription"]
        changed = self.sim.subscriptions.update(subscription, **_as_update(params))
        item: Json = changed["items"]["data"][-1]
        return item

    def retrieve(self, subscription_item: str) -> Json:
        """Return an item as it is now."""
        return self._find(subscription_item)[1]

    def update(self, subscription_item: str, **params: Unpack[SubscriptionItemParams]) -> Json:
        """Change an item."""
        subscription, _ = self._find(subscription_item)
        update = _as_update(params, id=subscription_item)
        self.sim.subscriptions.update(subscription["id"], **update)
        return self.retrieve(subscription_item)

    def delete(
        self,
        subscription_item: str,
        *,
        proration_behavior: str = "create_prorations",
        clear_usage: bool = False,
    ) -> Json:
        """Take an item out of its subscription."""
        subscription, _ = self._find(subscription_item)
        gone = {"proration_behavior": proration_behavior, "clear_usage": clear_usage}
        update = _as_update(gone, id=subscription_item, deleted=True)
        self.sim.subscriptions.update(subscription["id"], **update)
        return {"id": subscription_item, "object": "subscription_item", "deleted": True}

    def all(self) -> list[Json]:
        """Return the items of all subscriptions, oldest first."""
        return [i for s in self.sim.subscriptions.all() for i in s["items"]["data"]]

    def _find(self, subscription_item: str) -> tuple[Json, Json]:
        for subscription in self.sim.subscriptions.all():
            for item in subscription["items"]["data"]:
                if item["id"] == subscription_item:
                    return subscription, item
        raise missing("subscription_item", subscription_item)


def _as_update(params: Any, **item: Any) -> SubscriptionUpdate:
    """Return the update of the subscription that changes one of its items."""
    update = {key: params[key] for key in _OF_THE_SUBSCRIPTION if key in params}
    own = {
        key: value
        for key, value in params.items()
        if key not in (*_OF_THE_SUBSCRIPTION, "subscription")
    }
    return cast(SubscriptionUpdate, {**update, "items": [{**item, **own}]})
