"""The journal for other programs: beancount, QuickBooks Online, Xero."""

from __future__ import annotations

import csv
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import groupby
from pathlib import Path
from typing import IO, Any

from ledger.accounting.books import Books
from ledger.errors import RequestInvalid
from ledger.metrics.tables import guarded
from ledger.money import decimals
from ledger.periods import next_of
from ledger.projections.journal.accounts import Account, name_of

_ENTRIES = """
SELECT booked_at, position, source, valid_at, currency, reason, customer_id, account,
    amount_minor
FROM journal_entries
WHERE booked_at >= %(start)s AND booked_at < %(end)s AND position <= %(position)s
ORDER BY booked_at, position, source, valid_at, currency, account
"""
_FIRST = "SELECT min(booked_at) FROM journal_entries WHERE position <= %(position)s"
_USED = "SELECT DISTINCT account FROM journal_entries WHERE position <= %(position)s"
FETCH = 5_000


@dataclass(frozen=True, slots=True)
class Transaction:
    """Postings of one day that belong together: (account, minor units), adding up to 0."""

    day: date
    reason: str
    currency: str
    postings: Sequence[tuple[str, int]]
    source: str | None = None
    position: int | None = None
    customer: str | None = None


def first_day(books: Books) -> date | None:
    """Return the day of the first booking, None if there is none."""
    ((first,),) = books.rows(_FIRST)
    return first.astimezone(books.zone).date() if first else None


def transactions(books: Books, start: date, end: date) -> Iterator[Transaction]:
    """Yield everything booked from a day until before another, in the order of days.

    What is earned stands on the last day of each month, or of the span.
    """
    edge = start
    while edge < end:
        following = min(next_of(edge, "month"), end)
        yield from _entered(books, books.begins(edge), books.begins(following))
        yield from _earned(books, edge, following)
        edge = following


def _entered(books: Books, start: datetime, end: datetime) -> Iterator[Transaction]:
    bounds = {"start": start, "end": end, "position": books.position}
    with books.connection.transaction(), books.connection.cursor("entries") as cursor:
        cursor.itersize = FETCH
        cursor.execute(_ENTRIES.encode(), bounds)
        for (booked, position, source, _, currency), rows in groupby(cursor, lambda row: row[:5]):
            found = list(rows)
            yield Transaction(
                booked.astimezone(books.zone).date(),
                found[0][5],
                currency,
                [(row[7], int(row[8])) for row in found],
                source,
                position,
                found[0][6],
            )


def _earned(books: Books, start: date, end: date) -> Iterator[Transaction]:
    before = books.earned(books.begins(start))
    for currency, amount in sorted(books.earned(books.begins(end)).items()):
        if change := amount - before.get(currency, 0):
            postings = [(Account.DEFERRED_REVENUE, change), (Account.REVENUE, -change)]
            yield Transaction(end - timedelta(days=1), "earned", currency, postings)


def write_beancount(books: Books, until: date, out: IO[str], title: str) -> int:
    """Write all that was booked until before a day as a beancount file; return how many entries.

    It ends with balance assertions, which `bean-check` proves.
    https://beancount.github.io/docs/beancount_language_syntax.html
    """
    start = first_day(books)
    out.write(f'option "title" "{_quoted(title)}"\n')
    if start is None or start >= until:
        return 0
    balances = books.balances(books.begins(until))
    currencies = sorted({currency.upper() for _, currency in balances})
    out.writelines(f'option "operating_currency" "{currency}"\n' for currency in currencies)
    written = 0
    opened: set[str] = set()
    body: list[str] = []
    for one in transactions(books, start, until):
        for account in (name_of(account) for account, _ in one.postings):
            if account not in opened:
                opened.add(account)
                out.write(f"{start} open {account}\n")
        body.append(_as_beancount(one))
        written += 1
        if len(body) >= FETCH:
            out.writelines(body)
            body.clear()
    out.writelines(body)
    out.write("\n")
    for (account, currency), amount in balances.items():
        told = f"{number(amount, currency)} ~ 0 {currency.upper()}"  # to the unit
        out.write(f"{until} balance {name_of(account)}  {told}\n")
    return written


def _as_beancount(one: Transaction) -> str:
    lines = [f'\n{one.day} * "{_quoted(one.reason)}"\n']
    for key, value in (("source", one.source), ("customer", one.customer)):
        if value is not None:
            lines.append(f'  {key}: "{_quoted(value)}"\n')
    if one.position is not None:
        lines.append(f"  position: {one.position}\n")
    lines += (
        f"  {name_of(account)}  {number(amount, one.currency)} {one.currency.upper()}\n"
        for account, amount in one.postings
    )
    return "".join(lines)


def number(amount_minor: int, currency: str) -> Decimal:
    """Return an amount in major units, exactly."""
    return Decimal(amount_minor).scaleb(-decimals(currency))


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


# ----- for bookkeeping programs


def read_accounts(file: Path) -> dict[str, str]:
    """Return which account of theirs stands for each of ours; raise RequestInvalid for nonsense.

    The file is TOML with one table, `[accounts]`: our account's name = theirs.
    """
    try:
        found = tomllib.loads(file.read_text(encoding="utf-8")).get("accounts")
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RequestInvalid(f"{file} cannot be read as TOML: {error}.") from error
    if not isinstance(found, dict) or not all(isinstance(one, str) for one in found.values()):
        raise RequestInvalid(
            f"{file} needs a table [accounts] with a text for each account of the ledger;"
            " `ledger export accounts` prints one to fill in."
        )
    return found


def accounts_to_fill_in(books: Books) -> str:
    """Return an account-mapping file with every account that was ever used, to be filled in."""
    used = {account for (account,) in books.rows(_USED)} | {Account.REVENUE}
    names = sorted(map(name_of, used))
    lines = [f'"{name}" = ""\n' for name in names]
    return "".join(
        ["# Ours = the account's name (QuickBooks) or code (Xero).\n[accounts]\n", *lines]
    )


@dataclass(frozen=True, slots=True)
class _Day:
    """What a day changed in one currency, per account of theirs."""

    day: date
    currency: str
    amounts: Mapping[str, int]


def _by_day(books: Books, start: date, end: date, accounts: Mapping[str, str]) -> Iterator[_Day]:
    """Yield one balanced sum per day and currency, in their accounts."""
    found: dict[tuple[date, str], dict[str, int]] = {}
    lacking: set[str] = set()
    for one in transactions(books, start, end):
        sums = found.setdefault((one.day, one.currency), {})
        for account, change in one.postings:
            name = name_of(account)
            theirs = accounts.get(name, "")
            if not theirs:
                lacking.add(name)
            sums[theirs] = sums.get(theirs, 0) + change
    if lacking:
        raise RequestInvalid(
            f"The accounts file names no account for {', '.join(sorted(lacking))}."
        )
    for (day, currency), sums in sorted(found.items()):
        amounts = {account: change for account, change in sorted(sums.items()) if change}
        if amounts:
            yield _Day(day, currency, amounts)


def write_quickbooks(
    books: Books,
    start: date,
    end: date,
    accounts: Mapping[str, str],
    currency: str | None,
    out: IO[str],
) -> int:
    """Write one journal entry per day and currency for QuickBooks Online; return how many lines.

    https://quickbooks.intuit.com/learn-support/en-us/help-article/import-export-data-files/import-journal-entries-quickbooks-online/L9OOcOBtI_US_en_US
    """
    rows = [
        {
            "Journal No": f"{one.day:%Y%m%d}-{one.currency.upper()}",
            "Journal Date": f"{one.day:%m/%d/%Y}",
            "Currency": one.currency.upper(),
            "Account Name": account,
            "Debits": number(change, one.currency) if change > 0 else None,
            "Credits": number(-change, one.currency) if change < 0 else None,
            "Description": f"Stripe, {one.day}",
        }
        for one in _of_currency(list(_by_day(books, start, end, accounts)), currency)
        for account, change in one.amounts.items()
    ]
    return _write(rows, out)


def _of_currency(days: Sequence[_Day], currency: str | None) -> list[_Day]:
    """Return the days of one currency, if one is named; raise RequestInvalid if there are none."""
    there = sorted({one.currency for one in days})
    if currency is not None and currency.lower() not in there:
        raise RequestInvalid(
            f"Nothing was booked in {currency} then; there is {', '.join(there) or 'nothing'}."
        )
    return [one for one in days if currency is None or one.currency == currency.lower()]


def write_xero(
    books: Books,
    start: date,
    end: date,
    accounts: Mapping[str, str],
    currency: str | None,
    out: IO[str],
) -> int:
    """Write one manual journal per day for Xero, of one currency; return how many lines.

    Xero takes manual journals in the organisation's currency only.
    https://central.xero.com/s/article/Import-manual-journals
    """
    days = list(_by_day(books, start, end, accounts))
    there = sorted({one.currency for one in days})
    if currency is None and len(there) > 1:
        raise RequestInvalid(
            f"Xero takes journals of one currency; there are {', '.join(there)}: choose one"
            " (--currency)."
        )
    rows = [
        {
            "*Narration": f"Stripe, {one.day}",
            "*Date": f"{one.day:%d/%m/%Y}",
            "Description": f"Stripe, {one.day}",
            "*AccountCode": account,
            "*TaxRate": "Tax Exempt",
            "*Amount": number(change, one.currency),
        }
        for one in _of_currency(days, currency)
        for account, change in one.amounts.items()
    ]
    return _write(rows, out)


def _write(rows: Sequence[Mapping[str, Any]], out: IO[str]) -> int:
    if rows:
        writer = csv.writer(out)
        writer.writerow(rows[0])
        writer.writerows([guarded(value) for value in row.values()] for row in rows)
    return len(rows)
