"""`ledger backup` and `ledger restore`: copies, and the way back."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from ledger.application import Ledger
from ledger.cli.context import Context, json_option, say_json, this_user
from ledger.cli.progress import Bar
from ledger.completeness import api_of, compare
from ledger.errors import LedgerError, MasterKeyMissing, RequestInvalid
from ledger.log import Log
from ledger.log.seals import seal, verify
from ledger.people.reads import note_command
from ledger.privacy.key_sources import given_keys, key_file
from ledger.privacy.master import derived
from ledger.privacy.sealed_file import SealedReader
from ledger.projections import PROJECTIONS
from ledger.projections.rebuild import Rebuild
from ledger.recovery.copies import DATA, KEYS, PURPOSE, copies_in, register_of
from ledger.recovery.drill import Folders, back_up, folders_of
from ledger.recovery.restore import (
    begun,
    ended,
    erase_what_is_traced,
    head_of,
    restored_before,
)
from ledger.recovery.restore import restore as restore_copy
from ledger.settings import Settings

_FOLDER = click.Path(path_type=Path, file_okay=False)
_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command()
@click.option("--to", "to", type=_FOLDER, help="The folder for data, if not LEDGER_BACKUPS.")
@click.option("--keys-to", type=_FOLDER, help="That for keys, if not LEDGER_KEY_BACKUPS.")
@click.option("--no-verify", is_flag=True, help="Do not try the copy in a scratch server.")
@json_option
@click.pass_obj
def backup(
    context: Context, to: Path | None, keys_to: Path | None, no_verify: bool, as_json: bool
) -> None:
    """Copy the ledger, sealed under the master key, and try the copy in a scratch server.

    The keys of people lie in a file of their own, in another folder, and are kept for a week: keep
    them on another disk than the data. Copies that are too old are removed.
    """
    bar = Bar("bytes", quiet=as_json)
    with context.ledger(writes=True) as ledger:
        folders = _folders(context.settings, ledger, to, keys_to)
        with ledger.pool.connection() as connection:
            seal(connection)
        copy, removed = back_up(context.settings, ledger, folders, bar, verified=not no_verify)
        bar.end()
        note_command(ledger, this_user(), "backup", [])
    told = {
        "data": str(copy.data),
        "keys": str(copy.keys),
        "made_at": copy.made_at.isoformat(),
        "events": copy.events,
        "bytes": copy.data.stat().st_size,
        "verified": not no_verify,
        "removed": [str(one) for one in removed],
    }
    if as_json:
        say_json(told)
        return
    click.secho(f"{copy.events:,} events were copied to {copy.data}", fg="green")
    click.echo(f"Their keys are in {copy.keys}: keep them on another disk.")
    click.echo("Not tried." if no_verify else "Restored into a scratch server and verified.")
    for one in removed:
        click.echo(f"Removed (one a day is kept, later one a week and a month): {one}")


def _folders(settings: Settings, ledger: Ledger, to: Path | None, keys_to: Path | None) -> Folders:
    usual = folders_of(settings, embedded=ledger.database.is_embedded)
    data = to or (usual.data if usual else None)
    keys = keys_to or (usual.keys if usual else None)
    if data is None or keys is None:
        raise RequestInvalid(
            "Say where: --to FOLDER and --keys-to FOLDER, or LEDGER_BACKUPS and LEDGER_KEY_BACKUPS."
        )
    return Folders(data, keys)


@click.command()
@click.argument("data", type=_FILE)
@click.option("--keys", type=_FILE, help="The file of keys; the newest there is, if not said.")
@click.option("--keys-from", type=_FOLDER, help="Where keys and the list of the erased lie.")
@click.option("--without-keys", is_flag=True, help="Bring back everything but what is personal.")
@click.option("--offline", is_flag=True, help="Do not ask Stripe what came since.")
@json_option
@click.pass_obj
def restore(
    context: Context,
    data: Path,
    keys: Path | None,
    keys_from: Path | None,
    without_keys: bool,
    offline: bool,
    as_json: bool,
) -> None:
    """Bring a copy (a .data file) back into an empty ledger.

    It needs the master key that the copy was made under. Who was erased since stays erased. Views
    are made again, the seals verified, and what came since is fetched from Stripe (30 days).
    Sending belongs to nobody afterwards: `ledger effects claim`.
    """
    bar = Bar("events", quiet=as_json)
    _require_key(context.settings, data)
    with context.installation(writes=True) as opened:
        ledger = opened.ledger(context.name)
        keys, registers = _keys_of(context.settings, ledger, data, keys, keys_from)
        if keys is None and not without_keys:
            raise RequestInvalid(
                "There is no file of keys: name it with --keys, or say --without-keys; then"
                " nothing personal can be read until Stripe tells it again."
            )
        if keys is not None and not without_keys and not any(one.exists() for one in registers):
            raise RequestInvalid(
                "There is no list of the erased beside the keys (NAME.erased): --keys-from says"
                " where it lies. Without it whoever was erased since would come back."
            )
        head = head_of(ledger, data)
        if begun(ledger) == head["salt"]:
            click.echo("It was begun before and cut off: going on.", err=True)
            found = restored_before(ledger, head)
        else:
            found = restore_copy(ledger, data, None if without_keys else keys, registers, bar)
        ledger.close()
        opened.forget(context.name)
        ledger = opened.ledger(context.name)  # with the settings that came back
        for projection in PROJECTIONS:
            Rebuild(context.settings, ledger, projection).run(bar)
        traced = erase_what_is_traced(ledger)
        caught_up = None if offline else _catch_up(ledger, bar)
        with ledger.pool.connection() as connection:
            seal(connection)
            proven = verify(connection, (), lambda done, total: bar("Verifying", done, total))
            last = Log(connection).last_position()
        ended(ledger)
        bar.end()
        note_command(ledger, this_user(), "restore", [])
    told = {
        **asdict(found),
        "traced": traced,
        "caught_up": caught_up,
        "position": last,
        "clean": proven.is_clean,
    }
    say_json(told) if as_json else _tell(told)
    if not proven.is_clean:
        raise click.exceptions.Exit(1)


def _require_key(settings: Settings, data: Path) -> None:
    """Raise before anything is made if there is no master key, or another than the copy's."""
    known = given_keys(settings, embedded=settings.database_url is None)
    if not known:
        raise MasterKeyMissing(
            "Give the master key that the copy was made under: LEDGER_MASTER_KEY, or"
            f" {key_file(settings)}. Nothing was made."
        )
    with data.open("rb") as source:
        SealedReader(source, [derived(one, PURPOSE) for one in known], str(data))


def _keys_of(
    settings: Settings, ledger: Ledger, data: Path, keys: Path | None, keys_from: Path | None
) -> tuple[Path | None, list[Path]]:
    """Return the file of keys and the lists of who is erased: all that can be found."""
    usual = folders_of(settings, embedded=ledger.database.is_embedded)
    folders = [one for one in (keys_from, keys and keys.parent, usual and usual.keys) if one]
    named = data.name.removesuffix(DATA).rpartition("-")[0] or ledger.name
    if keys is None:
        found = [copies_in(folder, named, KEYS) for folder in folders]
        keys = max((one for several in found for one in several), default=(None, None))[1]
    registers = {register_of(folder, named) for folder in [*folders, data.parent]}
    return keys, sorted(registers)


def _catch_up(ledger: Ledger, bar: Bar) -> int | str:
    """Fetch what came since; return how many events, or why that cannot be done now."""
    if ledger.settings.api_key is None:
        return "STRIPE_API_KEY is not set"
    try:
        return len(compare(ledger, api_of(ledger), progress=bar).filled)
    except LedgerError as error:
        return str(error)


def _tell(told: dict[str, Any]) -> None:
    click.secho(
        f"{told['events']:,} events of {told['made_at']} are back, with the keys of"
        f" {told['keys']:,} people and objects.",
        fg="green",
    )
    if told["erased"] or told["traced"]:
        click.echo(f"{told['erased'] + told['traced']:,} stay erased.")
    if told["keyless"]:
        click.secho(
            f"! Of {told['keyless']:,} people and objects there is no key: what is personal of them"
            " cannot be read until Stripe tells it again.",
            fg="yellow",
        )
    if isinstance(told["caught_up"], str):
        click.secho(f"! What came since was not fetched: {told['caught_up']}", fg="yellow")
        click.echo("  `ledger reconcile` fetches it.")
    elif told["caught_up"] is not None:
        click.echo(f"{told['caught_up']:,} events that came since were fetched from Stripe.")
    if told["clean"]:
        click.secho("The seals are those that were: nothing was changed.", fg="green")
    else:
        click.secho("! The seals do not fit: `ledger verify` says where.", fg="red")
    click.echo(
        "People and tokens are as they were when the copy was made: `ledger user list` and `ledger"
        " token list` show whom to shut out again."
    )
    click.echo("Nothing is sent until `ledger effects claim` says that this installation may.")


COMMANDS = (backup, restore)
