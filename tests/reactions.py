"""What the tests of reactions share: somebody who lets time pass, and a mail server."""

from __future__ import annotations

import email
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.policy import default
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

from ledger.agenda import Agenda, Tools
from ledger.aggregates.sending import Caps
from ledger.application import Ledger
from ledger.clock import FixedClock
from ledger.effects.mail import Mailer, SmtpServer
from ledger.effects.performing import Performer, Receipt, Task
from ledger.effects.render import Renderer
from ledger.links import Links
from ledger.orders import add_campaign, decide, sending_to_change, set_brand, switch_campaign
from ledger.policies import POLICIES
from ledger.policies.desk import Desk, Site
from ledger.policies.runner import PolicyRunner
from ledger.projections.crm.directory import CrmDirectory
from tests.facts import Json, charge, customer, event, invoice, project, record, subscription

SITE = Site("inst-test", "https://billing.example.test")
START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)  # a Monday; 16:00 in Jakarta
DAY = 86_400
ANSWERS = {"stripe_mails_off": True, "retry_window_days": 14, "final_action": "past_due"}


def seconds(instant: datetime) -> int:
    return int(instant.timestamp())


@dataclass
class Mailbox:
    """A real SMTP server on loopback, and what it was given."""

    mails: list[EmailMessage] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)  # answers to come, one for each mail
    unknown: set[str] = field(default_factory=set)  # addresses that there are not
    port: int = 0

    async def handle_RCPT(  # noqa: N802
        self, server: Any, session: Any, envelope: Any, address: str, options: Any
    ) -> str:
        if address in self.unknown:
            return "550 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        if self.refusals:
            return self.refusals.pop(0)
        self.mails.append(email.message_from_bytes(envelope.content, policy=default))
        self.recipients += envelope.rcpt_tos
        return "250 OK"

    @property
    def subjects(self) -> list[str]:
        return [str(mail["Subject"]) for mail in self.mails]


@contextmanager
def mail_server(
    context: ssl.SSLContext | None = None,
    login: tuple[str, str] | None = None,
    box: Mailbox | None = None,
) -> Iterator[Mailbox]:
    with socket.socket() as probe:  # the library looks for itself at the port it was told
        probe.bind(("127.0.0.1", 0))
        mailbox = box or Mailbox()
        mailbox.port = probe.getsockname()[1]
    controller = Controller(
        mailbox,
        hostname="127.0.0.1",
        port=mailbox.port,
        tls_context=context,
        authenticator=_authenticator(login),
    )
    controller.start()
    try:
        yield mailbox
    finally:
        controller.stop()


def _authenticator(login: tuple[str, str] | None) -> Any:
    def check(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        given = (data.login.decode(), data.password.decode())
        return AuthResult(success=given == login, handled=False)

    return check if login else None


@dataclass
class Recorder:
    """Performs nothing and remembers what it was to perform."""

    tasks: list[Task] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)

    def perform(self, task: Task) -> Receipt:
        self.tasks.append(task)
        if self.failures:
            raise self.failures.pop(0)
        return Receipt(f"ref-{len(self.tasks)}")

    @property
    def whats(self) -> list[str]:
        return [task.request.what for task in self.tasks]


class Reactor:
    """One ledger whose policies react, on a clock that the test sets."""

    def __init__(self, ledger: Ledger, mailbox: Mailbox | None = None) -> None:
        self.ledger = ledger
        self.clock = FixedClock(START)
        ledger.clock = self.clock
        self.mailbox = mailbox
        self.stripe, self.alerts, self.sms = Recorder(), Recorder(), Recorder()
        self.performers: dict[str, Performer] = {
            "stripe": self.stripe, "alerts": self.alerts, "sms": self.sms,
        }  # fmt: skip
        if mailbox is not None:
            self.performers["mail"] = self.mailer(mailbox.port)
        self.site = SITE
        self.react()  # the policies begin at the head of an empty log

    def mailer(self, port: int) -> Mailer:
        server = SmtpServer("127.0.0.1", port, None, None, is_implicit_tls=False)
        links = Links(self.ledger.master, self.ledger.name)
        return Mailer(server, Renderer(), links, self.clock)

    @property
    def now(self) -> datetime:
        return self.clock.at

    @property
    def tools(self) -> Tools:
        return Tools(self.site, POLICIES, self.performers, CrmDirectory(self.ledger.keys))

    def at(self, **after: float) -> int:
        """Return unix seconds so long after the start: days=, hours=, minutes=."""
        return seconds(START + timedelta(**after))

    def decide(self, order: Any) -> Any:
        return decide(self.ledger, self.site, order)

    def switch_on(
        self, *kinds: str, campaign: str | None = "standard", site: Site = SITE, **caps: int
    ) -> None:
        """Let everything out that a test is about."""

        def order(desk: Desk) -> None:
            sending = sending_to_change(desk)
            for kind in kinds or ("mail", "stripe", "alerts", "sms"):
                sending.switch(kind, on=True, actor="tests", now=desk.now)
            assert site.installation
            assert site.public_url
            sending.claim(site.installation, site.public_url, actor="tests", now=desk.now)
            if caps:
                sending.set_caps(Caps(**caps), actor="tests", now=desk.now)
            set_brand(desk, {"name": "Warung Digital", "sender": "billing@warung.example.test"},
                      "tests")  # fmt: skip
            if campaign is not None:
                switch_campaign(desk, campaign, "on", ANSWERS, "tests")

        self.decide(order)

    def campaign(self, given: Json, state: str = "on") -> None:
        self.decide(lambda desk: add_campaign(desk, given, "tests"))
        answers = {**ANSWERS, "retry_window_days": given.get("stripe_retry_window_days")}
        self.decide(lambda desk: switch_campaign(desk, given["name"], state, answers, "tests"))

    def react(self) -> None:
        PolicyRunner(self.ledger, POLICIES, self.site).catch_up()
        project(self.ledger)

    def told(self, *events: Json) -> None:
        """Record facts at the present moment and let the policies answer."""
        record(self.ledger, *events)
        self.react()

    def work(self) -> None:
        """Do what is due now, until nothing is."""
        while True:
            done = Agenda(self.ledger, self.tools).work()
            self.react()
            if not (done.steps or done.sent):
                break

    def wait(self, **time: float) -> None:
        """Let time pass: everything happens when it is due."""
        until = self.clock.at + timedelta(**time)
        self.work()
        while (due := self._next_due()) is not None and due <= until:
            self.clock.at = max(due, self.clock.at)
            before = due
            self.work()
            if self._next_due() == before:
                break  # it cannot be done now
        self.clock.at = until
        self.work()

    def _next_due(self) -> datetime | None:
        rows = self.rows("SELECT min(due_at) AS due FROM agenda")
        found: datetime | None = rows[0]["due"]
        return found

    def rows(self, query: str, *parameters: Any) -> list[Json]:
        from psycopg.rows import dict_row

        with (
            self.ledger.pool.connection() as connection,
            connection.cursor(row_factory=dict_row) as cursor,
        ):
            return cursor.execute(query.encode(), parameters).fetchall()

    def case(self, invoice_id: str = "in_andi") -> Json:
        (row,) = self.rows("SELECT * FROM dunning_cases WHERE invoice_id = %s", invoice_id)
        return row

    def effects(self, **wanted: str) -> list[tuple[str, str]]:
        """Return (what, state) of the effects, in the order they were asked for."""
        rows = self.rows("SELECT * FROM effects ORDER BY asked_at, key")
        return [
            (row["what"], row["state"])
            for row in rows
            if all(row[name] == value for name, value in wanted.items())
        ]

    def topics(self, stream: str) -> list[str]:
        rows = self.rows("SELECT topic FROM events WHERE stream = %s ORDER BY version", stream)
        return [row["topic"].rpartition(".")[2] for row in rows]


def andi(**changes: Any) -> list[Json]:
    """Return how Andi became a customer, in Makassar, with a monthly plan."""
    of = customer(address={"country": "ID"}, **changes)
    at = seconds(START - timedelta(days=31))
    return [
        event("customer.created", of, at=at),
        event("customer.subscription.created", subscription(), at=at),
    ]


def failed(
    at: int, attempt: int = 1, *, decline: str | None = "insufficient_funds", **changes: Any
) -> list[Json]:
    """Return how a renewal's payment fails: the charge, which says why, and the invoice."""
    bill = invoice(status="open", number="WD-0042", attempt_count=attempt, attempted=True,
                   next_payment_attempt=at + 3 * DAY, **changes)  # fmt: skip
    events = [event("invoice.payment_failed", bill, at=at)]
    if decline is not None:
        events.insert(0, declined(at, decline, attempt))
    return events


def declined(at: int, decline: str, attempt: int = 1) -> Json:
    bad = charge(
        f"ch_{attempt}", status="failed", amount_captured=0, captured=False,
        failure_code="card_declined", invoice="in_andi",
        outcome={"type": "issuer_declined", "reason": decline},
    )  # fmt: skip
    return event("charge.failed", bad, at=at)


def paid(at: int) -> Json:
    bill = invoice(status="paid", number="WD-0042", amount_paid=10_000_000, amount_remaining=0,
                   attempt_count=2, attempted=True)  # fmt: skip
    return event("invoice.paid", bill, at=at)
