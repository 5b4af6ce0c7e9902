"""Runs seeds until the time is over or one finds something; prints what it takes to see it again.

Two of three seeds run in this process, the third on a server of its own whose processes are killed.
The business and the faults of delivery follow from the seed; the moments of kills do too, counted
in deliveries, but not which instruction they meet.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from ledger.bootstrap import Installation, installation, migrate
from ledger.settings import Settings
from tests.conftest import new_ledger
from tests.facts import SECRET
from tests.simulation import Setting, run
from tests.simulation_with_kills import run_with_kills


def main() -> None:
    """Run, and say how it went."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the first seed")
    parser.add_argument("--minutes", type=float, default=1.0, help="0: this one seed")
    parser.add_argument("--no-kills", action="store_true", help="in this process only")
    parser.add_argument("--kills", action="store_true", help="with kills only")
    chosen = parser.parse_args()
    until = time.monotonic() + chosen.minutes * 60
    counts = {"in process": 0, "with kills": 0}
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings.from_env(
            {"LEDGER_HOME": f"{folder}/home", "STRIPE_WEBHOOK_SECRET": SECRET}
        )
        with installation(settings) as opened:
            migrate(opened.database)
            for seed in itertools.count(chosen.seed):
                killing = chosen.kills or (not chosen.no_kills and seed % 3 == 0)
                found = one(opened, settings, Path(folder), seed, killing=killing)
                counts["with kills" if killing else "in process"] += 1
                how = "with kills" if killing else "in process"
                print(
                    f"seed {seed} {how}: {'; '.join(found[:20]) or 'as it should be'}", flush=True
                )
                if found:
                    sys.exit(f"See it again: scripts/simulate --seed {seed} --minutes 0")
                if time.monotonic() >= until:
                    break
    print(", ".join(f"{count} {how}" for how, count in counts.items()))


def one(
    opened: Installation, settings: Settings, folder: Path, seed: int, *, killing: bool
) -> list[str]:
    """Run a seed; return what it found."""
    if killing:
        return run_with_kills(folder / f"seed-{seed}", seed)
    found: list[str] = []
    for ledger in new_ledger(opened):
        found = run(settings, ledger, Setting.of(seed))
    return found


if __name__ == "__main__":
    main()
