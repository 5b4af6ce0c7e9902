"""Events for an outsider: a file that proves by itself that its events are what was sealed.

JSON lines. An `event` line holds exactly what the hash of an event covers, with the SHA-256 of the
encrypted part in place of that part; a `seal` line holds a block with the hashes of its events.
Whoever has the file can check each event against its block, and the blocks' hashes against seals
that were exported earlier, without the ledger and without any key. The first line is not sealed:
a file proves what its events are, not that nothing was left out of it.
"""

from __future__ import annotations

import base64
import json
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any

import msgspec
import psycopg

from ledger.errors import RequestInvalid
from ledger.log.seals import LEAF_BYTES, READ_COLUMNS, Finding, block_hash

Connection = psycopg.Connection[tuple[Any, ...]]

FORMAT = "billing-ledger evidence 1"
BATCH = 500
_encode = msgspec.json.Encoder().encode


_Hash = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
_Text = Annotated[str, msgspec.Meta(pattern=r"^[^\x00]*$")]


class _Event(msgspec.Struct, forbid_unknown_fields=True):
    """An event as its hash covers it: the envelope, the text of its body, the hash of its box."""

    position: int
    stream: str
    version: int
    topic: str
    customer_id: str | None
    object_id: str | None
    stripe_event_id: str | None
    occurred_at_us: int
    recorded_at_us: int
    correlation_id: str | None
    causation_id: str | None
    data: _Text
    personal_sha256: _Hash | None

    @property
    def leaf(self) -> bytes:
        """The hash of the event, as `seals.leaf_of` makes it from the row."""
        envelope = [getattr(self, name) for name in _ENVELOPE]
        box = bytes.fromhex(self.personal_sha256) if self.personal_sha256 else b""
        return sha256(_encode(envelope) + b"\x00" + self.data.encode() + b"\x00" + box).digest()


*_ENVELOPE, _, _ = _Event.__struct_fields__


class _Seal(msgspec.Struct, forbid_unknown_fields=True):
    """A block: the hashes of its events, and the hash that chains it to the one before."""

    block: int
    first_position: int
    last_position: int
    previous: _Hash
    leaves: str
    hash: _Hash


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    """One or the other."""

    event: _Event | msgspec.UnsetType = msgspec.UNSET
    seal: _Seal | msgspec.UnsetType = msgspec.UNSET


@dataclass(frozen=True)
class Evidence:
    """What a file proves: how many events, of which blocks, and what is wrong with it."""

    events: int
    blocks: int
    findings: tuple[Finding, ...]

    @property
    def is_clean(self) -> bool:
        """Whether every event is what was sealed."""
        return not self.findings


def write_evidence(connection: Connection, positions: Sequence[int], ledger: str, out: Any) -> int:
    """Write the events at these positions with their blocks; return how many events.

    Raises RequestInvalid if one of them is not sealed yet.
    """
    ordered = sorted(positions)
    _write(out, {"format": FORMAT, "ledger": ledger, "events": len(ordered)})
    written = 0
    for start in range(0, len(ordered), BATCH):
        rows = connection.execute(
            f"SELECT {READ_COLUMNS} FROM events"  # noqa: S608 — a constant of ours
            " WHERE position = ANY(%s) ORDER BY position",
            [ordered[start : start + BATCH]],
        ).fetchall()
        for *envelope, data, personal in rows:
            line = dict(zip(_ENVELOPE, envelope, strict=True))
            box = sha256(personal).hexdigest() if personal is not None else None
            _write(out, {"event": {**line, "data": data, "personal_sha256": box}})
            written += 1
    _write_blocks(connection, ordered, out)
    return written


def _write_blocks(connection: Connection, positions: Sequence[int], out: Any) -> None:
    covered = 0
    for position in positions:
        if position <= covered:
            continue
        row = connection.execute(
            "SELECT s.block, s.first_position, s.last_position, s.leaves, s.hash, before.hash"
            " FROM seals AS s LEFT JOIN seals AS before ON before.block = s.block - 1"
            " WHERE s.first_position <= %s AND s.last_position >= %s",
            [position, position],
        ).fetchone()
        if row is None:
            raise RequestInvalid(f"Event {position} is not sealed yet; try again in a minute.")
        block, first, covered, leaves, hash_, before = row
        _write(
            out,
            {
                "seal": {
                    "block": block,
                    "first_position": first,
                    "last_position": covered,
                    "previous": (before or bytes(LEAF_BYTES)).hex(),
                    "leaves": base64.b64encode(leaves).decode(),
                    "hash": hash_.hex(),
                }
            },
        )


def _write(out: Any, value: dict[str, Any]) -> None:
    out.write(_text(value) + "\n")


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def check_evidence(file: Path, against: Sequence[dict[str, Any]] | None = None) -> Evidence:
    """Return what a file proves; `against` are seals exported earlier and kept elsewhere.

    Raises RequestInvalid for a file that is none of `write_evidence`'s.
    """
    leaves: dict[int, bytes] = {}
    seals: dict[int, _Seal] = {}
    findings: list[Finding] = []
    lines = _lines(file)
    header = next(lines, {})
    if header.get("format") != FORMAT:
        raise RequestInvalid(f"{file} is no evidence (its first line must be of {FORMAT!r}).")
    try:
        for value in lines:
            line = msgspec.convert(value, _Line)
            event, seal = line.event, line.seal
            if (event is msgspec.UNSET) == (seal is msgspec.UNSET):
                raise RequestInvalid(f"{file} has a line that is not one event or one seal.")
            if event is not msgspec.UNSET:
                if event.position in leaves:
                    findings.append(Finding("repeated", event.position, "there twice"))
                leaves[event.position] = event.leaf
            if seal is not msgspec.UNSET:
                if seal.block in seals:
                    findings.append(
                        Finding("repeated", seal.first_position, f"block {seal.block} twice")
                    )
                seals[seal.block] = seal
        findings += _against_blocks(list(seals.values()), leaves)
    except (msgspec.ValidationError, ValueError) as error:
        raise RequestInvalid(f"{file} has a line that is none of evidence: {error}.") from error
    if against is not None:
        findings += _against_kept(seals, against)
    if len(leaves) != header.get("events"):
        findings.append(
            Finding("events_missing", 0, f"{header.get('events')} announced, {len(leaves)} there")
        )
    return Evidence(len(leaves), len(seals), tuple(findings))


def _lines(file: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines; what is not as `_write` writes it could be read in two ways."""
    try:
        with file.open(encoding="utf-8") as opened:
            for number, line in enumerate(opened, 1):
                value = json.loads(line)
                if not isinstance(value, dict):
                    raise RequestInvalid(f"{file}, line {number}: not a JSON object.")
                if _text(value) != line.rstrip("\n"):
                    raise RequestInvalid(f"{file}, line {number}: not as the ledger wrote it.")
                yield value
    except (OSError, ValueError, RecursionError) as error:
        raise RequestInvalid(f"{file} cannot be read as JSON lines: {error}.") from error


def _against_blocks(seals: Sequence[_Seal], found: dict[int, bytes]) -> Iterator[Finding]:
    """Find blocks that are not what their hash says, and events that are not in their block."""
    positions = sorted(found)
    covered: set[int] = set()
    for seal in seals:
        first, last = seal.first_position, seal.last_position
        inside = positions[bisect_left(positions, first) : bisect_right(positions, last)]
        covered.update(inside)
        leaves = base64.b64decode(seal.leaves, validate=True)
        made = block_hash(bytes.fromhex(seal.previous), first, last, leaves)
        if made.hex() != seal.hash or len(leaves) != (last - first + 1) * LEAF_BYTES:
            yield Finding("seal_broken", first, f"block {seal.block} is not what its hash says")
            continue
        for position in inside:
            at = (position - first) * LEAF_BYTES
            if leaves[at : at + LEAF_BYTES] != found[position]:
                yield Finding("edited", position, "not what was sealed")
    for position in positions:
        if position not in covered:
            yield Finding("seal_missing", position, "no block of this file covers the event")


def _against_kept(seals: dict[int, _Seal], kept: Sequence[dict[str, Any]]) -> Iterator[Finding]:
    known = {one["block"]: one["hash"] for one in kept}
    for seal in seals.values():
        if known.get(seal.block) != seal.hash:
            yield Finding(
                "export_differs",
                seal.first_position,
                f"block {seal.block} is not among the seals exported earlier",
            )
