"""Links by which people set a password, by mail: to those who have an account, and nobody else."""

from __future__ import annotations

from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.utils import format_datetime, formataddr, parseaddr

from ledger.aggregates.sending import Brand, Sending
from ledger.application import Ledger, change_settings, kept_setting
from ledger.decisions import Decisions
from ledger.effects.mail import SmtpServer
from ledger.errors import NotFound, SettingsInvalid
from ledger.people.users import INVITED_HOURS, People

LOCAL = "http://127.0.0.1:8100"
SERVED = "served_at"
TEXT = """\
Hello {name},

with this link you set a password for the billing ledger of {brand}:

{address}

It works once, within {hours} hours. If you have not asked for it, you need not do anything.
"""


def address_of(ledger: Ledger, secret: str) -> str:
    """Return where an invitation is taken up: where it was last served, if nothing else is set."""
    base = ledger.settings.public_url or kept_setting(ledger, SERVED) or LOCAL
    return f"{base}/enter/{ledger.name}/{secret}"


def remember_address(ledger: Ledger, url: str) -> None:
    """Note where the ledger is served on this machine."""
    change_settings(ledger, {SERVED: url})


def send_invitation(ledger: Ledger, email: str) -> None:
    """Mail a link to the person of this address; raise NotFound, SettingsInvalid, EffectFailed.

    It does not go by the log, as all other mail: the log is for ever, and the link is a secret.
    """
    people = People(ledger)
    person = people.one(email)
    if not person.may_come(ledger.clock.now()):
        raise NotFound("This user was shut out.")
    own = ledger.settings
    if own.is_demo or not (own.smtp_url and own.public_url):
        raise SettingsInvalid(
            "LEDGER_SMTP_URL or LEDGER_PUBLIC_URL is not set: no link can be sent."
        )
    with ledger.pool.connection() as connection:
        sending = Decisions(connection, ledger.keys).find(Sending, Sending.STREAM)
    brand = Brand(**sending.brand) if sending is not None else Brand()
    if not brand.sender:
        raise SettingsInvalid("`ledger brand set --sender` says who writes.")
    secret = people.invite(person.id, actor=person.id)
    message = EmailMessage(policy=SMTP_POLICY)
    message["From"] = formataddr((brand.name, parseaddr(brand.sender)[1]))
    message["To"] = formataddr((" ".join(person.name.split()), person.email))
    message["Subject"] = f"Your password for the billing ledger of {brand.name}"
    message["Date"] = format_datetime(ledger.clock.now())
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(
        TEXT.format(
            name=person.name,
            brand=brand.name,
            address=address_of(ledger, secret),
            hours=INVITED_HOURS,
        ),
        cte="quoted-printable",
    )
    SmtpServer.read(own.smtp_url).hand_over(message, person.email)
