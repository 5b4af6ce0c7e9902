"""`ledger ledgers`: several Stripe accounts or modes in one installation."""

from __future__ import annotations

import sys

import click

from ledger.application import change_settings, keep_mode, ledger_names
from ledger.bootstrap import migrate
from ledger.cli.context import Context, json_option, say_json, say_table
from ledger.errors import SettingsInvalid
from ledger.settings import (
    DEFAULT_LEDGER,
    split_secrets,
    valid_account,
    valid_api_key,
    valid_ledger_name,
)

_mode = click.option("--mode", type=click.Choice(["test", "live"]), help="Which events count.")
_account = click.option("--stripe-account", help="acct_…; others are set aside.")
_secrets = click.option(
    "--webhook-secrets",
    help="whsec_…, comma-separated; `-` asks for it, so that it stays out of the history.",
)
_public_url = click.option("--public-url", help="Under which https address Stripe reaches it.")
_api_key = click.option(
    "--api-key",
    help="A restricted key that may read events, coupons and prices; `-` asks for it, as above.",
)


@click.group()
def ledgers() -> None:
    """The ledgers of this installation: add, list, set."""


@ledgers.command()
@click.argument("name")
@_mode
@_account
@_secrets
@_public_url
@_api_key
@json_option
@click.pass_obj
def add(
    context: Context,
    name: str,
    mode: str | None,
    stripe_account: str | None,
    webhook_secrets: str | None,
    public_url: str | None,
    api_key: str | None,
    as_json: bool,
) -> None:
    """Add a ledger with a schema, keys and secrets of its own."""
    with context.installation(writes=True) as opened:
        if valid_ledger_name(name) in ledger_names(opened.database):
            raise SettingsInvalid(f"There is a ledger {name!r} already; `ledgers set` changes it.")
        migrate(opened.database, name)
        change_settings(
            opened.ledger(name),
            _given(mode or "test", stripe_account, webhook_secrets, public_url, api_key),
        )
    _say(name, "added", as_json)


@ledgers.command("set")
@click.argument("name")
@_mode
@_account
@_secrets
@_public_url
@_api_key
@json_option
@click.pass_obj
def set_(
    context: Context,
    name: str,
    mode: str | None,
    stripe_account: str | None,
    webhook_secrets: str | None,
    public_url: str | None,
    api_key: str | None,
    as_json: bool,
) -> None:
    """Change a ledger's settings; secrets count at once, the rest from the next start on."""
    if name == DEFAULT_LEDGER:
        raise SettingsInvalid(
            "The environment configures the default ledger: set LEDGER_MODE, STRIPE_ACCOUNT, "
            "STRIPE_WEBHOOK_SECRET."
        )
    changes = _given(mode, stripe_account, webhook_secrets, public_url, api_key)
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


def _given(
    mode: str | None,
    account: str | None,
    secrets: str | None,
    public_url: str | None,
    api_key: str | None,
) -> dict[str, str]:
    secrets = _typed(secrets, "Webhook signing secrets")
    api_key = _typed(api_key, "Stripe API key")
    if secrets is not None and not split_secrets(secrets):
        raise SettingsInvalid("--webhook-secrets holds no secret.")
    given = {
        "mode": mode,
        "stripe_account": valid_account(account, "--stripe-account"),
        "webhook_secrets": secrets,
        "public_url": public_url,
        "api_key": api_key and valid_api_key(api_key.strip(), mode, "--api-key"),
    }
    return {key: value for key, value in given.items() if value is not None}


def _typed(given: str | None, what: str) -> str | None:
    """Return what was given, or with `-` what is typed unseen or comes in by a pipe."""
    if given != "-":
        return given
    return click.prompt(what, hide_input=True) if sys.stdin.isatty() else sys.stdin.readline()


def _say(name: str, done: str, as_json: bool) -> None:
    if as_json:
        say_json({"name": name, done: True})
    else:
        click.echo(f"Ledger {name} {done}; its webhook is /webhooks/stripe/{name}.")


COMMANDS = (ledgers,)
