"""The API and the pages of the reactions: who may, what is answered, what strangers cannot do."""

from __future__ import annotations

import base64
import hmac
import re
import socketserver
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from hashlib import sha1
from typing import Any

import pytest
from werkzeug.test import Client, TestResponse

from api import links as pages
from ledger.application import Ledger
from ledger.bootstrap import Installation, site_of
from ledger.effects.bounces import bounces_in, bounces_in_mail
from ledger.effects.performing import Receipt
from ledger.errors import SettingsInvalid
from ledger.links import Link, LinkExpired, LinkInvalid, Links
from ledger.orders import sending_to_change
from ledger.people import tokens
from ledger.policies.desk import Site
from ledger.settings import Settings
from ledger.suppression import read_mailbox
from tests.conftest import new_ledger
from tests.facts import Json, customer, event
from tests.reactions import START, Reactor, andi, failed, paid, seconds
from tests.test_retention import ALWAYS, andis, leaves

PUBLIC = "https://billing.example.test"


@pytest.fixture
def ledger(installation: Installation) -> Iterator[Ledger]:
    yield from new_ledger(
        installation,
        public_url=PUBLIC,
        sms_url="twilio://ACtest:token@+15550006666",
        api_key="sk_test_1",
    )


@pytest.fixture
def reactor(ledger: Ledger, settings: Settings) -> Reactor:
    made = Reactor(ledger)
    found = site_of(settings, ledger)
    made.site = Site(found.installation, PUBLIC)
    made.told(*andi())
    made.switch_on(site=made.site)
    return made


class Api:
    """The API with a token of some scopes."""

    def __init__(self, client: Client, ledger: Ledger, *scopes: str) -> None:
        self._client = client
        with ledger.pool.connection() as connection:
            _, self._secret = tokens.create(connection, ledger.name, "eka", list(scopes))

    def get(self, path: str) -> TestResponse:
        return self._client.get(path, headers={"Authorization": f"Bearer {self._secret}"})

    def post(self, path: str, body: Json | None = None, key: str | None = None) -> TestResponse:
        headers = {"Authorization": f"Bearer {self._secret}"}
        if key is not None:
            headers["Idempotency-Key"] = key
        return self._client.post(path, json=body or {}, headers=headers)


@pytest.fixture
def api(client: Client, ledger: Ledger) -> Api:
    return Api(client, ledger, "write")


# --- cases and offers -----------------------------------------------------------------------------


def test_the_board_tells_cases_in_both_languages(reactor: Reactor, api: Api) -> None:
    reactor.told(*failed(reactor.at()))
    listed = api.get("/v1/dunning/cases?customer=cus_andi&open=true").json
    assert listed
    (case,) = listed["data"]
    assert case["status_words"] == {"en": "Payment failed – retry 1", "id": "Gagal Bayar – Retry 1"}
    assert (case["amount_minor"], case["decline_code"]) == (10_000_000, "insufficient_funds")
    reactor.work()
    one = api.get("/v1/dunning/cases/in_andi").json
    assert one
    assert one["status_words"]["id"] == "Gagal Bayar – Notifikasi Terkirim"
    assert [step["name"] for step in one["steps"]][:3] == ["mail_1", "mail_2", "mail_3"]
    reactor.told(paid(reactor.at(hours=1)))
    assert api.get("/v1/dunning/cases/in_andi").json["status_words"]["id"] == "Gagal Bayar – Lunas"  # type: ignore[index]
    board = api.get("/v1/dunning/board?from=2026-03&to=2026-03&by=decline_code").json
    assert board
    assert board["data"] == [
        {"currency": "idr", "key": "insufficient_funds", "cases": 1, "recovered": 1,
         "in_progress": 0, "lost": 0, "amount_minor": 10_000_000, "recovered_minor": 10_000_000,
         "recovered_share": 1.0}
    ]  # fmt: skip


@pytest.mark.parametrize("by", ["step", "decline_code", "campaign", "status"])
def test_every_side_of_the_board_can_be_asked(reactor: Reactor, api: Api, by: str) -> None:
    reactor.told(*failed(reactor.at()))

    assert len(api.get(f"/v1/dunning/board?from=2026-03&to=2026-03&by={by}").json["data"]) == 1  # type: ignore[index]


def test_a_case_is_paused_resumed_skipped_sent_and_stopped(reactor: Reactor, api: Api) -> None:
    reactor.told(*failed(reactor.at()))
    at = "/v1/dunning/cases/in_andi"
    assert api.post(f"{at}/pause", {"reason": "call"}).json["paused"] is True  # type: ignore[index]
    assert api.post(f"{at}/resume", {"reason": "done"}).json["paused"] is False  # type: ignore[index]
    assert api.post(f"{at}/skip", {"step": "mail_3"}).status_code == 200
    sent = api.post(f"{at}/send", {"step": "mail_2"}).json
    assert sent == {**(sent or {}), "step_outcome": "requested"}
    assert api.post(f"{at}/send", {"step": "mail_2"}).status_code == 409
    assert api.post(f"{at}/send", {"step": "mail_9"}).status_code == 404
    assert api.post(f"{at}/stop", {"reason": "x"}).json["outcome"] == "stopped"  # type: ignore[index]
    again = api.post(f"{at}/stop", {"reason": "x"})
    assert (again.status_code, again.json["code"]) == (409, "refused")  # type: ignore[index]
    assert api.post("/v1/dunning/cases/in_nobody/stop", {"reason": "x"}).status_code == 404


@pytest.mark.parametrize(
    "path",
    ["/v1/dunning/cases/in_andi/stop", "/v1/subscriptions/sub_andi/cancellation",
     "/v1/customers/cus_andi/messages", "/v1/customers/cus_andi/calls", "/v1/effects/retry",
     "/v1/bounces", "/v1/subscriptions/sub_andi/cancellation_link"],
)  # fmt: skip
def test_who_may_only_read_changes_nothing(
    reactor: Reactor, client: Client, ledger: Ledger, path: str
) -> None:
    reactor.told(*failed(reactor.at()))
    bodies: dict[str, Json] = {
        "stop": {"reason": "x"}, "messages": {"subject": "s", "body": "b"},
        "calls": {"outcome": "reached"}, "retry": {"effect": "a|b"},
    }  # fmt: skip
    body = bodies.get(path.rpartition("/")[2], {})

    answer = Api(client, ledger, "read").post(path, body)
    assert (answer.status_code, answer.json["code"]) == (403, "scope_missing")  # type: ignore[index]


def test_a_key_makes_an_order_count_once(reactor: Reactor, api: Api) -> None:
    body = {"subject": "Halo", "body": "Apa kabar?"}
    first = api.post("/v1/customers/cus_andi/messages", body, key="k1")
    again = api.post("/v1/customers/cus_andi/messages", body, key="k1")
    other = api.post("/v1/customers/cus_andi/messages", {**body, "body": "Lain"}, key="k1")

    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json == again.json
    assert again.headers["Idempotent-Replayed"] == "true"
    assert (other.status_code, other.json["code"]) == (409, "idempotency_key_reused")  # type: ignore[index]
    reactor.react()
    assert len(reactor.effects(kind="mail")) == 1


def test_what_was_refused_may_be_tried_again_under_its_key(reactor: Reactor, api: Api) -> None:
    refused = api.post("/v1/dunning/cases/in_andi/pause", {"reason": "x"}, key="k2")
    reactor.told(*failed(reactor.at()))

    assert refused.status_code == 404
    done = api.post("/v1/dunning/cases/in_andi/pause", {"reason": "x"}, key="k2")
    assert done.status_code == 200


def test_kept_answers_hold_nothing_in_plain(reactor: Reactor, api: Api) -> None:
    api.post("/v1/customers/cus_andi/messages", {"subject": "s", "body": "b"}, key="k3")
    (row,) = reactor.rows("SELECT body FROM idempotency_keys")

    assert b"effect" not in bytes(row["body"])


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/customers/cus_andi/messages", {"subject": "only"}),
        ("/v1/customers/cus_andi/messages", {"body": "no subject"}),
        ("/v1/customers/cus_andi/messages", {"subject": "s", "body": "b", "colour": "red"}),
        ("/v1/subscriptions/sub_andi/cancellation", {"reason": "boredom"}),
        ("/v1/customers/cus_andi/calls", {"outcome": "lunch"}),
    ],
)
def test_a_body_that_cannot_be_understood_says_so(
    reactor: Reactor, api: Api, path: str, body: Json
) -> None:
    answer = api.post(path, body)

    assert answer.status_code == 400
    assert answer.json["detail"]  # type: ignore[index]


def test_a_subscription_is_canceled_by_api(reactor: Reactor, api: Api) -> None:
    reactor.campaign(ALWAYS)
    reactor.told(event("customer.subscription.updated", andis(), at=reactor.at(),
                       previous={"status": "x"}))  # fmt: skip
    answer = api.post("/v1/subscriptions/sub_andi/cancellation", {"reason": "too_expensive"})
    assert answer.status_code == 202
    told = answer.json
    assert told
    assert (told["state"], told["offer"]["percent_off"]) == ("requested", 20)
    reactor.react()
    reactor.work()
    assert reactor.stripe.whats == ["schedule_cancellation"]
    reactor.told(leaves(reactor.at(minutes=1)))
    offers = api.get("/v1/retention/offers?subscription=sub_andi").json
    assert offers
    assert [one["offer_kind"] for one in offers["data"]] == ["discount"]
    taken = api.post(f"/v1/retention/offers/{told['retention_offer']}/accept")
    assert taken.json["accepted"] is True  # type: ignore[index]
    board = api.get("/v1/retention/board?from=2026-03&to=2026-03").json
    assert board
    assert [row["cancellations"] for row in board["data"]] == [1]
    assert board["lift"][0]["lift"] is None  # nobody was judged yet: no number is told
    assert api.post("/v1/subscriptions/sub_nobody/cancellation").status_code == 404


def test_a_customer_bears_the_tags_of_what_is_open(reactor: Reactor, api: Api) -> None:
    def tags() -> Any:
        (one,) = api.get("/v1/customers?limit=5").json["data"]  # type: ignore[index]
        assert api.get("/v1/customers/cus_andi").json["tags"] == one["tags"]  # type: ignore[index]
        return one["tags"]

    assert tags() == []
    reactor.told(*failed(reactor.at()), leaves(reactor.at()))
    assert tags() == ["cancellation_initiated", "payment_failed"]
    reactor.told(paid(reactor.at(hours=1)))
    assert tags() == ["cancellation_initiated"]
    assert "tags" not in api.get("/v1/customers/cus_andi?as_of=2026-03-01").json  # type: ignore[operator]


def test_entitlements_are_told(reactor: Reactor, api: Api) -> None:
    told = api.get("/v1/customers/cus_andi/entitlements").json
    assert told
    assert [(one["feature"], one["because"]) for one in told["data"]] == [("access", "active")]
    assert api.get("/v1/customers/cus_nobody/entitlements").status_code == 404


def test_effects_are_listed_retried_and_dropped(reactor: Reactor, api: Api) -> None:
    from ledger.effects.performing import EffectFailed

    reactor.campaign(ALWAYS)
    reactor.stripe.failures = [EffectFailed("no", is_final=True)]
    api.post("/v1/subscriptions/sub_andi/cancellation")
    reactor.react()
    reactor.work()
    (dead,) = api.get("/v1/effects?state=dead").json["data"]  # type: ignore[index]
    assert dead["because"] == "no"
    assert api.post("/v1/effects/retry", {"effect": dead["id"]}).status_code == 200
    reactor.react()
    reactor.work()
    assert api.get("/v1/effects?kind=stripe").json["data"][0]["state"] == "sent"  # type: ignore[index]
    assert api.post("/v1/effects/drop", {"effect": dead["id"]}).status_code == 409
    for nothing in ("outbox:x|y", "sending|y", "cus_andi|y", "dunning:in_andi|y"):
        assert api.post("/v1/effects/drop", {"effect": nothing}).status_code == 404
    assert api.post("/v1/retention/offers/dunning:in_andi/accept").status_code == 404


# --- pages behind links ---------------------------------------------------------------------------


class FakeStripe:
    """Answers as Stripe does where a link leads there."""

    def portal_session(self, customer: str, return_url: str | None) -> str:
        return f"https://billing.stripe.test/session/{customer}"

    def invoice(self, invoice: str) -> Json:
        return {"id": invoice, "status": "open",
                "hosted_invoice_url": f"https://invoice.stripe.test/{invoice}"}  # fmt: skip


@pytest.fixture
def stripe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "api_of", lambda _: FakeStripe())


def path_of(ledger: Ledger, purpose: Any, about: str, of: str = "cus_andi") -> str:
    return Links(ledger.master, ledger.name).make("", purpose, of, about)


@pytest.mark.usefixtures("stripe")
def test_links_to_stripe_are_made_when_they_are_followed(
    reactor: Reactor, ledger: Ledger, client: Client
) -> None:
    portal = client.get(path_of(ledger, "update_payment", "in_andi"))
    invoice = client.get(path_of(ledger, "pay", "in_andi"))

    assert (portal.status_code, portal.headers["Location"]) == (
        303, "https://billing.stripe.test/session/cus_andi",
    )  # fmt: skip
    assert invoice.headers["Location"] == "https://invoice.stripe.test/in_andi"
    assert portal.headers["Cache-Control"] == "no-store"
    assert portal.headers["Referrer-Policy"] == "no-referrer"
    kept = reactor.rows("SELECT * FROM events WHERE data::text LIKE '%%stripe.test%%'")
    assert kept == []


def test_without_a_key_for_stripe_a_link_says_to_try_again(
    reactor: Reactor, ledger: Ledger, client: Client
) -> None:
    ledger.settings = replace(ledger.settings, api_key=None)

    answer = client.get(path_of(ledger, "pay", "in_andi"))

    assert answer.status_code == 503
    assert "coba lagi" in answer.text


def test_a_link_is_for_one_purpose_and_one_ledger(ledger: Ledger, client: Client) -> None:
    token = path_of(ledger, "pay", "in_andi").rpartition("/")[2]
    for path in (
        f"/l/{ledger.name}/cancel/{token}",
        f"/l/{ledger.name}/nonsense/{token}",
        f"/l/default/pay/{token}",
        f"/l/nowhere/pay/{token}",
        f"/l/{ledger.name}/pay/{token[:-1]}x",
        f"/l/{ledger.name}/pay/x",
    ):
        answer = client.get(path)
        assert answer.status_code == 404, path
        assert "This link does not work" in answer.text


def test_a_link_expires(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    links = Links(ledger.master, ledger.name)
    token = links.make("", "cancel", "cus_andi", "sub_andi").rpartition("/")[2]
    assert links.read("cancel", token) == Link(ledger.name, "cus_andi", "sub_andi")
    monkeypatch.setitem(__import__("ledger.links").links.DAYS, "cancel", -1)

    with pytest.raises(LinkExpired):
        links.read("cancel", token)
    with pytest.raises(LinkInvalid):
        links.read("cancel", "nonsense")


def test_looking_at_an_offer_changes_nothing_a_click_does(
    reactor: Reactor, ledger: Ledger, client: Client
) -> None:
    reactor.campaign(ALWAYS)
    reactor.told(leaves(reactor.at()))
    path = path_of(ledger, "offer", "retention:sub_andi:1")
    before = reactor.rows("SELECT count(*) AS n FROM events")
    shown = client.get(path)
    assert (shown.status_code, "Diskon 20%" in shown.text) == (200, True)
    assert "default-src 'none'" in shown.headers["Content-Security-Policy"]
    assert reactor.rows("SELECT count(*) AS n FROM events") == before

    done = client.post(path, data={"choice": "accept"})
    assert "Senang kamu tetap di sini" in done.text
    reactor.react()
    reactor.work()
    assert reactor.stripe.whats == ["discount"]
    assert "Senang kamu tetap di sini" in client.get(path).text
    assert client.post(path, data={"choice": "decline"}).status_code == 409


def test_an_offer_is_shown_to_none_but_whom_it_is_made(
    reactor: Reactor, ledger: Ledger, client: Client
) -> None:
    reactor.campaign(ALWAYS)
    reactor.told(leaves(reactor.at()))

    assert client.get(path_of(ledger, "offer", "retention:sub_andi:1", "cus_b")).status_code == 404


def test_canceling_on_the_page_is_one_click_and_an_offer_comes_after_it(
    reactor: Reactor, ledger: Ledger, client: Client
) -> None:
    reactor.campaign(ALWAYS)
    soon = seconds(START + timedelta(hours=20))
    sub = andis()
    sub["items"]["data"][0]["current_period_end"] = soon
    reactor.told(event("customer.subscription.updated", sub, at=reactor.at(),
                       previous={"status": "x"}))  # fmt: skip
    path = path_of(ledger, "cancel", "sub_andi")
    asked = client.get(path)
    assert "Terlalu mahal" in asked.text
    assert reactor.rows("SELECT * FROM retention_offers") == []

    done = client.post(path, data={"reason": "too_expensive", "comment": "Mahal sekali"})
    assert (done.status_code, "sudah dihentikan" in done.text) == (200, True)
    assert "Diskon 20%" in done.text  # it ends within a day: a mail would come too late
    action = re.search(r'action="([^"]+)"', done.text)
    reactor.react()
    reactor.work()
    assert reactor.stripe.whats == ["schedule_cancellation"]
    assert action is not None
    assert "Senang kamu" in client.post(action[1], data={"choice": "accept"}).text


def test_the_exit_is_told_of_where_it_cannot_be_taken_on_the_page(
    reactor: Reactor, ledger: Ledger, client: Client
) -> None:
    reactor.decide(
        lambda desk: sending_to_change(desk).switch("stripe", on=False, actor="t", now=desk.now)
    )
    answer = client.post(path_of(ledger, "cancel", "sub_andi"), data={})

    assert (answer.status_code, "hubungi kami" in answer.text) == (503, True)


def test_one_post_ends_marketing_and_a_scanner_does_not(
    reactor: Reactor, ledger: Ledger, client: Client
) -> None:
    path = path_of(ledger, "unsubscribe", "mail")
    client.get(path)
    assert "Unsubscribed" not in reactor.topics("outbox:cus_andi")
    answer = client.post(path, data={"List-Unsubscribe": "One-Click"})

    assert answer.status_code == 200
    assert reactor.topics("outbox:cus_andi")[-1] == "Unsubscribed"


def test_a_form_is_no_body_and_is_not_thrown_away_silently(
    reactor: Reactor, ledger: Ledger, client: Client
) -> None:
    with ledger.pool.connection() as connection:
        _, secret = tokens.create(connection, ledger.name, "eka", ["write"])
    answer = client.post(
        "/v1/subscriptions/sub_andi/cancellation", data={"reason": "unused"},
        headers={"Authorization": f"Bearer {secret}"},
    )  # fmt: skip

    assert answer.status_code == 415
    assert reactor.rows("SELECT * FROM retention_offers") == []


def test_a_cancellation_that_cannot_be_made_is_kept_and_told_to_the_team(
    reactor: Reactor, ledger: Ledger, client: Client
) -> None:
    ledger.settings = replace(ledger.settings, api_key=None)
    answer = client.post(path_of(ledger, "cancel", "sub_andi"), data={"reason": "unused"})
    reactor.react()

    assert answer.status_code == 503
    (row,) = reactor.rows("SELECT reason, source FROM retention_offers")
    assert row == {"reason": "unused", "source": "page"}
    assert [one for one, _ in reactor.effects(kind="alerts")] == ["cancel_by_hand"]


def test_the_stylesheet_is_served(client: Client) -> None:
    answer = client.get("/l/style.css")

    assert (answer.status_code, answer.mimetype) == (200, "text/css")


# --- what providers call back ---------------------------------------------------------------------

SES = {"notificationType": "Bounce", "mail": {"commonHeaders": {"messageId": "<m@x>"}},
       "bounce": {"bounceType": "Permanent",
                  "bouncedRecipients": [{"emailAddress": "andi@example.test"}]}}  # fmt: skip


@pytest.mark.parametrize(
    "told",
    [
        {"email": "andi@example.test", "type": "bounce"},
        {"RecordType": "Bounce", "Type": "HardBounce", "Email": "andi@example.test"},
        [{"event": "bounce", "email": "andi@example.test", "smtp-id": "<x@y>"}],
        {"event-data": {"event": "failed", "severity": "permanent",
                        "recipient": "andi@example.test"}},
        SES,
        {"Type": "Notification", "Message": __import__("json").dumps(SES)},
        {"RecordType": "SpamComplaint", "Email": "andi@example.test"},
    ],
)  # fmt: skip
def test_a_bounce_is_understood_however_a_provider_tells_it(
    reactor: Reactor, api: Api, told: Any
) -> None:
    answer = api.post("/v1/bounces", told)
    assert answer.json == {"object": "bounces", "told": 1, "suppressed": 1}
    api.post("/v1/bounces", told)

    assert reactor.topics("outbox:cus_andi").count("AddressFailed") == 1
    plain = reactor.rows(
        "SELECT * FROM events WHERE stream LIKE 'outbox%%' AND data::text LIKE '%%andi@%%'"
    )
    assert plain == []


@pytest.mark.parametrize(
    "told",
    [{"RecordType": "Bounce", "Type": "SoftBounce", "Email": "a@b.c"}, {"event": "open"}, {}, [],
     {"event-data": {"event": "failed", "severity": "temporary", "recipient": "a@b.c"}},
     {"Type": "Notification", "Message": "no json"}, "text", 7, None],
)  # fmt: skip
def test_what_is_no_permanent_bounce_suppresses_nobody(told: Any) -> None:
    assert bounces_in(told) == []


DSN = b"""From: MAILER-DAEMON@mx.example.test
To: billing@warung.example.test
Subject: Undelivered
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="b"

--b
Content-Type: text/plain

It came back.
--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.test

Final-Recipient: rfc822; andi@example.test
Action: failed
Status: 5.1.1

--b
Content-Type: message/rfc822

Message-ID: <abc@warung.example.test>
Subject: x

y
--b--
"""


def test_a_bounce_is_read_from_a_mail() -> None:
    (found,) = bounces_in_mail(DSN)
    assert (found.address, found.because, found.message_id) == (
        "andi@example.test", "bounce", "<abc@warung.example.test>",
    )  # fmt: skip
    assert bounces_in_mail(DSN.replace(b"5.1.1", b"4.2.2")) == []
    assert bounces_in_mail(b"Subject: hello\n\nno report") == []


class Imap(socketserver.StreamRequestHandler):
    """A mailbox with one bounce in it, as far as it is asked for."""

    def handle(self) -> None:
        self.wfile.write(b"* OK ready\r\n")
        box = self.server.box  # type: ignore[attr-defined]
        for line in self.rfile:
            tag, _, command = line.decode().strip().partition(" ")
            word = command.upper()
            if word.startswith("LOGIN") and "wrong" in command:
                self.wfile.write(f"{tag} NO login\r\n".encode())
                continue
            if word == "CAPABILITY":
                self.wfile.write(b"* CAPABILITY IMAP4rev1\r\n")
            elif word.startswith("SELECT"):
                self.wfile.write(b"* 1 EXISTS\r\n")
            elif word.startswith("UID SEARCH"):
                self.wfile.write(b"* SEARCH" + (b"" if box["seen"] else b" 7") + b"\r\n")
            elif word.startswith("UID FETCH"):
                head = f"* 1 FETCH (UID 7 BODY[] {{{len(DSN)}}}\r\n".encode()
                self.wfile.write(head + DSN + b")\r\n")
            elif word.startswith("UID STORE"):
                box["seen"] = True
            self.wfile.write(f"{tag} OK done\r\n".encode())
            if word.startswith("LOGOUT"):
                return


@pytest.fixture
def imap() -> Iterator[tuple[int, Json]]:
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Imap)
    server.daemon_threads = True
    box: Json = {"seen": False}
    server.box = box  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server.server_address[1], box
    server.shutdown()
    thread.join()
    server.server_close()


class Sends:
    """Says that it has sent the mail which comes back."""

    def perform(self, task: object) -> Receipt:
        return Receipt("<abc@warung.example.test>")


def test_a_report_about_a_mail_that_was_never_sent_silences_nobody(
    reactor: Reactor, ledger: Ledger, imap: tuple[int, Json]
) -> None:
    port, _ = imap
    ledger.settings = replace(ledger.settings, bounces_url=f"imap://me:x@127.0.0.1:{port}/INBOX")

    assert read_mailbox(ledger, reactor.site) == 1
    assert reactor.topics("outbox:cus_andi") == []


def test_a_mailbox_of_bounces_is_read_once(
    reactor: Reactor, ledger: Ledger, imap: tuple[int, Json]
) -> None:
    port, box = imap
    reactor.performers["mail"] = Sends()
    reactor.told(*failed(reactor.at()))
    reactor.work()
    ledger.settings = replace(ledger.settings, bounces_url=f"imap://me:x@127.0.0.1:{port}/INBOX")

    assert read_mailbox(ledger, reactor.site) == 1
    assert (read_mailbox(ledger, reactor.site), box["seen"]) == (0, True)
    assert reactor.topics("outbox:cus_andi").count("AddressFailed") == 1


def test_a_mailbox_that_cannot_be_opened_holds_up_nothing(
    reactor: Reactor, ledger: Ledger, imap: tuple[int, Json]
) -> None:
    for url in (f"imap://me:wrong@127.0.0.1:{imap[0]}/INBOX", "imap://me:x@127.0.0.1:1/INBOX"):
        ledger.settings = replace(ledger.settings, bounces_url=url)
        assert read_mailbox(ledger, reactor.site) == 0
    ledger.settings = replace(ledger.settings, bounces_url="imap://me:x@mail.example.test/INBOX")
    with pytest.raises(SettingsInvalid, match="imaps://"):
        read_mailbox(ledger, reactor.site)


def test_twilio_tells_of_a_number_that_cannot_be_reached_if_it_signs(
    reactor: Reactor, ledger: Ledger, client: Client
) -> None:
    from ledger.aggregates.effect import EffectRequest

    request = EffectRequest("k", "sms", "payment_failed_sms", "notice", {}, "id")
    reactor.decide(lambda desk: desk.ask("cus_andi", request))
    reactor.react()
    reactor.work()
    (sid,) = [row["reference"] for row in reactor.rows("SELECT reference FROM effects")]
    form = {
        "MessageSid": sid,
        "To": "+628110000001",
        "ErrorCode": "30005",
        "MessageStatus": "failed",
    }
    path = f"/callbacks/twilio/{ledger.name}"
    told = PUBLIC + path + "".join(f"{name}{form[name]}" for name in sorted(form))
    signature = base64.b64encode(hmac.new(b"token", told.encode(), sha1).digest()).decode()

    assert client.post(path, data=form).status_code == 403
    bad = client.post(path, data=form, headers={"X-Twilio-Signature": signature[::-1]})
    assert bad.status_code == 403
    good = client.post(path, data=form, headers={"X-Twilio-Signature": signature})
    assert good.status_code == 204
    assert reactor.topics("outbox:cus_andi")[-1] == "AddressFailed"
    assert client.post("/callbacks/twilio/nowhere", data=form).status_code == 404


def test_nobody_is_named_in_what_is_kept_of_a_customers_case(reactor: Reactor) -> None:
    reactor.told(event("customer.updated", customer(name="Rahasia Sekali"), at=reactor.at(),
                       previous={"name": "x"}), *failed(reactor.at()))  # fmt: skip
    reactor.wait(days=15)
    kept = reactor.rows(
        "SELECT count(*) AS n FROM events WHERE data::text ~ 'Rahasia|Andi|example.test/l/'"
    )
    assert kept == [{"n": 0}]
