"""`ledger definitions`: which definition sets there are; adding and adopting one."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from ledger.application import Ledger
from ledger.cli.context import Context, json_option, say_json, say_table, this_user
from ledger.completeness import api_of
from ledger.errors import RequestInvalid
from ledger.metrics.definitions import add_definitions, adopt_definitions, changed
from ledger.metrics.telling import told_series
from ledger.projections.definitions import shipped, shipped_names
from ledger.projections.numbers.series import END, adopted_until, series_until


@click.group()
def definitions() -> None:
    """Definition sets: what counts, and how. Several live side by side."""


@definitions.command("list")
@json_option
@click.pass_obj
def list_definitions(context: Context, as_json: bool) -> None:
    """Say which sets have numbers, which one is adopted, and which could be added."""
    with context.ledger() as ledger, ledger.pool.connection() as connection:
        known = series_until(connection, END)
        adopted = adopted_until(connection, END)
    rows = [{**told_series(one), "adopted": one.number == adopted.number} for one in known]
    if as_json:
        say_json(rows)
        return
    say_table(rows, ["name", "version", "hash", "calculation", "zone", "adopted"])
    there = {one.definitions.name for one in known}
    if more := [name for name in shipped_names() if name not in there]:
        click.echo(f"`ledger definitions add NAME` adds {' or '.join(more)}.")


@definitions.command("show")
@click.argument("name")
@click.pass_obj
def show_definitions(context: Context, name: str) -> None:
    """Print every choice of a set."""
    with context.ledger() as ledger, ledger.pool.connection() as connection:
        known = {one.definitions.name: one.definitions for one in series_until(connection, END)}
    say_json(msgspec.to_builtins(known.get(name) or shipped(name)))


@definitions.command("add")
@click.argument("name")
@click.option("--as", "own_name", metavar="NAME", help="The name of a set of your own.")
@click.option(
    "--set", "changes", multiple=True, metavar="CHOICE=VALUE",
    help="Change a choice, as discounts.profile=net or reporting.zone=Asia/Jakarta.",
)  # fmt: skip
@click.option(
    "--from-account",
    is_flag=True,
    help="Take zone and currency from the Stripe account (STRIPE_API_KEY).",
)
@click.option("--calculation", type=click.IntRange(1), help="Of the code; the newest if not told.")
@click.pass_obj
def add(
    context: Context, name: str, own_name: str | None, changes: tuple[str, ...],
    from_account: bool, calculation: int | None,
) -> None:  # fmt: skip
    """Put a set beside those there are: its numbers are made for all of the past."""
    if (changes or from_account) and not own_name:
        raise RequestInvalid("A changed set needs a name of its own: --as NAME.")
    with context.ledger(writes=True) as ledger:
        choices = _of_account(ledger) if from_account else {}
        chosen = changed(shipped(name), {**choices, **dict(map(_choice, changes))}, own_name)
        add_definitions(ledger, chosen, calculation=calculation, actor=this_user())
    click.echo(f"{chosen.name} ({chosen.hash}) is added; its numbers follow when it is projected.")


@definitions.command("adopt")
@click.argument("name")
@click.pass_obj
def adopt(context: Context, name: str) -> None:
    """Let a set's numbers (NAME, or NAME/CALCULATION) be those that are told from now on."""
    with context.ledger(writes=True) as ledger:
        chosen = adopt_definitions(ledger, name, actor=this_user())
    click.echo(
        f"{chosen.label} is adopted. `ledger report restatement --from OLD --to {chosen.label}`"
        " shows the bridge."
    )


def _of_account(ledger: Ledger) -> dict[str, Any]:
    zone, currency = api_of(ledger).reporting()
    told = {"reporting.zone": zone, "reporting.currency": currency}
    return {choice: value for choice, value in told.items() if value is not None}


def _choice(text: str) -> tuple[str, Any]:
    choice, sign, value = text.partition("=")
    if not sign:
        raise RequestInvalid(f"{text!r} is no CHOICE=VALUE.")
    try:
        return choice, msgspec.json.decode(value)
    except msgspec.DecodeError:
        return choice, value


COMMANDS = (definitions,)
