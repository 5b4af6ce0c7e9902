"""People: given an account, then this is the way in, and nobody else finds one."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pyotp
import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey
from werkzeug.test import Client, TestResponse

from api import rates
from ledger.application import Ledger, change_settings
from ledger.bootstrap import Installation
from ledger.clock import FixedClock
from ledger.errors import NotFound, RequestInvalid
from ledger.orders import set_brand
from ledger.people import passwords, tokens
from ledger.people.entrance import Entrance, FactorRefused, LogInRefused
from ledger.people.permissions import GUARDED_ROLES, PERMISSIONS, ROLES, SCOPES
from ledger.people.programs import Programs
from ledger.people.sessions import ABSOLUTE, IDLE
from ledger.people.users import People
from tests.conftest import new_ledger
from tests.facts import Json
from tests.reactions import SITE, Reactor, mail_server

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
PASSWORD = "correct horse battery"
EKA = "Eka@example.test"


@pytest.fixture(autouse=True)
def cheap_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """Argon2 with little memory and one round: what it costs is not what is tested."""
    from argon2 import PasswordHasher

    cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    monkeypatch.setattr(passwords, "_hasher", cheap)
    monkeypatch.setattr(passwords, "_NOBODYS", cheap.hash("of nobody"))
    rates._limiter.storage.reset()


@pytest.fixture
def ledger(installation: Installation) -> Iterator[Ledger]:
    for made in new_ledger(installation, public_url="https://billing.example.test"):
        made.clock = FixedClock(START)
        yield made


def clock(ledger: Ledger) -> FixedClock:
    assert isinstance(ledger.clock, FixedClock)
    return ledger.clock


def let_in(ledger: Ledger, role: str = "viewer", email: str = EKA, **more: Any) -> str:
    """Return the id of a person with a password."""
    people = People(ledger)
    person = people.add(email, "Eka", role, actor="tests", **more)
    Entrance(ledger).set_password(people.invite(person.id, actor="tests"), PASSWORD)
    return person.id


def topics(ledger: Ledger, user_id: str) -> list[str]:
    with ledger.pool.connection() as connection:
        rows = connection.execute(
            "SELECT topic FROM events WHERE stream = %s ORDER BY position", [f"user:{user_id}"]
        ).fetchall()
    return [row[0].removeprefix("User.") for row in rows]


def form_token(page: TestResponse) -> str:
    (found,) = re.findall(r'name="form_token" value="([^"]+)"', page.text)
    return str(found)


def log_in(client: Client, ledger: Ledger, password: str = PASSWORD, email: str = EKA) -> Any:
    return client.post(f"/login/{ledger.name}", data={"email": email, "password": password})


# --- accounts -------------------------------------------------------------------------------------


def test_an_invited_person_sets_a_password_and_is_in(ledger: Ledger, client: Client) -> None:
    people = People(ledger)
    person = people.add(EKA, "Eka", "viewer", actor="tests")
    link = f"/enter/{ledger.name}/{people.invite(person.id, actor='tests')}"
    page = client.get(link)
    assert (page.status_code, EKA in page.text) == (200, True)
    answer = client.post(link, data={"password": PASSWORD, "again": PASSWORD})

    assert (answer.status_code, answer.headers["Location"]) == (303, "/account")
    assert "HttpOnly" in answer.headers["Set-Cookie"]
    assert "SameSite=Lax" in answer.headers["Set-Cookie"]
    assert "Eka" in client.get("/account").text
    assert client.get(link).status_code == 410
    assert topics(ledger, person.id) == ["Added", "Invited", "PasswordSet", "LoggedIn"]


def test_nothing_of_a_person_is_stored_in_plain(ledger: Ledger, client: Client) -> None:
    let_in(ledger)
    log_in(client, ledger)
    with ledger.pool.connection() as connection:
        found = [
            str(connection.execute(f"SELECT {name}::text FROM {name}".encode()).fetchall())
            for name in ("users", "sessions", "invitations", "events")
        ]
    told = " ".join(found).casefold()
    secret = client.get_cookie("ledger_session")
    assert secret is not None
    for word in ("eka@", "example.test", PASSWORD, secret.value):
        assert word.casefold() not in told


@pytest.mark.parametrize(
    ("password", "again", "told"),
    [("short", "short", "12 to 200"), ("aaaaaaaaaaaaaaa", "aaaaaaaaaaaaaaa", "different"),
     ("my name is eka here", "my name is eka here", "own address"),
     (PASSWORD, "another one entirely", "not the same")],
)  # fmt: skip
def test_a_password_that_is_none_is_refused_and_the_link_stays_good(
    ledger: Ledger, client: Client, password: str, again: str, told: str
) -> None:
    people = People(ledger)
    person = people.add(EKA, "Eka", "viewer", actor="tests")
    link = f"/enter/{ledger.name}/{people.invite(person.id, actor='tests')}"

    answer = client.post(link, data={"password": password, "again": again})

    assert (answer.status_code, told in html.unescape(answer.text)) == (400, True)
    assert client.get(link).status_code == 200


def test_an_invitation_is_good_for_a_day_and_the_last_one_counts(ledger: Ledger) -> None:
    people = People(ledger)
    person = people.add(EKA, "Eka", "viewer", actor="tests")
    first, second = (people.invite(person.id, actor="tests") for _ in range(2))
    assert Entrance(ledger).invited(first) is None
    assert Entrance(ledger).invited(second) is not None
    clock(ledger).at += timedelta(days=1)
    assert Entrance(ledger).invited(second) is None


def test_an_address_has_one_account_whatever_its_case(ledger: Ledger) -> None:
    let_in(ledger)
    with pytest.raises(RequestInvalid, match="already"):
        let_in(ledger, email=EKA.lower())
    assert People(ledger).one("EKA@EXAMPLE.TEST").email == EKA


def test_the_last_admin_stays(ledger: Ledger) -> None:
    admin = let_in(ledger, "admin")
    with pytest.raises(RequestInvalid, match="last admin"):
        People(ledger).disable(admin, actor="t")
    with pytest.raises(RequestInvalid, match="last admin"):
        People(ledger).change_role(admin, "viewer", actor="t")
    let_in(ledger, "admin", email="dua@example.test")
    assert People(ledger).disable(admin, actor="t").disabled_at == START


def test_an_admin_whose_stay_has_ended_is_not_the_one_that_stays(ledger: Ledger) -> None:
    admin = let_in(ledger, "admin")
    let_in(ledger, "admin", email="dua@example.test", expires_at=START + timedelta(hours=1))
    ledger.clock = FixedClock(START + timedelta(hours=2))

    with pytest.raises(RequestInvalid, match="last admin"):
        People(ledger).disable(admin, actor="t")


def test_a_token_in_anothers_place_lives_as_long(ledger: Ledger) -> None:
    programs, now = Programs(ledger), datetime.now(UTC)
    ledger.clock = FixedClock(now)
    short, _ = programs.create("short", ["read"], now + timedelta(days=30), actor="t")
    again, _ = programs.rotate(short.id, actor="t")

    with ledger.pool.connection() as connection:
        ends = {one["id"]: one["expires_at"] for one in tokens.listed(connection)}
    assert ends[short.id] <= now + timedelta(days=1)
    assert abs(ends[again.id] - now - timedelta(days=30)) < timedelta(minutes=1)


@pytest.mark.parametrize("name", ["usr_0123", "tok_1", "eka@example.test"])
def test_a_token_is_not_called_as_a_person(ledger: Ledger, name: str) -> None:
    with pytest.raises(RequestInvalid, match="not as somebody"):
        Programs(ledger).create(name, ["read"], None, actor="t")


def test_an_auditors_stay_ends(ledger: Ledger, client: Client) -> None:
    with pytest.raises(RequestInvalid, match="say which"):
        let_in(ledger, "auditor")
    let_in(ledger, "auditor", expires_at=START + timedelta(hours=1))
    assert log_in(client, ledger).status_code == 303
    assert client.get("/account").status_code == 200
    clock(ledger).at += timedelta(hours=1)
    assert client.get("/account").status_code == 401
    assert log_in(client, ledger).status_code == 401


# --- coming in ------------------------------------------------------------------------------------


def test_what_is_wrong_is_told_in_the_same_words(ledger: Ledger, client: Client) -> None:
    user_id = let_in(ledger)
    let_in(ledger, email="gone@example.test")
    People(ledger).disable("gone@example.test", actor="tests")
    answers = [
        log_in(client, ledger, "wrong password").text,
        log_in(client, ledger, email="nobody@example.test").text,
        log_in(client, ledger, email="gone@example.test").text,
    ]
    told = {re.sub(r'value="[^"]*"', "", one) for one in answers}

    assert len(told) == 1
    assert "do not open anything" in told.pop()
    assert topics(ledger, user_id)[-1] == "LogInFailed"


def test_after_five_failures_nobody_may_try_for_a_while(ledger: Ledger) -> None:
    user_id, entrance = let_in(ledger), Entrance(ledger)
    for _ in range(5):
        with pytest.raises(LogInRefused):
            entrance.log_in(EKA, "wrong password")
    with pytest.raises(LogInRefused):
        entrance.log_in(EKA, PASSWORD)
    assert topics(ledger, user_id)[-6:] == ["LogInFailed"] * 5 + ["Locked"]
    clock(ledger).at += timedelta(minutes=15)
    assert entrance.log_in(EKA, PASSWORD)


def test_one_address_may_not_try_without_end(ledger: Ledger, client: Client) -> None:
    answers = [log_in(client, ledger, email=f"a{n}@x.test").status_code for n in range(25)]

    assert answers[-1] == 429
    assert set(answers[:20]) == {401}


def test_a_session_ends_unused_and_at_last_for_good(ledger: Ledger, client: Client) -> None:
    let_in(ledger)
    log_in(client, ledger)
    clock(ledger).at += IDLE
    assert client.get("/account").status_code == 401
    log_in(client, ledger)
    began = clock(ledger).at
    while clock(ledger).at < began + ABSOLUTE - IDLE / 2:
        assert client.get("/account").status_code == 200
        clock(ledger).at += IDLE / 2
    clock(ledger).at = began + ABSOLUTE
    assert client.get("/account").status_code == 401


def test_the_way_out_ends_the_session_everywhere(ledger: Ledger, client: Client) -> None:
    user_id = let_in(ledger)
    log_in(client, ledger)
    token = form_token(client.get("/account"))
    cookie = client.get_cookie("ledger_session")
    assert cookie is not None
    assert client.post("/logout", data={}).status_code == 403
    assert client.post("/logout", data={"form_token": token}).status_code == 303

    client.set_cookie("ledger_session", cookie.value)
    assert client.get("/account").status_code == 401
    assert topics(ledger, user_id)[-1] == "LoggedOut"


@pytest.mark.parametrize("change", ["disable", "change_role", "reset_second_factor", "password"])
def test_what_changes_an_account_ends_its_sessions(
    ledger: Ledger, client: Client, change: str
) -> None:
    user_id, people = let_in(ledger), People(ledger)
    log_in(client, ledger)
    if change == "change_role":
        people.change_role(user_id, "support", actor="tests")
    elif change == "password":
        Entrance(ledger).set_password(people.invite(user_id, actor="tests"), PASSWORD + "!")
    else:
        getattr(people, change)(user_id, actor="tests")

    assert client.get("/account").status_code == 401


def test_a_form_that_another_site_sends_is_refused(ledger: Ledger, client: Client) -> None:
    let_in(ledger)
    for origin, status in (("https://evil.test", 403), ("http://localhost", 303)):
        answer = client.post(
            f"/login/{ledger.name}", data={"email": EKA, "password": PASSWORD},
            headers={"Origin": origin},
        )  # fmt: skip
        assert answer.status_code == status


def test_a_session_may_use_the_api_and_changes_need_the_pages_token(
    ledger: Ledger, client: Client
) -> None:
    let_in(ledger, "support")
    log_in(client, ledger)
    token = form_token(client.get("/account"))
    address = "/v1/customers/cus_nobody/calls"

    assert client.get("/v1/customers").status_code == 200
    assert client.post(address, json={"outcome": "reached"}).status_code == 403
    answer = client.post(address, json={"outcome": "reached"}, headers={"X-Form-Token": token})
    assert answer.status_code == 404  # there is no such customer, but one may ask
    assert client.get("/v1/users").status_code == 403


# --- the second factor ----------------------------------------------------------------------------


def with_factor(ledger: Ledger, role: str = "admin") -> tuple[str, pyotp.TOTP, list[str]]:
    user_id, secret = let_in(ledger, role), pyotp.random_base32()
    entrance, totp = Entrance(ledger), pyotp.TOTP(secret)
    session = entrance.log_in(EKA, PASSWORD)
    _, codes = entrance.set_second_factor(session, user_id, secret, totp.at(clock(ledger).at))
    clock(ledger).at += timedelta(minutes=1)
    return user_id, totp, codes


def test_an_admin_sets_a_second_factor_up_before_anything_else(
    ledger: Ledger, client: Client
) -> None:
    let_in(ledger, "admin")
    assert log_in(client, ledger).headers["Location"] == "/second-factor"
    assert client.get("/account").headers["Location"] == "/second-factor"
    assert client.get("/v1/customers").status_code == 401
    page = client.get("/second-factor")
    (kept,) = re.findall(r'name="kept" value="([^"]+)"', page.text)
    (secret,) = re.findall(r'class="secret">([A-Z2-7 ]+)<', page.text)
    form = {"kept": html.unescape(kept), "form_token": form_token(page)}
    assert "data:image/svg+xml" in page.text
    assert client.post("/second-factor", data={**form, "code": "000000"}).status_code == 400

    code = pyotp.TOTP(secret.replace(" ", "")).at(clock(ledger).at)
    done = client.post("/second-factor", data={**form, "code": code})

    assert len(re.findall(r"<li>[0-9a-f-]{19}</li>", done.text)) == 10
    assert client.get("/account").status_code == 200
    assert client.get("/v1/users").status_code == 200


def test_a_code_is_taken_once(ledger: Ledger) -> None:
    user_id, totp, _ = with_factor(ledger)
    entrance, code = Entrance(ledger), totp.at(clock(ledger).at)
    assert entrance.show_second_factor(entrance.log_in(EKA, PASSWORD), user_id, code)

    for late in (0, 20):
        clock(ledger).at += timedelta(seconds=late)
        with pytest.raises(FactorRefused):
            entrance.show_second_factor(entrance.log_in(EKA, PASSWORD), user_id, code)


def test_a_code_of_before_the_last_one_is_refused(ledger: Ledger) -> None:
    user_id, totp, _ = with_factor(ledger)
    entrance, before = Entrance(ledger), totp.at(clock(ledger).at - timedelta(seconds=30))
    entrance.show_second_factor(entrance.log_in(EKA, PASSWORD), user_id, totp.at(clock(ledger).at))
    with pytest.raises(FactorRefused):
        entrance.show_second_factor(entrance.log_in(EKA, PASSWORD), user_id, before)


def test_a_recovery_code_works_once(ledger: Ledger) -> None:
    user_id, _, codes = with_factor(ledger)
    entrance = Entrance(ledger)
    assert entrance.show_second_factor(entrance.log_in(EKA, PASSWORD), user_id, codes[3])
    with pytest.raises(FactorRefused):
        entrance.show_second_factor(entrance.log_in(EKA, PASSWORD), user_id, codes[3])
    assert entrance.show_second_factor(entrance.log_in(EKA, PASSWORD), user_id, codes[4].upper())
    assert topics(ledger, user_id)[-2:] == ["RecoveryCodeUsed", "LoggedIn"]


def test_codes_cannot_be_guessed_without_end(ledger: Ledger) -> None:
    user_id, totp, _ = with_factor(ledger)
    entrance = Entrance(ledger)
    session = entrance.log_in(EKA, PASSWORD)
    for _ in range(5):
        with pytest.raises(FactorRefused):
            entrance.show_second_factor(session, user_id, "nonsense")
    with pytest.raises(FactorRefused, match="for a while"):
        entrance.show_second_factor(session, user_id, totp.at(clock(ledger).at))
    with pytest.raises(LogInRefused):
        entrance.log_in(EKA, PASSWORD)


def test_a_password_alone_opens_nothing_where_a_second_factor_is_set_up(
    ledger: Ledger, client: Client
) -> None:
    with_factor(ledger, "support")
    assert log_in(client, ledger).headers["Location"] == "/second-factor"
    for path in ("/v1/customers", "/v1/status"):
        assert client.get(path).status_code == 401
    assert client.get("/account").headers["Location"] == "/second-factor"


def test_whoever_lost_the_phone_sets_it_up_anew(ledger: Ledger, client: Client) -> None:
    user_id, _, codes = with_factor(ledger)
    People(ledger).reset_second_factor(user_id, actor="tests")
    log_in(client, ledger)

    assert "Set up your second factor" in client.get("/second-factor").text
    entrance = Entrance(ledger)
    with pytest.raises(FactorRefused):
        entrance.show_second_factor(entrance.log_in(EKA, PASSWORD), user_id, codes[0])


# --- a new password by mail -----------------------------------------------------------------------


def test_a_link_comes_by_mail_to_those_who_are_known_and_to_nobody_else(
    ledger: Ledger, client: Client
) -> None:
    let_in(ledger)
    reactor = Reactor(ledger)
    reactor.site = SITE
    reactor.decide(
        lambda desk: set_brand(
            desk, {"name": "Warung", "sender": "billing@warung.example.test"}, "t"
        )
    )
    with mail_server() as box:
        change_settings(ledger, {"smtp_url": f"smtp://127.0.0.1:{box.port}"})
        from dataclasses import replace

        from api import entrance as pages

        ledger.settings = replace(ledger.settings, smtp_url=f"smtp://127.0.0.1:{box.port}")
        told = {
            client.post(f"/login/{ledger.name}/reset", data={"email": email}).text
            for email in (EKA, "nobody@example.test")
        }
        pages._mails.submit(lambda: None).result(30)

    assert len(told) == 1
    assert box.recipients == [EKA]
    body = box.mails[0].get_body()
    assert body is not None
    (link,) = re.findall(r"https://billing\.example\.test(/enter/\S+)", body.get_content())
    assert client.get(link).status_code == 200


def test_without_mail_an_admin_is_to_be_asked(ledger: Ledger, client: Client) -> None:
    answer = client.post(f"/login/{ledger.name}/reset", data={"email": EKA})

    assert (answer.status_code, "ask an admin" in answer.text) == (503, True)


# --- OpenID ---------------------------------------------------------------------------------------


class Provider:
    """An OpenID provider on loopback that vouches for whom the test says."""

    def __init__(self) -> None:
        self.key = RSAKey.generate_key(2048, {"kid": "one"})
        self.claims: Json = {}
        self.challenge = ""
        self.address = ""

    def answer(self, path: str, form: dict[str, list[str]]) -> Json:
        if path == "/.well-known/openid-configuration":
            return {
                "issuer": self.address, "jwks_uri": f"{self.address}/keys",
                "authorization_endpoint": f"{self.address}/authorize",
                "token_endpoint": f"{self.address}/token",
            }  # fmt: skip
        if path == "/keys":
            return {"keys": [self.key.as_dict(private=False)]}
        digest = hashlib.sha256(form["code_verifier"][0].encode()).digest()
        assert base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == self.challenge
        return {"id_token": jwt.encode({"alg": "RS256", "kid": "one"}, self.claims, self.key)}


@contextmanager
def openid() -> Iterator[Provider]:
    provider = Provider()

    class Handler(BaseHTTPRequestHandler):
        def _tell(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            form = parse_qs(self.rfile.read(length).decode())
            body = json.dumps(provider.answer(self.path, form)).encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = _tell  # noqa: N815

        def log_message(self, *_: Any) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    provider.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def come_by(client: Client, ledger: Ledger, provider: Provider, **claims: Any) -> TestResponse:
    """Go to the provider and come back with what it says."""
    from dataclasses import replace

    url = provider.address.replace("http://", "http://client:secret@")
    ledger.settings = replace(ledger.settings, openid_url=url)
    away = client.get(f"/login/{ledger.name}/openid")
    asked = parse_qs(urlsplit(away.headers["Location"]).query)
    provider.challenge = asked["code_challenge"][0]
    now = int(datetime.now(UTC).timestamp())
    provider.claims = {
        "iss": provider.address, "aud": "client", "sub": "17", "exp": now + 60, "iat": now,
        "nonce": asked["nonce"][0], "email": EKA, "email_verified": True, **claims,
    }  # fmt: skip
    state = asked["state"][0]
    return client.get(f"/login/{ledger.name}/openid/back?code=c&state={state}")


def test_the_provider_vouches_for_who_somebody_is(ledger: Ledger, client: Client) -> None:
    user_id = let_in(ledger)
    with openid() as provider:
        assert come_by(client, ledger, provider).headers["Location"] == "/account"
        assert topics(ledger, user_id)[-1] == "LoggedIn"
        # From now on by the provider's subject, whatever address it has.
        assert come_by(client, ledger, provider, email="new@example.test").status_code == 303
        # Nobody else takes the account over by having its address.
        assert come_by(client, ledger, provider, sub="18").status_code == 401


@pytest.mark.parametrize(
    "claims",
    [{"nonce": "another"}, {"aud": "another"}, {"iss": "https://evil.test"}, {"exp": 1},
     {"email_verified": False}, {"email_verified": None}, {"email": "nobody@example.test"}],
)  # fmt: skip
def test_what_the_provider_did_not_say_lets_nobody_in(
    ledger: Ledger, client: Client, claims: Json
) -> None:
    let_in(ledger)
    with openid() as provider:
        assert come_by(client, ledger, provider, **claims).status_code == 401
        provider.key = RSAKey.generate_key(2048, {"kid": "one"})
    assert client.get("/account").status_code == 401


def test_a_signature_of_another_key_lets_nobody_in(ledger: Ledger, client: Client) -> None:
    let_in(ledger)
    with openid() as provider:
        other = RSAKey.generate_key(2048, {"kid": "one"})
        genuine, provider.key = provider.key, other
        answer = provider.answer

        def keys(path: str, form: dict[str, list[str]]) -> Json:
            if path == "/keys":
                return {"keys": [genuine.as_dict(private=False)]}
            return answer(path, form)

        provider.answer = keys  # type: ignore[method-assign]
        assert come_by(client, ledger, provider).status_code == 401


def test_an_admin_who_comes_by_openid_shows_a_second_factor_too(
    ledger: Ledger, client: Client
) -> None:
    let_in(ledger, "admin")
    with openid() as provider:
        assert come_by(client, ledger, provider).headers["Location"] == "/second-factor"


def test_without_a_provider_there_is_no_such_way(ledger: Ledger, client: Client) -> None:
    assert client.get(f"/login/{ledger.name}/openid").status_code == 404
    assert "organisation" not in client.get(f"/login/{ledger.name}").text


# --- the table ------------------------------------------------------------------------------------


def test_every_permission_is_said_and_somebodys() -> None:
    held = set().union(*ROLES.values())
    assert held == set(PERMISSIONS)
    assert ROLES["admin"] == set(PERMISSIONS)
    assert set().union(*SCOPES.values()) == set(PERMISSIONS)
    assert "admin" in GUARDED_ROLES
    for masked in ("viewer", "finance", "auditor"):
        assert "personal" not in ROLES[masked]


def test_a_user_nobody_knows_is_not_found(ledger: Ledger) -> None:
    for who in ("usr_nobody", "nobody@example.test"):
        with pytest.raises(NotFound):
            People(ledger).one(who)
