"""A copy is worth what was restored from it: each is, into a server of its own, and verified."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ledger.aggregates import Account
from ledger.aggregates.base import ACCOUNT_STREAM
from ledger.application import Ledger, open_ledger
from ledger.database import open_database
from ledger.database.embedded import EmbeddedServer
from ledger.database.migrate import migrate
from ledger.errors import RequestInvalid
from ledger.log import Log, NewEvent
from ledger.log.seals import verify
from ledger.privacy.key_sources import given_keys
from ledger.recovery.copies import (
    DATA,
    Copy,
    copies_in,
    key_folders,
    make_folder,
    remove_old,
    remove_old_keys,
    write_registers,
)
from ledger.recovery.copies import back_up as copy_ledger
from ledger.recovery.restore import require_readable, restore
from ledger.settings import Settings

if TYPE_CHECKING:
    from ledger.decisions import Connection
    from ledger.recovery.copies import Progress

logger = logging.getLogger("ledger.recovery")

SCRATCH = "drill-"
BEGINNING_SECONDS = 60.0  # a drill that has just begun has no lock yet
EVERY = timedelta(hours=24)
OVERDUE = timedelta(days=2)
DRILL_DAYS_MAX = 90
SPACE_FACTOR = 2  # of the log: for the copy, and for the scratch server that it is tried in
_LAST = """
SELECT occurred_at FROM events
WHERE stripe_event_id IS NULL AND topic = %s ORDER BY position DESC LIMIT 1
"""


@dataclass(frozen=True)
class Folders:
    """Where copies go: data and keys, apart."""

    data: Path
    keys: Path


def folders_of(settings: Settings, *, embedded: bool) -> Folders | None:
    """Return where copies go by themselves; None where nobody has said so."""
    if settings.backups == "off" or (settings.backups is None and not embedded):
        return None
    data = Path(settings.backups) if settings.backups else settings.home / "backups"
    keys = Path(settings.key_backups) if settings.key_backups else settings.home / "key-backups"
    return Folders(data, keys)


def clear_drills(settings: Settings, now: datetime) -> None:
    """End and remove scratch servers whose drill was killed."""
    for scratch in settings.home.glob(f"{SCRATCH}*"):
        age = now.timestamp() - scratch.stat().st_mtime
        if age > BEGINNING_SECONDS and EmbeddedServer(scratch).abandon():
            shutil.rmtree(scratch, ignore_errors=True)
            logger.warning("a drill was killed: its scratch server in %s was removed", scratch)


def drill(settings: Settings, ledger: Ledger, copy: Copy, progress: Progress) -> int:
    """Restore a copy into a server of its own and verify it; return how many events it holds.

    Of the keys it is only proven that their file opens to its end. Raises RequestInvalid saying
    what came back otherwise than it was.
    """
    make_folder(settings.home)
    scratch = Path(tempfile.mkdtemp(prefix=SCRATCH, dir=settings.home))
    keys = tuple(given_keys(settings, embedded=ledger.database.is_embedded))
    database = None
    try:
        alone = Settings(home=scratch, master_keys=keys)
        database = open_database(alone)
        migrate(database, ledger.name, lambda *_: [])
        tried = open_ledger(alone, database, ledger.name)
        # The keys stay where they are: a second copy of them would be one more to erase.
        found = restore(tried, copy.data, None, [], progress)
        require_readable(tried, copy.keys)
        tried.close()
        with database.connect(ledger.schema) as connection:
            proven = verify(connection, (), lambda done, total: progress("Verifying", done, total))
        if not proven.is_clean:
            first = proven.findings[0]
            raise RequestInvalid(f"{copy.data}: {first.kind} at {first.position}: {first.detail}.")
        if found.events != copy.events:
            raise RequestInvalid(f"{copy.data} holds {found.events} events of {copy.events}.")
        return found.events
    finally:
        if database is not None:
            database.close()
        shutil.rmtree(scratch, ignore_errors=True)


def back_up(
    settings: Settings,
    ledger: Ledger,
    folders: Folders,
    progress: Progress = lambda stage, done, total: None,
    *,
    verified: bool = True,
) -> tuple[Copy, Sequence[Path]]:
    """Copy a ledger, try the copy, remove what is too old; return the copy and what was removed."""
    clear_drills(settings, ledger.clock.now())
    _require_space(ledger, folders.data)
    removed: list[Path] = []
    try:
        copy = copy_ledger(ledger, folders.data, folders.keys, progress)
        if verified:
            drill(settings, ledger, copy, progress)
            note_verified(ledger, copy)
    finally:
        now = ledger.clock.now().astimezone(UTC)
        removed += remove_old(ledger.name, folders.data, folders.keys, now)
    return copy, removed


def note_verified(ledger: Ledger, copy: Copy) -> None:
    """Record that a copy was restored and verified."""
    data = {
        "type": "backup.verified",
        "file": copy.data.name,
        "made_at": copy.made_at.isoformat(),
        "until": copy.events,
        "bytes": copy.data.stat().st_size,
    }
    event = NewEvent(
        ACCOUNT_STREAM, Account.BackupVerified.TOPIC, ledger.clock.now(), msgspec.json.encode(data)
    )
    with ledger.pool.connection() as connection:
        Log(connection).append([event])
    ledger.announce()


def last_noted(connection: Connection, topic: str) -> datetime | None:
    """Return when an event of ours was last recorded, None if never."""
    row = connection.execute(_LAST.encode(), [topic]).fetchone()
    return row[0] if row else None


def last_verified(connection: Connection) -> datetime | None:
    """Return when a copy was last restored and verified."""
    return last_noted(connection, Account.BackupVerified.TOPIC)


def keep_backed_up(settings: Settings, ledger: Ledger) -> bool:
    """Copy a ledger if that was not done for a day: a periodic job. Return whether it was."""
    folders = folders_of(settings, embedded=ledger.database.is_embedded)
    if folders is None or ledger.settings.is_demo:
        return False
    with ledger.pool.connection() as connection:
        if not Log(connection).last_position():
            return False
    now = ledger.clock.now().astimezone(UTC)
    newest = copies_in(folders.data, ledger.name, DATA)[:1]
    if newest and now - newest[0][0] < EVERY:
        return False
    copy, _ = back_up(settings, ledger, folders)
    logger.info("%s: %d events were copied to %s and verified", ledger.name, copy.events, copy.data)
    return True


def keep_keys(settings: Settings, ledger: Ledger) -> None:
    """Write down beside copies of keys who is erased, and remove those too old: a periodic job."""
    clear_drills(settings, ledger.clock.now())
    write_registers(ledger)
    for folder in key_folders(ledger):
        if folder.is_dir():
            remove_old_keys(ledger.name, folder, ledger.clock.now().astimezone(UTC))


def _require_space(ledger: Ledger, folder: Path) -> None:
    make_folder(folder)
    with ledger.pool.connection() as connection:
        row = connection.execute("SELECT pg_total_relation_size('events')").fetchone()
    needed, free = SPACE_FACTOR * (int(row[0]) if row else 0), shutil.disk_usage(folder).free
    if free < needed:
        raise RequestInvalid(
            f"{folder} has {free >> 20} MB free; a copy, and trying it, want {needed >> 20} MB."
            " Nothing was written: LEDGER_BACKUPS names another folder."
        )
