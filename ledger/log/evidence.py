"""Events for an outsider: a file that proves by itself that its events are what was sealed.

JSON lines. An `event` line holds exactly what the hash of an event covers, with the SHA-256 of the
encrypted part in place of that part; a `seal` line holds a block with the hashes of its events.
Whoever has the file can check each event against its block, and the blocks' hashes against seals
that were exported earlier, without the ledger and without any key.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import psycopg

from ledger.errors import RequestInvalid
from ledger.log.seals import LEAF_BYTES, READ_COLUMNS, Finding, block_hash

Connection = psycopg.Connection[tuple[Any, ...]]

FORMAT = "billing-ledger evidence 1"
BATCH = 500
_ENVELOPE = (
    "position", "stream", "version", "topic", "customer_id", "object_id", "stripe_event_id",
    "occurred_at_us", "recorded_at_us", "correlation_id", "causation_id",
)  # fmt: skip
_encode = msgspec.json.Encoder().encode


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
    out.write(json.dumps(value, ensure_ascii=False) + "\n")


def check_evidence(file: Path, against: Iterable[dict[str, Any]] = ()) -> Evidence:
    """Return what a file proves; `against` are seals exported earlier and kept elsewhere.

    Raises RequestInvalid for a file that is none of `write_evidence`'s.
    """
    events: dict[int, bytes] = {}
    seals: list[dict[str, Any]] = []
    findings: list[Finding] = []
    lines = _lines(file)
    header = next(lines, {})
    if header.get("format") != FORMAT:
        raise RequestInvalid(f"{file} is no evidence (its first line must be of {FORMAT!r}).")
    try:
        for line in lines:
            if "event" in line:
                events[line["event"]["position"]] = _leaf(line["event"])
            else:
                seals.append(line["seal"])
        for seal in seals:
            findings += _against_block(seal, events)
        covered = {
            position
            for seal in seals
            for position in events
            if seal["first_position"] <= position <= seal["last_position"]
        }
        findings += _against_kept(seals, against)
    except (KeyError, TypeError, ValueError) as error:
        raise RequestInvalid(f"{file} has a line that is none of evidence: {error}.") from error
    findings += [
        Finding("seal_missing", position, "no block of this file covers the event")
        for position in sorted(events.keys() - covered)
    ]
    if len(events) != header.get("events"):
        findings.append(
            Finding("events_missing", 0, f"{header.get('events')} announced, {len(events)} there")
        )
    return Evidence(len(events), len(seals), tuple(findings))


def _lines(file: Path) -> Iterator[dict[str, Any]]:
    try:
        with file.open() as opened:
            for number, line in enumerate(opened, 1):
                value = json.loads(line)
                if not isinstance(value, dict):
                    raise RequestInvalid(f"{file}, line {number}: not a JSON object.")
                yield value
    except (OSError, ValueError) as error:
        raise RequestInvalid(f"{file} cannot be read as JSON lines: {error}.") from error


def _leaf(event: dict[str, Any]) -> bytes:
    """Return the hash of an event as `seals.leaf_of` makes it from the row."""
    envelope = [event[name] for name in _ENVELOPE]
    box = bytes.fromhex(event["personal_sha256"]) if event["personal_sha256"] else b""
    text = event["data"].encode()
    return sha256(_encode(envelope) + b"\x00" + text + b"\x00" + box).digest()


def _against_block(seal: dict[str, Any], events: dict[int, bytes]) -> Iterator[Finding]:
    first, last = seal["first_position"], seal["last_position"]
    leaves = base64.b64decode(seal["leaves"])
    made = block_hash(bytes.fromhex(seal["previous"]), first, last, leaves)
    if made.hex() != seal["hash"] or len(leaves) != (last - first + 1) * LEAF_BYTES:
        yield Finding("seal_broken", first, f"block {seal['block']} is not what its hash says")
        return
    for position, leaf in events.items():
        at = (position - first) * LEAF_BYTES
        if first <= position <= last and leaves[at : at + LEAF_BYTES] != leaf:
            yield Finding("edited", position, "not what was sealed")


def _against_kept(
    seals: Sequence[dict[str, Any]], kept: Iterable[dict[str, Any]]
) -> Iterator[Finding]:
    known = {one["block"]: one["hash"] for one in kept}
    for seal in seals if known else ():
        if known.get(seal["block"]) != seal["hash"]:
            yield Finding(
                "export_differs",
                seal["first_position"],
                f"block {seal['block']} is not among the seals exported earlier",
            )
