"""The CRM views: customers, subscriptions, invoices, payments, timelines, catalogue.

Three steps: *facts* (what each event says, insert-only), *settle* (what each touched object was
at the end of each second), *derive* (what follows for each touched payment and customer). Each is
a function of the set of facts, so any order and any batching agree, and so does a bulk load.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ledger.aggregates import Customer
from ledger.log import RecordedEvent
from ledger.projections import generations
from ledger.projections.crm.bulk import derive_between, load
from ledger.projections.crm.derive import derive, erase_linked, forget
from ledger.projections.crm.facts import insert_facts, rows_of
from ledger.projections.crm.settle import settle_touched, write_settled
from ledger.projections.projection import Connection, Derivation, Projection

if TYPE_CHECKING:
    from ledger.application import Ledger


class Crm(Projection):
    """Who the customers are, what they have, what they paid and what happened to them."""

    name = "crm"
    version = 4
    package = __name__
    tables = ("facts", "objects", "links", "owners", "customers", "customer_search", "payments")
    loaded = ("facts", "objects", "links")
    views = ("timeline", "current_objects", "subscriptions", "invoices", "catalogue")

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger)
        self._search_key = ledger.master.derive("search")

    def apply(self, connection: Connection, events: Sequence[RecordedEvent]) -> None:
        """Write facts, settle the touched objects, derive for the touched owners."""
        rows = rows_of(events)
        bodies = {event.position: event.data for event in events}
        settled = settle_touched(connection, rows.versions, bodies)
        insert_facts(connection, rows.facts, rows.links)
        write_settled(connection, settled)
        derive(connection, rows, self.ledger.keys, self._search_key)
        topic = Customer.CustomerErased.TOPIC
        if erased := [event.customer_id for event in events if event.topic == topic]:
            forget(connection, generations.former(self.ledger, Crm).schema, erased)

    def load(self, connection: Connection, events: Sequence[RecordedEvent]) -> None:
        """Write facts, settled, and what they say directly."""
        load(connection, events)

    def derivations(self, until: int) -> Sequence[Derivation]:  # all there is was loaded
        """Return owners, payments and customers, each made by the code that makes them live."""
        return derive_between(self.ledger.keys, self._search_key)

    def went_live(self, connection: Connection) -> None:
        """Erase the keys of what turned out to belong to an erased customer."""
        erase_linked(connection)
