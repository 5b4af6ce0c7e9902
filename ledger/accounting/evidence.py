"""A closed month as a file that proves itself: whoever has it runs `python3 FILE.zip`.

It holds the month's opening balances, every posting, what was earned, the closing as it was
recorded, and every event behind them with the seals that cover it. The check is a program inside
that needs nothing but Python.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from ledger.accounting.books import EARNED, Books, open_books
from ledger.files import replacing
from ledger.log.evidence import write_evidence
from ledger.log.seals import seal
from ledger.moments import Moment
from ledger.projections.journal.accounts import name_of

if TYPE_CHECKING:
    from ledger.application import Ledger

_ENTRIES = """
SELECT position, source, reason, valid_at, booked_at, account, currency, amount_minor,
    document
FROM journal_entries
WHERE booked_at >= %(start)s AND booked_at < %(end)s AND position <= %(position)s
ORDER BY position, source, valid_at, currency, account, amount_minor, reason, document
"""
_SCHEDULES = f"""
SELECT * FROM (
    SELECT position, source, line, since, starts_at, ends_at, currency, amount_minor,
        {EARNED.replace("%(at)s", "%(start)s")} AS before,
        {EARNED.replace("%(at)s", "%(end)s")} AS after
    FROM journal_schedules WHERE since < %(end)s AND position <= %(position)s
) AS schedule WHERE before <> after
ORDER BY position, source, line, amount_minor
"""  # noqa: S608 — a constant of ours
_README = """\
This is the month {period} of the ledger {ledger!r}, as it was closed.

Run this file with Python (`python3 FILE.zip`) to check it: the postings of every transaction add up
to 0; opening balances, postings and what was earned give the closing balances; these are what was
recorded when the month was closed; and every event behind them is what the log's seals cover. It
needs nothing but Python.

period.json    the closing as it was recorded: balances, metrics, definitions, seal
opening.csv    balances before the month
entries.csv    every posting booked in the month (minor units, debit positive)
earned.csv     what was earned of deferred revenue in the month, line by line
events.jsonl   the events behind all of these, with the blocks of the log that cover them

That the seals are the ledger's own, only seals exported earlier can prove:
`python3 FILE.zip SEALS` compares them.
"""


@dataclass(frozen=True)
class Month:
    """The tables of a month, as text, and the positions of the events behind them."""

    tables: Mapping[str, str]
    positions: frozenset[int]

    @property
    def digests(self) -> dict[str, str]:
        """The SHA-256 of each table, in hex."""
        return {name: sha256(text.encode()).hexdigest() for name, text in self.tables.items()}


def month_of(books: Books, start: datetime, end: datetime) -> Month:
    """Return a month's tables: opening balances, every posting, what was earned."""
    entries = books.rows(_ENTRIES, start=start, end=end)
    schedules = books.rows(_SCHEDULES, start=start, end=end)
    opening = books.balances(start).items()
    return Month(
        {
            "opening.csv": _csv(
                ("account", "currency", "balance"),
                ((name_of(account), currency, amount) for (account, currency), amount in opening),
            ),
            "entries.csv": _csv(
                ("position", "source", "reason", "valid_at", "booked_at", "account", "currency",
                 "amount", "document"),
                ((*row[:5], name_of(row[5]), *row[6:]) for row in entries),
            ),
            "earned.csv": _csv(
                ("position", "source", "line", "since", "starts_at", "ends_at", "currency",
                 "amount", "earned_before", "earned_after"),
                schedules,
            ),
        },
        frozenset(row[0] for row in (*entries, *schedules)),
    )  # fmt: skip


def write_month(ledger: Ledger, closing: Mapping[str, Any], position: int, path: Path) -> int:
    """Write the evidence of a closed month; return how many events it holds.

    `closing` is the body of the event that closed it, `position` where that is.
    """
    with ledger.pool.connection() as connection:
        seal(connection)
        books = open_books(connection, Moment(known_at=closing["closed_until"]))
        start, end = (datetime.fromisoformat(closing[at]) for at in ("starts_at", "ends_at"))
        month = month_of(books, start, end)
        events = io.StringIO()
        positions = sorted(month.positions | {position})
        count = write_evidence(connection, positions, ledger.name, events)
    told = {
        "README.txt": _README.format(period=closing["period"], ledger=ledger.name),
        "__main__.py": (files(__package__) / "check_month.py").read_text(encoding="utf-8"),
        "period.json": json.dumps({"position": position, **closing}, indent=1),
        **month.tables,
        "events.jsonl": events.getvalue(),
    }
    with replacing(path, binary=True) as out, ZipFile(out, "w", ZIP_DEFLATED) as archive:
        for name, text in told.items():
            archive.writestr(ZipInfo(name), text, ZIP_DEFLATED)  # the same whenever it is written
    return count


def _csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_cell(one) for one in row])
    return out.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return int(value) if isinstance(value, Decimal) else value
