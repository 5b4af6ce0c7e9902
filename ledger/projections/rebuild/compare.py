"""Whether two generations of the same tables hold the same rows, and where they do not."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

Connection = psycopg.Connection[tuple[Any, ...]]

DIFFERENCES_MAX = 20
SHOWN_MAX = 200  # characters of a row: its key comes first

_CHECKSUM = """
SELECT count(*), coalesce(sum(hash_record_extended(r, 0)::numeric), 0) FROM {table} AS r
"""
_DIFFERENCES = """
SELECT 'only before: ' || left(old::text, {width}) FROM (
    SELECT * FROM {old} EXCEPT ALL SELECT * FROM {new} ORDER BY 1 LIMIT {limit}
) AS old
UNION ALL
SELECT 'only now: ' || left(new::text, {width}) FROM (
    SELECT * FROM {new} EXCEPT ALL SELECT * FROM {old} ORDER BY 1 LIMIT {limit}
) AS new
"""


@dataclass(frozen=True)
class Difference:
    """A table whose two generations disagree, and some of the rows, old before new."""

    table: str
    old_rows: int
    new_rows: int
    examples: list[str]


def differences(
    old: tuple[Connection, str], new: tuple[Connection, str], tables: Sequence[str]
) -> list[Difference]:
    """Return the tables that differ between two schemas: by row checksums, then row by row.

    Each schema is read over a connection of its own, both at the same time.
    """
    found = []
    with ThreadPoolExecutor(2) as pool:
        for table in tables:
            names = [sql.Identifier(schema, table) for _, schema in (old, new)]
            before, now = pool.map(_checksum, [old[0], new[0]], names)
            if before == now:
                continue
            query = sql.SQL(_DIFFERENCES).format(
                old=names[0],
                new=names[1],
                limit=sql.Literal(DIFFERENCES_MAX // 2),
                width=sql.Literal(SHOWN_MAX),
            )
            examples = [row[0] for row in old[0].execute(query).fetchall()]
            found.append(Difference(table, before[0], now[0], examples))
    return found


def _checksum(connection: Connection, table: sql.Identifier) -> tuple[int, Any]:
    row = connection.execute(sql.SQL(_CHECKSUM).format(table=table)).fetchone()
    assert row is not None
    return row[0], row[1]
