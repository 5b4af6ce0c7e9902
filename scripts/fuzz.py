"""Brings rubbish to every parser of outside data for some minutes, and counts.

Each target gets a share of the time, in rounds of new examples from a seed that is told. A target
that breaks is told with the smallest input that breaks it, and the run goes on with the others.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings

sys.path.insert(0, str(Path(__file__).parent.parent))

from api import rates
from ledger.bootstrap import Installation, migrate
from ledger.cli.progress import Bar
from ledger.database import open_database
from ledger.settings import Settings
from tests.client import front_client
from tests.facts import SECRET
from tests.fuzzing import TARGETS, Place, Target

EXAMPLES_A_ROUND = 200
NOTE_MAX = 4_000
QUIET = list(HealthCheck)


@dataclass
class Counted:
    """What became of a target."""

    name: str
    examples: int = 0
    seconds: float = 0.0
    broke: str | None = None


@contextmanager
def place() -> Iterator[Place]:
    """Yield a ledger of its own in a folder that goes away."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        folder = Path(name)
        given_ = Settings.from_env(
            {"LEDGER_HOME": str(folder / "home"), "STRIPE_WEBHOOK_SECRET": SECRET}
        )
        database = open_database(given_)
        migrate(database)
        opened = Installation(given_, database)
        try:
            with front_client(opened) as client:
                yield Place(given_, opened.ledger(), client, folder)
        finally:
            opened.close()


def one_round(target: Target, at: Place, counted: Counted, chance: int) -> None:
    """Feed a target some more examples; raise what breaks it, with the smallest that does."""

    @seed(chance)
    @settings(
        max_examples=EXAMPLES_A_ROUND,
        deadline=None,
        suppress_health_check=QUIET,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        print_blob=False,
    )
    @given(brought=target.given)
    def feed(brought: Any) -> None:
        counted.examples += 1
        target.feed(at, brought)

    feed()


def _told(error: BaseException) -> str:
    """Return what broke, where, and the smallest input that breaks it."""
    where = "".join(traceback.format_tb(error.__traceback__)[-4:])
    notes = "\n".join(getattr(error, "__notes__", []))[:NOTE_MAX]
    return f"{where}{type(error).__name__}: {str(error)[:NOTE_MAX]}\n{notes}"


def main() -> int:
    """Run, print what was counted; return 1 if anything broke."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    logging.disable(logging.CRITICAL)
    rates.count_entrance = lambda address: None
    chance, counts = random.Random(asked.seed), {one.name: Counted(one.name) for one in TARGETS}  # noqa: S311 — a seed that can be told
    bar = Bar("seconds", quiet=asked.json)
    began, whole = time.monotonic(), asked.minutes * 60
    with place() as at:
        while time.monotonic() - began < whole:
            going = [one for one in TARGETS if counts[one.name].broke is None]
            if not going:
                break
            target = min(going, key=lambda one: counts[one.name].seconds)
            counted, begun = counts[target.name], time.monotonic()
            try:
                one_round(target, at, counted, chance.getrandbits(64))
            except BaseException as error:  # noqa: BLE001 — whatever it is, it is told
                if isinstance(error, KeyboardInterrupt):
                    break
                counted.broke = _told(error)
            counted.seconds += time.monotonic() - begun
            bar(target.name, min(time.monotonic() - began, whole), whole)
    bar.end()
    told = list(counts.values())
    if asked.json:
        print(json.dumps({"seed": asked.seed, "targets": [asdict(one) for one in told]}, indent=2))
    else:
        for one in told:
            print(f"{one.name:32}{one.examples:>10,} examples {one.seconds:7.1f} s"
                  f"  {'BROKE' if one.broke else 'nothing broke'}")  # fmt: skip
        print(f"{sum(one.examples for one in told):,} examples; seed {asked.seed}")
        for one in told:
            if one.broke:
                print(f"\n{one.name}:\n{one.broke}")
    return int(any(one.broke for one in told))


if __name__ == "__main__":
    sys.exit(main())
