"""The demo: a made-up business in a ledger of its own, told through the real front door."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from time import monotonic

import pytest

from ledger.bootstrap import Installation
from ledger.cli.demo import demo_token, open_demo
from ledger.demo import NAME, Demo, DemoMixed, DemoUnheard
from tests.conftest import new_ledger
from tests.facts import customer, event, record
from tests.test_kills import Server
from tests.waiting import eventually

TOLD_SECONDS_MAX = 120


@pytest.mark.long
def test_the_demo_is_told_in_time_once_and_marked(tmp_path: Path) -> None:
    server = Server(tmp_path / "home")
    try:
        server.start()
        command = [sys.executable, "-m", "ledger", "demo", "--json", "--url",
                   f"http://127.0.0.1:{server.port}"]  # fmt: skip

        def tell() -> dict[str, int]:
            done = subprocess.run(
                command, env=server.environ, capture_output=True, text=True, check=True, timeout=300
            )
            told: dict[str, int] = json.loads(done.stdout)
            return told

        began = monotonic()
        first = tell()
        assert eventually(lambda: server.lag() == 0, TOLD_SECONDS_MAX)
        assert monotonic() - began < TOLD_SECONDS_MAX
        assert 30_000 < first["events"] == first["sent"]
        again = tell()
        assert again["sent"] <= again["events"] - first["events"]
        doctor = subprocess.run(
            [sys.executable, "-m", "ledger", "--ledger", NAME, "doctor"],
            env=server.environ, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert "(DEMO)" in doctor.stdout
    finally:
        server.stop()


def test_a_ledger_of_ones_own_is_not_taken_for_the_demos(installation: Installation) -> None:
    for own in new_ledger(installation):
        assert not own.settings.is_demo
    demo = open_demo(installation)
    assert demo.settings.is_demo
    assert open_demo(installation) is demo
    assert demo_token(installation) != demo_token(installation)
    with pytest.raises(DemoUnheard, match="Nobody listens"):
        Demo(demo, "http://127.0.0.1:9/webhooks/stripe/demo", 0).tell_story(0)


def test_two_businesses_are_not_mixed(installation: Installation) -> None:
    demo = open_demo(installation)
    record(demo, event("customer.created", customer("cus_of_another_business")))

    with pytest.raises(DemoMixed, match="another --seed"):
        Demo(demo, "http://127.0.0.1:9/webhooks/stripe/demo", 0).tell_story(0)
