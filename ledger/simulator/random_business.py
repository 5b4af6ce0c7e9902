"""A business that does anything at any time: a random walk over all operations."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ledger.simulator.ids import random_from
from ledger.simulator.moments import DAY, HOUR
from ledger.simulator.random_customers import CustomerSteps
from ledger.simulator.random_money import MoneySteps
from ledger.simulator.random_subscriptions import SubscriptionSteps
from ledger.simulator.refusals import Refused
from ledger.simulator.settings import NEWEST, AccountSettings
from ledger.simulator.simulator import Simulator

START = 1_735_689_600  # 2025-01-01T00:00:00Z


def random_business(
    seed: int, size: int, *, start: int = START, endpoint_versions: Sequence[str] = ()
) -> Simulator:
    """Return a simulator after `size` random operations, see `random_walk`."""
    walk = random_walk(seed, start=start, endpoint_versions=endpoint_versions)
    for _ in range(size):
        walk.step()
    return walk.sim


def random_walk(
    seed: int,
    *,
    start: int = START,
    endpoint_versions: Sequence[str] = (),
    api_version: str = NEWEST,
) -> Walk:
    """Return a walk that begins at `start` (unix seconds) in an account of this API version.

    The account's settings follow from the seed too. Operations that Stripe would refuse are
    tried and refused; several happen within one second, and days pass between others. One
    webhook endpoint is made for each of `endpoint_versions` before anything happens.
    """
    chance = random_from(f"business:{seed}")
    settings = AccountSettings(
        api_version=api_version,
        retry_after_days=chance.choice([(3, 5, 7, 7), (1, 2), (3,), ()]),
        final_action=chance.choice(["cancel", "unpaid", "past_due", "pause"]),
        invoice_final_action=chance.choice(["open", "uncollectible"]),
        upcoming_days=chance.choice([None, 3, 7]),
        payout_every_days=chance.choice([1, 7]),
        unpaid_after_due_days=chance.choice([5, 30]),
        cancels_on_dispute=chance.random() < 0.5,
    )
    simulator = Simulator(seed, start, settings)
    for number, version in enumerate(endpoint_versions):
        url = f"https://ledger.example.test/webhooks/{number}"
        simulator.webhook_endpoints.create(url=url, api_version=version)
    return Walk(simulator, chance)


class Walk(CustomerSteps, SubscriptionSteps, MoneySteps):
    """One random walk: what it may do, and how often."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._choices: list[tuple[Callable[[], object], int]] = [
            (self.new_customer, 12),
            (self.subscribe, 16),
            (self.change_plan, 8),
            (self.change_subscription, 10),
            (self.cancel, 5),
            (self.pause_or_resume, 6),
            (self.change_card, 8),
            (self.change_customer, 6),
            (self.pay_invoice, 8),
            (self.handle_invoice, 6),
            (self.one_off_invoice, 5),
            (self.one_off_payment, 6),
            (self.refund, 6),
            (self.credit, 4),
            (self.dispute, 4),
            (self.schedule, 4),
            (self.check_out, 5),
            (self.sell_differently, 3),
            (self.use_meter, 4),
            (self.move_money, 2),
            (self.tidy, 3),
            (self.delete_customer, 1),
        ]
        for _ in range(3):
            self.new_customer()

    def step(self) -> None:
        """Do one thing, or fail to, and let some time pass, or none."""
        actions = [action for action, _ in self._choices]
        weights = [weight for _, weight in self._choices]
        action = self.chance.choices(actions, weights)[0]
        try:
            action()
        except Refused:
            self.refused += 1
        wait = self.chance.choices(
            [0, self.chance.randrange(1, 120), HOUR, DAY, self.chance.randrange(1, 20) * DAY],
            [45, 15, 10, 20, 10],
        )[0]
        self.sim.advance(self.sim.now + wait)
