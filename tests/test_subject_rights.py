"""Rights of people: given what is known of somebody, then they can see, correct and end it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from werkzeug.test import Client, TestResponse

from ledger.application import Ledger
from ledger.bootstrap import Installation, site_of
from ledger.customer_work import work_on
from ledger.links import Links
from ledger.orders import say_once, set_brand
from ledger.people import tokens
from ledger.settings import Settings
from ledger.subjects.erasure import purge
from ledger.subjects.schedule import due, keep_schedule, set_schedule
from tests.conftest import new_ledger
from tests.facts import Json, customer, event, project, record, subscription
from tests.reactions import Mailbox, Reactor, andi, failed, mail_server, seconds
from tests.test_cli import Shell
from tests.test_work import api_of

Api = Callable[..., TestResponse]
OF = "customers/cus_andi"


@pytest.fixture
def ledger(installation: Installation) -> Iterator[Ledger]:
    yield from new_ledger(
        installation,
        public_url="https://billing.example.test",
        api_key="rk_test_notareal",
        smtp_url="smtp://127.0.0.1:1",
    )


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with mail_server() as box:
        yield box


@pytest.fixture
def reactor(ledger: Ledger, settings: Settings, mailbox: Mailbox) -> Reactor:
    """Andi, who has a subscription, was written to, and of whom people wrote."""
    made = Reactor(ledger, mailbox)
    made.site = site_of(settings, ledger)
    made.switch_on(campaign=None, site=made.site)
    made.told(*andi(), *failed(made.at()))
    made.decide(lambda desk: work_on(desk, "cus_andi").write(
        "Suka kopi", actor="eka", now=desk.now))  # fmt: skip
    made.decide(lambda desk: say_once(
        desk, "cus_andi", "mail", {"subject": "Halo", "body": "Apa kabar?"},
        key="m1", language="id", actor="eka"))  # fmt: skip
    made.work()
    return made


@pytest.fixture
def shell(settings: Settings, ledger: Ledger) -> Shell:
    return Shell(settings, ledger.name)


@pytest.fixture
def api(client: Client, ledger: Ledger) -> Api:
    with ledger.pool.connection() as connection:
        _, secret = tokens.create(connection, ledger.name, "eka", ["write", "personal", "admin"])

    def ask(method: str, path: str, body: Json | None = None, **headers: str) -> TestResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        given: dict[str, Any] = {} if body is None else {"json": body}
        return client.open(
            f"/v1/{path}", method=method, **given,
            headers={"Authorization": f"Bearer {secret}", **named},
        )  # fmt: skip

    return ask


# --- to see ---------------------------------------------------------------------------------------


@pytest.mark.usefixtures("reactor")
def test_a_customer_gets_all_that_is_known_of_them_to_read_and_for_programs(
    shell: Shell, tmp_path: Path
) -> None:
    file = tmp_path / "andi.zip"
    said = shell("export", "customer", "cus_andi", "--format", "zip", "--output", str(file))

    assert said.code == 0, said.err
    with ZipFile(file) as archive:
        data, page = json.loads(archive.read("data.json")), archive.read("index.html").decode()
    assert data["contact"]["email"] == "andi@example.test"
    assert [one["id"] for one in data["subscriptions"]] == ["sub_andi"]
    assert [one["id"] for one in data["invoices"]] == ["in_andi"]
    assert [one["text"] for one in data["notes"]] == ["Suka kopi"]
    assert [one["text"]["subject"] for one in data["messages"] if one["text"]] == ["Halo"]
    told = json.dumps(data["events"])
    for word in ("Andi Wijaya", "andi@example.test", "Suka kopi", "customer.created"):
        assert word in told
    for word in ("Andi Wijaya", "andi@example.test", "Suka kopi", "Halo", "lead 17", "IDR"):
        assert word in page


def test_whoever_exports_somebody_is_noted(api: Api, shell: Shell, reactor: Reactor) -> None:
    assert json.loads(shell("export", "customer", "cus_andi").out)["customer"] == "cus_andi"
    assert (api("GET", f"{OF}/data").json or {})["contact"]["name"] == "Andi Wijaya"

    noted = [one["what"] for one in (api("GET", "access_log?customer=cus_andi").json or {})["data"]]
    assert noted[:2] == ["GET /v1/customers/<customer_id>/data", "export customer"]


def test_the_scope_admin_alone_is_told_nothing_of_anybody(
    client: Client, ledger: Ledger, reactor: Reactor
) -> None:
    answer = api_of(client, ledger, "admin")("GET", f"{OF}/data")

    assert (answer.status_code, "Andi" in answer.text) == (403, False)


def test_there_is_no_data_of_nobody(shell: Shell, api: Api) -> None:
    assert shell("export", "customer", "cus_nobody").code == 1
    assert api("GET", "customers/cus_nobody/data").status_code == 404


def test_markup_in_a_persons_name_stays_text(
    shell: Shell, reactor: Reactor, tmp_path: Path
) -> None:
    reactor.told(event("customer.updated", customer(name="<script>alert(1)</script>"),
                       at=reactor.at(minutes=5)))  # fmt: skip
    file = tmp_path / "andi.zip"
    shell("export", "customer", "cus_andi", "--format", "zip", "--output", str(file))

    with ZipFile(file) as archive:
        page = archive.read("index.html").decode()
    assert "&lt;script&gt;" in page
    assert "<script" not in page


def test_half_a_surrogate_in_a_name_stops_nobody_from_leaving(
    shell: Shell, reactor: Reactor, tmp_path: Path
) -> None:
    reactor.told(event("customer.updated", customer(name="Na\ud800me"), at=reactor.at(minutes=5)))
    file = tmp_path / "andi.zip"
    for call in (("all", str(tmp_path / "all")), ("customer", "cus_andi"),
                 ("customer", "cus_andi", "--format", "zip", "--output", str(file))):  # fmt: skip
        said = shell("export", *call)
        assert (said.code, said.err) == (0, said.err), said.err
        assert "Traceback" not in said.err
    lines = (tmp_path / "all" / "events.jsonl").read_text().splitlines()
    assert "Na\ud800me" in json.dumps([json.loads(one) for one in lines], ensure_ascii=False)


def test_everything_there_is_leaves_with_one_command(
    shell: Shell, reactor: Reactor, tmp_path: Path
) -> None:
    folder = tmp_path / "all"
    said = shell("export", "all", str(folder), "--json")

    assert said.code == 0, said.err
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    assert [one["id"] for one in events] == list(range(1, len(events) + 1))
    assert "Andi Wijaya" in (folder / "events.jsonl").read_text()
    assert said.json["events.jsonl"] == len(events)
    (one,) = map(json.loads, (folder / "customers.jsonl").read_text().splitlines())
    assert (one["id"], one["email"]) == ("cus_andi", "andi@example.test")
    for name, of in {"subscriptions": "sub_andi", "invoices": "in_andi"}.items():
        (one,) = map(json.loads, (folder / f"{name}.jsonl").read_text().splitlines())
        assert (one["id"], one["customer"]) == (of, "cus_andi")
    heads = {one.name for one in (folder / "tables").iterdir()}
    assert {"dunning_cases.csv", "journal_entries.csv", "mrr_entries.csv"} <= heads
    assert shell("export", "all", str(folder)).code == 1  # nothing is written over


# --- to correct -----------------------------------------------------------------------------------


def test_what_is_wrong_is_corrected_at_stripe_and_not_kept_in_plain(
    api: Api, reactor: Reactor
) -> None:
    answer = api("POST", f"{OF}/rectification",
                 {"name": "Andy Wijaya", "address": {"city": "Maros"}})  # fmt: skip
    reactor.react()
    reactor.work()

    assert (answer.status_code, (answer.json or {})["state"]) == (202, "requested")
    task = next(one for one in reactor.stripe.tasks if one.request.what == "update_customer")
    assert task.request.text == {"name": "Andy Wijaya", "address.city": "Maros"}
    stored = json.dumps(reactor.rows("SELECT data FROM events"), default=str)
    assert "Andy" not in stored
    assert "Maros" not in stored


@pytest.mark.parametrize(
    ("body", "status"),
    [({}, 400), ({"email": "nobody"}, 400), ({"metadata": "x"}, 400),
     ({"address": {"planet": "Mars"}}, 400)],
)  # fmt: skip
@pytest.mark.usefixtures("reactor")
def test_what_cannot_be_corrected_is_refused(api: Api, body: Json, status: int) -> None:
    assert api("POST", f"{OF}/rectification", body).status_code == status


def test_where_stripe_may_not_be_changed_that_is_said(
    ledger: Ledger, api: Api, shell: Shell
) -> None:
    reactor = Reactor(ledger)
    reactor.told(*andi())

    refused = api("POST", f"{OF}/rectification", {"name": "Andy"})
    said = shell("privacy", "correct", "cus_andi", "name=Andy")

    assert refused.status_code == 409
    assert "ledger effects on stripe" in (refused.json or {})["detail"]
    assert said.code == 1
    assert "ledger effects on stripe" in said.err


# --- to be forgotten ------------------------------------------------------------------------------


def test_an_erasure_is_requested_until_the_keys_last_copies_are_purged(
    api: Api, reactor: Reactor, ledger: Ledger
) -> None:
    answer = api("POST", f"{OF}/erasure", {"reason": "customer_request"}, Idempotency_Key="e1")
    again = api("POST", f"{OF}/erasure", {"reason": "customer_request"}, Idempotency_Key="e1")
    project(ledger)
    before = (api("GET", "erasures").json or {})["data"]
    purge(ledger)
    after = (api("GET", "erasures").json or {})["data"]
    data = api("GET", f"{OF}/data").json or {}

    assert answer.status_code == 202
    assert again.json == answer.json
    assert [one["state"] for one in before] == ["requested"]
    assert [(one["customer"], one["state"]) for one in after] == [("cus_andi", "erased")]
    assert data["erased"]
    assert data["contact"] == {"name": None, "email": None, "phone": None}
    for word in ("Andi", "andi@", "Suka kopi"):
        assert word not in json.dumps(data)


def test_what_was_answered_before_is_not_told_again_of_whoever_is_erased(
    api: Api, reactor: Reactor, ledger: Ledger
) -> None:
    first = api("POST", f"{OF}/notes", {"text": "Rumahnya biru"}, Idempotency_Key="k1")
    same = api("POST", f"{OF}/notes", {"text": "Rumahnya biru"}, Idempotency_Key="k1")
    ledger.erase_customer("cus_andi", reason="customer_request")
    later = api("POST", f"{OF}/notes", {"text": "Rumahnya biru"}, Idempotency_Key="k1")

    assert (first.json, same.headers["Idempotent-Replayed"]) == (same.json, "true")
    assert (later.status_code, (later.json or {})["code"]) == (409, "answer_erased")
    assert "biru" not in later.text
    assert reactor.rows("SELECT body FROM idempotency_keys") == [{"body": None}]


def test_whoever_is_told_notes_by_what_they_change_is_noted_too(api: Api, reactor: Reactor) -> None:
    api("POST", f"{OF}/tags", {"tag": "vip"})
    api("POST", f"{OF}/notes", {"text": "x"}, Idempotency_Key="k1")
    api("POST", f"{OF}/notes", {"text": "x"}, Idempotency_Key="k1")

    log = (api("GET", "access_log?customer=cus_andi&limit=20").json or {})["data"]
    told = [one["what"] for one in log if one["type"] == "Access.AccessLogged"]
    assert told == [
        f"POST /v1/customers/<customer_id>/{what}" for what in ("notes", "notes", "tags")
    ]


def test_who_is_forgotten_here_is_deleted_at_stripe_where_that_is_wanted(
    api: Api, reactor: Reactor
) -> None:
    answer = api("POST", f"{OF}/erasure", {"at_stripe": True})
    reactor.react()
    reactor.work()

    assert (answer.json or {})["at_stripe"] == "requested"
    assert reactor.stripe.whats == ["delete_customer"]


# --- to say no, and yes twice ---------------------------------------------------------------------


def page_of(ledger: Ledger, purpose: Any) -> str:
    return Links(ledger.master, ledger.name).make("", purpose, "cus_andi", "mail")


def preferences(api: Api) -> tuple[str | None, bool]:
    answer = api("GET", f"{OF}/preferences").json or {}
    return answer["said"], answer["offers"]


def test_offers_end_with_one_click_and_begin_again_with_two(
    api: Api, reactor: Reactor, ledger: Ledger, client: Client, mailbox: Mailbox
) -> None:
    page = page_of(ledger, "preferences")
    assert "menerima penawaran" in client.get(page).text
    client.post(page, data={"offers": "no"})
    assert preferences(api) == ("no", False)
    assert "tidak menerima" in client.get(page).text

    asked = client.post(page, data={"offers": "yes"})
    reactor.react()
    reactor.work()
    assert "cek emailmu" in asked.text
    assert preferences(api) == ("no", False)  # one yes is none
    body = mailbox.mails[-1].get_body(("plain",))
    assert body is not None
    link = next(word for word in body.get_content().split() if "/confirm/" in word)
    path = link.removeprefix("https://billing.example.test")
    client.get(path)
    assert preferences(api) == ("no", False)  # whoever looks at mails follows links
    assert client.post(path).status_code == 200
    assert preferences(api) == ("yes", True)
    reactor.react()
    assert "Consented" in reactor.topics("outbox:cus_andi")
    client.post(page, data={"offers": "no"})  # and changes their mind twice more
    assert preferences(api) == ("no", False)
    client.post(path)
    assert preferences(api) == ("yes", True)


def test_to_be_asked_ten_times_is_one_mail(
    reactor: Reactor, ledger: Ledger, client: Client, mailbox: Mailbox
) -> None:
    client.post(page_of(ledger, "preferences"), data={"offers": "no"})
    for _ in range(10):
        client.post(page_of(ledger, "preferences"), data={"offers": "yes"})
    reactor.react()
    reactor.work()

    assert [one for one in mailbox.subjects if "konfirmasi" in one] == [
        "Mohon konfirmasi: penawaran dari Warung Digital"
    ]


def test_where_mail_cannot_go_out_a_page_does_not_promise_one(
    ledger: Ledger, client: Client
) -> None:
    reactor = Reactor(ledger)
    reactor.told(*andi())
    client.post(page_of(ledger, "preferences"), data={"offers": "no"})

    assert client.post(page_of(ledger, "preferences"), data={"offers": "yes"}).status_code == 503


def test_with_consent_needed_who_has_said_nothing_gets_no_offers(
    api: Api, reactor: Reactor, ledger: Ledger, client: Client
) -> None:
    reactor.decide(lambda desk: set_brand(desk, {"marketing_needs_consent": True}, "t"))
    assert preferences(api) == (None, False)
    client.post(page_of(ledger, "confirm"))
    assert preferences(api) == ("yes", True)


def test_a_link_for_one_purpose_is_none_for_another(ledger: Ledger, client: Client) -> None:
    token = page_of(ledger, "preferences").rpartition("/")[2]

    assert client.post(f"/l/{ledger.name}/confirm/{token}").status_code == 404


def test_people_of_the_team_end_offers_but_cannot_begin_them(api: Api, reactor: Reactor) -> None:
    api("POST", f"{OF}/preferences", {"offers": False})
    assert preferences(api) == ("no", False)
    answer = api("POST", f"{OF}/preferences", {"offers": True})
    reactor.react()

    assert answer.status_code == 200
    assert preferences(api) == ("no", False)
    assert ("confirm_offers", "requested") in reactor.effects(kind="mail")


# --- not to be kept for ever ----------------------------------------------------------------------


@pytest.fixture
def gone(ledger: Ledger) -> Ledger:
    """One who left in 2018, one who left in 2018 and still pays, one who left last year."""
    old, last = (seconds(datetime(year, 3, 1, tzinfo=UTC)) for year in (2018, 2025))
    for who in ("old", "stays"):
        record(ledger, event("customer.created", customer(
            f"cus_{who}", name="Lama", created=old), at=old))  # fmt: skip
    record(
        ledger,
        event("customer.created", customer("cus_last", created=last), at=last),
        event("customer.subscription.created", subscription(
            "sub_stays", of="cus_stays", created=old), at=old + 1),
        event("customer.subscription.created", subscription(
            "sub_old", of="cus_old", created=old), at=old + 1),
        event("customer.subscription.deleted", subscription(
            "sub_old", of="cus_old", created=old, status="canceled"), at=old + 2),
    )  # fmt: skip
    project(ledger)
    return ledger


def test_who_has_been_gone_for_long_is_erased_and_nobody_else(gone: Ledger, shell: Shell) -> None:
    _, before = shell.both("privacy", "preview", "--years", "5")
    assert keep_schedule(gone) == 0  # nobody has set it
    assert [one["customer"] for one in before] == ["cus_old"]

    assert shell("privacy", "schedule", "5").out.startswith("Who has been gone for 5 years")
    assert keep_schedule(gone) == 1
    project(gone)

    with gone.pool.connection() as connection:
        erased = connection.execute("SELECT id FROM customers WHERE erased").fetchall()
        assert erased == [("cus_old",)]
        assert due(connection, gone.clock.now(), 5) == []
    assert keep_schedule(gone) == 0
    assert shell("privacy", "schedule", "--never").out == "Nobody is erased by age.\n"


def test_a_day_erases_so_many_and_the_next_day_goes_on(
    gone: Ledger, reactor: Reactor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ledger.subjects.schedule.A_DAY_MAX", 1)
    old = seconds(datetime(2019, 3, 1, tzinfo=UTC))
    record(gone, event("customer.created", customer("cus_older", created=old), at=old))
    project(gone)
    set_schedule(gone, 5, actor="t")

    assert keep_schedule(gone) == 1
    project(gone)
    assert keep_schedule(gone) == 0
    reactor.clock.at += timedelta(hours=25)
    assert keep_schedule(gone) == 1


def test_the_demo_erases_nobody(gone: Ledger) -> None:
    set_schedule(gone, 5, actor="t")
    gone.settings = replace(gone.settings, demo_start="2024-01-01")

    assert keep_schedule(gone) == 0


# --- after a breach -------------------------------------------------------------------------------


def test_a_breach_names_those_whose_data_were_told_and_by_when_letters_are_due(
    api: Api, reactor: Reactor, shell: Shell, tmp_path: Path
) -> None:
    reactor.told(event("customer.created", customer("cus_budi", name="Budi"), at=reactor.at()))
    api("GET", OF)
    today = reactor.now.replace(hour=0)
    said = shell(
        "privacy", "breach", "--from", f"{today:%Y-%m-%d}",
        "--to", f"{today + timedelta(days=1):%Y-%m-%d}", "--aware", "2026-03-04T10:00",
        "--output", str(tmp_path / "b"), "--json",
    )  # fmt: skip

    assert said.code == 0, said.err
    assert (tmp_path / "b" / "customers.csv").read_text().split() == ["customer", "cus_andi"]
    assert said.json["by_actor"] == {"eka": 1}
    assert said.json["deadline"] == datetime(2026, 3, 7, 10, tzinfo=UTC).isoformat()
    for name, words in {
        "authority.en.txt": "1 customers",
        "authority.id.txt": "1 pelanggan",
        "customers.en.txt": "Warung Digital",
        "customers.id.txt": "Warung Digital",
    }.items():
        text = (tmp_path / "b" / name).read_text()
        assert words in text
        if name.startswith("authority"):
            assert "2026-03-07 10:00 UTC" in text
    assert "Andi" not in "".join(one.read_text() for one in (tmp_path / "b").iterdir())


def test_whoever_took_everything_touched_everybody(
    reactor: Reactor, shell: Shell, tmp_path: Path
) -> None:
    reactor.told(event("customer.created", customer("cus_budi", name="Budi"), at=reactor.at()))
    shell("export", "all", str(tmp_path / "all"))
    said = shell("privacy", "breach", "--from", "2020-01-01", "--to", "2100-01-01",
                 "--output", str(tmp_path / "b"), "--json")  # fmt: skip

    assert (tmp_path / "b" / "customers.csv").read_text().split()[1:] == ["cus_andi", "cus_budi"]
    assert said.json["by_request"] == {"export all": 1}


def test_of_a_time_in_which_nothing_was_told_nobody_is_named(
    reactor: Reactor, shell: Shell, tmp_path: Path
) -> None:
    said = shell("privacy", "breach", "--from", "2020-01-01", "--to", "2020-01-02",
                 "--output", str(tmp_path / "b"), "--json")  # fmt: skip
    backwards = shell("privacy", "breach", "--from", "2020-01-02", "--to", "2020-01-01",
                      "--output", str(tmp_path / "c"))  # fmt: skip

    assert said.json["customers"] == 0
    assert backwards.code == 1
    assert "not before" in backwards.err
