"""Work on customers: given what people note, then this is told, to those who may, and kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from werkzeug.test import Client, TestResponse

from ledger.application import Ledger
from ledger.people import tokens
from ledger.projections import Work
from ledger.projections.rebuild import Rebuild
from ledger.settings import Settings
from tests.facts import Json, customer, event, project, record
from tests.reactions import Reactor

Api = Callable[..., TestResponse]


@pytest.fixture
def reactor(ledger: Ledger) -> Reactor:
    made = Reactor(ledger)
    made.told(event("customer.created", customer(), at=made.at()))
    return made


def api_of(client: Client, ledger: Ledger, *scopes: str) -> Api:
    with ledger.pool.connection() as connection:
        _, secret = tokens.create(connection, ledger.name, "eka", list(scopes))

    def ask(method: str, path: str, body: Json | None = None, **headers: str) -> TestResponse:
        given: dict[str, Any] = {} if body is None else {"json": body}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return client.open(
            f"/v1/{path}", method=method, headers={"Authorization": f"Bearer {secret}", **named},
            **given,
        )  # fmt: skip

    return ask


@pytest.fixture
def api(client: Client, ledger: Ledger) -> Api:
    return api_of(client, ledger, "write", "personal", "admin")


OF = "customers/cus_andi"


@pytest.mark.parametrize("path", [f"{OF}/tags", f"{OF}/notes", "segments", "bounces"])
def test_what_is_nested_without_end_is_refused(
    reactor: Reactor, client: Client, ledger: Ledger, path: str
) -> None:
    with ledger.pool.connection() as connection:
        _, secret = tokens.create(connection, ledger.name, "eka", ["write", "admin"])
    answer = client.post(f"/v1/{path}", data="[" * 60_000, headers={
        "Authorization": f"Bearer {secret}", "Content-Type": "application/json",
    })  # fmt: skip

    assert answer.status_code == 400


def test_a_customer_is_tagged_owned_noted_and_worked_on(reactor: Reactor, api: Api) -> None:
    api("POST", f"{OF}/tags", {"tag": "vip", "reason": "Kenal lama"})
    api("POST", f"{OF}/tags", {"tag": "loud"})
    api("POST", f"{OF}/tags/remove", {"tag": "loud"})
    api("POST", f"{OF}/owner", {"owner": "usr_1"})
    api("POST", f"{OF}/notes", {"text": "Suka kopi"})
    task = {"what": "Telepon Andi", "due_on": "2026-03-09", "assignee": "usr_1"}
    api("POST", f"{OF}/tasks", task)
    reactor.react()

    told = api("GET", f"{OF}/work").json
    assert told is not None
    assert (told["owner"], told["tags"]) == ("usr_1", ["vip"])
    assert [(note["text"], note["actor"]) for note in told["notes"]] == [("Suka kopi", "eka")]
    (one,) = told["tasks"]
    assert (one["what"], one["due_on"], one["outcome"]) == ("Telepon Andi", "2026-03-09", None)
    (row,) = (api("GET", "customers?tag=vip&owner=usr_1").json or {})["data"]
    assert (row["id"], row["tags"], row["owner"]) == ("cus_andi", ["vip"], "usr_1")
    assert (api("GET", "customers?tag=loud").json or {})["data"] == []
    (listed,) = (api("GET", "tasks?open=true&due_before=2026-03-10").json or {})["data"]
    assert listed == one
    api("POST", f"{OF}/tasks/{one['task']}/close", {"outcome": "done"})
    reactor.react()
    assert (api("GET", "tasks?open=true").json or {})["data"] == []
    assert api("POST", f"{OF}/tasks/{one['task']}/close", {}).status_code == 409


def test_what_people_write_is_encrypted_and_gone_with_the_customer(
    reactor: Reactor, ledger: Ledger, api: Api, client: Client
) -> None:
    api("POST", f"{OF}/notes", {"text": "Suka kopi"})
    api("POST", f"{OF}/tasks", {"what": "Telepon Andi"})
    api("POST", f"{OF}/tags", {"tag": "vip", "reason": "Kenal lama"})
    assert reactor.rows("SELECT * FROM events WHERE data::text ~ 'kopi|Telepon|Kenal'") == []
    blind = api_of(client, ledger, "write")("GET", f"{OF}/work").text
    assert "kopi" not in blind
    assert "Telepon" not in blind

    ledger.erase_customer("cus_andi", reason="customer_request")
    project(ledger)
    told = api("GET", f"{OF}/work").json
    assert told is not None
    assert [note["text"] for note in told["notes"]] == [None]
    assert [task["what"] for task in told["tasks"]] == [None]
    assert api("POST", f"{OF}/notes", {"text": "Masih ada?"}).status_code == 404


def test_who_looked_at_something_old_changes_nothing(reactor: Reactor, api: Api) -> None:
    first = api("POST", f"{OF}/tags", {"tag": "vip"})
    seen = first.headers["ETag"]
    assert api("POST", f"{OF}/tags", {"tag": "two"}, If_Match=seen).status_code == 200
    late = api("POST", f"{OF}/tags", {"tag": "three"}, If_Match=seen)

    assert (late.status_code, (late.json or {})["code"]) == (412, "changed_meanwhile")
    assert (api("GET", f"{OF}/work").json or {})["tags"] == ["two", "vip"]
    assert api("GET", f"{OF}/work").headers["ETag"] == '"3"'


def test_the_same_request_is_carried_out_once(reactor: Reactor, api: Api) -> None:
    for _ in range(2):
        answer = api("POST", f"{OF}/notes", {"text": "Satu"}, Idempotency_Key="one")
    assert answer.headers["Idempotent-Replayed"] == "true"
    assert len((api("GET", f"{OF}/work").json or {})["notes"]) == 1


def test_new_customers_are_shared_out_by_the_first_rule_that_fits(
    reactor: Reactor, api: Api
) -> None:
    rules = [
        {"name": "java", "owners": ["usr_1", "usr_2"], "countries": ["ID"]},
        {"name": "rest", "owners": ["usr_3"]},
    ]
    answer = api("POST", "assignment_rules", {"rules": rules})
    assert (answer.json or {})["rules"][1] == {
        "name": "rest", "owners": ["usr_3"], "countries": [], "currencies": [],
    }  # fmt: skip
    at = reactor.at(hours=1)
    for n in range(12):
        country = {"country": "ID" if n % 2 else "SG"}
        reactor.told(event("customer.created", customer(f"cus_{n}", address=country), at=at))
    rows = reactor.rows("SELECT customer_id, owner FROM customer_work ORDER BY customer_id")
    of_java = {row["owner"] for row in rows if int(row["customer_id"][4:]) % 2}
    rest = {row["owner"] for row in rows if not int(row["customer_id"][4:]) % 2}
    assert of_java == {"usr_1", "usr_2"}
    assert rest == {"usr_3"}
    assert len(rows) == 12  # who came before keeps nobody

    api("POST", "customers/cus_1/owner", {"owner": "usr_9"})
    reactor.told(event("customer.created", customer("cus_1"), at=at + 9))
    assert (api("GET", "customers/cus_1/work").json or {})["owner"] == "usr_9"


def test_a_filter_is_saved_used_and_forgotten(reactor: Reactor, api: Api) -> None:
    api("POST", f"{OF}/tags", {"tag": "vip"})
    reactor.told(event("customer.created", customer("cus_dua"), at=reactor.at(hours=1)))
    assert api("POST", "segments", {"name": "vips", "filters": {"tag": "vip"}}).status_code == 200

    assert [one["name"] for one in (api("GET", "segments").json or {})["data"]] == ["vips"]
    found = (api("GET", "customers?segment=vips").json or {})["data"]
    assert [one["id"] for one in found] == ["cus_andi"]
    assert api("POST", "segments", {"name": "x", "filters": {"nonsense": 1}}).status_code == 400
    assert api("POST", "segments", {"name": "x", "filters": {}}).status_code == 400
    api("POST", "segments/remove", {"name": "vips"})
    assert api("GET", "customers?segment=vips").status_code == 400
    assert api("POST", "segments/remove", {"name": "vips"}).status_code == 409


@pytest.mark.parametrize(
    ("path", "body"),
    [("tags", {"tag": "Not A Tag"}), ("tags", {"tag": "a@b"}), ("owner", {"owner": "a@b.test"}),
     ("owner", {}), ("notes", {"text": ""}), ("tasks", {"what": "x", "due_on": "soon"}),
     ("tasks/task_1/close", {"outcome": "maybe"})],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(reactor: Reactor, api: Api, path: str, body: Json) -> None:
    assert api("POST", f"{OF}/{path}", body).status_code == 400
    assert reactor.rows("SELECT * FROM events WHERE stream = 'work:cus_andi'") == []


def test_nothing_is_noted_of_nobody(reactor: Reactor, api: Api) -> None:
    assert api("POST", "customers/cus_nobody/notes", {"text": "x"}).status_code == 404
    assert api("GET", "customers/cus_nobody/work").status_code == 404


def test_the_past_has_no_tags(reactor: Reactor, api: Api) -> None:
    assert api("GET", "customers?tag=vip&as_of=2026-01-01").status_code == 400


def test_rebuilt_rows_are_the_same(
    reactor: Reactor, ledger: Ledger, api: Api, settings: Settings
) -> None:
    api("POST", f"{OF}/tags", {"tag": "vip"})
    api("POST", f"{OF}/tasks", {"what": "Telepon"})
    record(ledger, event("customer.created", customer("cus_dua"), at=reactor.at(hours=1)))
    reactor.react()
    api("POST", "customers/cus_dua/owner", {"owner": "usr_1"})
    reactor.react()

    assert not Rebuild(settings, ledger, Work, workers=0).run(swap=False).differences
