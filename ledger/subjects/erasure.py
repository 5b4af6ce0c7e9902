"""Forgetting a person for good: the keys are destroyed, then their last copies on disk are removed.

Once the key is a tombstone nothing of the person can be read through PostgreSQL. Until the purge
the old row still lies in the table's file and in the write-ahead log, so that an erasure counts as
done only after it: VACUUM FULL writes the table of keys anew, two checkpoints around a switch of
the log let the server give the old files up.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime

import msgspec
import psycopg
from psycopg import errors, sql

from ledger.aggregates import Account, Customer
from ledger.aggregates.base import ACCOUNT_STREAM
from ledger.application import Ledger
from ledger.decisions import Connection
from ledger.log import Log, NewEvent

logger = logging.getLogger("ledger.subjects.erasure")

_PENDING = """
SELECT customer_id, position, occurred_at FROM events AS e
WHERE topic = %(erased)s AND stripe_event_id IS NULL AND position > (
    SELECT coalesce(max((data ->> 'until')::bigint), 0) FROM events
    WHERE stripe_event_id IS NULL AND topic = %(purged)s
) ORDER BY position
"""
_ERASED = """
SELECT customer_id, position, occurred_at, position <= (
    SELECT coalesce(max((data ->> 'until')::bigint), 0) FROM events
    WHERE stripe_event_id IS NULL AND topic = %(purged)s
) FROM events
WHERE topic = %(erased)s AND stripe_event_id IS NULL
    AND (%(before)s::bigint IS NULL OR position < %(before)s)
ORDER BY position DESC LIMIT %(limit)s
"""
_GIVEN = {"erased": Customer.CustomerErased.TOPIC, "purged": Account.KeysPurged.TOPIC}


@dataclass(frozen=True)
class Purge:
    """What was purged: everything erased up to `until`; `lacking` is what the server refused."""

    until: int
    lacking: tuple[str, ...]

    @property
    def is_complete(self) -> bool:
        """Whether no file of the server's own holds an erased key any more."""
        return not self.lacking


@dataclass(frozen=True)
class Erasure:
    """That somebody was erased; `is_purged` once no file holds their keys any more."""

    customer_id: str
    position: int
    at: datetime
    is_purged: bool


def erasures(
    connection: Connection, *, limit: int, before: int | None = None
) -> tuple[list[Erasure], bool]:
    """Return who was erased, newest first, before a position; and whether there are more."""
    rows = connection.execute(
        _ERASED.encode(), {**_GIVEN, "before": before, "limit": limit + 1}
    ).fetchall()
    return [Erasure(*row) for row in rows[:limit]], len(rows) > limit


def pending(connection: Connection) -> list[str]:
    """Return the customers that were erased, but whose keys are not purged yet."""
    rows = connection.execute(_PENDING.encode(), _GIVEN).fetchall()
    return sorted({row[0] for row in rows})


def purge(ledger: Ledger) -> Purge:
    """Remove what is left of erased keys in the server's files; an event says that it was done.

    It needs the owner of the tables, and to remove old log files a superuser. Where the server
    refuses a part, that is named and told to whoever runs it (see docs/privacy.md).
    """
    with ledger.pool.connection() as connection:
        until = Log(connection).last_position()
    lacking: list[str] = []
    with ledger.database.connect_as_owner() as owner:
        keys = sql.Identifier(ledger.schema, "subject_keys")
        owner.execute(sql.SQL("VACUUM (FULL, ANALYZE) {}").format(keys))
        _remove_old_log(owner, lacking)
        archives = owner.execute("SHOW archive_mode").fetchone()
        if archives is not None and archives[0] != "off":
            lacking.append("the archive of the write-ahead log, which keeps what it has")
    found = Purge(until, tuple(lacking))
    data = {"type": "keys.purged", "until": until, "lacking": list(lacking)}
    event = NewEvent(
        ACCOUNT_STREAM,
        Account.KeysPurged.TOPIC,
        ledger.clock.now(),
        msgspec.json.encode(data),
    )
    with ledger.pool.connection() as connection:
        Log(connection).append([event])
    ledger.announce()
    return found


def keep_purged(ledger: Ledger) -> None:
    """Purge if somebody was erased since the last time: a periodic job."""
    with ledger.pool.connection() as connection:
        waiting = pending(connection)
    if not waiting:
        return
    found = purge(ledger)
    for what in found.lacking:
        logger.warning("the keys of %d erased customers may be left in %s", len(waiting), what)


def _remove_old_log(owner: psycopg.Connection[tuple[object, ...]], lacking: list[str]) -> None:
    """Let the server give up all log files of before now; recycled ones would keep their bytes."""
    is_recycling = False
    try:
        owner.execute("ALTER SYSTEM SET wal_recycle = off")
        owner.execute("SELECT pg_reload_conf()")
        is_recycling = True
    except errors.InsufficientPrivilege:
        lacking.append("recycled files of the write-ahead log (a superuser switches that off)")
    try:
        owner.execute("CHECKPOINT")
        owner.execute("SELECT pg_switch_wal()")
        owner.execute("CHECKPOINT")
        owner.execute("CHECKPOINT")  # now the one before is of after the switch, too
    except errors.InsufficientPrivilege:
        lacking.append("the write-ahead log until its next checkpoints")
    finally:
        if is_recycling:
            owner.execute("ALTER SYSTEM RESET wal_recycle")
            owner.execute("SELECT pg_reload_conf()")
