"""`ledger keys`: the master key, without which nothing personal can be read."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import click

from ledger.application import ledger_names
from ledger.cli.context import Context, json_option, say_json, this_user
from ledger.cli.progress import Bar
from ledger.database import Database
from ledger.errors import MasterKeyMissing, RequestInvalid
from ledger.people.reads import note_command
from ledger.privacy.key_sources import (
    confirm_saved,
    given_keys,
    has_own_source,
    is_confirmed_saved,
    key_file,
    unconfirm_saved,
    write_keys,
)
from ledger.privacy.master import load_master_key
from ledger.privacy.rotation import Rotated, rotate
from ledger.projections.generations import Generation, on_path
from ledger.recovery.copies import back_up_keys
from ledger.recovery.drill import folders_of
from ledger.settings import Settings


@click.group()
def keys() -> None:
    """The master key of this installation."""


@keys.command()
@json_option
@click.pass_obj
def confirm(context: Context, as_json: bool) -> None:
    """Say that a copy of the master key is in a safe place; ends the reminder."""
    settings = context.settings
    if not has_own_source(settings) and not key_file(settings).exists():
        raise MasterKeyMissing(
            f"There is no key at {key_file(settings)} yet; the first `ledger serve` makes it."
        )
    if not has_own_source(settings):
        confirm_saved(settings)
    if as_json:
        say_json({"confirmed": True})
    else:
        click.echo("Noted. Keep that copy: without it nothing personal can ever be read again.")


@keys.command("rotate")
@click.option("--end-links", is_flag=True, help="Links in mails already sent work no longer.")
@json_option
@click.pass_obj
def rotate_(context: Context, end_links: bool, as_json: bool) -> None:
    """Put another master key in the place of the present one; events stay as they are.

    A key in LEDGER_HOME: stop the server and the workers first; another one is made. A key of your
    own: make one (`openssl rand -base64 32`), put it before the present one (NEW,PRESENT), restart
    everything, run this, take the former one away, restart. Use --end-links if somebody may have
    the former key. Backups made before need the former key: keep it as long as those.
    """
    settings = context.settings
    with context.installation(writes=True) as opened:
        database = opened.database
        made = not has_own_source(settings)
        if made:
            _require_alone(database)
        known = given_keys(settings, embedded=database.is_embedded)
        if len(known) < 2:
            if not made:
                raise RequestInvalid(
                    "Only one master key is given. Make another, put it before the present one"
                    " (NEW,PRESENT), restart everything, and run this again."
                )
            if not is_confirmed_saved(settings):
                raise RequestInvalid(
                    f"Copies made until now need the present key: copy {key_file(settings)} to a"
                    " safe place first, then `ledger keys confirm`, then this again."
                )
            known = [os.urandom(32), *known]
            write_keys(key_file(settings), known)
            unconfirm_saved(settings)
        bar = Bar("subjects", quiet=as_json)
        done = _rotate_all(settings, database, bar, end_links=end_links)
        bar.end()
        if made:
            write_keys(key_file(settings), known[:1])
        for name in ledger_names(database):
            note_command(opened.ledger(name), this_user(), "keys rotate", [])
    if as_json:
        say_json({"subjects": done.subjects, "settings": done.settings, "made": made})
        return
    click.secho(f"{done.subjects:,} keys of people are under the new master key.", fg="green")
    if made:
        click.echo(f"Copy {key_file(settings)} to a safe place, then `ledger keys confirm`.")
    else:
        click.echo("Was everything restarted with both keys before? Run it again until it says 0.")
        click.echo("Then take the former key away and restart everything.")
    click.echo("Make a backup now; older ones need the former key.")


@keys.command()
@click.option("--to", "to", type=click.Path(path_type=Path, file_okay=False), help="The folder.")
@json_option
@click.pass_obj
def backup(context: Context, to: Path | None, as_json: bool) -> None:
    """Copy the keys of people, sealed under the master key, apart from any data.

    `ledger backup` does it too, each night. Keep such files for days only: of whoever is erased
    nothing may be left when a month is over. It is not the master key, which is in no copy.
    """
    bar = Bar("bytes", quiet=as_json)
    with context.ledger(writes=True) as ledger:
        usual = folders_of(context.settings, embedded=ledger.database.is_embedded)
        folder = to or (usual.keys if usual else None)
        if folder is None:
            raise RequestInvalid(
                "Say where: --to FOLDER, or LEDGER_BACKUPS and LEDGER_KEY_BACKUPS."
            )
        file = back_up_keys(ledger, folder, bar)
        bar.end()
        note_command(ledger, this_user(), "keys backup", [])
    if as_json:
        say_json({"keys": str(file)})
    else:
        click.echo(f"The keys are in {file}.")


def _require_alone(database: Database) -> None:
    """Raise RequestInvalid while a server or worker runs that knows only the present key."""
    with database.connect_as_owner() as owner:
        row = owner.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
            " AND pid <> pg_backend_pid()"
        ).fetchone()
    if row is not None and row[0]:
        raise RequestInvalid("Stop `ledger serve` and every worker first: they hold this key.")


def _rotate_all(settings: Settings, database: Database, bar: Bar, *, end_links: bool) -> Rotated:
    subjects = changed = 0
    with database.connect_as_owner() as owner:
        for name, schema in ledger_names(database).items():
            with database.connect(schema) as connection:
                master = load_master_key(settings, connection, embedded=database.is_embedded)
            with owner.transaction():
                on_path(owner, Generation(schema, schema))
                show = partial(bar, f"Ledger {name}")
                done = rotate(owner, master, ends_links=end_links, progress=show)
            subjects, changed = subjects + done.subjects, changed + done.settings
    return Rotated(subjects, changed)


COMMANDS = (keys,)
