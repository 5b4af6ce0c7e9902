"""Why customers left, as somebody has categorized it since: a row per decision."""

from __future__ import annotations

from collections.abc import Iterable

from ledger.aggregates import Customer
from ledger.aggregates.base import CATEGORIES_STREAM
from ledger.log import Log, RecordedEvent
from ledger.projections.projection import Connection


def keep_categories(connection: Connection, events: Iterable[RecordedEvent]) -> None:
    """Keep what these events decide."""
    for event in events:
        if event.topic == Customer.ChurnReasonCategorized.TOPIC:
            connection.execute(
                "INSERT INTO churn_categories (subscription_id, category, position)"
                " VALUES (%s, %s, %s)",
                [event.data["subscription"], event.data["category"], event.position],
            )


def load_categories(connection: Connection, until: int) -> None:
    """Keep what was decided up to a position."""
    events = Log(connection).stream(CATEGORIES_STREAM)
    keep_categories(connection, (event for event in events if event.position <= until))
