"""What a rebuild will take: events, disk, time; and what it is cut into."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from ledger.errors import LedgerError
from ledger.projections.generations import Generation
from ledger.projections.projection import Projection

Connection = psycopg.Connection[tuple[Any, ...]]

CHUNKS = 16
PART_BYTES = 40_000_000  # a worker holds one part of raw rows at a time
SAMPLED = 1000
SPACE_FACTOR = 1.3  # what must be free, of what is needed
TABLES_PER_LOG_BYTE = 0.5  # where there is no former generation to go by
EVENTS_PER_SECOND = 12_000  # a first guess; the bar shows what it really is


class DiskTooFull(LedgerError):
    """There is not enough space for a second set of read models."""


@dataclass(frozen=True)
class Plan:
    """A rebuild of one projection up to position `target`; sizes in bytes."""

    target: int
    spill_bytes: int
    tables_bytes: int
    free_bytes: int | None

    @property
    def parts(self) -> int:
        """How many parts the objects are dealt into."""
        return max(1, -(-self.spill_bytes // PART_BYTES))

    @property
    def needed_bytes(self) -> int:
        """Disk that is in use until the rebuild is done, beside what is in use now."""
        return self.spill_bytes + self.tables_bytes

    @property
    def seconds(self) -> float:
        """Roughly how long it takes on two cores."""
        return self.target / EVENTS_PER_SECOND

    def require_space(self, folder: Path) -> None:
        """Raise DiskTooFull if less than 1.3 times the needed space is free."""
        if self.free_bytes is None:
            free, needed = shutil.disk_usage(folder).free, self.spill_bytes
        else:
            free, needed = self.free_bytes, self.needed_bytes
        if free < SPACE_FACTOR * needed:
            raise DiskTooFull(
                f"A rebuild needs {_megabytes(needed)} for a while and wants"
                f" {SPACE_FACTOR} times that free; {folder} has {_megabytes(free)}. Nothing was"
                " changed: free some space, or move LEDGER_HOME."
            )


def plan_of(
    connection: Connection, live: Generation, projection: type[Projection], folder: Path | None
) -> Plan:
    """Return what rebuilding up to the log's present end takes.

    `folder` is where the database's own files are, None where they are elsewhere: then free
    space is known of the sorted files only.
    """
    target = _number(connection, "SELECT coalesce(max(position), 0) FROM events")
    step = max(1, target // SAMPLED)
    width = _number(
        connection,
        "SELECT coalesce(ceil(avg(octet_length(data::text) + 200)), 0) FROM events"
        " WHERE position = ANY (ARRAY(SELECT generate_series(1, %s::bigint, %s::bigint)))",
        [target, step],
    )
    spill = target * width
    existing = _number(
        connection,
        "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0) FROM pg_class AS c"
        " JOIN bookmarks AS b ON c.relname = ANY (b.relations)"
        " WHERE c.relnamespace = %s::regnamespace AND c.relkind = 'r'"
        " AND b.projection = %s AND b.position > 0",
        [live.schema, projection.name],
    )
    tables = existing or int(spill * TABLES_PER_LOG_BYTE)
    free = shutil.disk_usage(folder).free if folder else None
    return Plan(target, spill, tables, free)


def chunk_bounds(target: int) -> list[tuple[int, int]]:
    """Return the (after, until] ranges of positions in which the log is read."""
    size = max(1, -(-target // CHUNKS))
    return [(after, min(after + size, target)) for after in range(0, target, size)]


def _megabytes(count: float) -> str:
    return f"{count / 1e6:,.0f} MB"


def _number(connection: Connection, query: str, parameters: Sequence[Any] = ()) -> int:
    row = connection.execute(query.encode(), parameters).fetchone()
    assert row is not None
    return int(row[0])
