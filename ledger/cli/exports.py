"""`ledger export`: the journal for other programs, all of one person, all there is."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import IO, Any

import click

from ledger.accounting.books import Books, open_books
from ledger.accounting.export import (
    accounts_to_fill_in,
    first_day,
    read_accounts,
    write_beancount,
    write_quickbooks,
    write_xero,
)
from ledger.cli.context import ID, Context, json_option, say_json, this_user
from ledger.cli.events import known_at_option
from ledger.cli.progress import Bar
from ledger.errors import RequestInvalid
from ledger.files import json_text, replacing
from ledger.leaving import export_all
from ledger.metrics.question import now_of, period_of
from ledger.moments import moment_of
from ledger.people.reads import note_command
from ledger.subjects.data import as_zip, subject_data


@click.group()
def export() -> None:
    """Write the journal for other programs, all of one person, or everything."""


_OPTIONS = (
    click.option(
        "--from", "start", metavar="PERIOD", help="From its first day on; else from the first."
    ),
    click.option(
        "--to", "end", metavar="PERIOD", help="The last period, included; else up to today."
    ),
    click.option(
        "--accounts",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        help="TOML: which of your accounts stands for each of the ledger's.",
    ),
    click.option("--currency", help="Only this currency (as usd); Xero takes one."),
    known_at_option,
    click.option(
        "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write it there."
    ),
)
_FORMATS = {
    "beancount": "Write the journal for beancount: all of it, with balance assertions.",
    "quickbooks": "Write journal entries by day and currency for QuickBooks.",
    "xero": "Write manual journals of one currency for Xero.",
    "accounts": "Print an account-mapping file to fill in, which quickbooks and xero need.",
}


def _add_format(form: str, what: str) -> None:
    """Add a format of the journal: all take the same options."""

    def write(context: Context, **options: Any) -> None:
        _write_books(context, form, **options)

    command: Any = click.pass_obj(write)
    for option in reversed(_OPTIONS):
        command = option(command)
    export.command(form, help=what)(command)


def _write_books(
    context: Context,
    form: str,
    start: str | None,
    end: str | None,
    accounts: Path | None,
    currency: str | None,
    known_at: str | None,
    output: Path | None,
) -> None:
    if form in ("quickbooks", "xero") and accounts is None:
        raise RequestInvalid(
            f"For {form} --accounts FILE says which of your accounts stands for each of the"
            " ledger's; `ledger export accounts` prints a file to fill in."
        )
    if currency and form in ("beancount", "accounts"):
        raise RequestInvalid(f"{form} is of all currencies: leave --currency away.")
    if form == "beancount" and start:
        raise RequestInvalid("A beancount file begins at the beginning: leave --from away.")
    with context.ledger() as ledger, ledger.pool.connection() as connection:
        now = now_of(ledger, connection)
        books = open_books(connection, moment_of(connection, None, known_at, now))
        first, until = _span(books, start, end, now)
        with _opened(output) as out:
            if form == "beancount":
                count = write_beancount(books, until, out, f"{ledger.name}, from Stripe")
            elif form == "accounts":
                count = 1
                out.write(accounts_to_fill_in(books))
            elif form == "quickbooks":
                assert accounts is not None
                count = write_quickbooks(
                    books, first, until, read_accounts(accounts), currency, out
                )
            else:
                assert accounts is not None
                theirs = read_accounts(accounts)
                count = write_xero(books, first, until, theirs, currency, out)
    if output:
        click.echo(f"{count} {'entries' if form == 'beancount' else 'lines'} written to {output}.")


def _span(books: Books, start: str | None, end: str | None, now: datetime) -> tuple[date, date]:
    tomorrow = now.astimezone(books.zone).date() + timedelta(days=1)
    until = min(period_of(end, "to")[1], tomorrow) if end else tomorrow
    first = period_of(start, "from")[0] if start else (first_day(books) or until)
    if start and first >= until:
        raise RequestInvalid(f"`--from` {first} is not before the end of `--to`, or in the future.")
    return first, until


@contextmanager
def _opened(output: Path | None) -> Iterator[IO[str]]:
    if output is None:
        yield sys.stdout
        return
    with replacing(output) as out:
        yield out


@export.command("customer")
@click.argument("customer", type=ID)
@click.option("--format", "form", type=click.Choice(["json", "zip"]), default="json")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="Write it there.")
@click.pass_obj
def customer_(context: Context, customer: str, form: str, output: Path | None) -> None:
    """Write all that is known of a CUSTOMER: for programs (json), also to be read (zip)."""
    if form == "zip" and output is None:
        raise RequestInvalid("A zip needs a place: --output FILE.zip")
    with context.ledger(writes=True) as ledger:
        with ledger.pool.connection() as connection:
            data = subject_data(ledger, connection, customer)
        note_command(ledger, this_user(), "export customer", [customer])
    if output is None:
        say_json(data)
        return
    with replacing(output, binary=True) as out:
        told = json_text(data, indent=1).encode()
        out.write(as_zip(data) if form == "zip" else told)
    click.echo(f"All that is known of {customer} was written to {output}.")


@export.command("all")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@json_option
@click.pass_obj
def all_(context: Context, folder: Path, as_json: bool) -> None:
    """Write everything there is into a new FOLDER, in open formats, personal data in plain."""
    with context.ledger(writes=True) as ledger:
        with ledger.pool.connection() as connection:
            rows = connection.execute("SELECT id FROM customers").fetchall()
        note_command(ledger, this_user(), "export all", [row[0] for row in rows])
        bar = Bar("events", quiet=as_json)
        counts = export_all(ledger, folder, lambda done, last: bar("Writing", done, last))
        bar.end()
    if as_json:
        say_json(counts)
    else:
        click.echo(f"{counts.get('events.jsonl', 0):,} events and {len(counts) - 1} tables were")
        click.echo(f"written to {folder}. Personal data are in plain: keep it safe.")


for _form, _what in _FORMATS.items():
    _add_format(_form, _what)

COMMANDS = (export,)
