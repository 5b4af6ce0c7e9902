"""The log sorted by what belongs together: files of raw rows, one per part of all objects.

A bulk load needs all facts about an object at once, and the log has them in the order of arrival.
Reading the log again for each part would cost the square of its size; so it is read once, and its
rows, undecoded and without the encrypted column, are laid into files by a checksum of the object's
id. What lies there is what PostgreSQL holds in the clear anyway; the folder is 0700.
"""

from __future__ import annotations

import secrets
import shutil
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from struct import Struct
from typing import Any
from zlib import crc32

import msgspec
import psycopg

from ledger.database import wire
from ledger.log import RecordedEvent

# What a row belongs to comes first, then what is of fixed length, so that both are read at once.
_COLUMNS = (
    "object_id, position, version, occurred_at, recorded_at, stream, topic, customer_id,"
    " stripe_event_id, correlation_id, causation_id, data"
)
_NUMBERS = Struct("!iqiqiqiq").unpack_from  # each behind its length
_NUMBERS_BYTES = 48
_LENGTH = Struct("!i")
_BUFFER_BYTES = 16_000_000
_decode = msgspec.json.Decoder().decode


class Spill:
    """The files of one rebuild: `chunk` by chunk of the log, in each one file per part."""

    def __init__(self, folder: Path, parts: int) -> None:
        self.folder = folder
        self.parts = parts

    def has(self, chunk: int) -> bool:
        """Return whether this chunk of the log was sorted to its end."""
        return self._chunk(chunk).is_dir()

    def write(
        self, connection: psycopg.Connection[tuple[Any, ...]], chunk: int, after: int, until: int
    ) -> None:
        """Sort the events of (after, until] into the parts, unless that is done."""
        if self.has(chunk):
            return
        # A name of its own: a worker of a rebuild that was killed may still be at the same chunk.
        unfinished = self.folder / f"{chunk}.{secrets.token_hex(4)}"
        unfinished.mkdir(parents=True, mode=0o700)
        buffers: dict[int, list[bytes]] = defaultdict(list)
        size = 0
        statement = (
            f"COPY (SELECT {_COLUMNS} FROM events"  # noqa: S608 — numbers and names of ours
            f" WHERE position > {after:d} AND position <= {until:d}) TO STDOUT (FORMAT binary)"
        )
        for row in wire.copy_out(connection, statement.encode()):
            part = crc32(_key_of(row)) % self.parts
            buffers[part] += (_LENGTH.pack(len(row)), bytes(row))
            size += len(row)
            if size > _BUFFER_BYTES:
                _flush(unfinished, buffers)
                size = 0
        _flush(unfinished, buffers)
        try:
            unfinished.rename(self._chunk(chunk))
        except OSError:
            if not self.has(chunk):
                raise
            shutil.rmtree(unfinished)

    def read(self, part: int, events_max: int) -> Iterator[list[RecordedEvent]]:
        """Yield the events of a part in batches that hold all facts about their objects."""
        by_key: dict[bytes, list[memoryview]] = defaultdict(list)
        for path in sorted(self.folder.glob(f"*.chunk/{part}")):
            content = memoryview(path.read_bytes())
            at = 0
            while at < len(content):
                (length,) = _LENGTH.unpack_from(content, at)
                row = content[at + 4 : at + 4 + length]
                by_key[_key_of(row)].append(row)
                at += 4 + length
        batch: list[RecordedEvent] = []
        for rows in by_key.values():
            batch += map(_event, rows)
            if len(batch) >= events_max:
                yield batch
                batch = []
        if batch:
            yield batch

    def forget(self, part: int) -> None:
        """Remove the files of a part that was loaded."""
        for path in self.folder.glob(f"*.chunk/{part}"):
            path.unlink(missing_ok=True)

    def _chunk(self, chunk: int) -> Path:
        return self.folder / f"{chunk}.chunk"


def _key_of(row: bytes | memoryview) -> bytes:
    """Return what a row belongs to: its object, or itself where it is about none."""
    (length,) = _LENGTH.unpack_from(row, 2)
    return bytes(row[6 : 6 + length]) if length > 0 else bytes(row[10:18])


def _flush(folder: Path, buffers: dict[int, list[bytes]]) -> None:
    for part, pieces in buffers.items():
        with (folder / str(part)).open("ab") as file:
            file.write(b"".join(pieces))
    buffers.clear()


def _event(row: memoryview) -> RecordedEvent:
    (length,) = _LENGTH.unpack_from(row, 2)
    at = 6 + max(length, 0)
    object_id = str(row[6:at], "utf-8") if length >= 0 else None
    _, position, _, version, _, occurred, _, recorded = _NUMBERS(row, at)
    at += _NUMBERS_BYTES
    texts: list[Any] = []
    for _ in range(6):
        (length,) = _LENGTH.unpack_from(row, at)
        at += 4
        if length < 0:
            texts.append(None)
        else:
            texts.append(str(row[at : at + length], "utf-8"))
            at += length
    stream, topic, customer_id, stripe_event_id, correlation_id, causation_id = texts
    return RecordedEvent(
        position,
        stream,
        version,
        topic,
        customer_id,
        object_id,
        stripe_event_id,
        wire.as_instant(occurred),
        wire.as_instant(recorded),
        correlation_id,
        causation_id,
        _decode(row[at + 5 :]),  # behind its length and the version of jsonb's format
        None,
    )
