"""`ledger token`: who may use the API."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import click

from ledger.cli.context import Context, json_option, say_json, say_table, this_user
from ledger.people import tokens
from ledger.people.actors import Actor
from ledger.people.permissions import SCOPES
from ledger.people.programs import Programs


@click.group()
def token() -> None:
    """API tokens: create, list, rotate, revoke."""


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
@click.option("--expires-in-days", type=click.IntRange(1, 3_650), help="Without it, never.")
@json_option
@click.pass_obj
def create(
    context: Context,
    name: str,
    scopes: tuple[str, ...],
    expires_in_days: int | None,
    as_json: bool,
) -> None:
    """Make a token and print it, once."""
    with context.ledger(writes=True) as ledger:
        now = ledger.clock.now()
        expires_at = now + timedelta(days=expires_in_days) if expires_in_days else None
        made, secret = Programs(ledger).create(name, list(scopes), expires_at, actor=this_user())
    _say_secret(made, secret, as_json=as_json, scopes=list(scopes))


@token.command()
@click.argument("token_id")
@json_option
@click.pass_obj
def rotate(context: Context, token_id: str, as_json: bool) -> None:
    """Make a token in another's place; the former works for a day more."""
    with context.ledger(writes=True) as ledger:
        made, secret = Programs(ledger).rotate(token_id, actor=this_user())
    _say_secret(made, secret, as_json=as_json, replaces=token_id)


def _say_secret(made: Actor, secret: str, *, as_json: bool, **told: Any) -> None:
    if as_json:
        say_json({"id": made.id, "name": made.name, **told, "token": secret})
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
        say_table(
            rows, ["id", "name", "scopes", "created_at", "expires_at", "last_used_at", "revoked_at"]
        )


@token.command()
@click.argument("token_id")
@json_option
@click.pass_obj
def revoke(context: Context, token_id: str, as_json: bool) -> None:
    """Make a token useless at once."""
    with context.ledger(writes=True) as ledger:
        Programs(ledger).revoke(token_id, actor=this_user())
    if as_json:
        say_json({"id": token_id, "revoked": True})
    else:
        click.echo(f"{token_id} is revoked.")


COMMANDS = (token,)
