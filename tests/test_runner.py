"""The runner: one event that a projection cannot read does not stop the others."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from ledger.application import Ledger
from ledger.log import RecordedEvent
from ledger.projections import Crm, Runner
from tests.facts import customer, event, record
from tests.waiting import eventually


class Squeamish(Crm):
    """The CRM views, but one customer is more than they can read."""

    def apply(
        self, connection: psycopg.Connection[tuple[Any, ...]], events: Sequence[RecordedEvent]
    ) -> None:
        if any(one.customer_id == "cus_poison" for one in events):
            raise ValueError("cannot read this one")
        super().apply(connection, events)


class Hopeless(Crm):
    """The CRM views, where no event can be read at all."""

    def apply(
        self, connection: psycopg.Connection[tuple[Any, ...]], events: Sequence[RecordedEvent]
    ) -> None:
        raise ValueError("cannot read any")


class Unmigrated(Crm):
    """The CRM views in a database that lacks a table."""

    def apply(
        self, connection: psycopg.Connection[tuple[Any, ...]], events: Sequence[RecordedEvent]
    ) -> None:
        connection.execute("SELECT * FROM not_there_yet")


@pytest.mark.parametrize(
    ("projection", "error", "passed_over"),
    [(Hopeless, ValueError, 10), (Unmigrated, psycopg.errors.UndefinedTable, 0)],
)
def test_where_no_event_is_to_blame_it_stops_before_passing_over_more(
    ledger: Ledger, projection: type[Crm], error: type[Exception], passed_over: int
) -> None:
    record(ledger, *(event("customer.created", customer(f"cus_{n}")) for n in range(15)))

    runner = Runner(ledger, [projection])
    for _ in range(2):  # nor does it when it tries again
        with pytest.raises(error):
            runner.catch_up()

    with ledger.pool.connection() as connection:
        faults = connection.execute("SELECT count(*) FROM projection_faults").fetchone()
    assert faults == (passed_over,)


@pytest.mark.parametrize("poisoned", [0, 3, 6])
def test_an_event_that_cannot_be_projected_is_noted_and_passed_over(
    ledger: Ledger, poisoned: int
) -> None:
    names = [f"cus_{index}" for index in range(6)]
    names.insert(poisoned, "cus_poison")
    record(ledger, *(event("customer.created", customer(name)) for name in names))

    done = Runner(ledger, [Squeamish]).catch_up()

    assert done == 7
    with ledger.pool.connection() as connection:
        known = connection.execute("SELECT id FROM customers ORDER BY id").fetchall()
        faults = connection.execute("SELECT projection, position FROM projection_faults").fetchall()
    assert [row[0] for row in known] == sorted(set(names) - {"cus_poison"})
    assert faults == [("crm", poisoned + 1)]


def test_who_waits_for_tables_that_are_swapped_goes_on_with_the_new_ones(ledger: Ledger) -> None:
    record(ledger, event("customer.created", customer()))
    bookmark = "DELETE FROM bookmarks WHERE projection = 'crm' RETURNING version, relations"
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    with ThreadPoolExecutor(1) as pool, ledger.pool.connection() as connection:
        with connection.transaction():  # a swap takes the row away and puts another in its place
            row = connection.execute(bookmark).fetchone()
            projected = pool.submit(Runner(ledger, [Crm]).catch_up)

            def is_waiting() -> bool:
                with ledger.database.connect_as_owner() as beside:
                    found = beside.execute(waiting).fetchone()
                return found is not None and found[0] > 0

            assert eventually(is_waiting, seconds=20)
            connection.execute("INSERT INTO bookmarks VALUES ('crm', 0, %s, %s)", row)
        assert projected.result(timeout=20) == 1
