"""How a random walk chooses: among what there is, or what may come."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any

from ledger.simulator.declines import DECLINES, Behaviour
from ledger.simulator.engine import Json
from ledger.simulator.random_catalogue import Shelf, fill_shelf
from ledger.simulator.refusals import Refused
from ledger.simulator.simulator import Simulator
from ledger.simulator.subscription_shape import ENDED


@dataclass
class Choices:
    """What one random walk may choose from."""

    sim: Simulator
    chance: Random
    customers: list[str] = field(default_factory=list)
    refused: int = 0

    def __post_init__(self) -> None:
        self.shelf: Shelf = fill_shelf(self.sim)

    def some(self, values: list[Any]) -> Any:
        """Return one of the values; refuse the step if there is none."""
        if not values:
            raise Refused("There is nothing to choose from.")
        return self.chance.choice(values)

    def some_of(self, kind: str, *statuses: str) -> Json:
        """Return some object of a kind, of one of the statuses if any are given."""
        found = self.sim.engine.all(kind)
        if statuses:
            found = [one for one in found if one["status"] in statuses]
        one: Json = self.some(found[-60:])
        return one

    def some_customer(self) -> str:
        """Return the id of some customer."""
        customer: str = self.some(self.customers)
        return customer

    def some_subscription(self) -> Json:
        """Return some subscription that has not ended."""
        found = [s for s in self.sim.subscriptions.all() if s["status"] not in ENDED]
        subscription: Json = self.some(found[-60:])
        return subscription

    def some_price(self, subscription: Json | None = None) -> str:
        """Return some recurring price, in the currency of a subscription if one is given."""
        prices = self.shelf.recurring
        if subscription:
            prices = [p for p in prices if p["currency"] == subscription["currency"]]
        price: str = self.some(prices)["id"]
        return price

    def some_card(self) -> str:
        """Return a new card that pays, or one day does not."""
        method = self.sim.payment_methods.create(card={"number": "4242424242424242"})["id"]
        behaviour = self.chance.choices(
            [
                Behaviour(),
                Behaviour(decline=self.chance.choice(list(DECLINES))),
                Behaviour(decline="insufficient_funds", fails_from=self.chance.randrange(2, 4)),
                Behaviour(decline="generic_decline", failures=self.chance.randrange(1, 3)),
                Behaviour(authenticates=True),
                Behaviour(dispute=self.chance.choice(["fraudulent", "warning"])),
                Behaviour(refund_fails=True),
            ],
            [50, 12, 12, 10, 6, 3, 7],
        )[0]
        self.sim.payment_methods.behave(method, behaviour)
        card: str = method
        return card
