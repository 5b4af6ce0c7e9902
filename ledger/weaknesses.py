"""Settings that work and are weaker than they need be: `ledger doctor` names each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ledger.health import Concern
from ledger.people import tokens
from ledger.people.permissions import GUARDED_ROLES
from ledger.people.users import People
from ledger.privacy.key_sources import key_file
from ledger.settings import DEFAULT_LEDGER
from ledger.tls import is_loopback

if TYPE_CHECKING:
    from ledger.application import Ledger
    from ledger.decisions import Connection
    from ledger.settings import Settings

BOOTSTRAP_LENGTH_MIN = 16


def weaknesses(settings: Settings, ledger: Ledger, connection: Connection) -> Iterator[Concern]:
    """Yield what about an installation is weaker than it need be."""
    own = ledger.settings
    if own.api_key is not None and own.api_key.startswith("sk_"):
        yield Concern(
            "stripe_key_unrestricted",
            "STRIPE_API_KEY is a secret key that may do everything. Make a restricted one (rk_…) in"
            " Stripe's dashboard; docs/operating.md says what it needs.",
        )
    if any(not secret.startswith("whsec_") for secret in own.webhook_secrets):
        yield Concern(
            "webhook_secret_odd",
            "STRIPE_WEBHOOK_SECRET: a signing secret of Stripe's begins with `whsec_`.",
        )
    if ledger.name == DEFAULT_LEDGER and settings.bootstrap_token is not None:
        if len(settings.bootstrap_token) < BOOTSTRAP_LENGTH_MIN:
            yield Concern(
                "bootstrap_token_short",
                "LEDGER_BOOTSTRAP_TOKEN is short enough to be guessed and has all scopes.",
            )
        if tokens.find(connection, settings.bootstrap_token, ledger.clock.now()) is None:
            yield Concern(
                "bootstrap_token_revoked", "LEDGER_BOOTSTRAP_TOKEN was revoked; set another one."
            )
    yield from _of_connections(settings, ledger)
    yield from _of_people(ledger, connection)
    file = key_file(settings)
    if file.exists() and file.stat().st_mode & 0o077:
        yield Concern(
            "master_key_readable",
            f"Others on this machine may read {file}: `chmod 600 {file}`.",
        )


def _of_connections(settings: Settings, ledger: Ledger) -> Iterator[Concern]:
    url = ledger.settings.public_url
    if url is not None and url.startswith("http://"):
        host = url.removeprefix("http://").partition("/")[0].rpartition(":")[0]
        if not is_loopback(host or url.removeprefix("http://").partition("/")[0]):
            yield Concern(
                "public_url_plain",
                f"LEDGER_PUBLIC_URL is {url}: links in mails and the sign-in would go in plain.",
            )
    if settings.database_plain:
        yield Concern(
            "database_plain",
            "LEDGER_DATABASE_PLAIN is set: what goes to the database is not encrypted on its way.",
        )
    if settings.database_url is not None and settings.database_owner_url is None:
        yield Concern(
            "database_role_owns",
            "The role of LEDGER_DATABASE_URL owns the tables: whoever has it could rewrite the log"
            " (`ledger verify` would find that). Let LEDGER_DATABASE_OWNER_URL migrate, and serve"
            " with a role that is only a member of ledger_runtime.",
        )


def _of_people(ledger: Ledger, connection: Connection) -> Iterator[Concern]:
    unguarded = [
        one.id
        for one in People(ledger, connection).listed()
        if one.role in GUARDED_ROLES and one.has_password and not one.has_second_factor
    ]
    if unguarded:
        yield Concern(
            "second_factor_missing",
            f"{len(unguarded)} people who must have a second factor have not set it up yet:"
            " `ledger user list` shows them.",
        )
    endless = [
        row["id"]
        for row in tokens.listed(connection)
        if row["revoked_at"] is None
        and row["expires_at"] is None
        and {"admin", "personal"} & set(row["scopes"])
        and row["name"] != tokens.PRESET
    ]
    if endless:
        yield Concern(
            "tokens_endless",
            f"{len(endless)} tokens with the scope `admin` or `personal` never expire: make them"
            " anew with --expires-in-days.",
        )
