"""`ledger ledgers`: several Stripe accounts or modes in one installation."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping

import click

from ledger.application import change_settings, keep_mode, ledger_names
from ledger.bootstrap import migrate
from ledger.cli.context import Context, json_option, say_json, say_table
from ledger.effects.alerts import Alerter
from ledger.effects.mail import SmtpServer
from ledger.effects.sms import TwilioAccount
from ledger.errors import SettingsInvalid
from ledger.settings import (
    DEFAULT_LEDGER,
    split_secrets,
    valid_account,
    valid_api_key,
    valid_ledger_name,
)

_UNSEEN = "`-` asks for it, so that it stays out of the history."
_OPTIONS = (
    click.option("--mode", type=click.Choice(["test", "live"]), help="Which events count."),
    click.option("--stripe-account", help="acct_…; others are set aside."),
    click.option("--webhook-secrets", help=f"whsec_…, comma-separated; {_UNSEEN}"),
    click.option("--public-url", help="Under which https address Stripe reaches it."),
    click.option("--api-key", help=f"A restricted key of Stripe's API; {_UNSEEN}"),
    click.option("--smtp-url", help=f"smtps://user:password@host:465; {_UNSEEN}"),
    click.option("--sms-url", help=f"twilio://SID:TOKEN@+15550006666; {_UNSEEN}"),
    click.option("--bounces-url", help=f"imaps://user:password@host/INBOX; {_UNSEEN}"),
    click.option("--alert-urls", help=f"Addresses of Apprise, by blanks; {_UNSEEN}"),
)


def _settings(command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.group()
def ledgers() -> None:
    """The ledgers of this installation: add, list, set."""


@ledgers.command()
@click.argument("name")
@_settings
@json_option
@click.pass_obj
def add(
    context: Context, /, name: str, as_json: bool, mode: str | None, **given: str | None
) -> None:
    """Add a ledger with a schema, keys and secrets of its own."""
    with context.installation(writes=True) as opened:
        if valid_ledger_name(name) in ledger_names(opened.database):
            raise SettingsInvalid(f"There is a ledger {name!r} already; `ledgers set` changes it.")
        migrate(opened.database, name)
        change_settings(
            opened.ledger(name),
            _given(mode or "test", given),
        )
    _say(name, "added", as_json)


@ledgers.command("set")
@click.argument("name")
@_settings
@json_option
@click.pass_obj
def set_(
    context: Context, /, name: str, as_json: bool, mode: str | None, **given: str | None
) -> None:
    """Change a ledger's settings; secrets count at once, the rest from the next start on."""
    if name == DEFAULT_LEDGER:
        raise SettingsInvalid(
            "The environment configures the default ledger: set LEDGER_MODE, STRIPE_ACCOUNT, "
            "STRIPE_WEBHOOK_SECRET."
        )
    changes = _given(mode, given)
    if not changes:
        raise SettingsInvalid("Nothing to change was given; see `ledger ledgers set --help`.")
    with context.installation(writes=True) as opened:
        if mode is not None:
            keep_mode(opened.ledger(name), mode)
        change_settings(opened.ledger(name), changes)
    _say(name, "changed", as_json)


@ledgers.command("list")
@json_option
@click.pass_obj
def list_(context: Context, as_json: bool) -> None:
    """List the ledgers of this installation."""
    with context.installation() as opened:
        rows = [
            {
                "name": one.name,
                "mode": one.settings.mode,
                "stripe_account": one.settings.stripe_account,
                "webhook_secrets": len(one.settings.webhook_secrets),
                "webhook": "/webhooks/stripe"
                + ("" if one.name == DEFAULT_LEDGER else f"/{one.name}"),
            }
            for one in map(opened.ledger, opened.names())
        ]
    if as_json:
        say_json(rows)
    else:
        say_table(rows, ["name", "mode", "stripe_account", "webhook_secrets", "webhook"])


def _given(mode: str | None, given: Mapping[str, str | None]) -> dict[str, str]:
    """Return the settings that were given, checked; raise SettingsInvalid."""
    typed = {name: _typed(value, name) for name, value in given.items()}
    found = {name: value.strip() for name, value in typed.items() if value is not None}
    if "webhook_secrets" in found and not split_secrets(found["webhook_secrets"]):
        raise SettingsInvalid("--webhook-secrets holds no secret.")
    valid_account(found.get("stripe_account"), "--stripe-account")
    valid_api_key(found.get("api_key"), mode, "--api-key")
    if found.get("smtp_url"):
        SmtpServer.read(found["smtp_url"])
    if found.get("sms_url"):
        TwilioAccount.read(found["sms_url"])
    if found.get("alert_urls"):
        Alerter(found["alert_urls"].split())
    return {**({"mode": mode} if mode else {}), **found}


def _typed(given: str | None, name: str) -> str | None:
    """Return what was given, or with `-` what is typed unseen or comes in by a pipe."""
    if given != "-":
        return given
    return (
        click.prompt(name.replace("_", " "), hide_input=True)
        if sys.stdin.isatty()
        else sys.stdin.readline()
    )


def _say(name: str, done: str, as_json: bool) -> None:
    if as_json:
        say_json({"name": name, done: True})
    else:
        click.echo(f"Ledger {name} {done}; its webhook is /webhooks/stripe/{name}.")


COMMANDS = (ledgers,)
