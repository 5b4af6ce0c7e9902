"""`ledger user`: which people may come in, and as what."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from ledger.cli.context import Context, json_option, say_json, say_table, this_user
from ledger.invitations import address_of
from ledger.people.accounts import Person
from ledger.people.permissions import EXPIRING_ROLES, ROLES
from ledger.people.users import INVITED_HOURS, People

_ROLE = click.Choice(list(ROLES))
_UNTIL = click.option(
    "--until",
    type=click.DateTime(["%Y-%m-%d"]),
    help=f"The day on which their stay ends ({', '.join(EXPIRING_ROLES)}: needed).",
)


@click.group()
def user() -> None:
    """People: let in, give a role, shut out."""


@user.command()
@click.argument("email")
@click.option("--name", default="", help="What they are called; without it their address.")
@click.option("--role", type=_ROLE, default="viewer", show_default=True)
@_UNTIL
@json_option
@click.pass_obj
def add(
    context: Context, email: str, name: str, role: str, until: datetime | None, as_json: bool
) -> None:
    """Let a person in, and print the link with which they set a password."""
    with context.ledger(writes=True) as ledger:
        people, actor = People(ledger), this_user()
        person = people.add(email, name or email, role, actor=actor, expires_at=_utc(until))
        link = address_of(ledger, people.invite(person.id, actor=actor))
    _say_link(person, link, as_json=as_json)


@user.command()
@click.argument("who")
@json_option
@click.pass_obj
def invite(context: Context, who: str, as_json: bool) -> None:
    """Print another link with which a person sets a password."""
    with context.ledger(writes=True) as ledger:
        people = People(ledger)
        person = people.one(who)
        link = address_of(ledger, people.invite(person.id, actor=this_user()))
    _say_link(person, link, as_json=as_json)


@user.command("list")
@json_option
@click.pass_obj
def list_(context: Context, as_json: bool) -> None:
    """List people."""
    with context.ledger() as ledger:
        now = ledger.clock.now()
        rows = [_told(one, now) for one in People(ledger).listed()]
    if as_json:
        say_json(rows)
    else:
        say_table(rows, ["id", "email", "role", "state", "second_factor", "expires_at"])


@user.command()
@click.argument("who")
@click.argument("role", type=_ROLE)
@_UNTIL
@json_option
@click.pass_obj
def role(context: Context, who: str, role: str, until: datetime | None, as_json: bool) -> None:
    """Give a person (by id or address) another role; their sessions end."""
    with context.ledger(writes=True) as ledger:
        person = People(ledger).change_role(who, role, actor=this_user(), expires_at=_utc(until))
        _say(person, f"{person.email} is {person.role} from now on.", ledger.clock.now(), as_json)


@user.command()
@click.argument("who")
@json_option
@click.pass_obj
def disable(context: Context, who: str, as_json: bool) -> None:
    """Shut a person out at once."""
    with context.ledger(writes=True) as ledger:
        person = People(ledger).disable(who, actor=this_user())
        _say(person, f"{person.email} is shut out.", ledger.clock.now(), as_json)


@user.command()
@click.argument("who")
@json_option
@click.pass_obj
def enable(context: Context, who: str, as_json: bool) -> None:
    """Let a person in again who was shut out."""
    with context.ledger(writes=True) as ledger:
        person = People(ledger).enable(who, actor=this_user())
        _say(person, f"{person.email} may come in again.", ledger.clock.now(), as_json)


@user.command("reset-2fa")
@click.argument("who")
@json_option
@click.pass_obj
def reset_second_factor(context: Context, who: str, as_json: bool) -> None:
    """Take a person's second factor away: they set it up anew when they come."""
    with context.ledger(writes=True) as ledger:
        person = People(ledger).reset_second_factor(who, actor=this_user())
        _say(person, f"{person.email} sets up a new one next.", ledger.clock.now(), as_json)


def _utc(day: datetime | None) -> datetime | None:
    return day.replace(tzinfo=UTC) if day else None


def _told(person: Person, now: datetime) -> dict[str, Any]:
    is_locked = person.locked_until is not None and person.locked_until > now
    state = (
        "disabled"
        if person.disabled_at
        else "expired"
        if not person.may_come(now)
        else "locked"
        if is_locked
        else "active"
        if person.has_password
        else "invited"
    )
    return {
        "id": person.id,
        "email": person.email,
        "name": person.name,
        "role": person.role,
        "state": state,
        "second_factor": person.has_second_factor,
        "expires_at": person.expires_at,
    }


def _say(person: Person, sentence: str, now: datetime, as_json: bool) -> None:
    if as_json:
        say_json(_told(person, now))
    else:
        click.echo(sentence)


def _say_link(person: Person, link: str, *, as_json: bool) -> None:
    if as_json:
        say_json({"id": person.id, "email": person.email, "role": person.role, "link": link})
        return
    click.echo(link)
    click.echo(
        f"For {person.email} ({person.role}): works once, within {INVITED_HOURS} hours.", err=True
    )


COMMANDS = (user,)
