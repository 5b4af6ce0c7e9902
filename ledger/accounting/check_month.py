"""Checks the evidence of a closed month: `python3 FILE.zip [SEALS]`. Needs nothing but Python.

Exits 1 and says where, if the month is not what it says. SEALS is a file of seals of the log that
was exported earlier and kept elsewhere (`ledger verify --export`).
"""

from __future__ import annotations

import base64
import csv
import io
import json
import sys
import zipfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

Row = dict[str, Any]

ENVELOPE = (
    "position", "stream", "version", "topic", "customer_id", "object_id", "stripe_event_id",
    "occurred_at_us", "recorded_at_us", "correlation_id", "causation_id",
)  # fmt: skip
MEMBERS = (
    "README.txt", "__main__.py", "period.json", "opening.csv", "entries.csv", "earned.csv",
    "events.jsonl",
)  # fmt: skip
DEFERRED, REVENUE = "Liabilities:DeferredRevenue", "Income:Revenue"


def check(archive: zipfile.ZipFile, kept: Mapping[int, str]) -> Iterator[str]:
    """Yield what is wrong with a month."""
    period = json.loads(archive.read("period.json"))
    entries = list(rows(archive, "entries.csv"))
    earned = list(rows(archive, "earned.csv"))
    events, blocks = read_events(archive)
    yield from check_events(events, blocks, kept)
    yield from check_closing(period, events)
    for name, digest in period["tables"].items():
        if sha256(archive.read(name)).hexdigest() != digest:
            yield f"{name} is not the table that was recorded when the month was closed"
    yield from check_balances(period, rows(archive, "opening.csv"), entries, earned)
    for row in (*entries, *earned):
        position = int(row["position"])
        if position not in events:
            yield f"event {position}, behind {row['source']}, is not in the file"
        if position > period["closed_until"]:
            yield f"event {position} was recorded after the month was closed"


def rows(archive: zipfile.ZipFile, name: str) -> Iterator[Row]:
    """Return the rows of a table."""
    yield from csv.DictReader(io.StringIO(archive.read(name).decode()))


def read_events(archive: zipfile.ZipFile) -> tuple[dict[int, Row], list[Row]]:
    """Return the events by position, and the blocks."""
    events: dict[int, Row] = {}
    blocks: list[Row] = []
    for line in archive.read("events.jsonl").decode().split("\n")[1:]:
        if not line:
            continue
        told = json.loads(line)
        if "event" in told:
            events[told["event"]["position"]] = told["event"]
        else:
            blocks.append(told["seal"])
    return events, blocks


def leaf(event: Row) -> bytes:
    """Return the hash of an event: envelope, text of the body, hash of the encrypted part."""
    envelope = json.dumps(
        [event[name] for name in ENVELOPE], ensure_ascii=False, separators=(",", ":")
    )
    box = bytes.fromhex(event["personal_sha256"] or "")
    return sha256(envelope.encode() + b"\x00" + event["data"].encode() + b"\x00" + box).digest()


def check_events(
    events: Mapping[int, Row], blocks: list[Row], kept: Mapping[int, str]
) -> Iterator[str]:
    """Yield events that are not what was sealed, and blocks that are not what was kept."""
    covered: set[int] = set()
    newest = max(kept, default=0)
    for block in blocks:
        first, last = block["first_position"], block["last_position"]
        leaves = base64.b64decode(block["leaves"])
        made = sha256(bytes.fromhex(block["previous"]) + f"{first}:{last}:".encode() + leaves)
        if made.hexdigest() != block["hash"] or len(leaves) != (last - first + 1) * 32:
            yield f"block {block['block']} of the log is not what its hash says"
            continue
        if block["block"] <= newest and kept.get(block["block"]) != block["hash"]:
            yield f"block {block['block']} of the log is not among the seals kept earlier"
        for position in events.keys() & set(range(first, last + 1)):
            covered.add(position)
            at = (position - first) * 32
            if leaves[at : at + 32] != leaf(events[position]):
                yield f"event {position} is not what was sealed"
    for position in sorted(events.keys() - covered):
        yield f"no block covers event {position}"


def check_closing(period: Row, events: Mapping[int, Row]) -> Iterator[str]:
    """Yield whether the closing is not the one that was recorded."""
    recorded = events.get(period["position"])
    told = {key: value for key, value in period.items() if key != "position"}
    if recorded is None or json.loads(recorded["data"]) != told:
        yield "period.json is not the closing that was recorded in the log"


def check_balances(
    period: Row, opening: Iterator[Row], entries: list[Row], earned: list[Row]
) -> Iterator[str]:
    """Yield where postings do not add up, or do not lead from opening to closing balances."""
    transactions: dict[tuple[str, ...], int] = defaultdict(int)
    balances: dict[tuple[str, str], int] = defaultdict(int)
    for row in opening:
        balances[row["account"], row["currency"]] += int(row["balance"])
    start, end = (datetime.fromisoformat(period[at]) for at in ("starts_at", "ends_at"))
    for row in entries:
        amount = int(row["amount"])
        transactions[row["position"], row["source"], row["valid_at"], row["currency"]] += amount
        balances[row["account"], row["currency"]] += amount
        if not start <= datetime.fromisoformat(row["booked_at"]) < end:
            yield f"a posting of {row['source']} is not booked in the month"
    for (position, source, _, currency), total in transactions.items():
        if total:
            yield f"the postings of {source} at {position} leave {total} {currency}"
    for row in earned:
        before, after = (share(row, at) for at in (start, end))
        if (before, after) != (int(row["earned_before"]), int(row["earned_after"])):
            yield f"line {row['line']} of {row['source']} is earned by another rule"
        balances[DEFERRED, row["currency"]] += after - before
        balances[REVENUE, row["currency"]] -= after - before
    closing = {(row["account"], row["currency"]): row["balance"] for row in period["trial_balance"]}
    for key in sorted({*balances, *closing}):
        if balances.get(key, 0) != closing.get(key, 0):
            there, recorded = balances.get(key, 0), closing.get(key, 0)
            yield f"{key[0]} ends at {there} {key[1]}, recorded {recorded}"


def share(row: Row, at: datetime) -> int:
    """Return what of a line is earned before an instant, rounded half away from zero."""
    since, start, end = (
        datetime.fromisoformat(row[name]) for name in ("since", "starts_at", "ends_at")
    )
    amount = int(row["amount"])
    if since >= at:
        return 0
    if end <= at or end <= start:
        return amount
    if start >= at:
        return 0
    passed, whole = (at - start) // RESOLUTION, (end - start) // RESOLUTION
    earned = (2 * abs(amount) * passed + whole) // (2 * whole)
    return earned if amount >= 0 else -earned


RESOLUTION = datetime.resolution


def read_seals(file: Path) -> dict[int, str]:
    """Return the hashes of exported seals, by block."""
    try:
        lines = file.read_text(encoding="utf-8").split("\n")
        seals = [json.loads(line) for line in lines if line.strip()]
        return {one["block"]: one["hash"] for one in seals}
    except (OSError, ValueError, TypeError, KeyError) as error:
        sys.exit(f"{file} is no file of seals that `ledger verify --export` wrote: {error}")


def main() -> None:
    """Check the archive this program lies in, and say what was found."""
    kept = read_seals(Path(sys.argv[1])) if len(sys.argv) > 1 else {}
    try:
        with zipfile.ZipFile(sys.argv[0]) as archive:
            odd = sorted(archive.namelist()) != sorted(MEMBERS)
            period = json.loads(archive.read("period.json"))
            found = list(check(archive, kept))
            entries = len(list(rows(archive, "entries.csv")))
            events, blocks = read_events(archive)
    except (KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        sys.exit(f"The evidence is damaged, it proves nothing: {type(error).__name__}, {error}")
    if odd:
        found.append("the file holds something else, or something twice")
    if found:
        sys.exit("\n".join(found))
    sys.stdout.write(
        f"{period['period']}: {entries} postings add up, opening balances lead to the closing ones,"
        f" and all {len(events)} events are what {len(blocks)} blocks of the log cover.\n"
    )
    if not kept:
        sys.stdout.write(
            "Whether these blocks are the log's own, seals kept earlier tell: add their file.\n"
        )
    elif newer := sum(block["block"] > max(kept) for block in blocks):
        sys.stdout.write(
            f"{len(blocks) - newer} of the blocks are among the seals kept; {newer} are newer.\n"
        )


if __name__ == "__main__":
    main()
