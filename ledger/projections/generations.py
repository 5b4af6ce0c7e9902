"""Generations of a projection's tables: live in the ledger's schema, next and former beside it.

Names without a schema find what they mean by the search path: a connection with the path of the
next generation writes there, with everything else unchanged. Bookmark and faults go with the
tables.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import errors, sql

from ledger.database import RUNTIME_ROLE
from ledger.errors import LedgerError
from ledger.projections import bi

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ledger.application import Ledger
    from ledger.projections.projection import Projection

Connection = psycopg.Connection[tuple[Any, ...]]

_BESIDE = """
CREATE TABLE {schema}.bookmarks (LIKE {live}.bookmarks INCLUDING ALL);
CREATE TABLE {schema}.projection_faults (LIKE {live}.projection_faults INCLUDING ALL);
"""
SWAP_LOCK_MS = 200
SWAP_PAUSE_SECONDS = 0.5
SWAP_TRIES = 120


class RebuildRunning(LedgerError):
    """Somebody is rebuilding this projection already."""


@dataclass(frozen=True)
class Generation:
    """Where a generation of one ledger's tables lives."""

    schema: str
    live: str

    @property
    def search_path(self) -> str:
        """The search path on which its tables, and the log, are found."""
        return self.schema if self.schema == self.live else f"{self.schema},{self.live}"


def live(ledger: Ledger) -> Generation:
    """Return the generation that is read."""
    return Generation(ledger.schema, ledger.schema)


def following(ledger: Ledger, projection: type[Projection]) -> Generation:
    """Return the generation that is being made."""
    return Generation(f"next_{projection.name}_{ledger.schema}", ledger.schema)


def former(ledger: Ledger, projection: type[Projection]) -> Generation:
    """Return the generation that was read before."""
    return Generation(f"former_{projection.name}_{ledger.schema}", ledger.schema)


@contextmanager
def alone(owner: Connection, ledger: Ledger, projection: type[Projection]) -> Iterator[None]:
    """Be the only one who makes or swaps generations of a projection.

    Raises RebuildRunning if somebody else does.
    """
    lock = [f"generations of {projection.name} in {ledger.schema}"]
    taken = owner.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", lock).fetchone()
    if not (taken and taken[0]):
        raise RebuildRunning(
            f"The projection {projection.name} of ledger {ledger.name!r} is being rebuilt by"
            " another process; wait for it, or stop that one."
        )
    try:
        yield
    finally:
        if not owner.closed:
            owner.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 0))", lock)


def version_of(connection: Connection, generation: Generation, name: str) -> int | None:
    """Return which version of a projection made the tables there, or None if there are none."""
    there = connection.execute(
        "SELECT to_regclass(%s)", [f'"{generation.schema}".bookmarks']
    ).fetchone()
    if there is None or there[0] is None:
        return None
    row = connection.execute(
        sql.SQL("SELECT version FROM {}.bookmarks WHERE projection = %s").format(
            sql.Identifier(generation.schema)
        ),
        [name],
    ).fetchone()
    return row[0] if row else None


def position_of(
    connection: Connection, generation: Generation, projection: type[Projection]
) -> int | None:
    """Return how far the tables there are, or None if they are of another version."""
    row = connection.execute(
        sql.SQL("SELECT position FROM {} WHERE projection = %s AND version = %s").format(
            sql.Identifier(generation.schema, "bookmarks")
        ),
        [projection.name, projection.version],
    ).fetchone()
    return row[0] if row else None


def has_rows_of(
    connection: Connection, generation: Generation, projection: type[Projection]
) -> bool:
    """Return whether something was projected there by this version."""
    row = connection.execute(
        sql.SQL(
            "SELECT EXISTS (SELECT FROM {}.bookmarks"
            " WHERE projection = %s AND version = %s AND position > 0)"
        ).format(sql.Identifier(generation.schema)),
        [projection.name, projection.version],
    ).fetchone()
    return bool(row and row[0])


def ensure_live(
    owner: Connection, schema: str, projections: Iterable[type[Projection]]
) -> list[str]:
    """Make the tables of projections that a ledger has none of, empty, to start at the log's
    beginning; return their names. What another version made stays: that is for a rebuild.
    """
    generation = Generation(schema, schema)
    made = []
    for projection in projections:
        if version_of(owner, generation, projection.name) is None:
            with owner.transaction():
                make_tables(owner, generation, projection)
                make_indexes(owner, generation, projection)
            made.append(f"{schema}: tables of {projection.name}")
    return made


def make(owner: Connection, generation: Generation, projection: type[Projection]) -> None:
    """Make a generation anew, without indexes and with its bookmark at 0."""
    with owner.transaction():
        _make_beside(owner, generation)
        make_tables(owner, generation, projection)


def drop(owner: Connection, generation: Generation) -> None:
    """Remove a generation that is not live."""
    assert generation.schema != generation.live
    owner.execute("SET LOCAL client_min_messages = warning")
    owner.execute(
        sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(generation.schema))
    )


def make_tables(owner: Connection, generation: Generation, projection: type[Projection]) -> None:
    """Make a projection's tables and its bookmark."""
    with owner.transaction():
        on_path(owner, generation)
        for statement in projection.statements("tables.sql"):
            owner.execute(statement.encode())
        owner.execute(
            "INSERT INTO bookmarks (projection, position, version, relations)"
            " VALUES (%s, 0, %s, %s)",
            [projection.name, projection.version, [*projection.tables, *projection.views]],
        )
        grant(owner, generation, (*projection.tables, *projection.views))


def make_indexes(owner: Connection, generation: Generation, projection: type[Projection]) -> None:
    """Make a projection's indexes."""
    with owner.transaction():
        on_path(owner, generation)
        for statement in projection.statements("indexes.sql"):
            owner.execute(statement.encode())


def on_path(owner: Connection, generation: Generation, *, local: bool = True) -> None:
    """Let names mean this generation's tables until the transaction ends; or from now on."""
    owner.execute(
        "SELECT set_config('search_path', %s, %s)", [f"{generation.search_path}, pg_temp", local]
    )


def grant(owner: Connection, generation: Generation, names: Iterable[str]) -> None:
    """Let the runtime role read and write these tables."""
    owner.execute(
        sql.SQL("GRANT SELECT, INSERT, UPDATE, DELETE ON {} TO {}").format(
            sql.SQL(", ").join(sql.Identifier(generation.schema, name) for name in names),
            sql.Identifier(RUNTIME_ROLE),
        )
    )


def swap(
    owner: Connection, projection: type[Projection], coming: Generation, going: Generation
) -> None:
    """Make the coming generation live, and what was live the going one: within a transaction.

    A schema is only a name that tables bear: nothing is copied, and readers see either all of
    the old ones or all of the new ones.
    """
    live_schema = Generation(coming.live, coming.live)
    name = projection.name
    aside = Generation(f"aside_{name}_{coming.live}", coming.live)
    _make_beside(owner, aside)
    if version_of(owner, live_schema, name) is not None:
        _move(owner, projection, live_schema, aside)
    _move(owner, projection, coming, live_schema)
    drop(owner, coming)
    if going.schema != coming.schema:
        drop(owner, going)
    owner.execute(
        sql.SQL("ALTER SCHEMA {} RENAME TO {}").format(
            sql.Identifier(aside.schema), sql.Identifier(going.schema)
        )
    )
    bi.make_views(owner, coming.live)


def _make_beside(owner: Connection, generation: Generation) -> None:
    """Make an empty schema with a place for bookmarks and faults."""
    drop(owner, generation)
    schema = sql.Identifier(generation.schema)
    owner.execute(sql.SQL("CREATE SCHEMA {}").format(schema))
    owner.execute(
        sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(schema, sql.Identifier(RUNTIME_ROLE))
    )
    owner.execute(sql.SQL(_BESIDE).format(schema=schema, live=sql.Identifier(generation.live)))
    grant(owner, generation, ("bookmarks", "projection_faults"))


def _move(
    owner: Connection, projection: type[Projection], source: Generation, target: Generation
) -> None:
    """Move all relations of a projection; another version may have had others than this one."""
    row = owner.execute(
        sql.SQL("SELECT relations FROM {} WHERE projection = %s").format(
            sql.Identifier(source.schema, "bookmarks")
        ),
        [projection.name],
    ).fetchone()
    assert row is not None
    for name in row[0]:
        owner.execute(
            sql.SQL("ALTER TABLE {} SET SCHEMA {}").format(
                sql.Identifier(source.schema, name), sql.Identifier(target.schema)
            )
        )
    for table in ("bookmarks", "projection_faults"):
        owner.execute(
            sql.SQL(
                "WITH moved AS (DELETE FROM {source} WHERE projection = %s RETURNING *)"
                " INSERT INTO {target} SELECT * FROM moved"
            ).format(
                source=sql.Identifier(source.schema, table),
                target=sql.Identifier(target.schema, table),
            ),
            [projection.name],
        )


def patiently(owner: Connection, work: Callable[[Connection], None]) -> None:
    """Try until the locks are free; in between, whoever waited behind this one gets his turn."""
    for left in reversed(range(SWAP_TRIES)):
        try:
            with owner.transaction():
                owner.execute(f"SET LOCAL lock_timeout = '{SWAP_LOCK_MS}ms'")
                work(owner)
        except errors.LockNotAvailable:
            if not left:
                raise
            time.sleep(SWAP_PAUSE_SECONDS)
        else:
            return
