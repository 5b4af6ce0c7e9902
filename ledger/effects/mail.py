"""Mail by SMTP with TLS: rendered, addressed, signed with nothing but our word, handed over.

Whoever accepted a mail has it: what comes back later comes back as a bounce (see bounces.py). A
mail may go out twice if the worker dies between handing it over and noting that; both copies bear
the same Message-ID, by which most mail programs show one.
"""

from __future__ import annotations

import hashlib
import re
import smtplib
import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.utils import format_datetime, formataddr, parseaddr
from typing import Any
from urllib.parse import unquote, urlsplit

from ledger.clock import Clock
from ledger.effects.performing import AddressRefused, EffectFailed, EffectPointless, Receipt, Task
from ledger.effects.render import Rendered, Renderer, fields_of
from ledger.errors import RequestInvalid, SettingsInvalid
from ledger.links import Links

TIMEOUT_SECONDS = 20
CONFIRM_OFFERS = "confirm_offers"  # the template that asks for the second yes to offers
ADDRESS_MAX = 254
NAME_MAX = 80
_ADDRESS = re.compile(
    r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*"
).fullmatch
_NO_SUCH_ADDRESS = frozenset({550, 551, 553})  # RFC 5321, as answers to RCPT
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True)
class SmtpServer:
    """Where mail is handed over: `smtps` speaks TLS from the start, `smtp` upgrades to it."""

    host: str
    port: int
    user: str | None
    password: str | None
    is_implicit_tls: bool

    @classmethod
    def read(cls, url: str) -> SmtpServer:
        """Read smtp[s]://user:password@host:port; raise SettingsInvalid."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            parts, port = urlsplit(""), -1
        if parts.scheme not in ("smtp", "smtps") or not parts.hostname or port == -1:
            raise SettingsInvalid(
                "LEDGER_SMTP_URL is written as smtps://user:password@mail.example:465 (TLS from the"
                " start) or smtp://…:587 (upgraded to TLS)."
            )
        implicit = parts.scheme == "smtps"
        return cls(
            parts.hostname,
            port or (465 if implicit else 587),
            unquote(parts.username) if parts.username else None,
            unquote(parts.password) if parts.password else None,
            implicit,
        )

    def connect(self, context: ssl.SSLContext | None = None) -> smtplib.SMTP:
        """Return a session, encrypted unless the server is this machine; may raise as smtplib."""
        context = context or ssl.create_default_context()
        if self.is_implicit_tls:
            session: smtplib.SMTP = smtplib.SMTP_SSL(
                self.host, self.port, timeout=TIMEOUT_SECONDS, context=context
            )
        else:
            session = smtplib.SMTP(self.host, self.port, timeout=TIMEOUT_SECONDS)
        try:
            self._secure(session, context)
        except BaseException:
            session.close()
            raise
        return session

    def hand_over(self, message: EmailMessage, address: str) -> str:
        """Give a mail to the server; return its answer."""
        try:
            session = self.connect()
        except smtplib.SMTPAuthenticationError as error:
            raise EffectFailed("the mail server refuses user or password") from error
        except (OSError, smtplib.SMTPException) as error:
            raise EffectFailed(f"the mail server does not answer: {_told(error)}") from error
        try:
            session.send_message(message, to_addrs=[address])
        except smtplib.SMTPRecipientsRefused as error:
            code, _ = next(iter(error.recipients.values()))
            if code in _NO_SUCH_ADDRESS:
                raise AddressRefused(address) from error
            raise EffectFailed(f"recipient refused: {code}") from error
        except smtplib.SMTPResponseException as error:
            # Also a 5xx: it may be about the sender or a quota, which somebody will mend.
            raise EffectFailed(f"refused: {error.smtp_code}") from error
        except (OSError, smtplib.SMTPException) as error:
            raise EffectFailed(f"the mail server went away: {_told(error)}") from error
        finally:
            with suppress(OSError, smtplib.SMTPException):
                session.quit()
        return "accepted"

    def _secure(self, session: smtplib.SMTP, context: ssl.SSLContext) -> None:
        session.ehlo()
        if not self.is_implicit_tls:
            if session.has_extn("starttls"):
                session.starttls(context=context)
            elif self.host not in _LOOPBACK:
                raise EffectFailed("the mail server offers no TLS")
        if self.user is not None:
            session.login(self.user, self.password or "")


class Mailer:
    """Performs mails."""

    def __init__(self, server: SmtpServer, renderer: Renderer, links: Links, clock: Clock) -> None:
        self.server = server
        self._renderer = renderer
        self._links = links
        self._clock = clock

    def perform(self, task: Task) -> Receipt:
        """Hand one mail over."""
        if task.contact is None:
            raise EffectFailed("the views do not know this customer yet")
        if not task.contact.email:
            raise EffectPointless("no_address")
        address = deliverable(task.contact.email)
        if address is None:
            raise EffectPointless("address_invalid")
        if ("mail", address.casefold()) in task.outbox.failed_addresses:
            raise EffectPointless("address_failed")
        message = self.compose(task, address)
        answer = self.server.hand_over(message, address)
        return Receipt(str(message["Message-ID"]), {"smtp": answer})

    def compose(self, task: Task, address: str) -> EmailMessage:
        """Return the mail as it goes out; raise EffectFailed if it cannot be made."""
        brand, request = task.brand, task.request
        if not brand.sender:
            raise EffectFailed("no_sender: `ledger brand set` says who writes")
        links = links_for(task, self._links)
        try:
            rendered = rendered_mail(self._renderer, task, links)
        except RequestInvalid as error:
            raise EffectFailed(str(error)) from error
        message = EmailMessage(policy=SMTP_POLICY)
        sender = parseaddr(brand.sender)[1]
        name = (task.contact.name if task.contact else None) or ""
        message["From"] = formataddr((brand.name, sender))
        message["To"] = formataddr((display_name(name), address))
        message["Subject"] = rendered.subject
        message["Date"] = format_datetime(self._clock.now())
        message["Message-ID"] = message_id(task.outbox.id, task.key, sender)
        if brand.reply_to:
            message["Reply-To"] = brand.reply_to
        if request.purpose == "marketing":
            # RFC 8058: one POST, without cookies or login, ends it.
            message["List-Unsubscribe"] = f"<{links['unsubscribe']}>"
            message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
        else:
            message["Auto-Submitted"] = "auto-generated"  # no out-of-office reply to this
        message.set_content(rendered.text, cte="quoted-printable")
        if rendered.html is not None:
            message.add_alternative(rendered.html, subtype="html", cte="quoted-printable")
        return message


def deliverable(address: str) -> str | None:
    """Return an address as SMTP takes it everywhere (RFC 5321), None for what is none."""
    local, at, domain = address.strip().rpartition("@")
    try:
        found = f"{local}@{domain.encode('idna').decode()}"
    except UnicodeError:
        return None
    return found if at and len(found) <= ADDRESS_MAX and _ADDRESS(found) else None


def display_name(name: str) -> str:
    """Return a name as it may stand in a header: printable and short."""
    printable = "".join(char if char.isprintable() else " " for char in name)
    return " ".join(printable.split())[:NAME_MAX]


def message_id(stream: str, key: str, sender: str) -> str:
    """Return the Message-ID of an effect: the same whenever it is tried, and tells nothing."""
    digest = hashlib.sha256(f"{stream}|{key}".encode()).hexdigest()[:32]
    return f"<{digest}@{sender.rpartition('@')[2] or 'localhost'}>"


def _told(error: Exception) -> str:
    if isinstance(error, smtplib.SMTPResponseException):
        return str(error.smtp_code)
    return type(error).__name__


def links_for(task: Task, links: Links) -> dict[str, str]:
    """Return the links that a message may contain, by purpose."""
    params, customer = task.request.params, task.outbox.customer_id or ""
    about: dict[Any, Any] = {
        "update_payment": params.get("invoice") or params.get("subscription"),
        "pay": params.get("invoice"),
        "offer": params.get("offer"),
        "cancel": params.get("subscription"),
    }
    if customer:
        about["preferences"] = "mail"
    if task.request.purpose == "marketing":
        about["unsubscribe"] = "mail"
    if task.request.what == CONFIRM_OFFERS:
        about["confirm"] = "mail"
    return {
        purpose: links.make(task.public_url, purpose, customer, named)
        for purpose, named in about.items()
        if named
    }


def rendered_mail(renderer: Renderer, task: Task, links: Mapping[str, str]) -> Rendered:
    """Return a task's mail; raise RequestInvalid."""
    return _rendered(renderer.mail, task, links)


def rendered_sms(renderer: Renderer, task: Task, links: Mapping[str, str]) -> Rendered:
    """Return a task's short message; raise RequestInvalid."""
    return _rendered(renderer.sms, task, links)


def _rendered(
    render: Callable[[str, str, Mapping[str, Any]], Rendered], task: Task, links: Mapping[str, str]
) -> Rendered:
    language = task.request.language or task.brand.language
    params = {**task.request.params, **(task.request.text or {})}
    fields = fields_of(
        params,
        name=task.contact.name if task.contact else None,
        product=task.product,
        brand=task.brand,
        language=language,
        links=links,
    )
    return render(task.request.what, language, fields)
