"""The drill: a business lives, its ledger is copied, lives on, is destroyed, and comes back."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import pytest

from ledger.bootstrap import installation
from ledger.settings import Settings
from ledger.simulator.delivery import plan
from ledger.simulator.moments import DAY
from tests.facts import SECRET, project
from tests.simulation import API_KEY, Business, Setting, faults, listed
from tests.simulation_with_kills import LIVED_DAYS, deliver
from tests.test_kills import serving
from tests.waiting import eventually

KEY = base64.b64encode(b"a-master-key-of-thirty-two-bytes").decode()
SECONDS = 90


def ledger_command(environ: dict[str, str], *call: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-m", "ledger", *call, "--json"],
        env=environ, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.long
@pytest.mark.parametrize("seed", [3, 8])
def test_what_is_destroyed_comes_back_as_stripe_knows_it(tmp_path: Path, seed: int) -> None:
    today = int(datetime.now(UTC).timestamp()) // DAY * DAY
    setting = Setting.of(seed, steps=40, start=today - 20 * DAY)
    business = Business(setting)
    simulator = business.simulator
    until = setting.start + LIVED_DAYS * DAY
    deliveries = [*plan(simulator, setting.faults, seed=seed,
                        events=business.events(lambda: simulator.now < until))]  # fmt: skip
    half, chance = len(deliveries) // 2, Random(seed)
    own: Any = {"LEDGER_MASTER_KEY": KEY, "LEDGER_BACKUPS": str(tmp_path / "copies"),
           "LEDGER_KEY_BACKUPS": str(tmp_path / "copies of keys")}  # fmt: skip
    with serving(tmp_path / "first", **own) as server:
        deliver(server, deliveries[:half], [], chance)
        copy = ledger_command(server.environ, "backup")
        deliver(server, deliveries[half:], [], chance)
        customers = [c["id"] for c in simulator.customers.all()]
        forgotten = ledger_command(server.environ, "forget", customers[0])
        assert eventually(lambda: server.lag() == 0, SECONDS)
        environ = server.environ
    assert copy["verified"]
    assert forgotten["state"] == "erased"
    shutil.rmtree(tmp_path / "first")  # the machine is gone

    with listed(simulator) as there:
        new = {**environ, "LEDGER_HOME": str(tmp_path / "second"), "STRIPE_API_KEY": API_KEY,
               "STRIPE_API_BASE": there.base}  # fmt: skip
        back = ledger_command(new, "restore", copy["data"])
        for _ in range(2):  # what the first fetches may use terms that no event tells
            ledger_command(new, "reconcile")
            with installation(Settings.from_env(new)) as opened:
                project(opened.ledger())

    assert back["clean"]
    assert back["events"] == copy["events"]
    assert back["erased"] >= 1
    assert back["caught_up"] > 0 or half == len(deliveries)
    settings = Settings.from_env({**new, "STRIPE_WEBHOOK_SECRET": SECRET})
    with installation(settings) as opened:
        ledger = opened.ledger()
        assert faults(settings, ledger, simulator) == []
        with ledger.pool.connection() as connection:
            rows = connection.execute(
                "SELECT wrapped_key FROM subject_keys WHERE subject = %s", [customers[0]]
            ).fetchall()
        assert rows == [(None,)]
