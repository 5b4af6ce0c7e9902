"""Exchange rates, as they were imported: rows of their own, none of which is ever changed."""

from __future__ import annotations

from collections.abc import Iterable

from ledger.aggregates import Account
from ledger.aggregates.base import RATES_STREAM
from ledger.log import Log, RecordedEvent
from ledger.projections.projection import Connection

_INSERT = """
INSERT INTO exchange_rates (day, base, quote, rate, position)
SELECT day, base, quote, rate, %s
FROM unnest(%s::date[], %s::text[], %s::text[], %s::numeric[]) AS told (day, base, quote, rate)
"""


def keep_rates(connection: Connection, events: Iterable[RecordedEvent]) -> None:
    """Keep the rates that these events tell."""
    for event in events:
        if event.topic == Account.RatesImported.TOPIC and event.data["rates"]:
            columns = [list(column) for column in zip(*event.data["rates"], strict=True)]
            connection.execute(_INSERT, [event.position, *columns])


def load_rates(connection: Connection, until: int) -> None:
    """Keep all rates that were told up to a position."""
    events = Log(connection).stream(RATES_STREAM)
    keep_rates(connection, (event for event in events if event.position <= until))
