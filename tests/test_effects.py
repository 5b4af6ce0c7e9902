"""Effects: off until switched on, performed at least once, never for those who have paid."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from psycopg import sql

from ledger.agenda import Agenda, Tools
from ledger.aggregates.effect import EffectRequest
from ledger.aggregates.outbox import ATTEMPTS_MAX
from ledger.aggregates.sending import Brand
from ledger.application import Ledger
from ledger.bootstrap import Installation
from ledger.effects.mail import SmtpServer, deliverable, display_name
from ledger.effects.performing import EffectFailed
from ledger.effects.render import Renderer, fields_of, template_names
from ledger.effects.wording import first_name
from ledger.errors import RequestInvalid, SettingsInvalid
from ledger.orders import effect_in, say_once, sending_to_change, switch_campaign
from ledger.policies import POLICIES
from ledger.policies.desk import Site
from ledger.projections.crm.directory import CrmDirectory
from tests.conftest import new_ledger
from tests.facts import customer, event, project
from tests.reactions import ANSWERS, Mailbox, Reactor, andi, failed, mail_server, paid

KEY = "dunning:in_andi:mail_1"
STREAM = "outbox:cus_andi"


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with mail_server() as found:
        yield found


@pytest.fixture
def reactor(ledger: Ledger, mailbox: Mailbox) -> Reactor:
    made = Reactor(ledger, mailbox)
    made.told(*andi())
    return made


# --- safe by default ------------------------------------------------------------------------------


def test_nothing_goes_out_of_a_new_ledger_but_what_would_is_recorded(
    reactor: Reactor, mailbox: Mailbox
) -> None:
    reactor.told(*failed(reactor.at()))
    reactor.wait(days=40)

    assert mailbox.mails == []
    assert [state for _, state in reactor.effects(kind="mail")] == ["shadowed"] * 3


def test_what_was_decided_while_mail_was_off_is_never_sent_later(
    reactor: Reactor, mailbox: Mailbox
) -> None:
    reactor.switch_on("stripe")
    reactor.told(*failed(reactor.at()))
    reactor.wait(hours=1)
    assert reactor.effects() == [("payment_failed_1", "suppressed")]

    reactor.switch_on()
    reactor.wait(hours=1)
    assert mailbox.mails == []
    reactor.wait(days=4)
    assert len(mailbox.mails) == 1  # what is decided from then on


def test_a_case_begun_in_shadow_ends_in_shadow(reactor: Reactor, mailbox: Mailbox) -> None:
    reactor.switch_on(campaign=None)
    reactor.told(*failed(reactor.at()))
    reactor.wait(hours=1)
    reactor.decide(lambda desk: switch_campaign(desk, "standard", "on", ANSWERS, "tests"))
    reactor.wait(days=20)

    assert (mailbox.mails, reactor.case()["mode"]) == ([], "shadow")


def test_a_campaign_switched_off_sends_nothing_more(reactor: Reactor, mailbox: Mailbox) -> None:
    reactor.switch_on()
    reactor.told(*failed(reactor.at()))
    reactor.wait(hours=1)
    reactor.decide(lambda desk: switch_campaign(desk, "standard", "off", {}, "tests"))
    reactor.wait(days=20)

    assert len(mailbox.mails) == 1
    assert reactor.effects()[1:] == [
        ("payment_failed_2", "suppressed"), ("payment_failed_3", "suppressed"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "answers",
    [{}, {**ANSWERS, "stripe_mails_off": False}, {**ANSWERS, "retry_window_days": 21},
     {**ANSWERS, "final_action": "none"}],
)  # fmt: skip
def test_a_campaign_is_not_switched_on_before_stripes_settings_are_told(
    reactor: Reactor, answers: dict[str, Any]
) -> None:
    with pytest.raises(RequestInvalid):
        reactor.decide(lambda desk: switch_campaign(desk, "standard", "on", answers, "tests"))


def test_a_copy_of_the_database_sends_nothing_until_it_claims_sending(
    reactor: Reactor, mailbox: Mailbox
) -> None:
    reactor.switch_on()
    reactor.told(*failed(reactor.at()))
    reactor.site = Site("inst-copy", "https://staging.example.test")
    reactor.wait(days=4)
    assert mailbox.mails == []
    assert {state for _, state in reactor.effects(kind="mail")} == {"suppressed"}

    def claim(desk: Any) -> None:
        sending_to_change(desk).claim(
            "inst-copy", "https://staging.example.test", actor="tests", now=desk.now
        )

    reactor.decide(claim)
    reactor.wait(days=8)
    assert len(mailbox.mails) == 1  # mail 3; the ones before stay suppressed


def test_the_same_installation_under_another_address_is_not_the_one_that_claimed(
    reactor: Reactor, mailbox: Mailbox
) -> None:
    reactor.switch_on()
    reactor.site = Site("inst-test", "http://127.0.0.1:8100")
    reactor.told(*failed(reactor.at()))
    reactor.wait(days=1)

    assert mailbox.mails == []


def test_what_another_installation_was_asked_for_is_not_done_by_the_one_that_claims_later(
    reactor: Reactor, mailbox: Mailbox
) -> None:
    reactor.switch_on()
    mailbox.refusals = ["451 later"]
    reactor.told(*failed(reactor.at()))
    reactor.work()
    assert reactor.effects() == [("payment_failed_1", "failed")]
    reactor.site = Site("inst-new", "https://new.example.test")
    reactor.clock.at += timedelta(seconds=1)

    def claim(desk: Any) -> None:
        sending_to_change(desk).claim(
            "inst-new", "https://new.example.test", actor="tests", now=desk.now
        )

    reactor.decide(claim)
    reactor.wait(hours=1)
    assert (mailbox.mails, reactor.effects()) == ([], [("payment_failed_1", "withdrawn")])


def test_stop_halts_everything_and_what_is_pointless_by_then_is_not_sent(
    reactor: Reactor, mailbox: Mailbox
) -> None:
    reactor.switch_on()
    mailbox.refusals = ["451 later"]
    reactor.told(*failed(reactor.at()))
    reactor.work()
    reactor.decide(lambda desk: sending_to_change(desk).stop("x", actor="t", now=desk.now))
    reactor.wait(hours=50)
    assert mailbox.mails == []

    reactor.decide(lambda desk: sending_to_change(desk).resume(actor="t", now=desk.now))
    reactor.wait(minutes=5)
    assert (mailbox.mails, reactor.effects()) == ([], [("payment_failed_1", "withdrawn")])


def test_no_more_than_the_cap_goes_out_in_an_hour(reactor: Reactor, mailbox: Mailbox) -> None:
    reactor.switch_on(per_hour=2, per_person=100)
    for number in range(5):
        name = f"cus_{number}"
        of = customer(name, email=f"{name}@example.test")
        reactor.told(event("customer.created", of, at=reactor.at()))

        def say(desk: Any, to: str = name) -> None:
            text = {"subject": "Halo", "body": "Apa kabar?"}
            say_once(desk, to, "mail", text, key="k", language="id", actor="eka")

        reactor.decide(say)
    reactor.react()
    sent = []
    for _ in range(4):
        reactor.work()
        sent.append(len(mailbox.mails))
        reactor.clock.at += timedelta(minutes=61)

    assert sent == [2, 4, 5, 5]


def test_nobody_gets_more_than_three_notices_in_a_week(reactor: Reactor, mailbox: Mailbox) -> None:
    reactor.switch_on()
    for number in range(5):
        reactor.decide(
            lambda desk, n=number: desk.ask(
                "cus_andi", EffectRequest(f"k{n}", "mail", "payment_failed_1", "notice",
                                          {"invoice": "in_andi"}, "id"),
            )
        )  # fmt: skip
    reactor.react()
    reactor.work()

    assert len(mailbox.mails) == 3
    assert reactor.rows("SELECT because FROM effects WHERE state = 'suppressed'") == [
        {"because": "cap_per_person"}, {"because": "cap_per_person"},
    ]  # fmt: skip


# --- at least once, under one key -----------------------------------------------------------------


def test_a_payment_between_decision_and_sending_takes_the_mail_back(
    reactor: Reactor, mailbox: Mailbox
) -> None:
    reactor.switch_on()
    mailbox.refusals = ["451 greylisted"]
    reactor.told(*failed(reactor.at()))
    reactor.work()
    reactor.told(paid(reactor.at(minutes=1)))
    reactor.wait(hours=5)

    assert mailbox.mails == []
    assert reactor.rows("SELECT state, because FROM effects WHERE key = %s", KEY) == [
        {"state": "withdrawn", "because": "paid"}
    ]


def test_with_the_mail_server_away_for_a_day_nothing_is_lost_or_doubled(
    reactor: Reactor, mailbox: Mailbox
) -> None:
    reactor.switch_on()
    reactor.performers["mail"] = reactor.mailer(port=1)  # nobody listens there
    reactor.told(*failed(reactor.at()))
    reactor.wait(hours=24)
    (row,) = reactor.rows("SELECT state, attempts, because FROM effects")
    assert (row["state"], row["attempts"] > 5) == ("failed", True)
    assert "does not answer" in row["because"]

    reactor.performers["mail"] = reactor.mailer(mailbox.port)
    reactor.wait(days=5)

    assert mailbox.subjects == [
        "Pembayaran Langganan Gagal – Warung Digital",
        "Pengingat: pembayaranmu belum masuk – Warung Digital",
    ]


@pytest.mark.parametrize("refusal", ["451 later", "554 quota of the sender"])
def test_what_somebody_may_mend_is_tried_again(
    reactor: Reactor, mailbox: Mailbox, refusal: str
) -> None:
    reactor.switch_on()
    mailbox.refusals = [refusal]
    reactor.told(*failed(reactor.at()))
    reactor.work()
    assert reactor.effects() == [("payment_failed_1", "failed")]
    reactor.wait(minutes=5)

    assert reactor.effects() == [("payment_failed_1", "sent")]


def test_an_address_that_there_is_not_gets_no_more_mail(reactor: Reactor, mailbox: Mailbox) -> None:
    reactor.switch_on()
    mailbox.unknown = {"andi@example.test"}
    reactor.told(*failed(reactor.at()))
    reactor.wait(days=4)

    assert reactor.rows("SELECT state, because FROM effects ORDER BY asked_at") == [
        {"state": "withdrawn", "because": "address_refused"},
        {"state": "withdrawn", "because": "address_failed"},
    ]


PAY = EffectRequest("k", "stripe", "pay_invoice", "action", {"invoice": "in_x"})


def test_a_dead_letter_can_be_tried_again_or_dropped(reactor: Reactor) -> None:
    reactor.switch_on("stripe")
    reactor.stripe.failures = [EffectFailed("no", is_final=True), EffectFailed("no", is_final=True)]
    reactor.decide(lambda desk: desk.ask("cus_andi", PAY))
    reactor.react()
    reactor.work()

    def again(desk: Any) -> None:
        effect_in(desk, STREAM, "k").retry("k", actor="eka", now=desk.now)

    reactor.decide(again)
    reactor.react()
    reactor.work()
    assert reactor.effects(kind="stripe") == [("pay_invoice", "dead")]
    assert [task.attempt for task in reactor.stripe.tasks] == [1, 2]  # looks before it acts again
    reactor.decide(
        lambda desk: effect_in(desk, STREAM, "k").drop("k", "no", actor="e", now=desk.now)
    )
    reactor.react()
    reactor.wait(days=1)

    assert reactor.effects(kind="stripe") == [("pay_invoice", "dropped")]


def test_what_is_dropped_while_it_is_tried_does_not_come_back(reactor: Reactor) -> None:
    reactor.switch_on("stripe")

    class DropsMeanwhile:
        def perform(self, task: object) -> Any:
            reactor.decide(
                lambda desk: effect_in(desk, STREAM, "k").drop("k", "no", actor="e", now=desk.now)
            )
            raise EffectFailed("Stripe does not answer")

    reactor.performers["stripe"] = DropsMeanwhile()
    reactor.decide(lambda desk: desk.ask("cus_andi", PAY))
    reactor.react()
    reactor.wait(hours=5)

    assert reactor.effects(kind="stripe") == [("pay_invoice", "dropped")]


def test_one_that_cannot_be_decided_holds_up_no_other(reactor: Reactor, mailbox: Mailbox) -> None:
    reactor.switch_on()
    reactor.told(event("customer.created", customer("cus_b", email="b@example.test"),
                       at=reactor.at()), *failed(reactor.at()))  # fmt: skip
    text = {"subject": "s", "body": "b"}
    reactor.decide(lambda desk: say_once(desk, "cus_b", "mail", text, key="m", language="en",
                                         actor="e"))  # fmt: skip
    reactor.react()

    class Breaks(CrmDirectory):
        def contact(self, connection: Any, customer_id: str) -> Any:
            if customer_id == "cus_andi":
                raise KeyError("a fault of ours")
            return super().contact(connection, customer_id)

    tools = Tools(reactor.site, POLICIES, reactor.performers, Breaks(reactor.ledger.keys))
    for _ in range(3):
        Agenda(reactor.ledger, tools).work()
        project(reactor.ledger)

    assert mailbox.recipients == ["b@example.test"]


def test_failing_mails_do_not_hold_back_what_customers_ordered(
    reactor: Reactor, mailbox: Mailbox
) -> None:
    reactor.switch_on(per_hour=2)
    text = {"subject": "s", "body": "b"}
    for number in range(6):
        reactor.told(event("customer.created", customer(f"cus_{number}"), at=reactor.at()))
        reactor.decide(lambda desk, n=number: say_once(desk, f"cus_{n}", "mail", text, key="m",
                                                       language="en", actor="e"))  # fmt: skip
    reactor.react()
    reactor.work()
    assert len(mailbox.mails) == 2
    leave = EffectRequest("c", "stripe", "schedule_cancellation", "confirmation")
    reactor.decide(lambda desk: desk.ask("cus_andi", leave))
    reactor.decide(lambda desk: desk.ask("cus_andi", PAY))
    reactor.react()
    reactor.work()

    assert reactor.stripe.whats == ["schedule_cancellation"]


def test_an_effect_that_never_succeeds_is_given_up(reactor: Reactor) -> None:
    reactor.switch_on()
    reactor.stripe.failures = [EffectFailed("Stripe does not answer") for _ in range(100)]
    request = EffectRequest("k", "stripe", "pay_invoice", "action", {"invoice": "in_x"})
    reactor.decide(lambda desk: desk.ask("cus_andi", request))
    reactor.react()
    reactor.wait(days=10)

    assert reactor.effects(kind="stripe") == [("pay_invoice", "dead")]
    assert reactor.alerts.whats == ["action_given_up"]
    assert len(reactor.stripe.tasks) == ATTEMPTS_MAX
    assert {(task.key, task.outbox.id) for task in reactor.stripe.tasks} == {("k", STREAM)}


def test_an_attempt_that_never_came_back_is_made_again(reactor: Reactor, mailbox: Mailbox) -> None:
    reactor.switch_on()
    reactor.told(*failed(reactor.at()))

    class Killed(BaseException):
        """What kill -9 leaves behind: nothing is noted."""

    class Dies:
        def perform(self, task: object) -> Any:
            raise Killed

    working = reactor.performers["mail"]
    reactor.performers["mail"] = Dies()
    with pytest.raises(Killed):
        reactor.work()
    reactor.performers["mail"] = working
    project(reactor.ledger)
    assert reactor.effects() == [("payment_failed_1", "attempted")]
    reactor.wait(minutes=1)
    assert mailbox.mails == []  # it may still be under way
    reactor.wait(minutes=2)

    assert (len(mailbox.mails), reactor.effects()) == (1, [("payment_failed_1", "sent")])


def test_of_two_workers_that_see_the_same_only_one_sends(
    reactor: Reactor, mailbox: Mailbox
) -> None:
    reactor.switch_on()
    reactor.told(*failed(reactor.at()))
    for _ in range(3):  # the agenda is stale: nobody has projected what the others did
        Agenda(reactor.ledger, reactor.tools).work()
    project(reactor.ledger)
    for _ in range(3):
        Agenda(reactor.ledger, reactor.tools).work()

    assert len(mailbox.mails) == 1


def test_a_customer_without_an_address_is_not_a_failure(ledger: Ledger, mailbox: Mailbox) -> None:
    reactor = Reactor(ledger, mailbox)
    reactor.told(*andi(email=None))
    reactor.switch_on()
    bare = [
        one
        for one in failed(reactor.at(), customer_email=None)
        if one["type"] == "invoice.payment_failed"
    ]
    reactor.told(*bare)
    reactor.wait(hours=1)

    assert reactor.rows("SELECT state, because FROM effects") == [
        {"state": "withdrawn", "because": "no_address"}
    ]


def test_an_address_that_bounced_gets_no_more_mail_a_new_one_does(
    reactor: Reactor, mailbox: Mailbox
) -> None:
    reactor.switch_on()

    def bounced(desk: Any) -> None:
        desk.outbox("cus_andi").address_failed("mail", "andi@example.test", "bounce", now=desk.now)

    reactor.decide(bounced)
    reactor.told(*failed(reactor.at()))
    reactor.wait(hours=1)
    assert mailbox.mails == []
    reactor.told(event("customer.updated", customer(email="baru@example.test"),
                       at=reactor.at(days=1), previous={"email": "andi@example.test"}))  # fmt: skip
    reactor.wait(days=4)

    assert mailbox.recipients == ["baru@example.test"]


def test_what_a_person_wrote_is_encrypted_and_goes_out_once(
    reactor: Reactor, mailbox: Mailbox
) -> None:
    reactor.switch_on()

    def say(desk: Any) -> None:
        text = {"subject": "Soal tagihan", "body": "Halo Andi, rahasia kita."}
        say_once(desk, "cus_andi", "mail", text, key="m1", language="id", actor="eka")

    reactor.decide(say)
    reactor.decide(say)
    reactor.react()
    reactor.work()

    (mail,) = mailbox.mails
    assert "rahasia kita" in str(mail.get_body(("plain",)))
    rows = reactor.rows("SELECT data::text AS data FROM events WHERE data::text LIKE '%%rahasia%%'")
    assert rows == []


def test_after_an_erasure_nothing_of_what_was_written_can_be_read(reactor: Reactor) -> None:
    def say(desk: Any) -> None:
        text = {"subject": "Soal tagihan", "body": "Halo"}
        say_once(desk, "cus_andi", "mail", text, key="m1", language="id", actor="eka")

    reactor.decide(say)
    reactor.ledger.erase_customer("cus_andi", reason="customer_request")

    def read(desk: Any) -> Any:
        return effect_in(desk, STREAM, "m1").effects["m1"].request.text

    assert reactor.decide(read) is None


# --- what mails look like -------------------------------------------------------------------------

LINKS = {name: f"https://b.example.test/l/{name}" for name in (
    "update_payment", "pay", "offer", "cancel", "unsubscribe", "confirm")}  # fmt: skip


@pytest.mark.parametrize("language", ["en", "id"])
@pytest.mark.parametrize("template", template_names())
def test_every_template_renders_in_both_languages(template: str, language: str) -> None:
    fields = fields_of(
        {"number": "WD-1", "currency": "idr", "amount_minor": 15_000_000, "invoice": "in_1",
         "decline_class": "expired", "window_ends_at": "2026-03-16T00:00:00+00:00",
         "next_attempt_at": "2026-03-05T00:00:00+00:00", "subject": "S", "body": "B",
         "ends_at": "2026-03-16T00:00:00+00:00", "due_at": None, "benefits": ["x"],
         "offer": "o", "offer_kind": "discount", "percent_off": 20, "months": 3, "last4": "4242",
         "cancellation_reason": None},
        name="Andi <b>Wijaya</b>", product="Paket & Co", brand=Brand(name="Warung"),
        language=language, links=LINKS,
    )  # fmt: skip
    if template.endswith("_sms"):
        assert Renderer().sms(template, language, fields).text
        return
    mail = Renderer().mail(template, language, fields)
    assert mail.html is not None
    assert "<b>" not in mail.html.split("<body")[1]
    assert "&amp;amp;" not in mail.html
    assert "{{" not in mail.text + mail.subject + mail.html
    assert mail.subject


def test_a_template_with_a_fault_says_which_and_what(tmp_path: Any) -> None:
    (tmp_path / "payment_failed_1.en.j2").write_text(
        "{% extends layout %}{% block subject %}x{% endblock %}"
        "{% block body %}{{ secret_word }}{% endblock %}"
    )
    fields = fields_of({}, name="Andi", product=None, brand=Brand(), language="en", links=LINKS)

    with pytest.raises(RequestInvalid, match=r"payment_failed_1\.en .*secret_word"):
        Renderer(tmp_path).mail("payment_failed_1", "en", fields)
    with pytest.raises(RequestInvalid, match="nothing"):
        Renderer().mail("nothing", "en", fields)


SECRETS = [
    "{{ '{b.check.__globals__}'|with(b=brand) }}",
    "{{ '{b.__class__.__mro__}'|with(b=brand) }}",
    "{{ brand.check.__globals__ }}",
    "{{ '{0.__class__}'.format(brand) }}",
    "{{ m.__loader__ }}",
]


@pytest.mark.parametrize("body", SECRETS)
def test_a_template_cannot_look_into_the_program(tmp_path: Path, body: str) -> None:
    (tmp_path / "message.en.j2").write_text(
        "{% extends layout %}{% block subject %}x{% endblock %}"
        "{% block body %}" + body + "{% endblock %}"
    )
    fields = fields_of({}, name=None, product=None, brand=Brand(), language="en", links={})

    with pytest.raises(RequestInvalid, match=r"message\.en cannot be rendered"):
        Renderer(tmp_path).mail("message", "en", fields)


@pytest.mark.parametrize(
    ("address", "becomes"),
    [("andi@example.test", "andi@example.test"), (" a+b@x.test ", "a+b@x.test"),
     ("andi@exämple.test", "andi@xn--exmple-cua.test"), ("ándi@x.test", None), ("a b@x.test", None),
     ("a@x.test\r\nBcc: z@y.test", None), ("a@x.test, b@y.test", None), ("<a@x.test>", None),
     ("@x.test", None), ("a", None), ("a@" + "x" * 300, None)],
)  # fmt: skip
def test_an_address_is_one_that_every_server_takes(address: str, becomes: str | None) -> None:
    assert deliverable(address) == becomes


@pytest.mark.parametrize(
    ("name", "becomes"),
    [("Andi Wijaya", "Andi Wijaya"), ("A\x00\x1b\ud800B", "A B"), ("x" * 10_000, "x" * 80)],
)
def test_a_name_fits_into_a_header(name: str, becomes: str) -> None:
    assert display_name(name) == becomes


@pytest.mark.parametrize(
    ("name", "greeted"),
    [("Andi Wijaya", "Andi"), ("http://evil.test klik", None), ("evil.test/x", None),
     ("WWW.evil.test", None), ("me@evil.test", None), ("x" * 100, None), ("", None)],
)  # fmt: skip
def test_nobody_puts_an_address_into_our_mail_by_their_name(name: str, greeted: str | None) -> None:
    assert first_name(name) == greeted


@pytest.mark.parametrize(
    "url", ["http://x", "smtp://", "mail.example", "smtp://h:port", "smtp://[::1"]
)
def test_an_address_of_a_mail_server_that_cannot_be_used_says_so(url: str) -> None:
    with pytest.raises(SettingsInvalid, match="LEDGER_SMTP_URL"):
        SmtpServer.read(url)


def test_a_server_elsewhere_without_tls_gets_nothing(
    mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ledger.effects.mail._LOOPBACK", frozenset())
    server = SmtpServer("127.0.0.1", mailbox.port, None, None, is_implicit_tls=False)

    with pytest.raises(EffectFailed, match="no TLS"):
        server.connect()


def test_of_two_copies_of_one_database_only_the_one_that_claimed_sends(
    installation: Installation, ledger: Ledger, mailbox: Mailbox
) -> None:
    original = Reactor(ledger, mailbox)
    original.told(*andi())
    original.switch_on()
    original.told(*failed(original.at()))
    original.work()
    assert len(mailbox.mails) == 1
    for other in new_ledger(installation):
        with other.database.connect_as_owner() as connection:
            for table in ("events", "subject_keys"):
                names = [sql.Identifier(one.schema, table) for one in (other, ledger)]
                connection.execute(sql.SQL("INSERT INTO {} SELECT * FROM {}").format(*names))
        copy = Reactor(other, mailbox)
        copy.site = Site("inst-copy", "https://billing.example.test")
        for one in (original, copy):
            one.wait(days=4)

        assert len(mailbox.mails) == 2  # the original's second mail
        assert original.effects()[1] == ("payment_failed_2", "sent")
        assert copy.effects()[1] == ("payment_failed_2", "suppressed")


def test_a_mail_goes_over_tls_with_a_login(tmp_path: Path, reactor: Reactor) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    self_signed(certificate, key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with mail_server(context=context, login=("user", "pass")) as box:
        trusting = ssl.create_default_context(cafile=str(certificate))
        server = SmtpServer("localhost", box.port, "user", "pass", is_implicit_tls=False)
        session = server.connect(trusting)
        assert isinstance(session.sock, ssl.SSLSocket)
        session.quit()
        with pytest.raises(smtplib.SMTPAuthenticationError):
            SmtpServer("localhost", box.port, "user", "no", is_implicit_tls=False).connect(trusting)
        with pytest.raises(ssl.SSLCertVerificationError):
            server.connect()  # nobody vouches for this certificate


def self_signed(certificate: Path, key: Path) -> None:
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    made = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(made.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(made, hashes.SHA256())
    )
    certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    key.write_bytes(
        made.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
