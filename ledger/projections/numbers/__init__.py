"""The numbers: MRR and its movements, per definition set, as entries that explain every sum.

    facts of the CRM views ──▶ a book per customer ──▶ entries ──▶ sums by day
                                                    └▶ what became of the customer per period

A customer's book is opened from the settled facts, takes in what is new fact by fact, and yields
what each fact changes (`book`). Opened for all customers it gives the same: that is a rebuild.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from ledger.aggregates.base import DEFINITIONS_STREAM, is_set_aside
from ledger.log import RecordedEvent
from ledger.projections.crm import Crm
from ledger.projections.crm.facts import NOT_PROJECTED
from ledger.projections.numbers import catalogue
from ledger.projections.numbers.bulk import customers_between, derive_between, enter_all
from ledger.projections.numbers.categories import keep_categories
from ledger.projections.numbers.collections import make_collections, touched_invoices
from ledger.projections.numbers.entries import (
    add_outcomes,
    forget_outcomes,
    sum_up,
    sum_up_outcomes,
    write_learnt,
    write_outcomes,
)
from ledger.projections.numbers.exchange import keep_rates
from ledger.projections.numbers.series import Series, series_until, write_series
from ledger.projections.numbers.shelf import BOOKS, DISCOUNTED, PAID_TYPES, open_books
from ledger.projections.projection import LAST_KEY, Connection, Derivation, Projection
from ledger.stripe_objects.facts import subscription_of
from ledger.stripe_objects.fields import nested
from ledger.stripe_objects.references import kind_of

_TRIED = """
SELECT DISTINCT customer_id FROM facts
WHERE object_id = ANY (%s) AND kind = 'subscription'
    AND (canonical IS NULL OR canonical ->> 'status' = 'trialing')
"""


class Numbers(Projection):
    """What the business is worth a month, why that changed, and what became of its customers."""

    name = "numbers"
    version = 3
    package = __name__
    tables = (
        "mrr_series", "mrr_entries", "mrr_days", "mrr_price_days", "mrr_price_months",
        "mrr_cohort_months", "level_entries", "level_days", "mrr_periods", "mrr_outcomes", "losses",
        "trials",
        "catalogue_terms", "catalogue_uses", "exchange_rates", "churn_categories", "collections",
    )  # fmt: skip
    loaded = ()
    follows = Crm

    def apply(self, connection: Connection, events: Sequence[RecordedEvent]) -> None:
        """Enter what these events changed, and what added definition sets say of all before."""
        after, until = events[0].position - 1, events[-1].position
        series = series_until(connection, after)
        write_series(connection, series)
        keep_rates(connection, events)
        keep_categories(connection, events)
        if invoices := touched_invoices(connection, events):
            make_collections(connection, invoices)
        if touched := self._touched(connection, events):
            recorded = {event.position: event.recorded_at for event in events}
            self._enter(connection, series, sorted(touched), recorded)
            sum_up(connection, [one.number for one in series], after, until)
        if any(event.stream == DEFINITIONS_STREAM for event in events):
            self._add(connection, series, until)

    def load(self, connection: Connection, events: Sequence[RecordedEvent]) -> None:
        """Do nothing: all of it follows from the facts of the CRM views."""

    def derivations(self, until: int) -> Sequence[Derivation]:
        """Return what makes everything, customer by customer."""
        return derive_between(until)

    def _enter(
        self,
        connection: Connection,
        series: Sequence[Series],
        customers: Sequence[str],
        recorded: dict[int, datetime],
    ) -> None:
        for first in range(0, len(customers), BOOKS):
            ids = customers[first : first + BOOKS]
            books = list(open_books(connection, ids, series, max(recorded)))
            write_learnt(connection, books, recorded)
            forget_outcomes(connection, ids)
            write_outcomes(connection, books, {one.number for one in series})
            add_outcomes(connection, ids)

    def _touched(self, connection: Connection, events: Sequence[RecordedEvent]) -> set[str]:
        """Return the customers whose numbers these events may change."""
        touched: set[str] = set()
        discounted: set[str] = set()
        invoiced: set[str] = set()
        for event in events:
            if event.topic in NOT_PROJECTED or is_set_aside(event.data):
                continue
            obj = nested(event.data, "data", "object")
            kind = kind_of(obj)
            if kind in ("subscription", "discount") and event.customer_id:
                touched.add(event.customer_id)
            elif kind == "customer" and event.object_id:
                discounted.add(event.object_id)
            elif event.data.get("type") in PAID_TYPES and (subscription := subscription_of(obj)):
                invoiced.add(subscription)
        if discounted:
            rows = connection.execute(DISCOUNTED, {"ids": sorted(discounted)}).fetchall()
            touched.update(row[0] for row in rows if row[0])
        if invoiced:
            rows = connection.execute(_TRIED, [sorted(invoiced)]).fetchall()
            touched.update(row[0] for row in rows if row[0])
        return touched | catalogue.learn(connection, events)

    def _add(self, connection: Connection, known: Sequence[Series], until: int) -> None:
        """Make the series that were added, for all customers and the whole past."""
        added = [one for one in series_until(connection, until) if one not in known]
        if added:
            write_series(connection, added)
            enter_all(connection, customers_between(connection, "", LAST_KEY), added, until)
            sum_up(connection, [one.number for one in added], 0, until)
            sum_up_outcomes(connection, [one.number for one in added])
