"""What is due: rows of a stream, replaced whenever the stream goes on."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from ledger.projections.projection import Connection

_FORGET = "DELETE FROM agenda WHERE stream = %s"
_DUE = "INSERT INTO agenda (stream, item, kind, due_at) VALUES (%s, %s, %s, %s)"


def write_agenda(
    connection: Connection, stream: str, kind: str, due: Iterable[tuple[str, datetime]]
) -> None:
    """Let these items of a stream be due, and no others."""
    connection.execute(_FORGET, [stream])
    with connection.cursor() as cursor:
        cursor.executemany(_DUE, [(stream, item, kind, at) for item, at in due])
