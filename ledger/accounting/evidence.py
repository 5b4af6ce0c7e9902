"""A closed month as a file that proves itself: whoever has it runs `python3 FILE.zip`.

It holds the month's opening balances, every posting, what was earned, the closing as it was
recorded, and every event behind them with the seals that cover it. The check is a program inside
that needs nothing but Python.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from ledger.accounting.books import EARNED, Balances, open_books
from ledger.accounting.closing import Closing
from ledger.files import replacing
from ledger.log.evidence import write_evidence
from ledger.log.seals import seal
from ledger.moments import Moment
from ledger.projections.journal.accounts import name_of

if TYPE_CHECKING:
    from ledger.application import Ledger

_ENTRIES = """
SELECT position, source, reason, valid_at, booked_at, account, currency, amount_minor::bigint,
    document
FROM journal_entries
WHERE booked_at >= %(start)s AND booked_at < %(end)s AND position <= %(position)s
ORDER BY position, source, valid_at, currency, account, amount_minor
"""
_SCHEDULES = f"""
SELECT * FROM (
    SELECT position, source, line, since, starts_at, ends_at, currency, amount_minor::bigint,
        ({EARNED.replace("%(at)s", "%(start)s")})::bigint AS before,
        ({EARNED.replace("%(at)s", "%(end)s")})::bigint AS after
    FROM journal_schedules WHERE since < %(end)s AND position <= %(position)s
) AS schedule WHERE before <> after
ORDER BY position, source, line, amount_minor
"""  # noqa: S608 — a constant of ours
_README = """\
This is the month {period} of the ledger {ledger!r}, as it was closed.

Run this file with Python (`python3 FILE.zip`) to check it: the postings of every transaction add up
to 0; opening balances,
postings and what was earned give the closing balances; these are what was recorded when the month
was closed; and every event behind them is what the log's seals cover. It needs nothing but Python.

period.json    the closing as it was recorded: balances, metrics, definitions, seal
opening.csv    balances before the month
entries.csv    every posting booked in the month (minor units, debit positive)
earned.csv     what was earned of deferred revenue in the month, line by line
events.jsonl   the events behind all of these, with the blocks of the log that cover them

That the seals are the ledger's own, only seals exported earlier can prove:
`python3 FILE.zip SEALS` compares them.
"""


def write_month(ledger: Ledger, closing: Closing, path: Path) -> int:
    """Write the evidence of a closed month; return how many events it holds."""
    with ledger.pool.connection() as connection:
        seal(connection)
        books = open_books(connection, Moment(known_at=closing.closed_until))
        start, end = (datetime.fromisoformat(closing.data[at]) for at in ("starts_at", "ends_at"))
        entries = books.rows(_ENTRIES, start=start, end=end)
        schedules = books.rows(_SCHEDULES, start=start, end=end)
        positions = {row[0] for row in (*entries, *schedules)}
        events = io.StringIO()
        count = write_evidence(
            connection, sorted({*positions, closing.position}), ledger.name, events
        )
        opening = books.balances(start)
    told = {
        "README.txt": _README.format(period=closing.period, ledger=ledger.name),
        "__main__.py": (files(__package__) / "check_month.py").read_text(encoding="utf-8"),
        "period.json": json.dumps({"position": closing.position, **closing.data}, indent=1),
        "opening.csv": _csv(("account", "currency", "balance"), _balances(opening)),
        "entries.csv": _csv(
            ("position", "source", "reason", "valid_at", "booked_at", "account", "currency",
             "amount", "document"),
            ((*row[:5], name_of(row[5]), *row[6:]) for row in entries),
        ),
        "earned.csv": _csv(
            ("position", "source", "line", "since", "starts_at", "ends_at", "currency", "amount",
             "earned_before", "earned_after"),
            schedules,
        ),
        "events.jsonl": events.getvalue(),
    }  # fmt: skip
    with replacing(path, binary=True) as out, ZipFile(out, "w", ZIP_DEFLATED) as archive:
        for name, text in told.items():
            archive.writestr(ZipInfo(name), text, ZIP_DEFLATED)  # the same whenever it is written
    return count


def _balances(balances: Balances) -> Iterable[Sequence[Any]]:
    return (
        (name_of(account), currency, amount) for (account, currency), amount in balances.items()
    )


def _csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(columns)
    for row in rows:
        writer.writerow([one.isoformat() if isinstance(one, datetime) else one for one in row])
    return out.getvalue()
