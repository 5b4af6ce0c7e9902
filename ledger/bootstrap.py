"""The composition root: from settings to a migrated database and its ledgers."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from time import monotonic

from ledger.agenda import Tools
from ledger.application import Ledger, ledger_names, open_ledger
from ledger.clock import Clock
from ledger.database import Database, open_database
from ledger.database import migrate as migrations
from ledger.effects.alerts import Alerter
from ledger.effects.mail import Mailer, SmtpServer
from ledger.effects.performing import Performer
from ledger.effects.render import Renderer
from ledger.effects.sms import Texter, TwilioAccount
from ledger.effects.stripe_actions import StripeActor
from ledger.errors import SettingsInvalid
from ledger.files import kept_once
from ledger.links import Links
from ledger.people.openid import OpenId
from ledger.policies import POLICIES
from ledger.policies.desk import Site
from ledger.projections import PROJECTIONS, bi, generations
from ledger.projections.crm.directory import CrmDirectory
from ledger.settings import DEFAULT_LEDGER, Settings
from ledger.stripe_api import StripeApi
from ledger.suppression import mailbox_parts

logger = logging.getLogger("ledger.bootstrap")

NAMES_SECONDS = 1.0


class Installation:
    """The ledgers of one database, opened when first asked for."""

    def __init__(self, settings: Settings, database: Database, clock: Clock | None = None) -> None:
        self.settings = settings
        self.database = database
        self._clock = clock
        self._open: dict[str, Ledger] = {}
        self._lock = Lock()
        self._names: frozenset[str] = frozenset()
        self._names_again_at = 0.0

    def opened(self, name: str) -> Ledger | None:
        """Return a ledger that has been opened already."""
        return self._open.get(name)

    def ledger(self, name: str = DEFAULT_LEDGER) -> Ledger:
        """Return a ledger by its name; raise LedgerUnknown. Opening it takes a moment."""
        found = self._open.get(name)
        if found is None:
            with self._lock:
                found = self._open.get(name)
                if found is None:
                    found = open_ledger(self.settings, self.database, name, self._clock)
                    self._open[name] = found
        return found

    def knows(self, name: str) -> bool:
        """Return whether there is a ledger of this name, as known a moment ago.

        For names that strangers may make up: the database is asked once a second at most.
        """
        with self._lock:
            if name not in self._names and monotonic() >= self._names_again_at:
                self._names_again_at = monotonic() + NAMES_SECONDS  # also if this fails
                self._names = frozenset(ledger_names(self.database))
            return name in self._names

    def names(self) -> list[str]:
        """Return the names of the installation's ledgers."""
        return list(ledger_names(self.database))

    def forget(self, name: str) -> None:
        """Open a ledger anew when next asked for, with its settings as they are then."""
        with self._lock:
            self._open.pop(name, None)

    def close(self) -> None:
        """Close every ledger and leave the database."""
        for ledger in self._open.values():
            ledger.close()
        self.database.close()


def site_of(settings: Settings, ledger: Ledger) -> Site:
    """Return which installation this is: it says so itself, or is named once in LEDGER_HOME.

    A copy of the database has another home and is another installation. A made-up business has
    none: nothing of it may go out.
    """
    if ledger.settings.is_demo:
        return Site(None, None, frozenset())
    named = settings.installation or kept_once(
        settings.home / "installation.id", lambda: f"inst-{secrets.token_hex(8)}"
    )
    own = ledger.settings
    means = {"mail": own.smtp_url, "sms": own.sms_url, "alerts": own.alert_urls,
             "stripe": own.api_key}  # fmt: skip
    configured = frozenset(kind for kind, means_of_it in means.items() if means_of_it)
    return Site(named, own.public_url, configured)


def renderer_of(settings: Settings) -> Renderer:
    """Return what renders messages, with the templates of the business's own if it has some."""
    return Renderer(settings.home / "templates")


def tools_of(settings: Settings, ledger: Ledger) -> Tools:
    """Return what a worker of a ledger needs; only what is configured can be performed.

    An address that cannot be used is told in the log, and only its kind is missing.
    """
    performers, faults = _performers(settings, ledger)
    for kind, fault in faults.items():
        logger.error("%s of %s: %s", kind, ledger.name, fault)
    return Tools(site_of(settings, ledger), POLICIES, performers, CrmDirectory(ledger.keys))


def unusable_settings(settings: Settings, ledger: Ledger) -> list[str]:
    """Return what is wrong with the addresses by which this ledger reaches the outside."""
    _, faults = _performers(settings, ledger)
    own, checks = ledger.settings, list[Callable[[], object]]()
    if own.bounces_url:
        checks.append(lambda: mailbox_parts(own.bounces_url or ""))
    if own.openid_url:
        checks.append(lambda: OpenId.read(own.openid_url or "", ""))
    told = list(faults.values())
    for check in checks:
        try:
            check()
        except SettingsInvalid as error:
            told.append(str(error))
    return told


def _performers(settings: Settings, ledger: Ledger) -> tuple[dict[str, Performer], dict[str, str]]:
    """Return what can be performed, by kind, and why the rest of what is configured cannot."""
    own, renderer, links = ledger.settings, renderer_of(settings), Links(ledger.master, ledger.name)
    makers: dict[str, Callable[[], Performer]] = {}
    if own.alert_urls:
        makers["alerts"] = lambda: Alerter(own.alert_urls)
    if (smtp := own.smtp_url) is not None:
        makers["mail"] = lambda: Mailer(SmtpServer.read(smtp), renderer, links, ledger.clock)
    if (sms := own.sms_url) is not None:
        makers["sms"] = lambda: Texter(TwilioAccount.read(sms), renderer, links)
    if (key := own.api_key) is not None:
        makers["stripe"] = lambda: StripeActor(StripeApi(key, own.api_base))
    performers, faults = dict[str, Performer](), dict[str, str]()
    for kind, make in () if own.is_demo else makers.items():
        try:
            performers[kind] = make()
        except SettingsInvalid as error:
            faults[kind] = str(error)
    return performers, faults


def migrate(database: Database, new_ledger: str = DEFAULT_LEDGER) -> list[str]:
    """Bring every schema up to date and give each projection its tables; return what was done.

    Tables that another version of a projection made stay: they are read until they are rebuilt.
    """
    return migrations.migrate(
        database,
        new_ledger,
        lambda owner, schema: [
            *generations.ensure_live(owner, schema, PROJECTIONS),
            *bi.ensure_views(owner, schema),
        ],
    )


@contextmanager
def installation(
    settings: Settings, *, migrated: bool = True, clock: Clock | None = None
) -> Iterator[Installation]:
    """Open the installation that the settings name, brought up to date unless told otherwise."""
    database = open_database(settings)
    opened = Installation(settings, database, clock)
    try:
        if migrated:
            migrate(database)
        yield opened
    finally:
        opened.close()
