"""`ledger close`, and the reports of the journal."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import click

from ledger.accounting import reports, sales
from ledger.accounting.books import TICK, Books
from ledger.accounting.closing import close as close_month
from ledger.accounting.evidence import write_month
from ledger.cli.context import Context, json_option, say_json, this_user
from ledger.cli.shown import Report
from ledger.files import require_writable
from ledger.metrics.question import Question


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


COMMANDS = (close,)
