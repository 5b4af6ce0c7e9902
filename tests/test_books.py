"""Accounting as people meet it: reports that tie, months that are closed, exports that are read."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import zipfile
from datetime import UTC, datetime
from io import StringIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from ledger.accounting import closing, sales
from ledger.accounting.books import open_books
from ledger.aggregates import Account
from ledger.aggregates.base import PERIODS_STREAM
from ledger.application import Ledger
from ledger.clock import FixedClock, utc
from ledger.errors import VersionConflict
from ledger.log import Log, NewEvent
from ledger.log.seals import seal
from ledger.metrics.definitions import add_definitions, adopt_definitions
from ledger.metrics.definitions import changed as changed_set
from ledger.observation import observe_balance
from ledger.projections import Journal
from ledger.projections.definitions import shipped
from ledger.projections.rebuild import Rebuild
from ledger.settings import Settings
from ledger.simulator import NEWEST, believable_business
from tests.facts import customer, event, project, record
from tests.journal import (
    FEB,
    JAN,
    Bookkeeper,
    bill,
    charged,
    credited,
    finalized,
    line,
    moved,
    observe,
    paid,
    tax,
)
from tests.numbers import at, begun, price, sub
from tests.simulation import listed
from tests.simulation_journal import journal_faults
from tests.test_cli import Shell

MARCH = datetime(2024, 3, 1, tzinfo=UTC)
MAR = int(MARCH.timestamp())


@pytest.fixture
def books(ledger: Ledger) -> Bookkeeper:
    """One paid invoice, one that is open and overdue, and one in another currency."""
    made = Bookkeeper(ledger)
    invoice = bill(line(3_100, taxes=[tax(341)]))
    owed = bill(line(1_000, id="il_9"), name="in_2", due_date=at("2024-01-15"))
    made.told(
        event("customer.created", customer("cus_a")),
        begun("2024-01-01", sub("a", (price(3_100), 1))),
        finalized(invoice), charged(3_441), paid(invoice, JAN + 60), finalized(owed),
        finalized(bill(line(500_00), name="in_3", currency="idr")),
    )  # fmt: skip
    return made


@pytest.fixture
def shell(settings: Settings, books: Bookkeeper) -> Shell:
    return Shell(settings, books.ledger.name)


def rows(shell: Shell, *call: str) -> list[dict[str, Any]]:
    said = shell("report", *call, "--format", "json")
    assert (said.code, said.err) == (0, "")
    found: list[dict[str, Any]] = said.json
    return found


# --- reports tie ----------------------------------------------------------------------------------


def test_the_trial_balance_adds_up_per_currency(shell: Shell) -> None:
    told = rows(shell, "trial_balance", "--to", "2024-01")

    by_account = {(row["account"], row["currency"]): row["balance"] for row in told}
    assert by_account["Assets:Receivable", "usd"] == 1_000
    assert by_account["Income:Revenue", "usd"] == -4_100
    assert by_account["Liabilities:Tax:Txr-vat", "usd"] == -341
    assert by_account["(sum)", "usd"] == by_account["(sum)", "idr"] == 0


def test_deferred_revenue_rolls_forward_and_ties_to_the_trial_balance(
    shell: Shell, books: Bookkeeper
) -> None:
    books.told(credited(310, at("2024-01-16", 12), post_payment_amount=310,
                        refunds=[{"refund": "re_1", "amount_refunded": 310}]))  # fmt: skip
    told = rows(shell, "deferred_revenue", "--from", "2024-01-01", "--to", "2024-02-03",
                "--interval", "day", "--currency", "usd")  # fmt: skip

    usd = [row for row in told if row["currency"] == "usd"]
    for row in usd:
        assert row["start"] + row["invoiced"] + row["taken_back"] - row["earned"] == row["end"]
    for before, after in pairwise(usd):
        assert before["end"] == after["start"]
    assert sum(row["earned"] for row in usd) == 4_100 - 310
    balance = books.balances(datetime(2024, 1, 11, tzinfo=UTC))
    assert usd[9]["end"] == -balance["deferred_revenue"]


def test_what_is_earned_is_told_by_product_and_ties_to_revenue(shell: Shell) -> None:
    told = rows(shell, "earned", "--from", "2024-01", "--to", "2024-01")

    assert {(row["product"], row["currency"], row["earned"]) for row in told} == {
        ("prod_basic", "usd", 4_100), ("prod_basic", "idr", 50_000),
    }  # fmt: skip


def test_what_is_owed_is_aged_by_the_day_it_was_due(shell: Shell) -> None:
    (usd,) = [
        row for row in rows(shell, "receivables", "--to", "2024-02") if row["currency"] == "usd"
    ]
    assert (usd["days_31_60"], usd["total"]) == (1_000, 1_000)
    (one,) = [
        row for row in rows(shell, "open_invoices", "--to", "2024-02") if row["currency"] == "usd"
    ]
    assert (one["invoice"], one["due"], one["overdue_days"]) == ("in_2", "2024-01-15", 45)


@pytest.mark.parametrize(
    ("days", "age"), [(0, "not_due"), (1, "days_1_30"), (30, "days_1_30"), (31, "days_31_60"),
                      (90, "days_61_90"), (91, "days_over_90")],
)  # fmt: skip
def test_an_age_begins_the_day_after_the_one_before_it_ends(
    shell: Shell, books: Bookkeeper, days: int, age: str
) -> None:
    due = at("2024-06-30") - days * 86_400
    books.told(finalized(bill(line(77, id="il_7"), name="in_7", currency="eur", due_date=due)))
    (eur,) = rows(shell, "receivables", "--to", "2024-06", "--currency", "eur")

    assert (eur[age], eur["total"]) == (77, 77)


def test_tax_is_told_by_rate(shell: Shell, books: Bookkeeper) -> None:
    rate = {"id": "txr_vat", "object": "tax_rate", "display_name": "VAT", "percentage": 11.0,
            "country": "US", "state": "CA", "jurisdiction": "California"}  # fmt: skip
    books.told(event("tax_rate.created", rate))
    (told,) = rows(shell, "tax", "--from", "2024-01", "--to", "2024-01")

    assert (told["rate"], told["name"], told["tax"]) == ("txr_vat", "VAT", 341)
    assert (told["country"], told["state"], told["jurisdiction"]) == ("US", "CA", "California")


def test_cash_is_told_by_where_it_went(shell: Shell, books: Bookkeeper) -> None:
    refund = {
        "id": "re_1", "object": "refund", "charge": "ch_1", "amount": 441, "currency": "usd",
        "created": JAN + 90, "status": "succeeded",
    }  # fmt: skip
    books.told(event("refund.created", refund, at=JAN + 90))
    (told,) = rows(shell, "cash", "--from", "2024-01", "--to", "2024-01")

    assert (told["captured"], told["refunded"], told["net"]) == (3_441, 441, 3_000)
    balances = books.balances()
    assert balances["stripe_unobserved"] == told["captured"] - told["refunded"]


def test_what_sells_best_is_told_first_with_its_name(shell: Shell, books: Bookkeeper) -> None:
    dear = {"price_details": {"price": "price_dear", "product": "prod_dear"}}
    books.told(
        event("product.created", {"id": "prod_dear", "object": "product", "name": "Dear"}),
        finalized(bill(line(12_300, id="il_dear", pricing=dear), name="in_4")),
    )
    usd = [row for row in rows(shell, "best_selling", "--from", "2024-01") if
           row["currency"] == "usd"]  # fmt: skip

    assert [(row["name"], row["invoices"], row["sold"]) for row in usd] == [
        ("Dear", 1, 12_300), (None, 2, 4_100),
    ]  # fmt: skip
    assert usd[0]["share"] == 0.75


def test_loyal_customers_are_those_who_still_pay_the_longest_first(
    shell: Shell, books: Bookkeeper
) -> None:
    newer = bill(line(500, id="il_n"), name="in_5", customer="cus_b")
    books.told(begun("2024-01-20", sub("b", (price(500), 1))), finalized(newer),
               paid(newer, at("2024-01-20")))  # fmt: skip
    told = rows(shell, "loyal_customers")

    assert [(row["customer"], row["since"], row["paid"], row["mrr"]) for row in told] == [
        ("cus_a", "2024-01-01", 3_441, 3_100), ("cus_b", "2024-01-20", 500, 500),
    ]  # fmt: skip


def test_what_a_cohort_has_paid_since_is_its_observed_lifetime_value(
    shell: Shell, books: Bookkeeper
) -> None:
    february = bill(line(3_100, FEB, MAR, id="il_f"), name="in_f",
                    moments={"finalized_at": FEB})  # fmt: skip
    refund = {
        "id": "re_1", "object": "refund", "charge": "ch_1", "amount": 41, "currency": "usd",
        "created": JAN + 90, "status": "succeeded", "customer": "cus_a",
    }  # fmt: skip
    books.told(
        begun("2024-01-20", sub("b", (price(900), 1))), finalized(february),
        paid(february, FEB + 60), event("refund.created", refund, at=JAN + 90),
    )  # fmt: skip
    told = rows(shell, "cohort_cash", "--from", "2024-01", "--to", "2024-02",
                "--as-of", "2024-02-28")  # fmt: skip

    assert [(row["cohort"], row["month"], row["size"], row["cash"], row["per_customer"])
            for row in told] == [
        ("2024-01", 0, 2, 3_400, 1_700), ("2024-01", 1, 2, 3_100, 3_250),
    ]  # fmt: skip
    (then,) = rows(shell, "cohort_cash", "--from", "2024-01", "--to", "2024-01",
                   "--as-of", "2024-01-19")  # fmt: skip
    assert (then["size"], then["per_customer"]) == (1, 3_400)


def test_only_those_who_pay_in_a_currency_are_shown_of_it(books: Bookkeeper, shell: Shell) -> None:
    newer = bill(line(500, id="il_n"), name="in_5", customer="cus_b", currency="eur")
    of = sub("b", (price(500, currency="eur"), 1))
    books.told(begun("2024-01-20", of), finalized(newer), paid(newer, at("2024-01-20")))
    with books.ledger.pool.connection() as connection:
        (only,) = sales.loyal_customers(
            open_books(connection), MARCH, 1, currency="eur", limit=1
        )  # fmt: skip

    assert only["customer"] == "cus_b"


# --- closing --------------------------------------------------------------------------------------


def test_a_closed_month_stays_as_it_was_and_what_comes_late_is_booked_after_it(
    shell: Shell, books: Bookkeeper
) -> None:
    before = rows(shell, "trial_balance", "--to", "2024-01")
    closed = shell("close", "2024-01", "--by", "finance", "--json").json
    assert (closed["closed_now"], closed["actor"], closed["period"]) == (True, "finance", "2024-01")
    assert closed["trial_balance"] == [
        {key: row[key] for key in ("account", "currency", "balance")}
        for row in before
        if row["account"] != "(sum)"
    ]
    (mrr,) = [one for one in closed["metrics"] if one["metric"] == "mrr"]
    assert (mrr["value"], closed["definitions"]["name"]) == (3_100, "adopted")

    late = bill(line(620, id="il_late"), name="in_late")
    books.told(finalized(late))

    assert rows(shell, "trial_balance", "--to", "2024-01") == before
    assert books.balances(MARCH)["receivable"] == 1_620
    assert books.balances(MARCH)["revenue"] == -4_720
    told = rows(shell, "late", "--from", "2024-01", "--to", "2024-01")
    assert {(row["source"], row["account"], row["amount"]) for row in told} == {
        ("in_late", "Assets:Receivable", 620), ("in_late", "Liabilities:DeferredRevenue", -620),
        ("in_late", "Liabilities:DeferredRevenue", 620), ("in_late", "Income:Revenue", -620),
    }  # fmt: skip
    assert shell("close", "2024-01", "--json").json["closed_now"] is False


def closed_until(books: Bookkeeper, position: int, **more: Any) -> None:
    """Record that January was closed, as of an earlier position than the log has."""
    data = {
        "type": "period.closed", "period": "2024-01", "starts_at": "2024-01-01T00:00:00+00:00",
        "ends_at": "2024-02-01T00:00:00+00:00", "closed_until": position, **more,
    }  # fmt: skip
    closed = NewEvent(
        PERIODS_STREAM, Account.PeriodClosed.TOPIC, books.ledger.clock.now(),
        json.dumps(data).encode(), version=1,
    )  # fmt: skip
    with books.ledger.pool.connection() as connection:
        Log(connection).append([closed])


@pytest.mark.parametrize("batch_events", [1, 1000])
def test_what_is_recorded_while_a_month_is_being_closed_is_booked_after_it(
    shell: Shell, books: Bookkeeper, batch_events: int
) -> None:
    position = rows(shell, "trial_balance", "--to", "2024-01")
    with books.ledger.pool.connection() as connection:
        last = Log(connection).last_position()
    record(books.ledger, finalized(bill(line(620, id="il_late"), name="in_late")))
    closed_until(books, last)
    project(books.ledger, batch_events)

    assert rows(shell, "trial_balance", "--to", "2024-01") == position
    assert books.balances(MARCH)["receivable"] == 1_620
    done = Rebuild(shell.settings, books.ledger, Journal, workers=0).run(swap=False)
    assert done.differences == []


def test_nothing_is_closed_in_an_empty_ledger_or_before_a_file_can_be_written(
    settings: Settings, ledger: Ledger, tmp_path: Path
) -> None:
    shell = Shell(settings, ledger.name)
    assert "is it this ledger?" in shell("close", "2024-01").err
    nowhere = str(tmp_path / "none" / "a.zip")
    assert "cannot be written" in shell("close", "2024-01", "--evidence", nowhere).err
    with ledger.pool.connection() as connection:
        assert Log(connection).last_position() == 0


def test_books_that_do_not_balance_are_not_closed(shell: Shell, books: Bookkeeper) -> None:
    with books.ledger.pool.connection() as connection:
        connection.execute(
            "INSERT INTO journal_entries (position, recorded_at, valid_at, booked_at, document,"
            " source, reason, account, currency, amount_minor)"
            " SELECT 1, t, t, t, 'x', 'x', 'paid', 'bank', 'usd', 1"
            " FROM (SELECT now() - interval '3 years' AS t) AS one"
        )
    said = shell("close", "2024-01")

    assert (said.code, "does not balance" in said.err) == (1, True)


def test_two_that_close_at_once_do_not_both_close(shell: Shell, books: Bookkeeper) -> None:
    with books.ledger.pool.connection() as connection:
        last = Log(connection).last_position()
    closed_until(books, last)  # the other one, unseen yet by the journal
    with books.ledger.pool.connection() as connection:
        late = NewEvent(
            PERIODS_STREAM, Account.PeriodClosed.TOPIC, books.ledger.clock.now(), b"{}", version=1
        )
        with pytest.raises(VersionConflict):
            Log(connection).append([late])
    assert shell("close", "2024-01", "--json").json["closed_now"] is False


def test_facts_of_before_the_first_closed_month_and_earned_revenue_are_late_too(
    shell: Shell, books: Bookkeeper
) -> None:
    shell("close", "2024-01")
    books.told()
    december = at("2023-12-01", 0)
    old = bill(line(310, december, JAN), name="in_old", moments={"finalized_at": december})
    books.told(finalized(old))
    told = rows(shell, "late", "--from", "2024-01", "--to", "2024-01")

    assert ("in_old", "Income:Revenue", -310) in {
        (row["source"], row["account"], row["amount"]) for row in told
    }


def test_another_zone_leaves_closed_months_as_they_were(shell: Shell, books: Bookkeeper) -> None:
    edge = bill(line(310, id="il_e"), name="in_e", moments={"finalized_at": at("2024-02-01", 3)})
    books.told(finalized(edge))
    shell("close", "2024-01")
    books.told()
    before = rows(shell, "trial_balance", "--to", "2024-01")
    chosen = changed_set(shipped("adopted"), {"reporting.zone": "America/New_York"}, "ny")
    add_definitions(books.ledger, chosen, actor="tests")
    adopt_definitions(books.ledger, "ny", actor="tests")
    books.told()

    assert rows(shell, "trial_balance", "--to", "2024-01") == before
    february = shell("close", "2024-02", "--json").json
    assert february["starts_at"] == "2024-02-01T00:00:00+00:00"


@pytest.mark.parametrize(
    ("months", "said"),
    [
        (["2024-13"], "is no day, month"),
        (["2024-01-05"], "Months are closed: 2024-01"),
        (["2999-01"], "is not over"),
        (["2024-01", "2024-03"], "the next one is 2024-02"),
    ],
)
def test_what_cannot_be_closed_is_said(shell: Shell, books: Bookkeeper, months: list[str],
                                       said: str) -> None:  # fmt: skip
    for month in months:
        told = shell("close", month)
        books.told()
    assert told.code == 1
    assert said in told.err


def test_a_month_is_not_closed_while_the_journal_is_behind(shell: Shell, books: Bookkeeper) -> None:
    books.ledger.intake.receive(json.dumps(finalized(bill(line(1), name="in_4"))).encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(closing, "WAIT_SECONDS", 0.0)
        said = shell("close", "2024-01")

    assert (said.code, "catch up first" in said.err) == (1, True)


def check(file: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """Run the evidence as a stranger does: with Python alone, isolated from this project."""
    return subprocess.run(
        [sys.executable, "-I", "-S", str(file), *more],
        capture_output=True, text=True, check=False, cwd=file.parent, env={}, timeout=60,
    )  # fmt: skip


@pytest.fixture
def evidence(shell: Shell, books: Bookkeeper, tmp_path: Path) -> Path:
    file = tmp_path / "month.zip"
    assert shell("close", "2024-01", "--evidence", str(file)).code == 0
    books.told()
    return file


def test_a_stranger_proves_a_closed_month_with_one_command(
    evidence: Path, shell: Shell, books: Bookkeeper
) -> None:
    done = check(evidence)
    assert (done.returncode, done.stderr) == (0, "")
    assert "2024-01" in done.stdout

    seals = evidence.parent / "seals.jsonl"
    assert shell("verify", "--export", str(seals)).code == 0
    assert check(evidence, str(seals)).returncode == 0
    again = evidence.parent / "again.zip"
    books.told(finalized(bill(line(7), name="in_late")))
    shell("close", "2024-01", "--evidence", str(again))
    assert again.read_bytes() == evidence.read_bytes()


def changed(evidence: Path, name: str, old: str, new: str) -> Path:
    """Return a copy of the evidence in which one file was tampered with."""
    copy = evidence.parent / "changed.zip"
    with zipfile.ZipFile(evidence) as archive, zipfile.ZipFile(copy, "w") as other:
        for each in archive.namelist():
            text = archive.read(each).decode()
            if each == name:
                assert old in text
                text = text.replace(old, new, 1)
            other.writestr(each, text)
    return copy


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        ("entries.csv", ",3441,", ",3442,", "leave"),
        (
            "period.json",
            '"balance": -4100',
            '"balance": -4200',
            "not the closing that was recorded",
        ),
        ("events.jsonl", '\\"total\\": 3441', '\\"total\\": 3442', "not what was sealed"),
        ("earned.csv", ",3100,", ",3200,", "earned by another rule"),
        ("opening.csv", "balance", "balance\nAssets:Bank,usd,1", "ends at 1"),
        ("entries.csv", "in_2", "in_3", "not the table that was recorded"),
    ],
)
def test_evidence_that_was_tampered_with_proves_nothing(
    evidence: Path, name: str, old: str, new: str, said: str
) -> None:
    done = check(changed(evidence, name, old, new))

    assert done.returncode == 1
    assert said in done.stderr


def test_evidence_bears_names_with_line_separators(
    shell: Shell, books: Bookkeeper, tmp_path: Path
) -> None:
    odd = price(700, nickname="a\u2028b\u0085c")
    invoice = bill(line(700, id="il_o", price=odd), name="in_o")
    books.told(finalized(invoice))
    file = tmp_path / "odd.zip"
    shell("close", "2024-01", "--evidence", str(file))

    assert check(file).returncode == 0


def test_seals_from_before_the_closing_prove_what_they_cover(
    shell: Shell, books: Bookkeeper, tmp_path: Path
) -> None:
    with books.ledger.pool.connection() as connection:
        seal(connection)
    seals, file = tmp_path / "seals.jsonl", tmp_path / "month.zip"
    assert shell("verify", "--export", str(seals)).code == 0
    shell("close", "2024-01", "--evidence", str(file))
    done = check(file, str(seals))

    assert (done.returncode, "1 are newer" in done.stdout) == (0, True), done.stdout
    none = check(file, str(file))
    assert (none.returncode, "no file of seals" in none.stderr) == (1, True)


def test_an_event_or_a_file_too_few_or_too_many_is_found(evidence: Path) -> None:
    with zipfile.ZipFile(evidence) as archive:
        lines = archive.read("events.jsonl").decode().split("\n")
    assert (
        "is not in the file" in check(changed(evidence, "events.jsonl", lines[1] + "\n", "")).stderr
    )
    with zipfile.ZipFile(evidence, "a") as archive:
        archive.writestr("more.txt", "more")
    assert "something else" in check(evidence).stderr


def test_a_damaged_file_says_so(evidence: Path) -> None:
    broken = changed(evidence, "period.json", '"tables"', '"others"')
    assert "damaged" in check(broken).stderr
    done = check(changed(evidence, "README.txt", "month", "year"))
    assert done.returncode == 0  # what it says of itself proves nothing


def test_evidence_of_another_log_is_not_among_the_seals_kept(evidence: Path) -> None:
    seals = evidence.parent / "seals.jsonl"
    seals.write_text(json.dumps({"block": 1, "hash": "00" * 32}) + "\n")
    done = check(evidence, str(seals))

    assert (done.returncode, "not among the seals" in done.stderr) == (1, True)


# --- exports --------------------------------------------------------------------------------------


def bean_check(file: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("bean-check")
    return subprocess.run(
        [str(program), str(file)], capture_output=True, text=True, check=False, timeout=60
    )


def test_beancount_accepts_the_journal_and_finds_a_planted_error(
    shell: Shell, tmp_path: Path
) -> None:
    file = tmp_path / "journal.beancount"
    assert shell("export", "beancount", "--output", str(file)).code == 0
    done = bean_check(file)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

    text = file.read_text()
    assert "31.00 USD" in text
    file.write_text(text.replace("31.00 USD", "31.01 USD", 1))
    assert bean_check(file).returncode == 1


def test_a_beancount_file_of_an_empty_ledger_is_read_too(
    settings: Settings, ledger: Ledger, tmp_path: Path
) -> None:
    file = tmp_path / "journal.beancount"
    Shell(settings, ledger.name)("export", "beancount", "--output", str(file))

    assert bean_check(file).returncode == 0


def test_whatever_stripe_calls_a_movement_beancount_reads_it(
    shell: Shell, books: Bookkeeper, tmp_path: Path
) -> None:
    observe(books, moved(type='a "new"\\ type', source="tu_1"))
    file = tmp_path / "journal.beancount"
    shell("export", "beancount", "--output", str(file))

    assert bean_check(file).returncode == 0
    assert 'a \\"new\\"' in file.read_text()


def test_an_account_whose_name_would_be_a_formula_is_quoted(shell: Shell, accounts: Path) -> None:
    accounts.write_text(accounts.read_text().replace('"4002"', '"=1+1"'))
    said = shell("export", "quickbooks", "--accounts", str(accounts))

    assert "'=1+1" in {line["Account Name"] for line in csv.DictReader(StringIO(said.out))}


@pytest.fixture
def accounts(shell: Shell, tmp_path: Path) -> Path:
    """An account-mapping file as the ledger prints it, filled in."""
    file = tmp_path / "accounts.toml"
    said = shell("export", "accounts")
    filled = [
        one.replace('""', f'"{4000 + n}"') for n, one in enumerate(said.out.splitlines())
    ]  # fmt: skip
    file.write_text("\n".join(filled))
    return file


def test_quickbooks_gets_one_balanced_entry_per_day_and_currency(
    shell: Shell, accounts: Path
) -> None:
    said = shell("export", "quickbooks", "--accounts", str(accounts), "--to", "2024-01")
    lines = list(csv.DictReader(StringIO(said.out)))

    assert {one["Journal No"] for one in lines} == {
        "20240101-USD", "20240131-USD", "20240101-IDR", "20240131-IDR",
    }  # fmt: skip
    for number in {one["Journal No"] for one in lines}:
        of = [one for one in lines if one["Journal No"] == number]
        debit, credit = (sum(float(one[side] or 0) for one in of) for side in ("Debits", "Credits"))
        assert debit == pytest.approx(credit)


def test_xero_takes_one_currency(shell: Shell, accounts: Path) -> None:
    said = shell("export", "xero", "--accounts", str(accounts))
    assert (said.code, "choose one (--currency)" in said.err) == (1, True)

    said = shell("export", "xero", "--accounts", str(accounts), "--currency", "usd")
    lines = list(csv.DictReader(StringIO(said.out)))
    assert sum(round(float(one["*Amount"]) * 100) for one in lines) == 0
    assert lines[0]["*Date"] == "01/01/2024"


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (("export", "xero", "--currency", "zzz"), "Nothing was booked in zzz"),
        (("export", "quickbooks", "--from", "2025-12", "--to", "2024-10"), "is not before the end"),
    ],
)
def test_an_export_of_nothing_says_why(
    shell: Shell, accounts: Path, call: tuple[str, ...], said: str
) -> None:
    done = shell(*call, "--accounts", str(accounts))

    assert (done.code, said in done.err) == (1, True), done.err


def test_reports_of_the_books_say_what_they_cannot_tell(shell: Shell) -> None:
    assert "cannot be filtered by country" in shell("report", "receivables", "--country", "DE").err
    assert "told per currency" in shell("report", "tax", "--convert-to", "usd").err
    (only,) = {row["currency"] for row in rows(shell, "receivables", "--currency", "idr")}
    assert only == "idr"


def test_what_is_not_over_ties_as_well(shell: Shell, books: Bookkeeper) -> None:
    when = ("--as-of", "2024-01-16T12:00:00Z")
    (rolled,) = rows(shell, "deferred_revenue", "--from", "2024-01", "--to", "2024-01", *when,
                     "--currency", "usd")  # fmt: skip
    balances = {
        row["account"]: row["balance"]
        for row in rows(shell, "trial_balance", "--to", "2024-01", *when, "--currency", "usd")
    }
    assert rolled["end"] == -balances["Liabilities:DeferredRevenue"]
    assert rolled["earned"] == -balances["Income:Revenue"]


def test_an_account_that_is_not_mapped_is_named(shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "accounts.toml"
    file.write_text('[accounts]\n"Assets:Receivable" = "1200"\n')
    said = shell("export", "quickbooks", "--accounts", str(file))

    assert said.code == 1
    assert "Income:Revenue" in said.err
    assert "Assets:Receivable" not in said.err
    assert "--accounts FILE" in shell("export", "xero").err
    file.write_text("[accounts\n")
    assert "cannot be read as TOML" in shell("export", "xero", "--accounts", str(file)).err


# --- the made-up business -------------------------------------------------------------------------


@pytest.mark.long
def test_the_books_of_the_demo_are_accepted_and_are_its_cash_to_the_unit(
    settings: Settings, ledger: Ledger, tmp_path: Path
) -> None:
    business = believable_business(1, start=at("2024-01-01", 0), endpoint_versions=[NEWEST])
    simulator = business.simulator
    ledger.clock = FixedClock(utc(business.end_of_story + 3_600))
    for event_ in business.story():
        ledger.intake.receive(event_.bodies[NEWEST])
    project(ledger)
    with listed(simulator) as there:
        while observe_balance(ledger, there.api):
            project(ledger)

    assert journal_faults(ledger, simulator) == []
    file = tmp_path / "demo.beancount"
    said = Shell(settings, ledger.name)("export", "beancount", "--output", str(file))
    assert said.code == 0, said.err
    done = bean_check(file)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(file.read_text()) > 1_000_000
