"""SQL views for programs of others: what they tell, to whom, and that they outlive a rebuild."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import errors, sql
from psycopg.rows import dict_row

from ledger.application import Ledger
from ledger.database import BI_ROLE
from ledger.projections import PROJECTIONS, bi
from ledger.projections.rebuild import Rebuild
from ledger.settings import Settings
from tests.facts import event, invoice
from tests.reactions import Reactor, andi, failed

DOCS = Path(__file__).parent.parent / "docs" / "sql-views.md"


@pytest.fixture
def reactor(ledger: Ledger) -> Reactor:
    made = Reactor(ledger)
    made.told(*andi(), *failed(made.at()))
    return made


def read(ledger: Ledger, query: str) -> list[dict[str, Any]]:
    """Read as a program that was let into the views."""
    with ledger.database.connect_as_owner() as owner, owner.transaction():
        path = sql.SQL("SET LOCAL search_path TO {}")
        owner.execute(path.format(sql.Identifier(bi.schema_of(ledger.schema))))
        owner.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(BI_ROLE)))
        with owner.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(query.encode()).fetchall()


def views() -> list[str]:
    return [found[1] for one in bi.statements() if (found := re.search(r"VIEW (\w+)", one))]


def test_the_views_tell_what_the_ledger_knows(ledger: Ledger, reactor: Reactor) -> None:
    (customer,) = read(ledger, "SELECT * FROM customers")
    (bill,) = read(ledger, "SELECT * FROM invoices")
    (item,) = read(ledger, "SELECT * FROM subscription_items")
    (worth,) = read(ledger, "SELECT * FROM customer_mrr")
    journal = read(ledger, "SELECT sum(amount_minor) AS total FROM journal_entries")

    assert (customer["customer_id"], customer["status"]) == ("cus_andi", "active")
    assert (bill["customer_id"], bill["status"], bill["amount_due_minor"]) == (
        "cus_andi", "open", 10_000_000,
    )  # fmt: skip
    assert (item["price"], item["unit_amount_minor"]) == ("price_monthly", 10_000_000)
    assert worth["mrr_minor"] == 10_000_000
    assert journal == [{"total": 0}]


def test_nothing_personal_is_in_any_of_them(ledger: Ledger, reactor: Reactor) -> None:
    for view in views():
        rows = read(ledger, f"SELECT v::text AS row FROM {view} AS v")
        for word in ("Andi", "Wijaya", "andi@", "Somba", "811 0000"):
            assert word not in str(rows), view


@pytest.mark.parametrize("query", ["SELECT * FROM {0}.events", "SELECT * FROM {0}.customers",
                                   "SELECT * FROM {0}.subject_keys", "SELECT * FROM {0}.settings",
                                   "DELETE FROM customers", "CREATE TABLE x ()"])  # fmt: skip
def test_whoever_is_let_in_there_reads_nothing_else_and_changes_nothing(
    ledger: Ledger, reactor: Reactor, query: str
) -> None:
    with pytest.raises((errors.InsufficientPrivilege, errors.ObjectNotInPrerequisiteState)):
        read(ledger, query.format(f'"{ledger.schema}"'))


@pytest.mark.parametrize("projection", PROJECTIONS, ids=lambda one: one.name)
def test_after_a_rebuild_the_views_read_what_is_live(
    settings: Settings, ledger: Ledger, reactor: Reactor, projection: Any
) -> None:
    Rebuild(settings, ledger, projection, workers=1).run()
    reactor.told(event("invoice.paid", invoice(status="paid"), at=reactor.at(hours=1)))

    assert read(ledger, "SELECT status FROM invoices") == [{"status": "paid"}]
    assert read(ledger, "SELECT outcome FROM dunning_cases") == [{"outcome": "paid"}]
    assert len(read(ledger, "SELECT * FROM journal_entries")) >= 2
    assert {one["customer_id"] for one in read(ledger, "SELECT * FROM mrr_entries")} == {"cus_andi"}
    with ledger.database.connect_as_owner() as owner:
        assert bi.ensure_views(owner, ledger.schema) == []  # all of them are still there


def test_the_document_names_every_column(ledger: Ledger) -> None:
    told = {
        name: re.findall(r"`(\w+)`", columns)
        for name, columns in re.findall(r"^\| `(\w+)` \| (.*?) \|", DOCS.read_text(), re.MULTILINE)
    }
    with ledger.database.connect_as_owner() as owner:
        assert told == {view: columns(owner, ledger, view) for view in views()}


def columns(owner: psycopg.Connection[Any], ledger: Ledger, view: str) -> list[str]:
    rows = owner.execute(
        "SELECT column_name FROM information_schema.columns"
        " WHERE table_schema = %s AND table_name = %s ORDER BY ordinal_position",
        [bi.schema_of(ledger.schema), view],
    ).fetchall()
    return [row[0] for row in rows]
