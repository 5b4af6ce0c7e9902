"""The CRM views: customers, subscriptions, invoices, payments, timelines, catalogue.

Three steps per batch: *rows* (what each event says, insert-only), *settle* (what each touched
object was at the end of each second), *derive* (what follows for each touched payment and
customer). Each is a function of the set of facts, so any order and any batching agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import psycopg

from ledger.log import RecordedEvent
from ledger.projections.crm.derive import derive
from ledger.projections.crm.rows import insert_rows, rows_of
from ledger.projections.crm.settle import settle_touched
from ledger.projections.runner import Projection

if TYPE_CHECKING:
    from ledger.application import Ledger


class Crm(Projection):
    """Who the customers are, what they have, what they paid and what happened to them."""

    name = "crm"

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger)
        self._search_key = ledger.master.derive("search")

    def apply(
        self, connection: psycopg.Connection[tuple[Any, ...]], events: Sequence[RecordedEvent]
    ) -> None:
        """Write rows, settle the touched objects, derive for the touched owners."""
        rows = rows_of(events)
        insert_rows(connection, rows)
        settle_touched(connection, rows, {event.position: event.data for event in events})
        derive(connection, rows, self.ledger.keys, self._search_key)
