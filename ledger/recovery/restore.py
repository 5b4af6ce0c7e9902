"""The way back: a copy becomes a ledger again, without anybody who was erased since."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from psycopg import sql

from ledger.aggregates import Customer
from ledger.aggregates.sending import Sending
from ledger.application import Ledger, kept_setting
from ledger.database.migrate import applied
from ledger.decisions import Connection, Decisions
from ledger.errors import RequestInvalid
from ledger.privacy.sealed_file import SealedReader
from ledger.projections.generations import Generation, on_path
from ledger.recovery.copies import (
    DATA_TABLES,
    KEY_TABLE,
    Progress,
    opened,
    read_register,
    tables_in,
)

ACTOR = "restore"
BEGUN = "restore_begun"  # the setting that says which copy is being restored
# The lock that every append takes: nothing comes in beside.
_ALONE = "SELECT pg_advisory_xact_lock(1818518117, current_schema()::regnamespace::oid::integer)"
_KEYS = "CREATE TEMPORARY TABLE restored_keys (LIKE subject_keys) ON COMMIT DROP"
# Who is written down as erased, or was when the copy was made, comes back as a tombstone.
_TAKE_KEYS = """
INSERT INTO subject_keys (subject, wrapped_key, created_at, erased_at)
SELECT k.subject,
    CASE WHEN k.subject = ANY (%(erased)s) THEN NULL ELSE k.wrapped_key END, k.created_at,
    CASE WHEN k.subject = ANY (%(erased)s) THEN coalesce(k.erased_at, clock_timestamp())
        ELSE k.erased_at END
FROM restored_keys AS k
ON CONFLICT (subject) DO UPDATE SET wrapped_key = EXCLUDED.wrapped_key,
    erased_at = EXCLUDED.erased_at
"""
_TOMBSTONES = """
INSERT INTO subject_keys (subject, erased_at)
SELECT s, clock_timestamp() FROM unnest(%(erased)s::text[]) AS s ON CONFLICT DO NOTHING
"""
_ERASED = "SELECT customer_id FROM events WHERE topic = %s AND stripe_event_id IS NULL"
_KEYLESS = """
SELECT count(DISTINCT coalesce(e.customer_id, e.object_id, 'account')) FROM events AS e
WHERE e.personal IS NOT NULL AND NOT EXISTS (
    SELECT FROM subject_keys AS k WHERE k.subject = coalesce(e.customer_id, e.object_id, 'account')
)
"""
# Linked objects are traced to somebody erased by the views; their keys go, too.
_TRACED = """
SELECT o.object_id FROM owners AS o JOIN subject_keys AS k ON k.subject = o.object_id
WHERE k.wrapped_key IS NOT NULL AND o.customer_id IN (
    SELECT subject FROM subject_keys WHERE wrapped_key IS NULL
)
"""


@dataclass
class Restored:
    """What came back. `keyless`: of how many people there is no key, so that it stays closed."""

    ledger: str
    made_at: str
    events: int = 0
    keys: int = 0
    erased: int = 0
    keyless: int = 0
    tables: dict[str, int] = field(default_factory=dict)


def restore(
    ledger: Ledger,
    data: Path,
    keys: Path | None,
    registers: Iterable[Path],
    progress: Progress = lambda stage, done, total: None,
) -> Restored:
    """Put a copy into an empty ledger, in one transaction; nothing may be sent afterwards.

    Without `keys` everything is there but what is personal. Raises RequestInvalid for a ledger
    that is not empty or older than the copy; SealedFileDamaged, SealedFileForeign.
    """
    erased = set().union(*map(read_register, registers))
    with data.open("rb") as source, ledger.database.connect_as_owner() as owner:
        reader = opened(source, ledger, data, "data")
        found = Restored(reader.head["ledger"], reader.head["made_at"])
        with owner.transaction():
            on_path(owner, Generation(ledger.schema, ledger.schema))
            owner.execute(_ALONE.encode())
            _require_room(owner, ledger, reader)
            _take_tables(owner, reader, found, progress)
            found.events = found.tables["events"]
            rows = owner.execute(_ERASED.encode(), [Customer.CustomerErased.TOPIC]).fetchall()
            erased |= {row[0] for row in rows}
            if keys is not None:
                _take_keys(owner, ledger, keys, erased, progress)
            owner.execute(_TOMBSTONES.encode(), {"erased": sorted(erased)})
            _count(owner, found)
            _release(owner, ledger)
            owner.execute(
                "INSERT INTO settings (key, value) VALUES (%s, %s)",
                [BEGUN, ledger.master.seal_setting(BEGUN, reader.head["salt"])],
            )
    ledger.keys.forget(erased)
    ledger.announce()
    return found


def require_readable(ledger: Ledger, keys: Path) -> None:
    """Read a file of keys to its end; raise SealedFileDamaged, SealedFileForeign."""
    with keys.open("rb") as source:
        for _, _, rows in tables_in(opened(source, ledger, keys, "keys")):
            for _ in rows:
                pass


def head_of(ledger: Ledger, data: Path) -> dict[str, Any]:
    """Return what a copy says of itself, proven."""
    with data.open("rb") as source:
        return opened(source, ledger, data, "data").head


def begun(ledger: Ledger) -> str | None:
    """Return which copy is being restored: its file's head; None if that is done, or was never."""
    return kept_setting(ledger, BEGUN)


def ended(ledger: Ledger) -> None:
    """Note that everything that follows a restore was done."""
    with ledger.pool.connection() as connection:
        connection.execute("DELETE FROM settings WHERE key = %s", [BEGUN])


def _require_room(owner: Connection, ledger: Ledger, reader: SealedReader) -> None:
    row = owner.execute("SELECT EXISTS (SELECT FROM events)").fetchone()
    if row and row[0]:
        raise RequestInvalid(
            f"The ledger {ledger.name!r} is not empty: restore into a new LEDGER_HOME or database,"
            " or into a ledger that `ledger ledgers add` has made."
        )
    unknown = set(reader.head["migrations"]) - set(applied(owner, ledger.schema))
    if unknown:
        raise RequestInvalid(
            f"The copy is of a newer release (it has {min(unknown)}): restore it with that one."
        )


def _take_tables(
    owner: Connection, reader: SealedReader, found: Restored, progress: Progress
) -> None:
    total = int(reader.head["position"])
    for table, columns, rows in tables_in(reader):
        if table not in DATA_TABLES:
            raise RequestInvalid(f"There is a table {table!r} in the copy that no ledger has.")
        if table != "events":
            owner.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(table)))
        found.tables[table] = _copy_in(owner, table, columns, rows, f"Restoring {table}", total,
                                       progress)  # fmt: skip
    if set(found.tables) != set(DATA_TABLES):
        raise RequestInvalid("The copy lacks tables: it is none of this program's.")


def _take_keys(
    owner: Connection, ledger: Ledger, keys: Path, erased: set[str], progress: Progress
) -> None:
    owner.execute(_KEYS.encode())
    with keys.open("rb") as source:
        for table, columns, rows in tables_in(opened(source, ledger, keys, "keys")):
            if table != KEY_TABLE:
                raise RequestInvalid(f"There is a table {table!r} among the keys.")
            _copy_in(owner, "restored_keys", columns, rows, "Restoring keys", 0, progress)
    # The key that the empty ledger made for itself gives way to the one it had.
    owner.execute(_TAKE_KEYS.encode(), {"erased": sorted(erased)})


def _copy_in(
    owner: Connection,
    table: str,
    columns: list[str],
    rows: Iterable[bytes],
    stage: str,
    total: int,
    progress: Progress,
) -> int:
    query = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT binary)").format(
        sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    with owner.cursor() as cursor:
        with cursor.copy(query) as into:
            for done, chunk in enumerate(rows):
                into.write(chunk)
                progress(stage, min(done, total), total)
        return cursor.rowcount


def restored_before(ledger: Ledger, head: Mapping[str, Any]) -> Restored:
    """Return what came back when a restore was begun that was cut off then."""
    found = Restored(head["ledger"], head["made_at"], head["position"])
    with ledger.pool.connection() as connection:
        _count(connection, found)
    return found


def _count(owner: Connection, found: Restored) -> None:
    row = owner.execute("SELECT count(wrapped_key), count(erased_at) FROM subject_keys").fetchone()
    found.keys, found.erased = row if row else (0, 0)
    keyless = owner.execute(_KEYLESS.encode()).fetchone()
    found.keyless = int(keyless[0]) if keyless else 0


def _release(owner: Connection, ledger: Ledger) -> None:
    """Let sending belong to nobody: another installation may be at it, or have been."""
    decisions: Any = Decisions(owner, ledger.keys)
    sending = decisions.find(Sending, Sending.STREAM)
    if sending is not None:
        sending.release(actor=ACTOR, now=ledger.clock.now())
        decisions.save()


def erase_what_is_traced(ledger: Ledger) -> int:
    """Destroy the keys of objects that the views trace to somebody erased; return how many."""
    with ledger.pool.connection() as connection, connection.transaction():
        subjects = [row[0] for row in connection.execute(_TRACED.encode()).fetchall()]
        if subjects:
            connection.execute("SELECT erase_subjects(%s)", [subjects])
    ledger.keys.forget(subjects)
    return len(subjects)
