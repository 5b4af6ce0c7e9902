"""Everything a ledger holds, in open formats: leaving is one command.

Personal data are opened; whoever may read these files reads it. They are not encrypted.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from psycopg import sql

from ledger import history
from ledger.application import Ledger
from ledger.decisions import Connection
from ledger.errors import RequestInvalid
from ledger.files import json_text
from ledger.log import Log
from ledger.log.seals import export as export_seals
from ledger.people.users import People
from ledger.projections import PROJECTIONS
from ledger.projections.crm import queries
from ledger.subjects.data import things

CHUNK = 1_000
ABOUT = """\
# Everything of the ledger `{ledger}`

| file | what |
|-|-|
| `events.jsonl` | the log: every event of Stripe and of ours, one JSON object a line, in order |
| `seals.jsonl` | the chain of hashes over the log |
| `customers.jsonl` | customers as they are now, with name, e-mail and phone |
| `subscriptions.jsonl`, `invoices.jsonl`, `payments.jsonl` | the same of these |
| `tables/*.csv` | the read models as they are stored: numbers, journal, cases, offers, work … |
| `people.csv` | who may come in (no secrets) |

Amounts are integers in minor units. Instants are UTC. Personal data are in plain: keep this safe.
"""


def export_all(
    ledger: Ledger, folder: Path, progress: Callable[[int, int], None] = lambda done, total: None
) -> dict[str, int]:
    """Write everything into a new folder; return how many lines each file has.

    `progress` is told (events done, events in all). Raises RequestInvalid for a folder that is
    not empty.
    """
    if folder.exists() and any(folder.iterdir()):
        raise RequestInvalid(f"{folder} is not empty: name a new folder.")
    (folder / "tables").mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)
    counts: dict[str, int] = {}
    with ledger.pool.connection() as connection:
        last = Log(connection).last_position()
        with (folder / "events.jsonl").open("w", encoding="utf-8") as out:
            for count, line in enumerate(_events(ledger, connection, last), 1):
                out.write(line + "\n")
                counts["events.jsonl"] = count
                progress(count, last)
        counts["seals.jsonl"] = export_seals(connection, folder / "seals.jsonl")
        for name, listing in (
            ("customers", queries.CUSTOMERS),
            ("subscriptions", queries.SUBSCRIPTIONS),
            ("invoices", queries.INVOICES),
            ("payments", queries.PAYMENTS),
        ):
            rows = things(connection, listing)
            if name == "customers":
                rows = _named(ledger, connection, rows)
            counts[f"{name}.jsonl"] = _write(folder / f"{name}.jsonl", rows)
        for projection in PROJECTIONS:
            for table in projection.tables:
                counts[f"tables/{table}.csv"] = _copy(
                    connection, table, folder / "tables" / f"{table}.csv"
                )
    with (folder / "people.csv").open("w", encoding="utf-8") as out:
        out.write("id,email,name,role,expires_at,disabled_at\n")
        for person in People(ledger).listed():
            cells = (person.id, person.email, person.name, person.role, person.expires_at or "",
                     person.disabled_at or "")  # fmt: skip
            out.write(",".join(json.dumps(str(one), ensure_ascii=False) for one in cells) + "\n")
    (folder / "README.md").write_text(ABOUT.format(ledger=ledger.name), encoding="utf-8")
    return counts


def _events(ledger: Ledger, connection: Connection, last: int) -> Iterator[str]:
    position = 0
    while position < last:
        for event in Log(connection).after(position, CHUNK):
            if event.position > last:
                return
            opened = history.opened_event(connection, ledger.keys, event)
            yield json_text(history.as_json(opened))
            position = event.position


def _named(
    ledger: Ledger, connection: Connection, rows: Iterator[dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    """Yield customers with who they are."""
    while chunk := list(islice(rows, CHUNK)):
        contacts = queries.contacts(connection, ledger.keys, chunk)
        for row in chunk:
            who = contacts.get(row["id"])
            yield {
                **row,
                **({"name": who.name, "email": who.email, "phone": who.phone} if who else {}),
            }


def _write(file: Path, rows: Iterator[dict[str, Any]]) -> int:
    count = 0
    with file.open("w", encoding="utf-8") as out:
        for count, row in enumerate(rows, 1):  # noqa: B007 — the last of them is how many
            out.write(json_text(row) + "\n")
    return count


def _copy(connection: Connection, table: str, file: Path) -> int:
    query = sql.SQL("COPY (SELECT * FROM {}) TO STDOUT WITH (FORMAT csv, HEADER)")
    with connection.cursor() as cursor, file.open("wb") as out:
        with cursor.copy(query.format(sql.Identifier(table))) as rows:
            for chunk in rows:
                out.write(chunk)
        return cursor.rowcount
