"""From a row of the log to an instance of the class that its topic names."""

from __future__ import annotations

from collections.abc import Callable

from ledger.aggregates import BY_TOPIC, StripeFact
from ledger.log import RecordedEvent


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
        data=event.data,
    )
