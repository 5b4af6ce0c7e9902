"""What a rebuild will take: events, disk, time; and what it is cut into."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from ledger.errors import LedgerError, RequestInvalid
from ledger.projections.generations import Generation, position_of
from ledger.projections.projection import Projection
from ledger.projections.rebuild import order

Connection = psycopg.Connection[tuple[Any, ...]]

PARTS_MIN = 16  # enough for every worker to have something to do until the end
PART_POSITIONS = 20_000
SPACE_FACTOR = 1.3  # what must be free, of what is needed
TABLES_PER_LOG_BYTE = 0.5  # where there is no former generation to go by
EVENTS_PER_SECOND = 15_000  # a first guess; the bar shows what it really is


class DiskTooFull(LedgerError):
    """There is not enough space for a second set of read models."""


@dataclass(frozen=True)
class Plan:
    """A rebuild of one projection up to position `target`; sizes in bytes."""

    target: int
    tables_bytes: int
    free_bytes: int | None

    @property
    def parts(self) -> int:
        """How many parts the log is cut into."""
        return min(max(PARTS_MIN, -(-self.target // PART_POSITIONS)), self.target)

    @property
    def needed_bytes(self) -> int:
        """Disk that is in use until the rebuild is done, beside what is in use now."""
        return self.target * order.BYTES_PER_EVENT + self.tables_bytes

    @property
    def seconds(self) -> float:
        """Roughly how long it takes on two cores."""
        return self.target / EVENTS_PER_SECOND

    def require_space(self, folder: Path) -> None:
        """Raise DiskTooFull if less than 1.3 times the needed space is known to be free."""
        if self.free_bytes is not None and self.free_bytes < SPACE_FACTOR * self.needed_bytes:
            raise DiskTooFull(
                f"A rebuild needs {_megabytes(self.needed_bytes)} for a while and wants"
                f" {SPACE_FACTOR} times that free; {folder} has {_megabytes(self.free_bytes)}."
                " Nothing was changed: free some space, or move LEDGER_HOME."
            )


def plan_of(
    connection: Connection, live: Generation, projection: type[Projection], folder: Path | None
) -> Plan:
    """Return what rebuilding takes: up to the log's present end, or as far as what it follows is.

    `folder` is where the database's own files are, None where they are elsewhere: then nobody
    knows what is free.
    """
    target = _target(connection, live, projection)
    existing = _number(
        connection,
        "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0) FROM pg_class AS c"
        " JOIN bookmarks AS b ON c.relname = ANY (b.relations)"
        " WHERE c.relnamespace = %s::regnamespace AND c.relkind = 'r'"
        " AND b.projection = %s AND b.position > 0",
        [live.schema, projection.name],
    )
    log = _number(connection, "SELECT pg_total_relation_size('events')")
    free = shutil.disk_usage(folder).free if folder else None
    return Plan(target, existing or int(log * TABLES_PER_LOG_BYTE), free)


def _target(connection: Connection, live: Generation, projection: type[Projection]) -> int:
    last = _number(connection, "SELECT coalesce(max(position), 0) FROM events")
    followed = projection.follows
    if followed is None or not last:
        return last
    position = position_of(connection, live, followed)
    if position is None:
        raise RequestInvalid(
            f"The tables of {followed.name}, which {projection.name} follows, are not of this"
            f" release: `ledger rebuild {followed.name}` first."
        )
    return position


def part_bounds(target: int, parts: int) -> list[tuple[int, int]]:
    """Return the (after, until] ranges of positions that the log is cut into."""
    size = -(-target // parts)
    return [(after, min(after + size, target)) for after in range(0, target, size)]


def _megabytes(count: float) -> str:
    return f"{count / 1e6:,.0f} MB"


def _number(connection: Connection, query: str, parameters: Sequence[Any] = ()) -> int:
    row = connection.execute(query.encode(), parameters).fetchone()
    assert row is not None
    return int(row[0])
