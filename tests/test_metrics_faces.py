"""The numbers as people meet them: over the API, and on the command line."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import Client

from ledger.application import Ledger, change_settings
from ledger.settings import Settings
from ledger.simulator import Simulator
from tests.facts import Json, event
from tests.numbers import Numbers, at, begun, ended, price, sub, updated
from tests.simulation import listed
from tests.test_cli import Shell
from tests.test_crm import Ask, Tell, asking, telling

MONTHLY = price(1_000)


@pytest.fixture
def ask(client: Client, ledger: Ledger) -> Ask:
    """Ask a ledger in which one customer grew, one left and one came."""
    of = sub("leaves", (price(2_000, product="prod_other"), 1))
    Numbers(ledger).told(
        event("customer.created",
              {"id": "cus_grows", "object": "customer", "address": {"country": "ID"}}),
        begun("2024-01-01", sub("grows", (MONTHLY, 1))), begun("2024-01-01", of),
        updated(at("2024-02-10"), sub("grows", (MONTHLY, 3))),
        begun("2024-02-11", sub("comes", (MONTHLY, 1))), ended(at("2024-02-12"), of),
    )  # fmt: skip
    return asking(client, ledger, "read")


@pytest.fixture
def tell(ask: Ask) -> Tell:
    return telling(ask)


def values(answer: Json) -> list[Any]:
    return [one["value"] for one in answer["data"]]


def test_a_metric_says_by_which_definitions_and_up_to_where_it_was_told(tell: Tell) -> None:
    told = tell("metrics/mrr", **{"from": "2024-01", "to": "2024-02"})

    assert values(told) == [3_000, 4_000]
    assert (told["unit"], told["interval"], told["position"]) == ("minor", "month", 6)
    assert told["definitions"] == {
        "name": "adopted", "version": 1, "hash": "71dfa47542d0", "calculation": 1, "zone": "UTC",
    }  # fmt: skip
    assert told["data"][1] == {
        "period": "2024-02", "start": at("2024-02-01", 0), "end": at("2024-03-01", 0),
        "complete": True, "currency": "usd", "value": 4_000,
    }  # fmt: skip


def test_a_rate_is_told_with_both_its_parts_or_with_the_reason_why_not(tell: Tell) -> None:
    told = tell("metrics/customer_churn_rate", **{"from": "2024-01", "to": "2024-02"})

    assert [
        (one["value"], one["numerator"], one["denominator"], one.get("reason"))
        for one in told["data"]
    ] == [(None, 0, 0, "no customers at the start of the period"), (0.5, 1, 2, None)]


def test_movements_lead_from_one_end_of_a_period_to_the_other(tell: Tell) -> None:
    (told,) = tell("metrics/mrr/movements", **{"from": "2024-02", "to": "2024-02"})["data"]

    assert (told["mrr_start"], told["mrr_end"]) == (3_000, 4_000)
    assert (told["new"], told["expansion"], told["churn"]) == (1_000, 2_000, 2_000)
    assert (told["customers_start"], told["customers_end"]) == (2, 2)


def test_a_number_explains_itself_down_to_stripes_events_page_by_page(tell: Tell) -> None:
    found: list[Json] = []
    page = tell("metrics/mrr/explain", period="2024-02", limit=2)
    while True:
        found += page["data"]
        if not page["has_more"]:
            break
        page = tell("metrics/mrr/explain", period="2024-02", limit=2,
                    starting_after=found[-1]["id"])  # fmt: skip

    assert [(one["customer"], one["kind"], one["amount"]) for one in found] == [
        ("cus_grows", "expansion", 2_000), ("cus_comes", "new", 1_000),
        ("cus_leaves", "churn", -2_000),
    ]  # fmt: skip
    (explaining,) = found[0]["events"]
    fact = tell(explaining["url"].removeprefix("/v1/"))
    assert fact["type"] == "Subscription.Updated"
    assert tell("metrics/mrr/explain", period="2024-02", kind="churn")["data"] == found[2:]


@pytest.mark.parametrize(
    ("asked", "mrr"),
    [
        ({"product": "prod_other"}, [2_000, 0]),
        ({"price": "price_1000_month_1"}, [1_000, 4_000]),
        ({"billing_interval": "year"}, []),
        ({"currency": "eur"}, []),
        ({"country": "ID"}, [1_000, 3_000]),
        ({"cohort": "2024-02"}, [0, 1_000]),
        ({"as_of": "2024-01-31"}, [3_000]),
        ({"known_at": "3"}, [3_000, 3_000]),
        ({"interval": "quarter"}, [4_000]),
    ],
)
def test_filters_moments_and_intervals(tell: Tell, asked: dict[str, str], mrr: Any) -> None:
    assert values(tell("metrics/mrr", **{"from": "2024-01", "to": "2024-02", **asked})) == mrr


def test_a_metric_is_told_apart_by_a_dimension(tell: Tell) -> None:
    told = tell("metrics/mrr", by="product", **{"from": "2024-01", "to": "2024-01"})

    assert {one["group"]: one["value"] for one in told["data"]} == {
        "prod_any": 1_000, "prod_other": 2_000,
    }  # fmt: skip


def test_cohorts_reasons_and_who_was_lost(tell: Tell) -> None:
    span = {"from": "2024-01", "to": "2024-03"}
    first, second = tell("metrics/cohorts", **span)["data"]
    (reason,) = tell("metrics/churn_reasons", **span)["data"]
    (lost,) = tell("metrics/churn_reasons/customers", **span)["data"]

    assert (first["cohort"], first["size"]) == ("2024-01", 2)
    assert [(one["customers"], one["mrr"]) for one in first["months"][:3]] == [
        (2, 3_000), (1, 3_000), (1, 3_000),
    ]  # fmt: skip
    assert (second["cohort"], second["months"][0]["mrr"]) == ("2024-02", 1_000)
    assert (reason["feedback"], reason["kind"], reason["count"], reason["share"]) == (
        "not_told", "voluntary", 1, 1.0,
    )  # fmt: skip
    assert (lost["customer"], lost["lost_mrr"]) == ("cus_leaves", 2_000)


@pytest.mark.parametrize(
    ("path", "asked", "status", "told"),
    [
        ("metrics/mmr", {}, 404, "There is no metric 'mmr'"),
        ("metrics/mrr", {"from": "2024-13"}, 400, "`from` '2024-13' is no day"),
        ("metrics/mrr", {"from": "2024-02", "to": "2024-01"}, 400, "is not before `to`"),
        ("metrics/mrr", {"from": "2999"}, 400, "or in the future"),
        ("metrics/mrr", {"interval": "week"}, 400, "interval"),
        ("metrics/mrr", {"from": "1000", "interval": "day"}, 400, "longer `interval`"),
        ("metrics/mrr", {"definitions": "ours"}, 400, "there are adopted/1"),
        ("metrics/mrr", {"definitions": "adopted/x"}, 400, "A calculation is a number"),
        ("metrics/mrr", {"known_at": "999"}, 400, "past the log's end"),
        ("metrics/mrr", {"plna": "x"}, 400, "plna"),
        ("metrics/nrr", {"product": "prod_any"}, 400, "customers as a whole"),
        ("metrics/churn_reasons", {"country": "ID"}, 400, "cannot be filtered by country"),
        ("metrics/churn_reasons", {"known_at": "2"}, 400, "kept as known now"),
        ("metrics/mrr/explain", {"starting_after": "1~"}, 400, "starting_after"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_what_can(
    ask: Ask, path: str, asked: dict[str, str], status: int, told: str
) -> None:
    answer = ask(path, **asked)

    assert answer.status_code == status
    assert told in answer.json["detail"]  # type: ignore[index]


def test_every_metric_there_is_can_be_asked(tell: Tell) -> None:
    for one in tell("metrics")["data"]:
        told = tell(f"metrics/{one['name']}", **{"from": "2024-01", "to": "2024-03"})
        assert told["what"] == one["what"]


# --- the command line -----------------------------------------------------------------------------


@pytest.fixture
def shell(settings: Settings, ledger: Ledger, ask: Ask) -> Shell:
    return Shell(settings, ledger.name)


def test_reports_are_tables_json_csv_and_workbooks(shell: Shell, tmp_path: Path) -> None:
    span = ("--from", "2024-01", "--to", "2024-02")
    table = shell("report", "movements", *span).out.splitlines()
    told = shell("report", "mrr", *span, "--format", "json").json
    comma = shell("report", "mrr", *span, "--format", "csv").out
    book = tmp_path / "mrr.xlsx"
    written = shell("report", "mrr", *span, "--format", "xlsx", "--output", str(book))

    assert "30.00" in table[1]
    assert [one["value"] for one in told] == [3_000, 4_000]
    assert comma.splitlines() == [
        "period,currency,value", "2024-01,usd,3000", "2024-02,usd,4000",
    ]  # fmt: skip
    assert written.code == 0
    assert "xl/worksheets/sheet1.xml" in zipfile.ZipFile(book).namelist()


@pytest.mark.parametrize(
    ("name", "column"),
    [("changes", "events"), ("cohorts", "mrr_share"), ("churn_reasons", "lost_mrr"),
     ("lost_customers", "cus_leaves"), ("customer_churn_rate", "50.00%")],
)  # fmt: skip
def test_each_report_has_its_columns(shell: Shell, name: str, column: str) -> None:
    said = shell("report", name, "--from", "2024-01", "--to", "2024-02")

    assert said.code == 0
    assert column in said.out


def test_a_set_is_added_bridged_and_adopted(shell: Shell, ledger: Ledger) -> None:
    added = shell("definitions", "add", "adopted", "--as", "ours", "--set", "grouping.minutes=0",
                  "--set", "discounts.profile=list")  # fmt: skip
    Numbers(ledger).told()
    bridge = shell("report", "restatement", "--from", "adopted", "--to", "ours")
    adopted = shell("definitions", "adopt", "ours")
    listed = shell("definitions", "list", "--json").json

    assert added.code == adopted.code == bridge.code == 0
    assert bridge.out.startswith("Nothing")  # there are no discounts in this story
    assert [(one["name"], one["adopted"]) for one in listed] == [("adopted", False), ("ours", True)]
    assert shell("definitions", "show", "ours").json["discounts"] == {"profile": "list"}


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (("report", "mrr", "--format", "xlsx"), "--output FILE.xlsx"),
        (("report", "mrr", "--output", "x"), "--output is for"),
        (("report", "restatement"), "between two definition sets"),
        (("report", "nothing"), "There is no metric 'nothing'"),
        (("definitions", "add", "adopted"), "is there already"),
        (("definitions", "add", "adopted", "--set", "grouping.minutes=1"), "--as NAME"),
        (("definitions", "add", "baremetrics"), "shipped are adopted"),
        (("definitions", "adopt", "stripe"), "There are no numbers by"),
    ],
)
def test_what_a_command_cannot_do_is_one_clear_line(
    shell: Shell, call: tuple[str, ...], told: str
) -> None:
    said = shell(*call)

    assert said.code == 1
    assert told in said.err
    assert said.err.count("\n") == 1


def test_a_set_takes_zone_and_currency_from_the_stripe_account(
    settings: Settings, ledger: Ledger
) -> None:
    shell = Shell(settings, ledger.name)
    change_settings(ledger, {"api_key": "sk_test_zone"})
    with listed(Simulator(1, start=at("2024-01-01"))) as there:
        environ = {"STRIPE_API_KEY": "sk_test_zone", "STRIPE_API_BASE": there.base}
        add = ("definitions", "add", "adopted", "--from-account")
        assert "needs a name" in shell(*add, **environ).err
        said = shell(*add, "--as", "ours", **environ)

    assert said.code == 0, said.err
    (_, ours) = shell("definitions", "list", "--json").json
    assert (ours["name"], ours["zone"]) == ("ours", "Asia/Makassar")
    assert shell("definitions", "show", "ours").json["reporting"]["currency"] == "usd"
