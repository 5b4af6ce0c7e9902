"""Addresses that get no more mail: told of by a provider, or read from a mailbox of bounces."""

from __future__ import annotations

import imaplib
import logging
import ssl
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, unquote, urlsplit

from ledger.decisions import Connection
from ledger.effects.bounces import Bounce, bounces_in_mail
from ledger.errors import SettingsInvalid
from ledger.orders import decide
from ledger.policies.desk import Desk, Site
from ledger.projections.crm import queries

if TYPE_CHECKING:
    from ledger.application import Ledger

logger = logging.getLogger("ledger.suppression")

TIMEOUT_SECONDS = 30
MAILS_MAX = 500  # of one round; the next goes on
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_BY_REFERENCE = "SELECT customer_id FROM effects WHERE reference = %s AND kind = 'mail' LIMIT 1"
_BY_ADDRESS = "SELECT customer_id FROM customer_search WHERE hash = %s"


def suppress_addresses(
    ledger: Ledger, site: Site, bounces: Sequence[Bounce], *, by_mail_only: bool = False
) -> int:
    """Let these addresses get no more mail; return of how many customers they are.

    With `by_mail_only` what is told counts only if it names a mail that went to that address:
    anybody can write to a mailbox.
    """
    with ledger.pool.connection() as connection:
        named = [
            (customer, one)
            for one in bounces
            for customer in _customers(ledger, connection, one, by_mail_only=by_mail_only)
        ]

    def order(desk: Desk) -> None:
        for customer, one in named:
            desk.outbox(customer).address_failed("mail", one.address, one.because, now=desk.now)

    if named:
        decide(ledger, site, order)
    return len(named)


def _customers(
    ledger: Ledger, connection: Connection, bounce: Bounce, *, by_mail_only: bool
) -> list[str]:
    """Return whom a bounce is about: by the mail that came back, and by the address."""
    found: set[str] = set()
    if bounce.message_id:
        wanted = bounce.message_id if bounce.message_id[0] == "<" else f"<{bounce.message_id}>"
        row = connection.execute(_BY_REFERENCE, [wanted]).fetchone()
        found.update([row[0]] if row and row[0] else [])
    hashed = queries.search_filter(ledger.master.derive("search"), email=bounce.address, query=None)
    owners = {row[0] for row in connection.execute(_BY_ADDRESS, [hashed]).fetchall()}
    return sorted(found & owners if by_mail_only else found | owners)


def read_mailbox(ledger: Ledger, site: Site) -> int:
    """Read the unread mails of the mailbox where bounces arrive, if there is one; return how many.

    Each is marked as read when what it tells is recorded. Raises SettingsInvalid for an address
    that cannot be used; a server that is away is asked again with the next round.
    """
    if ledger.settings.bounces_url is None:
        return 0
    read = 0
    try:
        with opened(ledger.settings.bounces_url) as mailbox:
            _, found = mailbox.uid("SEARCH", "UNSEEN")
            for uid in (found[0] or b"").split()[:MAILS_MAX]:
                _, parts = mailbox.uid("FETCH", uid.decode(), "(BODY.PEEK[])")
                raw = next((part[1] for part in parts if isinstance(part, tuple)), b"")
                suppress_addresses(ledger, site, bounces_in_mail(raw), by_mail_only=True)
                mailbox.uid("STORE", uid.decode(), "+FLAGS", "(\\Seen)")
                read += 1
    except (OSError, imaplib.IMAP4.error) as error:
        logger.warning("the mailbox of bounces: %s", type(error).__name__)
    return read


def mailbox_parts(url: str) -> SplitResult:
    """Return the parts of a mailbox's address; raise SettingsInvalid."""
    try:
        parts = urlsplit(url)
        is_one = parts.port != 0 and bool(parts.hostname and parts.username)
    except ValueError:
        parts, is_one = urlsplit(""), False
    is_local = parts.scheme == "imap" and parts.hostname in _LOOPBACK
    if not is_one or not (parts.scheme == "imaps" or is_local):
        raise SettingsInvalid(
            "LEDGER_BOUNCES_URL is written as imaps://user:password@mail.example:993/INBOX."
        )
    return parts


def opened(url: str) -> imaplib.IMAP4:
    """Open a mailbox, imaps://user:password@host[:port][/FOLDER]; raise SettingsInvalid.

    Without TLS only on this machine. May raise OSError and imaplib's errors.
    """
    parts = mailbox_parts(url)
    host = parts.hostname or ""
    if parts.scheme == "imap":
        mailbox: imaplib.IMAP4 = imaplib.IMAP4(host, parts.port or 143, timeout=TIMEOUT_SECONDS)
    else:
        mailbox = imaplib.IMAP4_SSL(
            host,
            parts.port or 993,
            ssl_context=ssl.create_default_context(),
            timeout=TIMEOUT_SECONDS,
        )
    try:
        mailbox.login(unquote(parts.username or ""), unquote(parts.password or ""))
        mailbox.select(unquote(parts.path.strip("/")) or "INBOX")
    except BaseException:
        with suppress(OSError, imaplib.IMAP4.error):
            mailbox.shutdown()
        raise
    return mailbox
