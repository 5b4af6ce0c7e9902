"""Why an event is in the log, and what it led to: chains of causation, and of one request.

A decision of ours names what caused it. Stripe's events name the API request they come of, if one
of its customers' programs made it; those of one request are found among the same customer's
events of that time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg

from ledger.errors import NotFound
from ledger.ids import is_id
from ledger.log import Log, RecordedEvent
from ledger.stripe_objects.fields import text

Connection = psycopg.Connection[tuple[Any, ...]]

DEPTH_MAX = 50
SAME_REQUEST_SECONDS = 60

_LED_TO = "SELECT position FROM events WHERE causation_id = ANY(%s) ORDER BY position"
_SAME_REQUEST = """
SELECT e.position FROM facts AS f JOIN events AS e ON e.position = f.position
WHERE f.customer_id = %(customer)s
    AND coalesce(e.correlation_id, e.data -> 'request' ->> 'id') = %(request)s
    AND f.occurred_at BETWEEN %(at)s - make_interval(secs => %(seconds)s)
        AND %(at)s + make_interval(secs => %(seconds)s)
ORDER BY e.position
"""


@dataclass(frozen=True)
class Causes:
    """An event with what caused it (nearest first), what shares its request, what it led to.

    `led_to` pairs each event with how many steps it is away.
    """

    event: RecordedEvent
    request: str | None
    caused_by: list[RecordedEvent]
    same_request: list[RecordedEvent]
    led_to: list[tuple[int, RecordedEvent]]


def causes_of(connection: Connection, named: str) -> Causes:
    """Return the chain around an event, named by its position or Stripe's id; raise NotFound."""
    event = _find(connection, named)
    if event is None:
        raise NotFound(f"There is no event {named!r} in this ledger (a position, or evt_…).")
    request = event.correlation_id or text(event.data, "request", "id")
    return Causes(
        event,
        request,
        _caused_by(connection, event),
        _same_request(connection, event, request) if request and event.customer_id else [],
        _led_to(connection, event),
    )


def _find(connection: Connection, named: str | None) -> RecordedEvent | None:
    if named is None or not is_id(named):
        return None
    if named.isdecimal():
        return Log(connection).at([int(named)]).get(int(named)) if len(named) < 19 else None
    row = connection.execute(
        "SELECT position FROM events WHERE stripe_event_id = %s", [named]
    ).fetchone()
    return Log(connection).at([row[0]])[row[0]] if row else None


def _caused_by(connection: Connection, event: RecordedEvent) -> list[RecordedEvent]:
    chain: list[RecordedEvent] = []
    cause = _find(connection, event.causation_id)
    while cause is not None and len(chain) < DEPTH_MAX:
        chain.append(cause)
        cause = _find(connection, cause.causation_id)
    return chain


def _same_request(
    connection: Connection, event: RecordedEvent, request: str
) -> list[RecordedEvent]:
    found = connection.execute(
        _SAME_REQUEST,
        {
            "customer": event.customer_id,
            "request": request,
            "at": event.occurred_at,
            "seconds": SAME_REQUEST_SECONDS,
        },
    ).fetchall()
    others = Log(connection).at([row[0] for row in found if row[0] != event.position])
    return [others[position] for position in sorted(others)]


def _led_to(connection: Connection, event: RecordedEvent) -> list[tuple[int, RecordedEvent]]:
    chain: list[tuple[int, RecordedEvent]] = []
    seen = {event.position}
    causes = [event]
    for step in range(1, DEPTH_MAX + 1):
        names = [str(one.position) for one in causes]
        names += [one.stripe_event_id for one in causes if one.stripe_event_id]
        found = [row[0] for row in connection.execute(_LED_TO, [names]).fetchall()]
        causes = [*Log(connection).at([at for at in found if at not in seen]).values()]
        if not causes:
            break
        seen.update(one.position for one in causes)
        chain += [(step, one) for one in sorted(causes, key=lambda one: one.position)]
    return chain
