"""The door: every endpoint by every role and against its own description; what pages bear."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from werkzeug.test import Client, TestResponse

from api import rates
from api.openapi import described
from api.site import create_site
from api.v1 import ENDPOINTS
from api.v1.endpoints import Acting, Endpoint
from ledger.application import Ledger
from ledger.bootstrap import Installation
from ledger.log.seals import seal
from ledger.people import sessions, tokens
from ledger.people.permissions import ROLES
from ledger.people.users import People
from tests.conftest import new_ledger
from tests.facts import Json, event, project, record
from tests.reactions import Reactor, andi, failed, seconds
from tests.test_retention import leaves

EVERYBODY = "viewer support finance auditor manager admin"
ACTS = "support manager admin"
# Who may do what. An endpoint that lacks a row fails the test.
TABLE = {
    "GET /customers": EVERYBODY,
    "GET /customers/<customer_id>": EVERYBODY,
    "GET /customers/<customer_id>/timeline": EVERYBODY,
    "GET /customers/<customer_id>/entitlements": EVERYBODY,
    "POST /customers/<customer_id>/messages": ACTS,
    "POST /customers/<customer_id>/calls": ACTS,
    "GET /subscriptions": EVERYBODY,
    "GET /subscriptions/<subscription_id>": EVERYBODY,
    "POST /subscriptions/<subscription_id>/cancellation": ACTS,
    "POST /subscriptions/<subscription_id>/cancellation_link": ACTS,
    "GET /invoices": EVERYBODY,
    "GET /invoices/<invoice_id>": EVERYBODY,
    "GET /payments": EVERYBODY,
    "GET /payments/<payment_id>": EVERYBODY,
    "GET /metrics": EVERYBODY,
    "GET /metrics/cohorts": EVERYBODY,
    "GET /metrics/churn_reasons": EVERYBODY,
    "GET /metrics/churn_reasons/customers": EVERYBODY,
    "GET /metrics/recovery": EVERYBODY,
    "GET /metrics/statuses": EVERYBODY,
    "GET /metrics/mrr/movements": EVERYBODY,
    "GET /metrics/<name>": EVERYBODY,
    "GET /metrics/<name>/explain": EVERYBODY,
    "GET /dunning/cases": EVERYBODY,
    "GET /dunning/board": EVERYBODY,
    "GET /dunning/cases/<case_id>": EVERYBODY,
    "POST /dunning/cases/<case_id>/pause": ACTS,
    "POST /dunning/cases/<case_id>/resume": ACTS,
    "POST /dunning/cases/<case_id>/stop": ACTS,
    "POST /dunning/cases/<case_id>/skip": ACTS,
    "POST /dunning/cases/<case_id>/send": ACTS,
    "GET /retention/offers": EVERYBODY,
    "GET /retention/board": EVERYBODY,
    "GET /retention/offers/<offer_id>": EVERYBODY,
    "POST /retention/offers/<offer_id>/accept": ACTS,
    "POST /retention/offers/<offer_id>/decline": ACTS,
    "GET /effects": EVERYBODY,
    "POST /effects/retry": ACTS,
    "POST /effects/drop": ACTS,
    "POST /bounces": ACTS,
    "GET /streams/<stream_id>": EVERYBODY,
    "GET /events": EVERYBODY,
    "GET /events/<int:position>": EVERYBODY,
    "GET /customers/<customer_id>/work": EVERYBODY,
    "POST /customers/<customer_id>/tags": ACTS,
    "POST /customers/<customer_id>/tags/remove": ACTS,
    "POST /customers/<customer_id>/owner": ACTS,
    "POST /customers/<customer_id>/notes": ACTS,
    "POST /customers/<customer_id>/notes/<note_id>/remove": ACTS,
    "POST /customers/<customer_id>/tasks": ACTS,
    "POST /customers/<customer_id>/tasks/<task_id>/close": ACTS,
    "GET /tasks": EVERYBODY,
    "GET /assignment_rules": EVERYBODY,
    "POST /assignment_rules": "manager admin",
    "GET /segments": EVERYBODY,
    "POST /segments": ACTS,
    "POST /segments/remove": ACTS,
    "GET /users": "admin",
    "POST /users": "admin",
    "POST /users/<user_id>/invite": "admin",
    "POST /users/<user_id>/role": "admin",
    "POST /users/<user_id>/disable": "admin",
    "POST /users/<user_id>/enable": "admin",
    "POST /users/<user_id>/reset_second_factor": "admin",
    "GET /tokens": "admin",
    "POST /tokens": "admin",
    "POST /tokens/<token_id>/rotate": "admin",
    "POST /tokens/<token_id>/revoke": "admin",
    "GET /customers/<customer_id>/data": "manager admin",
    "POST /customers/<customer_id>/rectification": "manager admin",
    "POST /customers/<customer_id>/erasure": "manager admin",
    "GET /erasures": "manager admin",
    "GET /customers/<customer_id>/preferences": EVERYBODY,
    "POST /customers/<customer_id>/preferences": ACTS,
    "GET /books": "finance auditor manager admin",
    "GET /books/<report>": "finance auditor manager admin",
    "GET /closings": "finance auditor manager admin",
    "POST /closings": "finance manager admin",
    "GET /sending": EVERYBODY,
    "POST /sending/kinds": "manager admin",
    "POST /sending/claim": "manager admin",
    "POST /sending/stop": "manager admin",
    "POST /sending/resume": "manager admin",
    "POST /sending/caps": "manager admin",
    "GET /brand": EVERYBODY,
    "POST /brand": "manager admin",
    "GET /campaigns": EVERYBODY,
    "POST /campaigns": "manager admin",
    "GET /campaigns/<campaign>": EVERYBODY,
    "POST /campaigns/<campaign>/switch": "manager admin",
    "GET /plans": EVERYBODY,
    "GET /definitions": EVERYBODY,
    "GET /seals": "auditor manager admin",
    "GET /seals/<int:block>": "auditor manager admin",
    "GET /access_log": "auditor manager admin",
    "GET /status": EVERYBODY,
}
SAMPLES = {
    "customer_id": "cus_andi", "subscription_id": "sub_andi", "invoice_id": "in_andi",
    "payment_id": "pi_andi", "name": "mrr", "case_id": "in_andi", "position": "1",
    "offer_id": "retention:sub_andi:1", "stream_id": "cus_andi", "user_id": "usr_nobody",
    "report": "trial_balance", "campaign": "standard",
    "token_id": "tok_nobody", "note_id": "note_1", "task_id": "task_1", "block": "1",
}  # fmt: skip
Callers = list[tuple[dict[str, str], bool]]
PERSONAL = ("Andi", "Wijaya", "andi@example.test", "+62 811", "Somba")


@pytest.fixture
def ledger(installation: Installation) -> Iterator[Ledger]:
    """A ledger in which there is one of everything."""
    for made in new_ledger(installation, public_url="https://billing.example.test"):
        reactor = Reactor(made)
        reactor.told(*andi(), *failed(reactor.at()), leaves(reactor.at()))
        project(made)
        with made.pool.connection() as connection:
            seal(connection)
        yield made


@pytest.fixture(autouse=True)
def unlimited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "count", lambda actor: None)


def cookies(ledger: Ledger) -> dict[str, tuple[str, str]]:
    """Return a session of a person of each role, and its form token."""
    people, found = People(ledger), dict[str, tuple[str, str]]()
    now = ledger.clock.now()
    for role in ROLES:
        until = now.replace(year=now.year + 1)
        person = people.add(f"{role}@staff.test", role, role, actor="tests", expires_at=until)
        with ledger.pool.connection() as connection:
            secret = sessions.begin(connection, ledger.name, person.id, now, is_verified=True)
        found[role] = (secret, sessions.form_token_of(ledger.master, secret))
    return found


def path_of(endpoint: Any) -> str:
    return re.sub(r"<(?:\w+:)?(\w+)>", lambda found: SAMPLES[found[1]], f"/v1{endpoint.path}")


def ask(client: Client, endpoint: Any, cookie: str | None, form: str = "") -> TestResponse:
    client.delete_cookie("ledger_session")
    if cookie is not None:
        client.set_cookie("ledger_session", cookie)
    body: Json = {} if endpoint.method == "GET" else {"json": {"nonsense": 1}}
    headers = {"X-Form-Token": form}
    return client.open(path_of(endpoint), method=endpoint.method, headers=headers, **body)


def test_every_endpoint_has_a_row_and_every_row_an_endpoint() -> None:
    assert {f"{one.method} {one.path}" for one in ENDPOINTS} == set(TABLE)


def test_who_may_and_who_may_not(ledger: Ledger, client: Client) -> None:
    """Bodies are nonsense: whoever may gets as far as being told so (400), nobody else does."""
    found, expected = {}, {}
    for role, (cookie, form) in cookies(ledger).items():
        for one in ENDPOINTS:
            row = f"{one.method} {one.path}"
            answer = ask(client, one, cookie, form)
            found[role, row] = answer.status_code
            may = role in TABLE[row].split()
            takes_ours = isinstance(one, Acting) or one.body is not None
            is_told = 400 if one.method != "GET" and takes_ours else 200
            expected[role, row] = is_told if may else 403
            if "personal" not in ROLES[role]:  # type: ignore[index]
                assert [word for word in PERSONAL if word in answer.text] == [], (role, row)

    assert found == expected


def test_without_a_name_nobody_is_told_anything(ledger: Ledger, client: Client) -> None:
    for one in ENDPOINTS:
        for cookie in (None, f"lgs_{ledger.name}_x", "x"):
            assert ask(client, one, cookie).status_code == 401, one.path


def test_without_its_form_token_a_session_changes_nothing(ledger: Ledger, client: Client) -> None:
    (cookie, _), *_ = [pair for role, pair in cookies(ledger).items() if role == "admin"]
    for one in ENDPOINTS:
        if one.method != "GET":
            answer = ask(client, one, cookie)
            assert answer.status_code == 403, one.path
            assert (answer.json or {})["code"] == "form_token_missing"


# --- the description ------------------------------------------------------------------------------


def test_the_description_names_everything(client: Client) -> None:
    told = client.get("/openapi.json").json
    assert told is not None
    operations = {
        (method.upper(), path) for path, methods in told["paths"].items() for method in methods
    }
    served = {
        (one.method, re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", f"/v1{one.path}")) for one in ENDPOINTS
    }
    assert operations == served
    assert told["openapi"] == "3.1.0"
    names = [one["operationId"] for path in told["paths"].values() for one in path.values()]
    assert len(names) == len(set(names))
    assert all(one["summary"] for path in told["paths"].values() for one in path.values())
    silent = {
        parameter["name"]
        for path in told["paths"].values()
        for one in path.values()
        for parameter in one["parameters"]
        if not parameter.get("description") and parameter["in"] == "query"
    }
    assert silent == set()


def test_the_page_of_the_api_tells_the_same_without_loading_anything(client: Client) -> None:
    page = client.get("/docs")
    assert page.status_code == 200
    for path in described()["paths"]:
        assert path in page.text
    assert "<script" not in page.text
    assert re.findall(r'(?:src|href)="(https?:[^"]+)"', page.text) == []


@pytest.fixture
def web(installation: Installation) -> Any:
    """The description with the application it is of."""
    return schemathesis.openapi.from_wsgi("/openapi.json", create_site(installation))


@pytest.fixture
def callers(ledger: Ledger) -> Callers:
    """The headers of each kind of caller and whether they may see people, at last of nobody."""
    with ledger.pool.connection() as connection:
        secrets = {
            scope: tokens.create(connection, ledger.name, scope, [scope])[1]
            for scope in ("read", "write", "personal", "admin")
        }
    return [
        *(({"Authorization": f"Bearer {one}"}, scope == "personal")
          for scope, one in secrets.items()),
        *(({"Cookie": f"ledger_session={cookie}", "X-Form-Token": form},
           "personal" in ROLES[role])  # type: ignore[index]
          for role, (cookie, form) in cookies(ledger).items()),
        ({}, False),
    ]  # fmt: skip


def no_accident(ctx: Any, response: Any, case: Any) -> None:
    """Nothing may break; that the views are behind (503) is an answer, and described."""
    assert response.status_code != 500


# That a 400 is never given for what the schema lets pass (a cursor of nobody's, two filters that
# exclude one another) is not promised.
PROMISES = [
    no_accident,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
SLOW = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]


def explore(web: Any, callers: Callers, one: Endpoint, examples: int) -> None:
    """Ask an endpoint all kinds of things as everybody, and hold the answers against it."""
    path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", f"/v1{one.path}")

    @settings(max_examples=examples, deadline=None, suppress_health_check=SLOW, database=None)
    @given(case=web[path][one.method].as_strategy())
    def ask_everybody(case: Any) -> None:
        for headers, sees_people in callers:
            response = case.call(headers=headers)
            case.validate_response(response, checks=PROMISES)
            if not sees_people:
                assert [word for word in PERSONAL if word in response.text] == []
            if not headers:
                assert response.status_code in (401, 404), response.status_code

    ask_everybody()


def test_what_is_answered_is_what_is_described(web: Any, callers: Callers) -> None:
    for one in ENDPOINTS:
        explore(web, callers, one, 2)


@pytest.mark.long
@pytest.mark.parametrize("one", ENDPOINTS, ids=lambda one: f"{one.method} {one.path}")
def test_what_is_answered_is_what_is_described_to_many_questions(
    web: Any, callers: Callers, one: Endpoint
) -> None:
    explore(web, callers, one, 60)


# --- what every answer bears ----------------------------------------------------------------------

PAGES = ("/docs", "/openapi.json", "/login", "/v1/customers", "/l/x/y/z", "/nothing", "/account",
         "/readyz", "/login/nowhere", "/enter/default/x")  # fmt: skip


@pytest.mark.parametrize("path", PAGES)
def test_every_answer_bears_what_keeps_browsers_safe(client: Client, path: str) -> None:
    headers = client.get(path).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["Referrer-Policy"] == "no-referrer"
    assert re.fullmatch(r"req_[0-9a-f]{16}", headers["Request-Id"])
    assert "Strict-Transport-Security" not in headers


def test_over_tls_browsers_are_told_to_stay_there(installation: Installation) -> None:
    found = create_site(installation).test_client().get("/docs", base_url="https://x.test")

    assert found.headers["Strict-Transport-Security"].startswith("max-age=")


def test_a_problem_names_the_request(client: Client) -> None:
    answer = client.get("/v1/customers")

    assert (answer.json or {})["request_id"] == answer.headers["Request-Id"]


def test_what_is_logged_of_a_request_names_nobody(
    ledger: Ledger, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    with ledger.pool.connection() as connection:
        who, secret = tokens.create(connection, ledger.name, "reader", ["personal"])
    headers = {"Authorization": f"Bearer {secret}"}
    for path in ("/v1/customers?email=andi@example.test", "/v1/customers/andi@example.test",
                 "/v1/customers/cus_andi"):  # fmt: skip
        client.get(path, headers=headers)

    assert who.id in caplog.text
    assert "/v1/customers/<customer_id>" in caplog.text
    for word in (*PERSONAL, secret):
        assert word not in caplog.text


# --- who saw what ---------------------------------------------------------------------------------


def test_whoever_is_told_something_personal_is_noted_once_for_each_request(
    ledger: Ledger, client: Client
) -> None:
    with ledger.pool.connection() as connection:
        _, secret = tokens.create(connection, ledger.name, "support-desk", ["personal"])
        _, auditing = tokens.create(connection, ledger.name, "auditor", ["admin"])
    record(ledger, event("customer.created", {**andi()[0]["data"]["object"], "id": "cus_dua"},
                         at=seconds(ledger.clock.now())))  # fmt: skip
    project(ledger)
    headers = {"Authorization": f"Bearer {secret}"}
    answer = client.get("/v1/customers", headers=headers)
    client.get("/v1/payments", headers=headers)

    log = client.get(
        "/v1/access_log?actor=support-desk", headers={"Authorization": f"Bearer {auditing}"}
    ).json
    assert log is not None
    (one,) = log["data"]
    assert one["subjects"] == ["cus_andi", "cus_dua"]
    assert one["what"] == "GET /v1/customers"
    assert one["stream"] == f"access:{answer.headers['Request-Id']}"
    same = client.get(
        "/v1/events?actor=support-desk", headers={"Authorization": f"Bearer {auditing}"}
    )
    assert [row["id"] for row in (same.json or {})["data"]] == [one["id"]]
    of_dua = client.get(
        "/v1/access_log?customer=cus_dua", headers={"Authorization": f"Bearer {auditing}"}
    ).json
    assert [row["id"] for row in (of_dua or {})["data"]] == [one["id"]]
