"""What the environment says, read once by an entry point and then handed down."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ledger.errors import SettingsInvalid

DEFAULT_LEDGER = "default"
LEDGER_NAME = re.compile(r"[a-z][a-z0-9_]{0,30}")


@dataclass(frozen=True)
class Settings:
    """The installation's settings; `from_env` documents each in `VARIABLES`."""

    home: Path
    database_url: str | None = None
    database_owner_url: str | None = None
    database_plain: bool = False
    master_keys: tuple[bytes, ...] = field(default=(), repr=False)
    master_key_file: Path | None = None
    master_key_command: str | None = field(default=None, repr=False)
    mode: str = "test"
    public_url: str | None = None
    bootstrap_token: str | None = field(default=None, repr=False)
    webhook_secrets: tuple[str, ...] = field(default=(), repr=False)
    stripe_account: str | None = None
    api_key: str | None = field(default=None, repr=False)
    api_base: str | None = None
    smtp_url: str | None = field(default=None, repr=False)
    sms_url: str | None = field(default=None, repr=False)
    alert_urls: tuple[str, ...] = field(default=(), repr=False)
    bounces_url: str | None = field(default=None, repr=False)
    openid_url: str | None = field(default=None, repr=False)
    installation: str | None = None
    proxies: int = 0
    backups: str | None = None
    key_backups: str | None = None

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Settings:
        """Read every setting; raise SettingsInvalid naming the variable that cannot be used."""

        def text(name: str) -> str | None:
            return environ.get(name, "").strip() or None

        mode = text("LEDGER_MODE") or "test"
        if mode not in {"test", "live"}:
            raise SettingsInvalid(f"LEDGER_MODE is {mode!r}; it must be `test` or `live`.")
        return cls(
            home=_home(environ),
            database_url=text("LEDGER_DATABASE_URL"),
            database_owner_url=text("LEDGER_DATABASE_OWNER_URL"),
            database_plain=_yes(text("LEDGER_DATABASE_PLAIN"), "LEDGER_DATABASE_PLAIN"),
            **_master_key(text),
            mode=mode,
            public_url=_public_url(text("LEDGER_PUBLIC_URL")),
            bootstrap_token=_bootstrap_token(text("LEDGER_BOOTSTRAP_TOKEN")),
            webhook_secrets=split_secrets(environ.get("STRIPE_WEBHOOK_SECRET", "")),
            stripe_account=valid_account(text("STRIPE_ACCOUNT"), "STRIPE_ACCOUNT"),
            api_key=valid_api_key(text("STRIPE_API_KEY"), mode, "STRIPE_API_KEY"),
            api_base=_api_base(text("STRIPE_API_BASE")),
            smtp_url=text("LEDGER_SMTP_URL"),
            sms_url=text("LEDGER_SMS_URL"),
            alert_urls=tuple(environ.get("LEDGER_ALERT_URLS", "").split()),
            bounces_url=text("LEDGER_BOUNCES_URL"),
            openid_url=text("LEDGER_OPENID_URL"),
            installation=_installation(text("LEDGER_INSTALLATION")),
            proxies=_proxies(text("LEDGER_PROXIES")),
            backups=text("LEDGER_BACKUPS"),
            key_backups=text("LEDGER_KEY_BACKUPS"),
        )


VARIABLES: Mapping[str, str] = {
    "LEDGER_HOME": "where the embedded database and the made master key live",
    "LEDGER_DATABASE_URL": "any PostgreSQL ≥ 15; unset: an embedded server under LEDGER_HOME",
    "LEDGER_DATABASE_OWNER_URL": "the role that migrates, where the first may not create tables",
    "LEDGER_DATABASE_PLAIN": "`yes`: to a database on another machine without TLS, too",
    "LEDGER_MASTER_KEY": "32 bytes in base64 (two by a comma while one replaces another); unset:"
    " made once in LEDGER_HOME/master.key",
    "LEDGER_MASTER_KEY_FILE": "a file that holds the same",
    "LEDGER_MASTER_KEY_COMMAND": "a command that prints the same, e.g. of a secret manager",
    "LEDGER_MODE": "`test` (default) or `live`: events of the other mode are set aside",
    "LEDGER_PUBLIC_URL": "the https address under which Stripe reaches this ledger",
    "LEDGER_BOOTSTRAP_TOKEN": "an API token with all scopes, for automation",
    "STRIPE_WEBHOOK_SECRET": "`whsec_…`, several separated by commas while one is being rolled",
    "STRIPE_ACCOUNT": "`acct_…`: events that bear another account are set aside; unset: any",
    "STRIPE_API_KEY": "a restricted key: what is missing is fetched, what was decided is done",
    "LEDGER_SMTP_URL": "`smtps://user:password@host:465`, or `smtp://…:587` upgraded to TLS",
    "LEDGER_SMS_URL": "`twilio://SID:TOKEN@+15550006666`",
    "LEDGER_ALERT_URLS": "where the team is told of things: addresses of Apprise, by blanks",
    "LEDGER_BOUNCES_URL": "`imaps://user:password@host/INBOX`: the mailbox where bounces arrive",
    "LEDGER_OPENID_URL": "`https://client:secret@issuer.example/path`: people may come in by it",
    "LEDGER_INSTALLATION": "the name of this installation; unset: made once in LEDGER_HOME",
    "LEDGER_BACKUPS": "a folder for a copy each night, `off` for none; unset: LEDGER_HOME/backups"
    " for an embedded server, none for others",
    "LEDGER_KEY_BACKUPS": "another for the keys of these copies; unset: LEDGER_HOME/key-backups",
    "LEDGER_PROXIES": "how many proxies of yours stand before the server and tell who asks"
    " (X-Forwarded-For, -Proto, -Host)",
    "STRIPE_API_BASE": "another address for Stripe's API; for tests with a Stripe of your own",
}


def split_secrets(text: str) -> tuple[str, ...]:
    """Return the comma-separated secrets, stripped of the blanks and newlines of env files."""
    return tuple(secret for part in text.split(",") if (secret := part.strip()))


def valid_ledger_name(name: str) -> str:
    """Return the name, or raise SettingsInvalid saying what a ledger may be called."""
    if not LEDGER_NAME.fullmatch(name):
        raise SettingsInvalid(
            f"A ledger cannot be called {name!r}: use a lower-case letter, then up to 30 "
            "lower-case letters, digits or underscores."
        )
    return name


def _home(environ: Mapping[str, str]) -> Path:
    if configured := environ.get("LEDGER_HOME", "").strip():
        return Path(configured).expanduser().absolute()
    base = environ.get("XDG_DATA_HOME", "").strip()
    user = environ.get("HOME", "").strip()
    if not base and not user:
        raise SettingsInvalid("Neither HOME nor LEDGER_HOME is set; set LEDGER_HOME to a folder.")
    return (Path(base) if base else Path(user) / ".local" / "share").absolute() / "billing-ledger"


def valid_account(text: str | None, where: str) -> str | None:
    """Return the account, or raise SettingsInvalid: with a wrong one all its events are foreign."""
    if text is not None and not re.fullmatch(r"acct_[A-Za-z0-9_]+", text):
        raise SettingsInvalid(f"{where} is {text!r}; a Stripe account looks like acct_1AbC….")
    return text


def valid_api_key(text: str | None, mode: str | None, where: str) -> str | None:
    """Return the key, or raise SettingsInvalid: one of the other mode sees other events."""
    if text is None:
        return None
    if not re.fullmatch(r"(sk|rk)_(test|live)_[A-Za-z0-9]+", text):
        raise SettingsInvalid(f"{where} is no secret key of Stripe's (sk_… or rk_…).")
    if mode is not None and text.split("_")[1] != mode:
        raise SettingsInvalid(
            f"{where} is a key of {text.split('_')[1]} mode, but this ledger is of {mode} mode."
        )
    return text


def _api_base(text: str | None) -> str | None:
    if text is not None and not re.fullmatch(r"https?://[^\s?#]+", text):
        raise SettingsInvalid(f"STRIPE_API_BASE is {text!r}; it must be an http(s) address.")
    return text.rstrip("/") if text else None


def _public_url(text: str | None) -> str | None:
    if text is not None and not re.fullmatch(r"https?://[^\s?#]+", text):
        raise SettingsInvalid(
            f"LEDGER_PUBLIC_URL is {text!r}; it must be an address such as https://billing.example."
        )
    return text.rstrip("/") if text else None


def _installation(text: str | None) -> str | None:
    if text is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{2,63}", text):
        raise SettingsInvalid(
            f"LEDGER_INSTALLATION is {text!r}; it must be 3 to 64 letters, digits, `_`, `.`, `-`."
        )
    return text


def _yes(text: str | None, where: str) -> bool:
    if text not in (None, "yes", "no"):
        raise SettingsInvalid(f"{where} is {text!r}; it must be `yes` or `no`.")
    return text == "yes"


def _proxies(text: str | None) -> int:
    if text is not None and not re.fullmatch(r"[0-9]", text):
        raise SettingsInvalid(f"LEDGER_PROXIES is {text!r}; it must be a number up to 9.")
    return int(text or 0)


def _bootstrap_token(text: str | None) -> str | None:
    if text is not None and text.startswith("lgt_"):
        raise SettingsInvalid(
            "LEDGER_BOOTSTRAP_TOKEN must not begin with `lgt_`: such a token names its ledger. "
            "Choose another, e.g. from `openssl rand -hex 24`."
        )
    return text


def _master_key(text: Callable[[str], str | None]) -> dict[str, Any]:
    """Return where the master key comes from: one place at most."""
    given, file, command = (
        text(f"LEDGER_MASTER_KEY{suffix}") for suffix in ("", "_FILE", "_COMMAND")
    )
    if sum(one is not None for one in (given, file, command)) > 1:
        raise SettingsInvalid(
            "Set one of LEDGER_MASTER_KEY, LEDGER_MASTER_KEY_FILE and LEDGER_MASTER_KEY_COMMAND."
        )
    keys = [decoded_key(one.strip()) for one in given.split(",")] if given else []
    if None in keys:
        raise SettingsInvalid(
            "LEDGER_MASTER_KEY must be 32 bytes in base64, e.g. from `openssl rand -base64 32`."
        )
    return {
        "master_keys": tuple(keys),
        "master_key_file": Path(file).expanduser().absolute() if file else None,
        "master_key_command": command,
    }


def decoded_key(text: bytes | str) -> bytes | None:
    """Return the 32 bytes that a text in base64 stands for, None if it does not."""
    try:
        key = base64.b64decode(text, validate=True)
    except ValueError:
        return None
    return key if len(key) == 32 else None


def from_process() -> Settings:
    """Read the settings from this process's environment."""
    return Settings.from_env(os.environ)
