"""Sealed blocks: a SHA-256 chain that shows any edit, deletion or insertion in the log.

The hash of an event covers its envelope, the text that PostgreSQL prints for `data`, and the
hash of its encrypted part. A block's hash covers the hash of the block before and the hashes
of its events, which are kept so that a change is located to the event. Blocks are written by a
periodic job; what is younger is the unsealed tail, and said to be.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import psycopg

from ledger.errors import RequestInvalid
from ledger.files import replacing

BLOCK_EVENTS = 10_000
SEALING_LOCK = 1818518119
LEAF_BYTES = 32
GENESIS = b"\x00" * LEAF_BYTES

_encode = msgspec.json.Encoder().encode
READ_COLUMNS = """
    position, stream, version, topic, customer_id, object_id, stripe_event_id,
    (extract(epoch FROM occurred_at) * 1000000)::bigint,
    (extract(epoch FROM recorded_at) * 1000000)::bigint,
    correlation_id, causation_id, data::text, personal
"""
_READ = f"""
SELECT {READ_COLUMNS} FROM events WHERE position >= %s AND position <= %s ORDER BY position
"""  # noqa: S608 — a constant of ours

# One lock per ledger: its schema is part of the key.
_LOCK = f"{SEALING_LOCK}, current_schema()::regnamespace::oid::integer"

Connection = psycopg.Connection[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about the log that is not as it was sealed."""

    kind: str  # edited, deleted, inserted, seal_broken, export_differs
    position: int
    detail: str


@dataclass(frozen=True, slots=True)
class Block:
    """A sealed part of the log: events `first` to `last`; `leaves` are their hashes in a row."""

    block: int
    first: int
    last: int
    leaves: bytes
    hash: bytes


@dataclass(frozen=True, slots=True)
class Verification:
    """What was proven: everything up to `sealed_to`, and what was found to be wrong."""

    sealed_to: int
    last_position: int
    head: str
    findings: tuple[Finding, ...]

    @property
    def is_clean(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    @property
    def unsealed(self) -> int:
        """Return how many events are younger than the last block."""
        return max(0, self.last_position - self.sealed_to)


def leaf_of(row: tuple[Any, ...]) -> bytes:
    """Return the hash of one event from its columns as `_READ` selects them."""
    *envelope, data, personal = row
    box = sha256(personal).digest() if personal is not None else b""
    return sha256(_encode(envelope) + b"\x00" + data.encode() + b"\x00" + box).digest()


def block_hash(previous: bytes, first: int, last: int, leaves: bytes) -> bytes:
    """Return the hash of a block, chained to the one before."""
    return sha256(previous + f"{first}:{last}:".encode() + leaves).digest()


def seal(connection: Connection) -> int:
    """Seal what is not sealed yet; return up to which position the log is sealed now."""
    held = connection.execute(f"SELECT pg_try_advisory_lock({_LOCK})").fetchone()
    if not (held and held[0]):
        return _last_seal(connection)[1]  # another process is at it
    try:
        block, sealed_to, previous = _last_seal(connection)
        while rows := connection.execute(
            _READ, [sealed_to + 1, sealed_to + BLOCK_EVENTS]
        ).fetchall():
            # Never over a hole: what is missing would shift all that follows it.
            rows = [row for index, row in enumerate(rows) if row[0] == sealed_to + 1 + index]
            if not rows:
                break
            leaves = b"".join(map(leaf_of, rows))
            first, last = rows[0][0], rows[-1][0]
            previous = block_hash(previous, first, last, leaves)
            block += 1
            connection.execute(
                "INSERT INTO seals (block, first_position, last_position, leaves, hash)"
                " VALUES (%s, %s, %s, %s, %s)",
                [block, first, last, leaves, previous],
            )
            sealed_to = last
        return sealed_to
    finally:
        connection.execute(f"SELECT pg_advisory_unlock({_LOCK})")


def _last_seal(connection: Connection) -> tuple[int, int, bytes]:
    row = connection.execute(
        "SELECT block, last_position, hash FROM seals ORDER BY block DESC LIMIT 1"
    ).fetchone()
    return row if row else (0, 0, GENESIS)


def verify(
    connection: Connection,
    against: Iterable[dict[str, Any]] = (),
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Verification:
    """Compare the log with its seals, and the seals with an export kept elsewhere.

    `progress` is told (positions done, positions in all).
    """
    findings: list[Finding] = []
    last_position = _scalar(connection, "SELECT coalesce(max(position), 0) FROM events")
    before_first = _scalar(connection, "SELECT count(*) FROM events WHERE position < 1")
    if before_first:
        findings.append(Finding("inserted", 0, "events before the first position"))
    previous, sealed_to = GENESIS, 0
    kept: dict[int, tuple[int, str]] = {}
    for one in _seals(connection):
        findings += _compare_seal(one, previous, sealed_to)
        findings += _compare_block(connection, one)
        previous, sealed_to = one.hash, one.last
        kept[one.block] = (one.last, one.hash.hex())
        progress(sealed_to, last_position)
    findings += _gaps(connection, sealed_to)
    for seal_ in against:
        if kept.get(seal_["block"]) != (seal_["last_position"], seal_["hash"]):
            findings.append(
                Finding(
                    "export_differs",
                    seal_["first_position"],
                    f"block {seal_['block']} is not the one that was exported",
                )
            )
    progress(last_position, last_position)
    return Verification(sealed_to, last_position, previous.hex(), tuple(findings))


def blocks(connection: Connection, *, limit: int, before: int | None = None) -> list[Block]:
    """Return blocks, the last one first, from before a block on."""
    rows = connection.execute(
        "SELECT block, first_position, last_position, leaves, hash FROM seals"
        " WHERE %(before)s::bigint IS NULL OR block < %(before)s"
        " ORDER BY block DESC LIMIT %(limit)s",
        {"before": before, "limit": limit},
    ).fetchall()
    return [Block(*row) for row in rows]


def verify_block(connection: Connection, block: int) -> tuple[Block, list[Finding]] | None:
    """Compare a block with the log and with the block before it; None if there is none."""
    found = {one.block: one for one in blocks(connection, limit=2, before=block + 1)}
    one = found.get(block)
    if one is None:
        return None
    before = found.get(block - 1)
    return one, [
        *_compare_seal(one, before.hash if before else GENESIS, before.last if before else 0),
        *_compare_block(connection, one),
    ]


def _seals(connection: Connection) -> Iterator[Block]:
    after = 0
    while row := connection.execute(
        "SELECT block, first_position, last_position, leaves, hash FROM seals"
        " WHERE block > %s ORDER BY block LIMIT 1",
        [after],
    ).fetchone():
        yield Block(*row)
        after = row[0]


def _compare_seal(one: Block, previous: bytes, sealed_to: int) -> Iterator[Finding]:
    follows = one.first == sealed_to + 1
    if not follows or block_hash(previous, one.first, one.last, one.leaves) != one.hash:
        yield Finding("seal_broken", one.first, f"block {one.block} does not follow")


def _compare_block(connection: Connection, one: Block) -> Iterator[Finding]:
    sealed = {
        one.first + index: one.leaves[index * LEAF_BYTES : (index + 1) * LEAF_BYTES]
        for index in range(one.last - one.first + 1)
    }
    for row in connection.execute(_READ, [one.first, one.last]):
        position = row[0]
        expected = sealed.pop(position, None)
        if expected is None:
            yield Finding("inserted", position, "a second event at a sealed position")
        elif expected != leaf_of(row):
            yield Finding("edited", position, f"stream {row[1]}: not what was sealed")
    for position in sorted(sealed):
        yield Finding("deleted", position, "was sealed, is gone")


def _gaps(connection: Connection, sealed_to: int) -> Iterator[Finding]:
    """Find holes in the tail that is not sealed yet: positions are gapless by construction."""
    rows = connection.execute(
        "SELECT position, before FROM ("
        " SELECT position, lag(position, 1, %(from)s) OVER (ORDER BY position) AS before"
        " FROM events WHERE position > %(from)s) AS tail WHERE position <> before + 1",
        {"from": sealed_to},
    ).fetchall()
    for position, before in rows:
        if position - before > 1:
            yield Finding(
                "deleted", before + 1, f"unsealed: {before + 1} to {position - 1} are missing, or "
                f"{position} was inserted"
            )  # fmt: skip
        else:
            yield Finding("inserted", position, "unsealed: a second event at this position")


def _scalar(connection: Connection, query: str) -> int:
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return int(row[0])


def export(connection: Connection, file: Path) -> int:
    """Write the seals as JSON lines for safe keeping elsewhere; return how many."""
    count = 0
    with replacing(file) as out:
        for one in _seals(connection):
            out.write(
                json.dumps(
                    {
                        "block": one.block,
                        "first_position": one.first,
                        "last_position": one.last,
                        "leaves_sha256": sha256(one.leaves).hexdigest(),
                        "hash": one.hash.hex(),
                    }
                )
                + "\n"
            )
            count += 1
    return count


def read_export(file: Path) -> list[dict[str, Any]]:
    """Read seals that `export` wrote; raise RequestInvalid for any other file."""
    try:
        seals = [json.loads(line) for line in file.read_text("utf-8").splitlines() if line.strip()]
    except (OSError, ValueError, RecursionError) as error:
        raise RequestInvalid(f"{file} cannot be read as exported seals: {error}") from error
    if not all(map(_is_seal, seals)):
        raise RequestInvalid(
            f"{file} holds no exported seals (JSON lines with `block` and `hash`)."
        )
    return seals  # none at all where nothing was sealed yet


def _is_seal(one: Any) -> bool:
    return (
        isinstance(one, dict)
        and all(type(one.get(name)) is int for name in ("block", "first_position", "last_position"))
        and isinstance(one.get("hash"), str)
    )
