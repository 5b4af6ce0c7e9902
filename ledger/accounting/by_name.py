"""The reports of the journal by the names under which they are asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from ledger.accounting import reports, sales
from ledger.accounting.books import TICK, Books, open_books
from ledger.errors import RequestInvalid
from ledger.metrics.question import Question
from ledger.metrics.tables import Report
from ledger.moments import Moment
from ledger.projections.projection import Connection


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


def book_report(connection: Connection, asked: Question, name: str) -> Report:
    """Return a report of the journal, of one currency if one is named; raise RequestInvalid."""
    asked.require_filters(name, {"currency"})
    if asked.convert_to:
        raise RequestInvalid(f"`{name}` is told per currency: `convert_to` cannot be asked.")
    made = BOOK_REPORTS[name](open_books(connection, Moment(known_at=asked.position)), asked)
    wanted = asked.filters.get("currency")
    return replace(made, rows=[row for row in made.rows if wanted in (None, row["currency"])])
