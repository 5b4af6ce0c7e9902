"""A made-up business to look at: its webhooks, told to a ledger of its own through the front door.

600 customers over 24 months, from a seed: the same events with the same ids whenever it is told.
What the ledger has already is not sent again. Afterwards the business lives on, as fast as wanted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import TYPE_CHECKING

from ledger.errors import LedgerError
from ledger.log import Log
from ledger.simulator import NEWEST, believable_business
from ledger.simulator.delivery import Delivery, delivery_of
from ledger.simulator.sending import Sender

if TYPE_CHECKING:
    from ledger.application import Ledger
    from ledger.simulator.engine import Event

NAME = "demo"  # of the ledger
SEED = 1
CONCURRENCY = 8
CHUNK = 500
DAY_SECONDS = 86_400
LOOK_SECONDS = 1.0
Progress = Callable[[str, float, float], None]


class DemoUnheard(LedgerError):
    """The server did not take what the demo told."""


class DemoMixed(LedgerError):
    """The ledger holds another made-up business."""


@dataclass(frozen=True)
class Told:
    """How much was told: events of the story, of which the ledger had some already."""

    events: int
    sent: int


class Demo:
    """One telling. `start` is where the story begins (unix seconds); `url` the demo's webhook."""

    def __init__(self, ledger: Ledger, url: str, start: int, seed: int = SEED) -> None:
        self._ledger = ledger
        self._url = url
        (self._secret, *_) = ledger.settings.webhook_secrets
        self._business = believable_business(seed, start=start, endpoint_versions=[NEWEST])

    def tell_story(self, until: int, progress: Progress = lambda *_: None) -> Told:
        """Send what the ledger does not have of the first 24 months, and of the time after them
        until then (unix seconds); raise DemoUnheard, or DemoMixed before anything is sent.
        """
        business = self._business
        span = max(business.end_of_story, until) - business.start
        sender = Sender(self._now, concurrency=CONCURRENCY)
        events = sent = 0
        try:
            for chunk in _chunks(chain(business.story(), business.live(until))):
                if not events:
                    self._require_own(chunk)
                events += len(chunk)
                for delivery in self._unknown(chunk):
                    self._require_heard(sender)
                    sender.send(delivery)
                    sent += 1
                progress("telling", business.simulator.now - business.start, span)
        except BaseException:
            sender.close(at_once=True)
            raise
        sender.close()
        self._require_heard(sender)
        return Told(events, sent)

    def live_on(self, days_per_minute: float, until: Callable[[], bool]) -> None:
        """Let the business live at this pace, sending as it happens, until told to stop."""
        business = self._business
        now = float(business.simulator.now)
        sender = Sender(self._now, concurrency=1)
        looked = time.monotonic()
        try:
            while not until():
                time.sleep(LOOK_SECONDS)
                passed, looked = time.monotonic() - looked, time.monotonic()
                now += passed * days_per_minute * DAY_SECONDS / 60
                for delivery in self._unknown(list(business.live(int(now)))):
                    sender.send(delivery)
                business.forget_events_before(business.simulator.now - DAY_SECONDS)
        finally:
            sender.close(at_once=True)

    def _now(self) -> int:
        return int(self._ledger.clock.now().timestamp())

    def _unknown(self, events: list[Event]) -> Iterator[Delivery]:
        """Yield deliveries of those events that the ledger does not have."""
        with self._ledger.pool.connection() as connection:
            known = Log(connection).known(event.id for event in events)
        (endpoint,) = self._business.simulator.webhook_endpoints.all()
        for event in events:
            if event.id not in known:
                made = delivery_of(self._business.simulator, event, endpoint)
                yield replace(made, url=self._url, secret=self._secret)

    def _require_own(self, first: list[Event]) -> None:
        with self._ledger.pool.connection() as connection:
            log = Log(connection)
            if log.last_position() and not log.known(event.id for event in first):
                raise DemoMixed(
                    f"The ledger `{NAME}` holds another business, of another --seed. Tell that one"
                    " again, or use another LEDGER_HOME for this one."
                )

    def _require_heard(self, sender: Sender) -> None:
        refused = {status: n for status, n in sender.answers.items() if status != 200}
        if refused:
            status = next(iter(refused))
            raise DemoUnheard(
                f"Nobody listens at {self._url}: start `scripts/serve --demo`."
                if status == 0
                else f"{self._url} answered {status}: is the ledger `{NAME}` served there?"
            )


def _chunks(events: Iterable[Event]) -> Iterator[list[Event]]:
    source = iter(events)
    while chunk := list(islice(source, CHUNK)):
        yield chunk
