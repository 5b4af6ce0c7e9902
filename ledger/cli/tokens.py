"""`ledger token`: who may use the API."""

from __future__ import annotations

import click

from ledger.cli.context import Context, json_option, say_json, say_table
from ledger.people import tokens
from ledger.people.permissions import SCOPES


@click.group()
def token() -> None:
    """API tokens: create, list, revoke."""


@token.command()
@click.option("--name", required=True, help="What or who will use it.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    default=["read"],
    show_default=True,
    type=click.Choice(list(SCOPES)),
    help="May be given several times; `personal` shows names, addresses, e-mails.",
)
@json_option
@click.pass_obj
def create(context: Context, name: str, scopes: tuple[str, ...], as_json: bool) -> None:
    """Make a token and print it, once."""
    with context.ledger(writes=True) as ledger, ledger.pool.connection() as connection:
        made, secret = tokens.create(connection, ledger.name, name, list(scopes))
    if as_json:
        say_json({"id": made.id, "name": name, "scopes": list(scopes), "token": secret})
    else:
        click.echo(secret)
        click.echo("Shown this once: the ledger keeps only its hash.", err=True)


@token.command("list")
@json_option
@click.pass_obj
def list_(context: Context, as_json: bool) -> None:
    """List tokens."""
    with context.ledger() as ledger, ledger.pool.connection() as connection:
        rows = tokens.listed(connection)
    if as_json:
        say_json(rows)
    else:
        say_table(rows, ["id", "name", "scopes", "created_at", "revoked_at"])


@token.command()
@click.argument("token_id")
@json_option
@click.pass_obj
def revoke(context: Context, token_id: str, as_json: bool) -> None:
    """Make a token useless at once."""
    with context.ledger(writes=True) as ledger, ledger.pool.connection() as connection:
        tokens.revoke(connection, token_id)
    if as_json:
        say_json({"id": token_id, "revoked": True})
    else:
        click.echo(f"{token_id} is revoked.")


COMMANDS = (token,)
