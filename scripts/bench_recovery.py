"""How long it takes to copy a ledger, to try the copy, and to come back from it.

A ledger of each size is copied, the copy is restored into a scratch server and verified (as each
night), then restored into a new installation whose views are made again. Ratios are to reading and
decoding the log alone, in the same run.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from bench_log import grow
from bench_rebuild import read_all

from ledger.bootstrap import installation
from ledger.log.seals import seal, verify
from ledger.projections import PROJECTIONS
from ledger.projections.rebuild import Rebuild
from ledger.recovery.copies import Copy, back_up
from ledger.recovery.drill import drill
from ledger.recovery.restore import restore
from ledger.settings import Settings

KEY = "YmVuY2htYXJrcy1uZWVkLW5vLXNlY3JldC1rZXkhISE="


def main() -> None:
    """Fill, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    parser.add_argument("--events", default="100000", help="sizes of the log")
    chosen = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory() as name:
        for size in map(int, chosen.events.split(",")):
            found.append(measure(Path(name) / str(size), size))
    if chosen.json:
        print(json.dumps(found))


def measure(folder: Path, size: int) -> dict[str, float]:
    """Copy and restore one size; return seconds, and events per second against reading alone."""
    first = Settings.from_env({"LEDGER_HOME": str(folder / "first"), "LEDGER_MASTER_KEY": KEY})
    events, told = grow(first, size, say), {}
    with installation(first) as opened:
        ledger = opened.ledger()
        with opened.database.connect(ledger.schema) as connection:
            seal(connection)
        reading = events / read_all(first, events)
        began = time.monotonic()
        copy = back_up(ledger, folder / "data", folder / "keys", lambda *_: None)
        told["copy"] = time.monotonic() - began
        began = time.monotonic()
        drill(first, ledger, copy, lambda *_: None)
        told["drill"] = time.monotonic() - began
    told |= come_back(replace(first, home=folder / "second"), copy)
    whole = told["restore"] + told["views"] + told["verify"]
    told |= {"events": events, "read": reading, "megabytes": copy.data.stat().st_size / 1e6,
             "back_in_all": whole, "of_reading": round(whole / reading, 1)}  # fmt: skip
    for name, value in told.items():
        say(f"{name:14}{value:>14,.1f}")
    return told


def come_back(settings: Settings, copy: Copy) -> dict[str, float]:
    """Restore a copy into a new installation; return the seconds of each stage."""
    told = {}
    with installation(settings) as opened:
        ledger = opened.ledger()
        began = time.monotonic()
        restore(ledger, copy.data, copy.keys, [])
        told["restore"] = time.monotonic() - began
        ledger.close()
        opened.forget(ledger.name)
        ledger = opened.ledger()
        began = time.monotonic()
        for projection in PROJECTIONS:
            Rebuild(settings, ledger, projection).run()
        told["views"] = time.monotonic() - began
        began = time.monotonic()
        with opened.database.connect(ledger.schema) as connection:
            seal(connection)
            assert verify(connection).is_clean
        told["verify"] = time.monotonic() - began
    return told


def say(line: str) -> None:
    """Tell people, not programs."""
    print(line, file=sys.stderr)


if __name__ == "__main__":
    main()
