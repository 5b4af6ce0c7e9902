"""`ledger keys`: the master key, without which nothing personal can be read."""

from __future__ import annotations

import click

from ledger.cli.context import Context, json_option, say_json
from ledger.errors import MasterKeyMissing
from ledger.privacy.master import confirm_saved, key_file


@click.group()
def keys() -> None:
    """The master key of this installation."""


@keys.command()
@json_option
@click.pass_obj
def confirm(context: Context, as_json: bool) -> None:
    """Say that a copy of the master key is in a safe place; ends the reminder."""
    settings = context.settings
    if settings.master_key is None and not key_file(settings).exists():
        raise MasterKeyMissing(
            f"There is no key at {key_file(settings)} yet; the first `ledger serve` makes it."
        )
    if settings.master_key is None:
        confirm_saved(settings)
    if as_json:
        say_json({"confirmed": True})
    else:
        click.echo("Noted. Keep that copy: without it nothing personal can ever be read again.")


COMMANDS = (keys,)
