"""Exchange rates are events: what somebody imported, kept for ever, the last import counting."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ledger.aggregates import Account
from ledger.aggregates.base import RATES_STREAM
from ledger.errors import RequestInvalid
from ledger.log import Log, NewEvent
from ledger.money import is_currency

if TYPE_CHECKING:
    from ledger.application import Ledger

COLUMNS = ("date", "from", "to", "rate")
PER_EVENT = 500
_NUMBER = re.compile(r"[0-9]{1,12}(\.[0-9]{1,24})?").fullmatch
_encode = msgspec.json.Encoder().encode

Rate = tuple[str, str, str, str]  # day, from, to, rate


def import_rates(ledger: Ledger, file: Path, *, actor: str) -> tuple[int, bool]:
    """Record the rates of a CSV file (date,from,to,rate), all or none; return how many, if new.

    One unit of `from` is worth `rate` units of `to` on that day. Raises RequestInvalid naming the
    line that cannot be meant.
    """
    found = read_rates(file)
    digest = sha256(_encode(found)).hexdigest()[:16]
    with ledger.pool.connection() as connection:
        known = Log(connection).stream(RATES_STREAM)
        if not found or (known and known[-1].data["import"] == digest):
            return len(found), False  # the last import says the same
        events = [
            NewEvent(
                RATES_STREAM,
                Account.RatesImported.TOPIC,
                ledger.clock.now(),
                _encode(
                    {
                        "type": "rates.imported",
                        "import": digest,
                        "actor": actor,
                        "rates": found[first : first + PER_EVENT],
                    }
                ),
            )
            for first in range(0, len(found), PER_EVENT)
        ]
        Log(connection).append(events)
    ledger.announce()
    return len(found), True


def read_rates(file: Path) -> list[Rate]:
    """Return the rates of a file in its order; raise RequestInvalid."""
    try:
        with file.open(newline="", encoding="utf-8-sig") as opened:
            return list(_rates(file, csv.DictReader(opened)))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RequestInvalid(f"{file} cannot be read as CSV: {error}.") from error


def _rates(file: Path, rows: csv.DictReader[str]) -> Iterator[Rate]:
    if tuple(rows.fieldnames or ()) != COLUMNS:
        raise RequestInvalid(
            f"{file} must begin with the line {','.join(COLUMNS)}, not"
            f" {','.join(rows.fieldnames or ()) or 'nothing'}."
        )
    known: dict[tuple[str, str, str], str] = {}
    for row in rows:
        where = f"{file}, line {rows.line_num}"
        if None in row or None in row.values():
            raise RequestInvalid(
                f"{where}: needs {len(COLUMNS)} columns; decimals are written with a point (1.08)."
            )
        day, base, quote, rate = (str(row.get(name) or "").strip() for name in COLUMNS)
        base, quote = base.lower(), quote.lower()
        number = _positive(rate)
        if number is None or not _is_day(day):
            raise RequestInvalid(
                f"{where}: {day!r} and {rate!r} must be a day (2026-10-31) and a number above 0."
            )
        if not (is_currency(base) and is_currency(quote)) or base == quote:
            raise RequestInvalid(f"{where}: {base!r} and {quote!r} must be two currencies.")
        if known.setdefault((day, base, quote), rate) != rate:
            raise RequestInvalid(f"{where}: {day} has another rate from {base} to {quote} before.")
        yield day, base, quote, f"{number:f}"


def _positive(text: str) -> Decimal | None:
    if not _NUMBER(text):
        return None
    number = Decimal(text)
    return number if number > 0 else None


def _is_day(text: str) -> bool:
    try:
        return str(date.fromisoformat(text)) == text
    except ValueError:
        return False
