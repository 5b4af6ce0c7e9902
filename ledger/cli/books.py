"""`ledger close` and `ledger export`, and the reports of the journal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import IO

import click

from ledger.accounting import reports, sales
from ledger.accounting.books import TICK, Books, open_books
from ledger.accounting.closing import close as close_month
from ledger.accounting.evidence import write_month
from ledger.accounting.export import (
    accounts_to_fill_in,
    first_day,
    read_accounts,
    write_beancount,
    write_quickbooks,
    write_xero,
)
from ledger.cli.context import Context, json_option, say_json, this_user
from ledger.cli.events import known_at_option
from ledger.cli.shown import Report
from ledger.errors import RequestInvalid
from ledger.files import replacing, require_writable
from ledger.metrics.question import Question, now_of, period_of
from ledger.moments import moment_of


def _until(books: Books, asked: Question) -> datetime:
    """Return before which instant the books are asked: the end of the last period, or now."""
    return min(books.begins(asked.periods[-1].end), asked.until + TICK)


def _trial_balance(books: Books, asked: Question) -> Report:
    columns = ("account", "currency", "debit", "credit")
    rows = reports.trial_balance(books, _until(books, asked))
    return Report(rows, columns, ("debit", "credit", "balance"))


def _deferred(books: Books, asked: Question) -> Report:
    amounts = ("start", "invoiced", "taken_back", "earned", "end")
    rows = reports.deferred_revenue(books, asked.periods, _until(books, asked))
    return Report(rows, ("period", "currency", *amounts), amounts)


def _earned(books: Books, asked: Question) -> Report:
    columns = ("period", "product", "price", "currency", "earned")
    return Report(reports.earned(books, asked.periods, _until(books, asked)), columns, ("earned",))


def _ageing(books: Books, asked: Question) -> Report:
    columns = ("currency", *reports.AGES, "total")
    return Report(reports.ageing(books, _until(books, asked)), columns, columns)


def _open_invoices(books: Books, asked: Question) -> Report:
    columns = ("invoice", "customer", "currency", "due", "overdue_days", "owed")
    return Report(reports.open_invoices(books, _until(books, asked)), columns, ("owed",))


def _tax(books: Books, asked: Question) -> Report:
    told = ("name", "country", "state", "jurisdiction", "percentage")
    rows = reports.tax(books, asked.periods, _until(books, asked))
    return Report(rows, ("period", "rate", *told, "currency", "tax"), ("tax",))


def _cash(books: Books, asked: Question) -> Report:
    amounts = ("captured", "paid_outside", "refunded", "disputed", "fees", "to_bank", "net")
    return Report(
        sales.cash(books, asked.periods, _until(books, asked)),
        ("period", "currency", *amounts),
        amounts,
    )


def _best_selling(books: Books, asked: Question) -> Report:
    rows = sales.best_selling(books, asked.periods[0].start, asked.periods[-1].end)
    columns = ("product", "name", "currency", "customers", "invoices", "sold", "share")
    return Report(rows, columns, ("sold",))


def _loyal(books: Books, asked: Question) -> Report:
    rows = sales.loyal_customers(
        books, _until(books, asked), asked.series.number, asked.filters.get("currency")
    )
    columns = ("customer", "currency", "since", "months", "invoices", "paid", "mrr")
    return Report(rows, columns, ("paid", "mrr"))


def _cohort_cash(books: Books, asked: Question) -> Report:
    first, last = asked.periods[0].start, asked.periods[-1].end
    rows = sales.cohort_cash(books, first, last, _until(books, asked), asked.series.number)
    amounts = ("cash", "total", "per_customer")
    return Report(rows, ("cohort", "currency", "size", "month", *amounts), amounts)


def _late(books: Books, asked: Question) -> Report:
    rows = reports.late(books, asked.periods[0].start, asked.periods[-1].end)
    columns = ("period", "position", "recorded_at", "valid_at", "source", "reason", "account",
               "currency", "amount")  # fmt: skip
    return Report(rows, columns, ("amount",))


BOOK_REPORTS: dict[str, Callable[[Books, Question], Report]] = {
    "trial_balance": _trial_balance,
    "deferred_revenue": _deferred,
    "earned": _earned,
    "receivables": _ageing,
    "open_invoices": _open_invoices,
    "tax": _tax,
    "cash": _cash,
    "best_selling": _best_selling,
    "loyal_customers": _loyal,
    "cohort_cash": _cohort_cash,
    "late": _late,
}


@click.command()
@click.argument("month", metavar="MONTH")
@click.option("--evidence", type=click.Path(path_type=Path, dir_okay=False), help="Write it there.")
@click.option("--by", "actor", metavar="NAME", help="Who closes it, if not this system's user.")
@json_option
@click.pass_obj
def close(
    context: Context, month: str, evidence: Path | None, actor: str | None, as_json: bool
) -> None:
    """Close a MONTH (as 2026-10): record its balances and metrics as an event.

    What is learnt of it later is booked after its end and listed by `ledger report late`. With
    --evidence FILE.zip an outsider can verify the month offline: `python3 FILE.zip`. A month that
    is closed already stays as it is.
    """
    if evidence:
        require_writable(evidence)
    with context.ledger(writes=True) as ledger:
        closing, is_new = close_month(ledger, month, actor=actor or this_user())
        events = write_month(ledger, closing.data, closing.position, evidence) if evidence else None
    if as_json:
        say_json({"position": closing.position, "closed_now": is_new, **closing.data})
        return
    if is_new:
        click.secho(f"{month} is closed, as known at {closing.closed_until}.", fg="green")
    else:
        click.echo(f"{month} was closed already, as known at {closing.closed_until}.")
    if evidence:
        click.echo(
            f"{events} events prove it in {evidence}: `python3 {evidence}` checks them anywhere."
        )


FORMATS = ("beancount", "quickbooks", "xero", "accounts")


@click.command()
@click.argument("form", metavar="FORMAT", type=click.Choice(FORMATS))
@click.option(
    "--from", "start", metavar="PERIOD", help="From its first day on; else from the first."
)
@click.option("--to", "end", metavar="PERIOD", help="The last period, included; else up to today.")
@click.option(
    "--accounts",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="TOML: which of your accounts stands for each of the ledger's.",
)
@click.option("--currency", help="Only this currency (as usd); Xero takes one.")
@known_at_option
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="Write it there.")
@click.pass_obj
def export(
    context: Context,
    form: str,
    start: str | None,
    end: str | None,
    accounts: Path | None,
    currency: str | None,
    known_at: str | None,
    output: Path | None,
) -> None:
    """Write the journal for another program: beancount (all of it), quickbooks or xero (by day).

    `accounts` prints an account-mapping file to fill in, which quickbooks and xero need.
    """
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


COMMANDS = (close, export)
