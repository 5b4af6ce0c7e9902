"""Forgetting a person for good: the keys are destroyed, then their last copies on disk are removed.

Once the key is a tombstone nothing of the person can be read through PostgreSQL. Until the purge
the old row still lies in the table's file and in the write-ahead log, so that an erasure counts as
done only after it: VACUUM FULL writes the table of keys anew, two checkpoints around a switch of
the log let the server give the old files up.
"""

from __future__ import annotations

import logging
import time
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
from ledger.projections.generations import Generation, on_path

logger = logging.getLogger("ledger.subjects.erasure")

# Only a purge that the server refused no part of counts; it tells how far the views were, which
# trace objects to whoever is erased, and up to which erasure it went.
_PURGED = """
SELECT coalesce(max((data ->> 'erased_until')::timestamptz), '-infinity') AS until,
    coalesce(max((data ->> 'until')::bigint), 0) AS position
FROM events
WHERE stripe_event_id IS NULL AND topic = %(purged)s AND data -> 'lacking' = '[]'
"""
_PENDING = f"""
SELECT subject FROM subject_keys, ({_PURGED}) AS purged
WHERE wrapped_key IS NULL AND erased_at > purged.until
UNION SELECT customer_id FROM events AS e, ({_PURGED}) AS purged
WHERE topic = %(erased)s AND stripe_event_id IS NULL AND e.position > purged.position
ORDER BY 1
"""  # noqa: S608 — constants of ours
# Also keys of objects that are traced to somebody: some are, by what comes later.
_ERASED = f"""
SELECT e.customer_id, e.position, e.occurred_at, e.position <= purged.position AND NOT EXISTS (
    SELECT FROM subject_keys AS k
    WHERE (k.subject = e.customer_id OR k.subject IN (
        SELECT object_id FROM owners WHERE customer_id = e.customer_id
    )) AND (k.wrapped_key IS NOT NULL OR k.erased_at > purged.until)
)
FROM events AS e, ({_PURGED}) AS purged
WHERE e.topic = %(erased)s AND e.stripe_event_id IS NULL
    AND (%(before)s::bigint IS NULL OR e.position < %(before)s)
ORDER BY e.position DESC LIMIT %(limit)s
"""  # noqa: S608 — constants of ours
_GIVEN = {"erased": Customer.CustomerErased.TOPIC, "purged": Account.KeysPurged.TOPIC}
# Whose snapshot is from before: VACUUM FULL keeps for them what they could still see.
_OLDER = """
SELECT (SELECT count(*) FROM pg_stat_activity
        WHERE pid <> pg_backend_pid() AND age(backend_xmin) >= age(%(mine)s::xid))
    + (SELECT count(*) FROM pg_replication_slots
        WHERE greatest(age(xmin), age(catalog_xmin)) >= age(%(mine)s::xid))
    + (SELECT count(*) FROM pg_prepared_xacts WHERE age(transaction) >= age(%(mine)s::xid))
"""
_SEES_ALL = "SELECT pg_has_role(current_user, 'pg_read_all_stats', 'USAGE')"
# What keeps write-ahead log beyond the next checkpoint, and copies of it elsewhere.
_KEEPS_LOG = {
    "the write-ahead log, of which wal_keep_size keeps some": (
        "SELECT current_setting('wal_keep_size') <> '0'"
    ),
    "the write-ahead log that replication slots keep": (
        "SELECT EXISTS (SELECT FROM pg_replication_slots)"
    ),
    "standby servers": "SELECT EXISTS (SELECT FROM pg_stat_replication)",
    "the archive of the write-ahead log, which keeps what it has": (
        "SELECT current_setting('archive_mode') <> 'off'"
    ),
}
TABLES = ("subject_keys", "idempotency_keys")
SNAPSHOTS_SECONDS = 30.0
LOOK_AGAIN_SECONDS = 0.2


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
    """Return whose keys were erased, but are not purged yet."""
    return [row[0] for row in connection.execute(_PENDING.encode(), _GIVEN).fetchall()]


def purge(ledger: Ledger) -> Purge:
    """Remove what is left of erased keys in the server's files; an event says that it was done.

    What the views have not seen yet may be of somebody erased: an erasure counts as done when they
    have. It waits for transactions that could still see the keys. It needs the owner of the tables,
    and to remove old log files a superuser. Where the server refuses a part, that is named, it does
    not count as done, and it is tried again (see docs/privacy.md).
    """
    with ledger.pool.connection() as connection:
        row = connection.execute("SELECT min(position) FROM bookmarks").fetchone()
        until = int(row[0]) if row and row[0] else 0
    lacking: list[str] = []
    with ledger.database.connect_as_owner() as owner:
        on_path(owner, Generation(ledger.schema, ledger.schema), local=False)
        last = owner.execute("SELECT max(erased_at) FROM subject_keys").fetchone()
        erased_until = last[0] if last else None
        _wait_for_snapshots(owner, lacking)
        for table in TABLES:
            # Without ANALYZE: it would copy some of the keys into the statistics.
            owner.execute(sql.SQL("VACUUM (FULL) {}").format(sql.Identifier(table)))
        _forget_statistics(owner, lacking)
        _remove_old_log(owner, lacking)
        for what, query in _KEEPS_LOG.items():
            found = owner.execute(query.encode()).fetchone()
            if found and found[0]:
                lacking.append(what)
    data = {
        "type": "keys.purged",
        "until": until,
        "erased_until": erased_until.isoformat() if erased_until else None,
        "lacking": lacking,
    }
    event = NewEvent(
        ACCOUNT_STREAM,
        Account.KeysPurged.TOPIC,
        ledger.clock.now(),
        msgspec.json.encode(data),
    )
    with ledger.pool.connection() as connection:
        Log(connection).append([event])
    ledger.announce()
    return Purge(until, tuple(lacking))


def _wait_for_snapshots(owner: Connection, lacking: list[str]) -> None:
    """Wait until nobody can see any more what was erased before now."""
    sees = owner.execute(_SEES_ALL).fetchone()
    if not (sees and sees[0]):
        lacking.append("the table itself, as far as transactions of others could see it")
        return
    mine = owner.execute("SELECT pg_current_xact_id()::xid::text").fetchone()
    give_up_at = time.monotonic() + SNAPSHOTS_SECONDS
    while True:
        found = owner.execute(_OLDER, {"mine": mine[0] if mine else None}).fetchone()
        if not (found and found[0]):
            return
        if time.monotonic() >= give_up_at:
            lacking.append("the table itself, for a transaction from before is still open")
            return
        time.sleep(LOOK_AGAIN_SECONDS)


def _forget_statistics(owner: Connection, lacking: list[str]) -> None:
    """Remove what an ANALYZE of an earlier release has copied of the keys into the catalogue."""
    try:
        with owner.transaction():
            owner.execute(
                "DELETE FROM pg_statistic WHERE starelid = 'subject_keys'::regclass"
                " AND staattnum = (SELECT attnum FROM pg_attribute"
                " WHERE attrelid = 'subject_keys'::regclass AND attname = 'wrapped_key')"
            )
        owner.execute("VACUUM (FULL) pg_catalog.pg_statistic")
    except errors.InsufficientPrivilege:
        kept = owner.execute(
            "SELECT EXISTS (SELECT FROM pg_stats WHERE schemaname = current_schema()"
            " AND tablename = 'subject_keys' AND attname = 'wrapped_key')"
        ).fetchone()
        if kept and kept[0]:
            lacking.append("statistics of the table (a superuser removes them)")


def keep_purged(ledger: Ledger) -> None:
    """Purge if somebody was erased since the last time: a periodic job."""
    with ledger.pool.connection() as connection:
        waiting = pending(connection)
    if not waiting:
        return
    found = purge(ledger)
    for what in found.lacking:
        logger.warning("%d erased keys may be left in %s", len(waiting), what)


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
