"""A log of any size for benchmarks: a believable business, lived again under other ids."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from multiprocessing import get_context
from typing import TYPE_CHECKING

from ledger.bootstrap import installation
from ledger.log import Log, NewEvent
from ledger.simulator import believable_business

if TYPE_CHECKING:
    from typing import Any

    from ledger.settings import Settings

START = 1_704_067_200  # 2024-01-01T00:00:00Z
BATCH_EVENTS = 1000
SECRET_IDS = re.compile(
    rb'"((?:evt|cus|sub|si|in|il|pi|ch|py|re|du|dp|cn|pm|price|prod|req|txn|di|inpay|po|seti|cs|'
    rb"promo|txr|ii|tok|src|card|bps|we|test_clock)_[A-Za-z0-9]{8,30})"
)


def story(seed: int = 7) -> list[bytes]:
    """Return the webhook bodies of a business of 600 customers over 24 months."""
    business = believable_business(seed)
    return [body for event in business.story() for body in event.bodies.values()]


class _Collected:
    """A committer that keeps what is submitted, for appending in batches."""

    def __init__(self) -> None:
        self.events: list[NewEvent] = []

    async def submit(self, event: NewEvent) -> int:
        self.events.append(event)
        return len(self.events)

    async def aside(self, work: Callable[[], Any]) -> Any:
        return work()


def lived_again(bodies: list[bytes], life: int) -> Iterator[bytes]:
    """Yield the bodies with every id made another."""
    if life == 0:
        yield from bodies
        return
    tag = f"L{life}".encode()
    for body in bodies:
        yield SECRET_IDS.sub(lambda found: b'"' + found[1] + tag, body)


def fill(settings: Settings, lives: range) -> int:
    """Append whole lives to the default ledger's log, in batches; return how many events."""
    bodies = story()
    written = 0
    with installation(settings) as opened:
        ledger = opened.ledger()
        intake = ledger.intake
        with opened.database.connect(ledger.schema) as connection:
            connection.execute("SET synchronous_commit = off")
            log = Log(connection)
            for life in lives:
                taken = _Collected()
                for body in lived_again(bodies, life):
                    with suppress(StopIteration):
                        intake.take(body, taken).send(None)
                for start in range(0, len(taken.events), BATCH_EVENTS):
                    batch = taken.events[start : start + BATCH_EVENTS]
                    written += sum(position > 0 for position in log.append(batch))
    return written


def grow(settings: Settings, events: int, told: Callable[[str], None]) -> int:
    """Let the default ledger's log hold at least so many events; return how many it holds."""
    with installation(settings) as opened, opened.database.connect(opened.ledger().schema) as one:
        held = Log(one).last_position()
    per_life = len(story())
    first = held // per_life
    lives = -(-events // per_life) - first
    if lives <= 0:
        return held
    started = time.monotonic()
    middle = first + (lives + 1) // 2
    parts = [range(first, middle), range(middle, first + lives)]
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        held += sum(pool.map(fill, [settings] * 2, parts))
    told(f"filled to {held:,} events in {time.monotonic() - started:.0f} s")
    return held
