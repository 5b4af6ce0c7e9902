"""The API of books, choices, seals, and of objects in each other's place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from werkzeug.test import Client, TestResponse

from ledger.application import Ledger
from ledger.bootstrap import Installation
from ledger.log.seals import seal
from ledger.people import tokens
from tests.conftest import new_ledger
from tests.facts import Json, event, invoice, project, record
from tests.reactions import Reactor, andi, failed
from tests.test_work import api_of

Api = Callable[..., TestResponse]


@pytest.fixture
def ledger(installation: Installation) -> Iterator[Ledger]:
    yield from new_ledger(installation, public_url="https://billing.example.test")


@pytest.fixture
def reactor(ledger: Ledger) -> Reactor:
    made = Reactor(ledger)
    made.told(*andi(), *failed(made.at()))
    return made


@pytest.fixture
def api(client: Client, ledger: Ledger, reactor: Reactor) -> Api:
    return api_of(client, ledger, "read", "write", "admin", "personal")


def told(answer: TestResponse) -> Json:
    found: Json = answer.json or {}
    return found


# --- objects in each other's place ----------------------------------------------------------------


def test_objects_are_told_in_the_place_of_their_ids(api: Api) -> None:
    (bill,) = told(api("GET", "invoices?expand[]=data.customer&expand[]=data.subscription"))["data"]
    alone = told(api("GET", "payments/pi_andi?expand[]=customer&expand[]=invoice"))
    plain = told(api("GET", "invoices/in_andi"))

    assert (bill["customer"]["id"], bill["customer"]["email"]) == ("cus_andi", "andi@example.test")
    assert (bill["subscription"]["object"], bill["subscription"]["id"]) == (
        "subscription", "sub_andi",
    )  # fmt: skip
    assert alone["invoice"]["last_failure"]["decline_code"] == "insufficient_funds"
    assert plain["customer"] == "cus_andi"


def test_what_is_told_of_somebody_by_expanding_is_personal_too(
    client: Client, ledger: Ledger, reactor: Reactor
) -> None:
    reader = api_of(client, ledger, "read")
    (bill,) = told(reader("GET", "invoices?expand[]=data.customer"))["data"]
    assert "email" not in bill["customer"]

    seeing = api_of(client, ledger, "personal", "admin")
    seeing("GET", "invoices?expand[]=data.customer")
    (noted,) = told(seeing("GET", "access_log?customer=cus_andi"))["data"]
    assert noted["what"] == "GET /v1/invoices"


def test_what_was_is_expanded_as_it_was(api: Api, reactor: Reactor) -> None:
    before = told(api("GET", "status"))["log"]["position"]
    reactor.told(event("invoice.paid", invoice(status="paid"), at=reactor.at(hours=1)))
    asked = f"payments?expand[]=data.invoice&known_at={before}"
    assert api("GET", asked).status_code == 400  # payments have no past
    (then,) = told(api("GET", f"subscriptions?known_at={before}&expand[]=data.customer"))["data"]

    assert then["customer"]["id"] == "cus_andi"
    assert "name" in then["customer"]


@pytest.mark.parametrize(
    "path",
    ["invoices?expand[]=customer", "invoices?expand[]=data.price",
     "customers?expand[]=data.customer", "status?expand[]=x"],
)  # fmt: skip
def test_what_cannot_be_expanded_is_said(api: Api, path: str) -> None:
    answer = api("GET", path)

    assert answer.status_code == 400
    assert "cannot be expanded" in told(answer)["detail"]


# --- the books ------------------------------------------------------------------------------------


def test_books_are_told_like_the_command_line_tells_them(api: Api, reactor: Reactor) -> None:
    names = [one["name"] for one in told(api("GET", "books"))["data"]]
    assert "trial_balance" in names
    balance = told(api("GET", "books/trial_balance?from=2026-03&to=2026-03"))

    assert balance["columns"] == ["account", "currency", "debit", "credit"]
    (total,) = [row for row in balance["data"] if row["account"] == "(sum)"]
    assert (total["currency"], total["balance"]) == ("idr", 0)
    for name in names:
        answer = api("GET", f"books/{name}?from=2026-01&to=2026-03")
        assert answer.status_code == 200, (name, answer.text)
    assert api("GET", "books/nothing").status_code == 404
    assert api("GET", "books/trial_balance?product=prod_1").status_code == 400


def test_a_month_is_closed_once_however_often_it_is_asked(api: Api, reactor: Reactor) -> None:
    reactor.clock.at = reactor.clock.at.replace(month=4)
    first = api("POST", "closings", {"period": "2026-03"})
    again = api("POST", "closings", {"period": "2026-03"})
    project(reactor.ledger)

    assert (first.status_code, told(first)["actor"]) == (200, "eka")
    assert told(again)["event"] == told(first)["event"]
    (one,) = told(api("GET", "closings"))["data"]
    assert one["period"] == "2026-03"
    assert {row["currency"] for row in one["trial_balance"]} == {"idr"}
    assert api("POST", "closings", {"period": "2026-05"}).status_code == 400
    assert api("POST", "closings", {"period": "soon"}).status_code == 400


# --- choices --------------------------------------------------------------------------------------


def test_what_may_go_out_is_seen_and_switched(api: Api) -> None:
    before = told(api("GET", "sending"))
    assert not any(one["goes_out"] for one in before["kinds"])
    assert api("POST", "sending/claim").status_code == 200
    after = told(api("POST", "sending/kinds", {"kind": "alerts", "on": True}))

    (alerts,) = [one for one in after["kinds"] if one["kind"] == "alerts"]
    assert (alerts["on"], alerts["because"]) == (True, "not_configured")
    assert after["claimed_by"] == after["installation"]
    assert told(api("POST", "sending/caps", {"per_hour": 7}))["caps"]["per_hour"] == 7
    assert told(api("POST", "sending/caps", {}))["caps"] == {
        "per_hour": 7, "per_person": 3, "per_person_days": 7,
    }  # fmt: skip
    assert told(api("POST", "sending/stop", {"reason": "look"}))["stopped"]
    assert not told(api("POST", "sending/resume"))["stopped"]
    assert api("POST", "sending/kinds", {"kind": "pigeons", "on": True}).status_code == 400


def test_nothing_is_claimed_without_an_address_for_links(api: Api, ledger: Ledger) -> None:
    ledger.settings = replace(ledger.settings, public_url=None)
    answer = api("POST", "sending/claim")

    assert answer.status_code == 409
    assert "LEDGER_PUBLIC_URL" in told(answer)["detail"]


def test_a_brand_is_changed_in_part(api: Api) -> None:
    changed = told(api("POST", "brand", {"name": "Warung Digital", "zone": "Asia/Makassar"}))
    assert (changed["name"], changed["color"]) == ("Warung Digital", "#2f5d8a")
    assert told(api("GET", "brand")) == changed
    assert api("POST", "brand", {"zone": "Asia/Nowhere"}).status_code == 409
    assert api("POST", "brand", {"font": "Comic Sans"}).status_code == 400


def test_campaigns_are_added_shown_and_switched(api: Api) -> None:
    names = [(one["name"], one["state"]) for one in told(api("GET", "campaigns"))["data"]]
    assert ("standard", "shadow") in names
    whole = told(api("GET", "campaigns/standard"))["campaign"]
    added = api("POST", "campaigns", {"campaign": {**whole, "version": 2}})
    refused = api("POST", "campaigns/standard/switch", {"state": "on"})
    answers = {"stripe_mails_off": True, "final_action": "cancel",
               "retry_window_days": whole["stripe_retry_window_days"]}  # fmt: skip
    switched = api("POST", "campaigns/standard/switch", {"state": "on", **answers})

    assert (added.status_code, told(added)["version"]) == (201, 2)
    assert refused.status_code == 400
    assert "stripe-mails-off" in told(refused)["detail"]
    assert told(switched) == {"object": "campaign", "kind": "dunning", "name": "standard",
                              "version": 2, "state": "on"}  # fmt: skip
    assert api("POST", "campaigns", {"campaign": {"kind": "nothing"}}).status_code == 400
    assert api("POST", "campaigns", {"campaign": {**whole, "version": 2}}).status_code == 409
    assert api("GET", "campaigns/nothing").status_code == 404


def test_plans_and_definitions_are_told(api: Api) -> None:
    assert told(api("GET", "plans")) == {"object": "plans", "version": 0, "features": {}}
    plans = {"name": "plans", "version": 1, "kind": "plans", "features": {"price_1": ["x"]}}
    api("POST", "campaigns", {"campaign": plans})
    assert told(api("GET", "plans"))["features"] == {"price_1": ["x"]}
    sets = told(api("GET", "definitions"))["data"]
    assert [one["adopted"] for one in sets] == [True]
    assert sets[0]["choices"]["discounts"]


# --- seals ----------------------------------------------------------------------------------------


def test_an_auditor_compares_the_log_block_by_block(
    client: Client, ledger: Ledger, reactor: Reactor
) -> None:
    with ledger.pool.connection() as connection:
        _, secret = tokens.create(connection, ledger.name, "audit", ["admin"])
        seal(connection)
        record(ledger, event("invoice.paid", invoice(status="paid"), at=reactor.at(hours=1)))
        seal(connection)
    headers = {"Authorization": f"Bearer {secret}"}

    def get(path: str) -> Json:
        return told(client.get(f"/v1/seals{path}", headers=headers))

    second, first = get("")["data"]
    assert (first["first_position"], second["first_position"]) == (1, first["last_position"] + 1)
    assert [get(f"/{one['block']}")["clean"] for one in (first, second)] == [True, True]
    with ledger.database.connect_as_owner() as owner, owner.transaction():
        owner.execute("SET LOCAL session_replication_role = replica")
        owner.execute(f'UPDATE "{ledger.schema}".events SET data = \'{{}}\' WHERE position = 2'
                      .encode())  # fmt: skip
    assert [one["kind"] for one in get("/1")["findings"]] == ["edited"]
    assert get("/2")["clean"]
    assert client.get("/v1/seals/99", headers=headers).status_code == 404
    page = get("?limit=1")
    assert (page["has_more"], len(page["data"])) == (True, 1)
    assert [one["block"] for one in get(f"?starting_after={second['block']}")["data"]] == [1]
