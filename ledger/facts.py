"""From a row of the log to an instance of the class that its topic names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ledger.aggregates import BY_TOPIC, StripeFact
from ledger.log import RecordedEvent
from ledger.log.evolution import upcast


def as_fact(event: RecordedEvent) -> StripeFact:
    """Return a recorded event as its class; the topic must be one of ours."""
    make: Callable[..., StripeFact] = BY_TOPIC[event.topic]  # a dataclass by its metaclass
    return make(
        originator_id=event.stream,
        originator_version=event.version,
        timestamp=event.recorded_at,
        position=event.position,
        occurred_at=event.occurred_at,
        customer_id=event.customer_id,
        object_id=event.object_id,
        stripe_event_id=event.stripe_event_id,
        data=event.data if BY_TOPIC[event.topic].stripe_type else _ours(event),
    )


def _ours(event: RecordedEvent) -> dict[str, Any]:
    """Return the body of an event that we wrote, in the present shape of its class."""
    return upcast(BY_TOPIC[event.topic], dict(event.data))
