"""Which webhook reaches which endpoint when: a plan of deliveries, with faults from a seed.

A plan is pure: it sends nothing and takes no clock. Positions count events, so the same plan
holds at any pace; `ledger.simulator.sending` carries it out over HTTP.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING

from stripe import WebhookSignature

from ledger.simulator.engine import Event, wants
from ledger.simulator.ids import random_from

if TYPE_CHECKING:
    from ledger.simulator.engine import Json
    from ledger.simulator.simulator import Simulator


@dataclass(frozen=True, slots=True)
class Faults:
    """What may go wrong, as shares of all deliveries between 0 and 1.

    Deliveries change places within `shuffle_window` events. `duplicates` arrive again soon,
    `redeliveries` again after about `delay_events`, `delays` only then; `drops` never arrive,
    and the event list says so (`delivery_success=false`).
    """

    shuffle_window: int = 1
    duplicates: float = 0.0
    redeliveries: float = 0.0
    delays: float = 0.0
    drops: float = 0.0
    delay_events: int = 500


NO_FAULTS = Faults()
ALL_FAULTS = Faults(shuffle_window=40, duplicates=0.05, redeliveries=0.03, delays=0.05, drops=0.01)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One request to one endpoint; `attempt` counts from 1."""

    event_id: str
    type: str
    endpoint: str
    url: str
    secret: str
    body: bytes
    attempt: int = 1

    def headers(self, timestamp: int) -> dict[str, str]:
        """Return the headers, signed as of `timestamp` (unix seconds)."""
        signature = WebhookSignature.generate_signature_header(
            self.body.decode(), self.secret, timestamp
        )
        return {
            "Content-Type": "application/json; charset=utf-8",
            "Stripe-Signature": signature,
            "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
        }


def plan(
    simulator: Simulator,
    faults: Faults = NO_FAULTS,
    *,
    seed: int = 0,
    events: Iterable[Event] | None = None,
) -> Iterator[Delivery]:
    """Yield the deliveries of events to the account's endpoints, in the order of arrival.

    `events` are all of the account unless given; they may be endless, as no more than the
    faults' distances are held back.
    """
    chance = random_from(f"delivery:{seed}")
    numbers = count()
    waiting: list[tuple[float, int, Event, Delivery]] = []
    position = 0
    for position, event in enumerate(simulator.events if events is None else events):
        for endpoint in simulator.webhook_endpoints.all():
            if not wants(endpoint, event.type) or endpoint["api_version"] not in event.bodies:
                continue
            arrivals = _arrivals(position, faults, chance.random)
            if not arrivals:
                event.undelivered += 1
            for attempt, arrival in enumerate(arrivals, 1):
                made = delivery_of(simulator, event, endpoint, attempt)
                heappush(waiting, (arrival, next(numbers), event, made))
        while waiting and waiting[0][0] <= position:
            yield _arrived(waiting)
    while waiting:
        yield _arrived(waiting)


def delivery_of(simulator: Simulator, event: Event, endpoint: Json, attempt: int = 1) -> Delivery:
    """Return the delivery of one event to one endpoint, in the endpoint's rendering."""
    return Delivery(
        event.id,
        event.type,
        endpoint["id"],
        endpoint["url"],
        simulator.webhook_endpoints.secret_of(endpoint),
        event.bodies[endpoint["api_version"]],
        attempt,
    )


def _arrivals(position: int, faults: Faults, random: Callable[[], float]) -> list[float]:
    """Return when a delivery arrives, counted in events; never, once or several times."""
    if random() < faults.drops:
        return []
    far = faults.delay_events * (0.5 + random())
    first = position + random() * (faults.shuffle_window - 1)
    if random() < faults.delays:
        first = position + far
    arrivals = [first]
    if random() < faults.duplicates:
        arrivals.append(first + random() * max(faults.shuffle_window, 2))
    if random() < faults.redeliveries:
        arrivals.append(first + far)
    return sorted(arrivals)


def _arrived(waiting: list[tuple[float, int, Event, Delivery]]) -> Delivery:
    _, _, event, delivery = heappop(waiting)
    if delivery.attempt == 1:
        event.pending -= 1
    return delivery
