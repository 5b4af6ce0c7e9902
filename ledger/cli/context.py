"""What every command shares: the ledger it is for, and how it prints."""

from __future__ import annotations

import getpass
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import click

from ledger.application import Ledger, ledger_names
from ledger.bootstrap import Installation, installation
from ledger.database import INSTALLATION_SCHEMA
from ledger.database.migrate import pending
from ledger.errors import NotMigrated
from ledger.ids import is_id
from ledger.settings import DEFAULT_LEDGER, Settings, from_process

_AMOUNT = r"-?[\d,]+(?:\.\d+)?%?(?: [A-Z]{3})?"
_NUMBER = re.compile(_AMOUNT).fullmatch
_NUMBER_OR_NONE = re.compile(rf"{_AMOUNT}|–").fullmatch

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
Command = Callable[..., Any]


@dataclass(frozen=True)
class Context:
    """The options given before the command."""

    name: str

    @property
    def settings(self) -> Settings:
        """The settings of this process's environment."""
        return from_process()

    @contextmanager
    def installation(self, *, writes: bool = False) -> Iterator[Installation]:
        """Open the installation for one command; only one that writes brings it up to date.

        Raises NotMigrated to a command that reads what is not there yet.
        """
        with installation(self.settings, migrated=writes) as opened:
            if not writes:
                _require_migrated(opened, {DEFAULT_LEDGER, self.name})
            yield opened

    @contextmanager
    def ledger(self, *, writes: bool = False) -> Iterator[Ledger]:
        """Open the named ledger for one command."""
        with self.installation(writes=writes) as opened:
            yield opened.ledger(self.name)


def _require_migrated(opened: Installation, names: set[str]) -> None:
    # As the owner: where nothing was migrated yet the runtime role does not exist.
    with opened.database.connect_as_owner() as connection:
        missing = pending(connection, INSTALLATION_SCHEMA, "installation")
        if not missing:
            known = ledger_names(opened.database)
            missing = [
                one for name in names & known.keys() for one in pending(connection, known[name])
            ]
    if missing:
        raise NotMigrated(
            "The database is not up to date with this release. `ledger migrate` brings it there; "
            "so does `ledger serve`."
        )


class IdType(click.ParamType[str]):
    """An id, a type or a topic: an address typed by mistake must not reach PostgreSQL's log."""

    name = "id"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the id as it was given."""
        if not is_id(value):
            self.fail("this cannot be an id (letters, digits and `_.:-`).", param, ctx)
        return value


ID = IdType()


def this_user() -> str:
    """Return whom this process runs for; in a container they may have a number only."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def say_json(value: Any) -> None:
    """Print one JSON value."""
    text = json.dumps(value, default=_plain, ensure_ascii=False, indent=2)
    click.echo(text.encode("utf-8", "backslashreplace").decode())


def say_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Print rows under their column names, aligned."""
    cells = [[_cell(row.get(column)) for column in columns] for row in rows]
    widths = [
        max([len(column), *(len(line[index]) for line in cells)])
        for index, column in enumerate(columns)
    ]
    pads = [
        str.rjust if any(map(_NUMBER, found)) and all(map(_NUMBER_OR_NONE, found)) else str.ljust
        for found in ([line[index] for line in cells] for index in range(len(columns)))
    ]
    for line in [list(columns), *cells]:
        padded = (pad(one, width) for pad, one, width in zip(pads, line, widths, strict=True))
        click.echo("  ".join(padded).rstrip())


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, datetime):
        return f"{value:%F %T}"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return str(value)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value)
