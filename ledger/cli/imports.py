"""`ledger import`: facts from elsewhere, recorded as events."""

from __future__ import annotations

from pathlib import Path

import click

from ledger.cli.context import Context, this_user
from ledger.metrics.exchange import import_rates


@click.group("import")
def import_() -> None:
    """Take facts in from files, as events."""


@import_.command("rates")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--by", "actor", metavar="NAME", help="Who says so, if not this system's user.")
@click.pass_obj
def rates(context: Context, file: Path, actor: str | None) -> None:
    """Import exchange rates from a CSV FILE: date,from,to,rate.

    One unit of `from` is worth `rate` units of `to` on that day. Of several imports for a day the
    last one counts; numbers as known before it stay as they were.
    """
    with context.ledger(writes=True) as ledger:
        count, is_new = import_rates(ledger, file, actor=actor or this_user())
    click.echo(f"{count} rates imported." if is_new else "These rates are in the log already.")


COMMANDS = (import_,)
