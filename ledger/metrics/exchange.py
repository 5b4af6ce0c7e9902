"""Exchange rates are events: what somebody imported, kept for ever, the last import counting."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import date
from decimal import Decimal, InvalidOperation
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
_encode = msgspec.json.Encoder().encode

Rate = tuple[str, str, str, str]  # day, from, to, rate


def import_rates(ledger: Ledger, file: Path, *, actor: str) -> tuple[int, bool]:
    """Record the rates of a CSV file (date,from,to,rate), all or none; return how many, if new.

    One unit of `from` is worth `rate` units of `to` on that day. Raises RequestInvalid naming the
    line that cannot be meant.
    """
    found = read_rates(file)
    digest = sha256(_encode(found)).hexdigest()[:16]
    events = []
    for first in range(0, len(found), PER_EVENT):
        key = f"rates {digest} {first}"
        data = {
            "type": "rates.imported",
            "delivery_key": key,
            "actor": actor,
            "rates": found[first : first + PER_EVENT],
        }
        events.append(
            NewEvent(
                RATES_STREAM,
                Account.RatesImported.TOPIC,
                ledger.clock.now(),
                _encode(data),
                delivery_key=key,
            )
        )
    with ledger.pool.connection() as connection:
        appended = Log(connection).append(events) if events else []
    ledger.announce()
    return len(found), any(position > 0 for position in appended)


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
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if number.is_finite() and number > 0 else None


def _is_day(text: str) -> bool:
    try:
        return str(date.fromisoformat(text)) == text
    except ValueError:
        return False
