"""A believable business: growth, seasons, changes of plan, failed cards, people who leave.

People act by an agenda of their own, beside Stripe's; both are worked off in order of time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from ledger.simulator.believable_catalogue import SEASONS
from ledger.simulator.believable_life import Life
from ledger.simulator.engine import Event
from ledger.simulator.moments import DAY, HOUR, add_months
from ledger.simulator.settings import AccountSettings
from ledger.simulator.simulator import Simulator

START = 1_704_067_200  # 2024-01-01T00:00:00Z
MONTHS = 24
CUSTOMERS = 600
GROWTH_PER_MONTH = 1.12
LATER_ARRIVALS_PER_MONTH = 45


class BelievableBusiness:
    """A business that lives as long as it is asked to; its past and future follow from the seed."""

    def __init__(self, seed: int, start: int, endpoint_versions: Sequence[str]) -> None:
        settings = AccountSettings(upcoming_days=None, country="US", final_action="cancel")
        self.simulator = Simulator(seed, start, settings)
        for number, version in enumerate(endpoint_versions):
            url = f"https://ledger.example.test/webhooks/{number}"
            self.simulator.webhook_endpoints.create(url=url, api_version=version)
        self.start = start
        self.end_of_story = add_months(start, MONTHS)
        self._life = Life(self.simulator, seed)
        self._told = 0
        self._months = 0

    def story(self) -> Iterator[Event]:
        """Yield the events of the first 24 months as they happen: at most 40,000."""
        yield from self.live(self.end_of_story)

    def live(self, until: int) -> Iterator[Event]:
        """Let time pass until then (unix seconds), and yield the events as they happen."""
        while self.simulator.now < until:
            day = min(self.simulator.now // DAY * DAY + DAY, until)
            while self._next_month() <= day:
                self._plan_month()
            self._life.live(day)
            events = self.simulator.events
            while self._told < len(events):
                self._told += 1
                yield events[self._told - 1]

    def forget_events_before(self, at: int) -> None:
        """Let go of events that happened before `at` (unix seconds) and have been yielded."""
        before = len(self.simulator.events)
        self.simulator.engine.forget_events_before(at)
        self._told -= before - len(self.simulator.events)

    def _next_month(self) -> int:
        return add_months(self.start, self._months)

    def _plan_month(self) -> None:
        """Let the people of the coming month be on their way, at times when people are awake."""
        begin = self._next_month()
        self._months += 1
        days = (self._next_month() - begin) // DAY
        for _ in range(self._arrivals(begin)):
            day = self._life.chance.randrange(days)
            second = self._life.chance.randrange(HOUR, 15 * HOUR)
            self._life.later(begin + day * DAY + second, self._life.arrive)

    def _arrivals(self, begin: int) -> int:
        number = self._months - 1
        if number >= MONTHS:
            return LATER_ARRIVALS_PER_MONTH * _season(begin) // 100
        weights = [
            GROWTH_PER_MONTH**month * _season(add_months(self.start, month))
            for month in range(MONTHS)
        ]
        before, now = sum(weights[:number]), sum(weights[: number + 1])
        return round(CUSTOMERS * now / sum(weights)) - round(CUSTOMERS * before / sum(weights))


def _season(at: int) -> int:
    return SEASONS[datetime.fromtimestamp(at, UTC).month - 1]


def believable_business(
    seed: int, *, start: int = START, endpoint_versions: Sequence[str] = ()
) -> BelievableBusiness:
    """Return a business that begins at `start` (unix seconds); nothing has happened yet.

    About 600 customers come in its first 24 months; `story()` yields those months' events and
    `live(until)` goes on from wherever it stands. One webhook endpoint is made for each of
    `endpoint_versions`.
    """
    return BelievableBusiness(seed, start, endpoint_versions)
