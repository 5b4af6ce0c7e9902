"""The settings of one ledger: the default one reads the environment, others keep theirs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ledger.settings import DEFAULT_LEDGER, Settings, split_secrets

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import psycopg

    from ledger.privacy.master import MasterKey

SETTING_NAMES = (
    "mode", "stripe_account", "webhook_secrets", "public_url", "api_key", "demo_start", "smtp_url",
    "sms_url", "alert_urls", "bounces_url", "openid_url",
)  # fmt: skip


@dataclass(frozen=True)
class LedgerSettings:
    """What is particular to one ledger of an installation."""

    name: str
    mode: str
    stripe_account: str | None
    webhook_secrets: tuple[str, ...]
    public_url: str | None
    api_key: str | None = field(default=None, repr=False)
    api_base: str | None = None
    demo_start: str | None = None
    smtp_url: str | None = field(default=None, repr=False)
    sms_url: str | None = field(default=None, repr=False)
    alert_urls: tuple[str, ...] = field(default=(), repr=False)
    bounces_url: str | None = field(default=None, repr=False)
    openid_url: str | None = field(default=None, repr=False)

    @property
    def is_demo(self) -> bool:
        """Whether what happens here is made up: then nothing may ever be sent to anybody."""
        return self.demo_start is not None


def settings_of(settings: Settings, name: str, own: Mapping[str, str]) -> LedgerSettings:
    """Return the settings of a ledger, given what it keeps itself."""
    if name == DEFAULT_LEDGER:
        return LedgerSettings(
            name,
            settings.mode,
            settings.stripe_account,
            settings.webhook_secrets,
            settings.public_url,
            settings.api_key,
            settings.api_base,
            None,
            settings.smtp_url,
            settings.sms_url,
            settings.alert_urls,
            settings.bounces_url,
            settings.openid_url,
        )
    return LedgerSettings(
        name,
        own.get("mode", "test"),
        own.get("stripe_account") or None,
        split_secrets(own.get("webhook_secrets", "")),
        own.get("public_url") or None,
        own.get("api_key") or None,
        settings.api_base,
        own.get("demo_start") or None,
        own.get("smtp_url") or None,
        own.get("sms_url") or None,
        tuple(own.get("alert_urls", "").split()),
        own.get("bounces_url") or None,
        own.get("openid_url") or None,
    )


def read_settings(
    connection: psycopg.Connection[tuple[Any, ...]],
    master: MasterKey,
    names: Sequence[str] = SETTING_NAMES,
) -> dict[str, str]:
    """Return what a ledger keeps under these names, opened."""
    rows = connection.execute(
        "SELECT key, value FROM settings WHERE key = ANY(%s)", [list(names)]
    ).fetchall()
    return {key: master.open_setting(key, value) for key, value in rows}
