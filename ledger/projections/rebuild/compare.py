"""Whether two generations of the same tables hold the same rows, and where they do not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

Connection = psycopg.Connection[tuple[Any, ...]]

DIFFERENCES_MAX = 20
SHOWN_MAX = 200  # characters of a row: its key comes first

_CHECKSUM = """
SELECT count(*), coalesce(sum(hashtextextended(r::text, 0)::numeric), 0) FROM {table} AS r
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
    connection: Connection, tables: Sequence[str], old: str, new: str
) -> list[Difference]:
    """Return the tables that differ between two schemas: by row checksums, then row by row."""
    found = []
    for table in tables:
        names = {"old": sql.Identifier(old, table), "new": sql.Identifier(new, table)}
        sums = [
            connection.execute(sql.SQL(_CHECKSUM).format(table=name)).fetchone()
            for name in names.values()
        ]
        if sums[0] == sums[1]:
            continue
        query = sql.SQL(_DIFFERENCES).format(
            **names, limit=sql.Literal(DIFFERENCES_MAX // 2), width=sql.Literal(SHOWN_MAX)
        )
        examples = [row[0] for row in connection.execute(query).fetchall()]
        counts = [row[0] if row else 0 for row in sums]
        found.append(Difference(table, counts[0], counts[1], examples))
    return found
