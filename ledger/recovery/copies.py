"""The copies: which tables are in them, how they are called, how long they are kept."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any

from psycopg import IsolationLevel, sql

from ledger.application import Ledger, change_settings, kept_setting
from ledger.database.migrate import applied
from ledger.decisions import Connection
from ledger.errors import RequestInvalid
from ledger.files import replacing
from ledger.privacy.sealed_file import SealedReader, SealedWriter
from ledger.projections.generations import Generation, on_path

PURPOSE = "backups"
FOLDERS = "key_folders"  # the setting that remembers where keys were copied to
DATA, KEYS, ERASED = ".data", ".keys", ".erased"
# The log comes first. What people are in the middle of (sessions, rebuilds) is in no copy.
DATA_TABLES = (
    "events", "seals", "settings", "api_tokens", "users", "delivery_counts", "completeness",
    "policy_bookmarks",
)  # fmt: skip
KEY_TABLE = "subject_keys"
KEYS_DAYS = 7  # less than a month, within which an erasure must be done (GDPR Art. 12(3))
DAILY_DAYS, WEEKLY_DAYS, MONTHLY_DAYS = 7, 35, 366
_STAMP = "%Y%m%dT%H%M%SZ"
_SECTION = struct.Struct(">cI")
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Copy:
    """A backup: a file of data, one of keys, made of the same moment; or of keys alone."""

    data: Path
    keys: Path
    made_at: datetime
    events: int


def back_up(ledger: Ledger, folder: Path, keys_folder: Path, progress: Progress) -> Copy:
    """Copy a ledger as it is at this moment; raise RequestInvalid where it cannot be written."""
    if folder.resolve() == keys_folder.resolve():
        raise RequestInvalid(f"{folder}: keys are kept apart from data, in another folder.")
    made_at = _now(ledger)
    files = {_file(ledger, made_at, keys_folder, KEYS): ("keys", (KEY_TABLE,)),
             _file(ledger, made_at, folder, DATA): ("data", DATA_TABLES)}  # fmt: skip
    _remember(ledger, keys_folder)
    write_register(ledger, keys_folder)
    events = _copy(ledger, files, made_at, progress)
    keys, data = files
    return Copy(data, keys, made_at, events)


def back_up_keys(ledger: Ledger, keys_folder: Path, progress: Progress) -> Path:
    """Copy the keys of people alone, and who is erased; raises like `back_up`."""
    made_at = _now(ledger)
    file = _file(ledger, made_at, keys_folder, KEYS)
    _remember(ledger, keys_folder)
    write_register(ledger, keys_folder)
    _copy(ledger, {file: ("keys", (KEY_TABLE,))}, made_at, progress)
    return file


def _now(ledger: Ledger) -> datetime:
    return ledger.clock.now().astimezone(UTC).replace(microsecond=0)


def _file(ledger: Ledger, made_at: datetime, folder: Path, suffix: str) -> Path:
    make_folder(folder)
    return folder / f"{ledger.name}-{made_at:{_STAMP}}{suffix}"


def _copy(
    ledger: Ledger,
    files: Mapping[Path, tuple[str, Sequence[str]]],
    made_at: datetime,
    progress: Progress,
) -> int:
    """Write tables into files, all as of one moment; return how far the log was."""
    with ledger.database.connect_as_owner() as owner:
        owner.isolation_level = IsolationLevel.REPEATABLE_READ
        with owner.transaction():
            on_path(owner, Generation(ledger.schema, ledger.schema))
            row = owner.execute("SELECT coalesce(max(position), 0) FROM events").fetchone()
            events = int(row[0]) if row else 0
            head = {
                "ledger": ledger.name,
                "made_at": made_at.isoformat(),
                "position": events,
                "migrations": applied(owner, ledger.schema),
            }
            for file, (kind, tables) in files.items():
                _write(ledger, owner, file, {**head, "kind": kind}, tables, progress)
    return events


def make_folder(folder: Path) -> None:
    """Let there be a folder for its owner only; raise RequestInvalid."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise RequestInvalid(f"{folder} cannot be made: {error.strerror}.") from error


def _write(
    ledger: Ledger,
    owner: Connection,
    file: Path,
    head: dict[str, Any],
    tables: Sequence[str],
    progress: Progress,
) -> None:
    with replacing(file, binary=True) as out:
        sealed = SealedWriter(out, ledger.master.derive_all(PURPOSE)[0], head)
        for table in tables:
            columns = _columns(owner, ledger.schema, table)
            _section(sealed, b"T", json.dumps({"table": table, "columns": columns}).encode())
            row = owner.execute(
                sql.SQL("SELECT pg_relation_size(c) FROM (SELECT %s::regclass::oid) AS t (c)"),
                [table],
            ).fetchone()
            size, done = int(row[0]) if row else 0, 0
            query = sql.SQL("COPY {} ({}) TO STDOUT (FORMAT binary)").format(
                sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns))
            )
            with owner.cursor() as cursor, cursor.copy(query) as rows:
                for chunk in rows:
                    _section(sealed, b"D", chunk)
                    done += len(chunk)
                    progress(f"Copying {table}", min(done, size), size)
        sealed.close()


def _section(sealed: SealedWriter, kind: bytes, content: bytes | bytearray | memoryview) -> None:
    sealed.write(_SECTION.pack(kind, len(content)))
    sealed.write(content)


def _columns(owner: Connection, schema: str, table: str) -> list[str]:
    rows = owner.execute(
        "SELECT column_name FROM information_schema.columns"
        " WHERE table_schema = %s AND table_name = %s ORDER BY ordinal_position",
        [schema, table],
    ).fetchall()
    return [row[0] for row in rows]


def opened(source: IO[bytes], ledger: Ledger, file: Path, kind: str) -> SealedReader:
    """Return a copy's reader; raise what is wrong with the file."""
    reader = SealedReader(source, ledger.master.derive_all(PURPOSE), str(file))
    if reader.head.get("kind") != kind:
        raise RequestInvalid(f"{file} is a copy of {reader.head.get('kind')}, not of {kind}.")
    return reader


def tables_in(reader: SealedReader) -> Iterator[tuple[str, list[str], Iterator[bytes]]]:
    """Yield (table, columns, its rows as COPY reads them) of a copy, each to be read to its end."""
    sections = _sections(reader.chunks())
    kind, content = next(sections, (b"", b""))
    while kind == b"T":
        head = json.loads(content)
        following: list[tuple[bytes, bytes]] = []

        def rows(following: list[tuple[bytes, bytes]] = following) -> Iterator[bytes]:
            for one in sections:
                if one[0] == b"T":
                    following.append(one)
                    return
                yield one[1]

        yield head["table"], head["columns"], rows()
        kind, content = following[0] if following else (b"", b"")


def _sections(chunks: Iterator[bytes]) -> Iterator[tuple[bytes, bytes]]:
    waiting = b""
    for chunk in chunks:
        waiting += chunk
        begin = 0
        while len(waiting) >= begin + _SECTION.size:
            kind, length = _SECTION.unpack_from(waiting, begin)
            end = begin + _SECTION.size + length
            if len(waiting) < end:
                break
            yield kind, waiting[begin + _SECTION.size : end]
            begin = end
        waiting = waiting[begin:]


# --- who was erased -------------------------------------------------------------------------------


def key_folders(ledger: Ledger) -> list[Path]:
    """Return the folders to which keys of this ledger were copied, as it remembers."""
    told = kept_setting(ledger, FOLDERS)
    return [Path(one) for one in json.loads(told or "[]")]


def _remember(ledger: Ledger, keys_folder: Path) -> None:
    known = {str(one) for one in key_folders(ledger)} | {str(keys_folder.resolve())}
    change_settings(ledger, {FOLDERS: json.dumps(sorted(known))})


def write_registers(ledger: Ledger) -> list[Path]:
    """Write down who is erased beside all keys that were copied; return the folders not reached."""
    missed = []
    for folder in key_folders(ledger):
        if not folder.is_dir():
            missed.append(folder)
            continue
        write_register(ledger, folder)
    return missed


def write_register(ledger: Ledger, keys_folder: Path) -> None:
    """Write down beside the keys who is erased: a copy of a key must not bring them back."""
    make_folder(keys_folder)
    with ledger.pool.connection() as connection:
        rows = connection.execute(
            "SELECT subject FROM subject_keys WHERE wrapped_key IS NULL ORDER BY 1"
        ).fetchall()
    file = register_of(keys_folder, ledger.name)
    known = read_register(file)
    subjects = {row[0] for row in rows} | known
    if subjects != known or not file.exists():
        with replacing(file) as out:
            out.writelines(f"{one}\n" for one in sorted(subjects))


def register_of(keys_folder: Path, ledger: str) -> Path:
    """Return where it is written down who is erased."""
    return keys_folder / f"{ledger}{ERASED}"


def read_register(file: Path) -> set[str]:
    """Return who is written down as erased; nobody, if there is no such file."""
    if not file.exists():
        return set()
    try:
        return set(file.read_text(encoding="utf-8").split())
    except (OSError, UnicodeDecodeError) as error:
        raise RequestInvalid(f"{file} cannot be read as a list of ids: it is damaged.") from error


# --- how long they are kept -----------------------------------------------------------------------


def copies_in(folder: Path, ledger: str, suffix: str) -> list[tuple[datetime, Path]]:
    """Return a ledger's copies in a folder with when they were made, the newest first."""
    found = []
    for file in folder.glob(f"{ledger}-*{suffix}"):
        stamp = file.name.removeprefix(f"{ledger}-").removesuffix(suffix)
        try:
            found.append((datetime.strptime(stamp, _STAMP).replace(tzinfo=UTC), file))
        except ValueError:
            continue  # of another ledger, whose name begins alike
    return sorted(found, reverse=True)


def remove_old_keys(ledger: str, keys_folder: Path, now: datetime) -> list[Path]:
    """Remove copies of keys that are too old, whatever others there are: an erasure rests on it."""
    limit = now - timedelta(days=KEYS_DAYS)
    gone = [file for at, file in copies_in(keys_folder, ledger, KEYS) if at < limit]
    for file in gone:
        file.unlink(missing_ok=True)
    return gone


def remove_old(ledger: str, folder: Path, keys_folder: Path, now: datetime) -> list[Path]:
    """Remove what is not kept any longer: keys after days, data thinned out by weeks and months.

    The newest data stays whatever its age.
    """
    gone = []
    kept: set[str | None] = {None}
    for at, file in copies_in(folder, ledger, DATA)[1:]:
        span = _span(at, now)
        if span in kept:
            gone.append(file)
        kept.add(span)
    for file in gone:
        file.unlink(missing_ok=True)
    return [*remove_old_keys(ledger, keys_folder, now), *gone]


def _span(at: datetime, now: datetime) -> str | None:
    """Return of which day, week or month a copy is the one that is kept; None if of none.

    Of the last day all are.
    """
    age = now - at
    if age <= timedelta(days=1):
        return f"{at}"
    if age <= timedelta(days=DAILY_DAYS):
        return f"day {at:%Y-%m-%d}"
    if age <= timedelta(days=WEEKLY_DAYS):
        return f"week {at:%G-%V}"
    if age <= timedelta(days=MONTHLY_DAYS):
        return f"month {at:%Y-%m}"
    return None
