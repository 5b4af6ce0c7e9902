"""Another master key in the place of one: everything under the former is written anew.

Events stay as they are: the subjects' keys do not change, only what they are wrapped in. Done
within one transaction it is through or not begun, and can be done again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg import sql

from ledger.privacy.master import KEPT, MasterKey

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[tuple[Any, ...]]

BATCH = 1_000
# What is found by these derived keys cannot be written anew: digests are in the log, hashes of
# addresses in read models and links in mails that were sent.
OUTLIVING = ("search", "delivery digests", "user addresses", "links")
LINKS = "links"
# Columns sealed under the master key: table, its key, the column, the name it was sealed under.
SEALED = (
    ("users", ("id",), "contact", "user contact"),
    ("users", ("id",), "second_factor", "second factor"),
    ("idempotency_keys", ("token_id", "key"), "body", "idempotency answers"),
)
_SUBJECTS = """
SELECT subject, wrapped_key FROM subject_keys
WHERE wrapped_key IS NOT NULL AND subject > %s ORDER BY subject LIMIT %s
"""
# Who is erased meanwhile stays erased: only a key that still is as it was read is written.
_REWRAP = """
UPDATE subject_keys SET wrapped_key = fresh.wrapped
FROM unnest(%s::text[], %s::bytea[], %s::bytea[]) AS fresh (subject, was, wrapped)
WHERE subject_keys.subject = fresh.subject AND wrapped_key = fresh.was
"""


@dataclass(frozen=True)
class Rotated:
    """How much was written anew."""

    subjects: int
    settings: int


def rotate(
    owner: Connection,
    master: MasterKey,
    *,
    ends_links: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Rotated:
    """Write everything of the ledger on the search path anew under the first of the master keys.

    With `ends_links` those in mails that were sent work no longer: whoever has the former key
    could make some. `progress` is told (subjects done, subjects in all).
    """
    settings = _keep_derived(owner, master, ends_links=ends_links)
    subjects = _rewrap(owner, master, progress)
    settings += sum(_reseal(owner, master, *column) for column in SEALED)
    settings += _reseal_settings(owner, master)
    return Rotated(subjects, settings)


def _keep_derived(owner: Connection, master: MasterKey, *, ends_links: bool) -> int:
    kept = 0
    for purpose in OUTLIVING:
        if purpose == LINKS and ends_links:
            owner.execute("DELETE FROM settings WHERE key = %s", [f"{KEPT}{purpose}"])
            continue
        name = f"{KEPT}{purpose}"
        kept += owner.execute(
            "INSERT INTO settings (key, value) VALUES (%s, %s) ON CONFLICT DO NOTHING",
            [name, master.seal_setting(name, master.derive(purpose).hex())],
        ).rowcount
    return kept


def _rewrap(owner: Connection, master: MasterKey, progress: Callable[[int, int], None]) -> int:
    row = owner.execute("SELECT count(*) FROM subject_keys").fetchone()
    total, done, changed, last = (row[0] if row else 0), 0, 0, ""
    while rows := owner.execute(_SUBJECTS.encode(), [last, BATCH]).fetchall():
        old = [one for one in rows if not master.is_wrapped_newly(*one)]
        if old:
            fresh = [master.wrap(subject, master.unwrap(subject, was)) for subject, was in old]
            changed += owner.execute(
                _REWRAP.encode(), [[one[0] for one in old], [one[1] for one in old], fresh]
            ).rowcount
        done, last = done + len(rows), rows[-1][0]
        progress(done, total)
    return changed


def _reseal(
    owner: Connection, master: MasterKey, table: str, key: tuple[str, ...], column: str, name: str
) -> int:
    names = sql.SQL(", ").join(map(sql.Identifier, key))
    named = {"table": sql.Identifier(table), "column": sql.Identifier(column), "key": names}
    query = sql.SQL("SELECT {column}, {key} FROM {table} WHERE {column} IS NOT NULL FOR UPDATE")
    rows = owner.execute(query.format(**named)).fetchall()
    old = [row for row in rows if not master.is_sealed_newly(name, bytes(row[0]))]
    for sealed, *of in old:
        owner.execute(
            sql.SQL("UPDATE {table} SET {column} = %s WHERE ({key}) = ({values})").format(
                values=sql.SQL(", ").join([sql.Placeholder()] * len(of)), **named
            ),
            [master.seal_setting(name, master.open_setting(name, bytes(sealed))), *of],
        )
    return len(old)


def _reseal_settings(owner: Connection, master: MasterKey) -> int:
    """Seal settings anew, the canary among them: from then on the first key is the ledger's."""
    changed = 0
    for name, value in owner.execute("SELECT key, value FROM settings FOR UPDATE").fetchall():
        if not master.is_sealed_newly(name, value):
            fresh = master.seal_setting(name, master.open_setting(name, value))
            owner.execute("UPDATE settings SET value = %s WHERE key = %s", [fresh, name])
            changed += 1
    return changed
