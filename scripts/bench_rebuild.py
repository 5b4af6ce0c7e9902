"""How fast all read models are rebuilt, against reading alone and the library's own runner.

(a) *read and decode*: two processes copy the whole log out and decode every body, nothing else;
(b) *rebuild*: `ledger rebuild crm` with two workers, up to the swap, comparison included;
(c) *library*: eventsourcing's ProjectionRunner over its own PostgreSQL recorder, projecting 20,000
of the same customers' events into a customers view, one commit per event as it does.
Each size has a ledger of its own, made live by a rebuild before the one that is measured.
All in one run on one PostgreSQL; figures are ratios.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from bench_library import library_events_per_second
from bench_log import grow

from ledger.bootstrap import installation
from ledger.database import wire
from ledger.projections import Crm, Journal, Numbers, generations
from ledger.projections.rebuild import Rebuild
from ledger.settings import Settings

if TYPE_CHECKING:
    from ledger.application import Ledger

WORKERS = 2
LIBRARY_EVENTS = 20_000


@dataclass(frozen=True)
class Measured:
    """One size of the log: events, and events per second."""

    events: int
    read_per_s: float
    rebuild_per_s: float
    stages: dict[str, float]
    peak_mb: float  # of the process that used most memory
    all_per_s: float  # the CRM views, after them the numbers, after them the journal


def main() -> None:
    """Fill, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    parser.add_argument("--events", default="100000,1000000", help="sizes of the log")
    parser.add_argument(
        "--rounds", type=int, default=1, help="rebuilds per size; the median counts"
    )
    parser.add_argument("--home", type=Path, help="keep the ledgers here and use what is there")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        homes = {
            int(size): Settings.from_env({
                "LEDGER_HOME": str((chosen.home or Path(folder)) / size),
                "LEDGER_MASTER_KEY": "YmVuY2htYXJrcy1uZWVkLW5vLXNlY3JldC1rZXkhISE=",
            })
            for size in chosen.events.split(",")
        }  # fmt: skip
        measured = [measure(home, size, chosen.rounds) for size, home in homes.items()]
        library = library_events_per_second(next(iter(homes.values())), LIBRARY_EVENTS)
    say(f"library's runner: {library:,.0f} events/s")
    first, last = measured[0], measured[-1]
    result = {
        "events_per_s": round(last.rebuild_per_s),
        "of_read_limit": round(last.rebuild_per_s / last.read_per_s, 3),
        "vs_library_runner": round(last.rebuild_per_s / library, 1),
        "cost_growth": round(first.rebuild_per_s / last.rebuild_per_s, 3),
        "peak_mb": round(max(one.peak_mb for one in measured)),
        "all_events_per_s": round(last.all_per_s),
    }
    for name, figure in result.items():
        say(f"{name:20}{figure:>12}")
    if chosen.json:
        print(json.dumps(result))


def measure(settings: Settings, size: int, rounds: int) -> Measured:
    """Fill the log up to a size, then read it and rebuild from it."""
    events = grow(settings, size, say)
    with installation(settings) as opened:
        ledger = opened.ledger()
        with opened.database.connect_as_owner() as owner:
            owner.execute("CHECKPOINT")
            owner.execute(f"VACUUM ANALYZE {ledger.schema}.events")
        with opened.database.connect(ledger.schema) as connection:
            if not generations.has_rows_of(connection, generations.live(ledger), Crm):
                Rebuild(settings, ledger, Crm, WORKERS).run()
        reading = read_all(settings, events)
    found = []
    for _ in range(rounds):
        # In a process of its own, whose children are the rebuild's workers and nobody else.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            found.append(pool.submit(rebuild, settings, events, reading).result())
    one = sorted(found, key=lambda each: each.rebuild_per_s)[len(found) // 2]
    say(f"{events:,} events: read {reading:,.0f}/s, rebuilt {one.rebuild_per_s:,.0f}/s")
    say("  " + ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in one.stages.items()))
    return one


def rebuild(settings: Settings, events: int, reading: float) -> Measured:
    """Rebuild once, and note how long each stage took."""
    with installation(settings) as opened:  # kept running: start-up is not measured
        return _rebuild(settings, opened.ledger(), events, reading)


def _rebuild(settings: Settings, ledger: Ledger, events: int, reading: float) -> Measured:
    stages: dict[str, float] = {}
    stage, since = "", time.monotonic()

    def told(now_at: str, _done: float, _total: float) -> None:
        nonlocal stage, since
        if now_at != stage:
            now = time.monotonic()
            stages[stage] = now - since
            stage, since = now_at, now

    started = time.monotonic()
    Rebuild(settings, ledger, Crm, WORKERS).run(told)
    ended = time.monotonic()
    stages[stage] = ended - since
    del stages[""]
    whole = ended - started
    for projection in (Numbers, Journal):
        began = time.monotonic()
        Rebuild(settings, ledger, projection, WORKERS).run()
        stages[projection.name] = time.monotonic() - began
        whole += stages[projection.name]
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return Measured(
        events, reading, events / (ended - started), stages, peak / 1024, events / whole
    )


def read_all(settings: Settings, events: int) -> float:
    """Return how many events per second two processes read and decode."""
    half = events // 2
    with ProcessPoolExecutor(WORKERS, mp_context=get_context("spawn")) as pool:
        list(pool.map(read, [settings] * 2, [0, 0], [0, 0]))  # started and imported
        began = time.monotonic()
        list(pool.map(read, [settings] * 2, [0, half], [half, events]))
        return events / (time.monotonic() - began)


def read(settings: Settings, after: int, until: int) -> int:
    """Copy a range of the log out and decode its bodies."""
    decode = msgspec.json.Decoder().decode
    count = 0
    with installation(settings, migrated=False) as opened:
        ledger = opened.ledger()
        statement = (
            "COPY (SELECT data, position, stream, topic, customer_id, object_id, occurred_at"  # noqa: S608 — constants of ours
            f" FROM events WHERE position > {after:d} AND position <= {until:d})"
            " TO STDOUT (FORMAT binary)"
        )
        with opened.database.connect(ledger.schema) as connection:
            for row in wire.copy_out(connection, statement.encode()):
                length = int.from_bytes(row[2:6], "big")
                decode(row[7 : 6 + length])
                count += 1
    return count


def say(text: str) -> None:
    """Tell how it goes; the result alone is for standard output."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
