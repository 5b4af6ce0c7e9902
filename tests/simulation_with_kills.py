"""A made-up business on the real program, whose processes and database are killed meanwhile."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from threading import Lock

from ledger.bootstrap import installation
from ledger.settings import Settings
from ledger.simulator.delivery import Delivery, plan
from ledger.simulator.moments import DAY
from ledger.simulator.sending import Sender
from tests.facts import SECRET
from tests.simulation import API_KEY, Business, Setting, faults, listed
from tests.test_kills import KILLS, Server, serving
from tests.waiting import eventually

KILLS_PER_RUN = 3
LIVED_DAYS = 7  # one more step may take twenty: all of it can be listed
CATCH_UP_SECONDS = 90


def run_with_kills(home: Path, seed: int) -> list[str]:
    """Live through a seed on a server of its own; return what is wrong afterwards."""
    chance = Random(f"kills:{seed}")
    today = int(datetime.now(UTC).timestamp()) // DAY * DAY
    setting = Setting.of(seed, steps=40, start=today - 28 * DAY)
    business = Business(setting)
    simulator = business.simulator
    until = setting.start + LIVED_DAYS * DAY
    told = business.events(lambda: simulator.now < until)
    deliveries = [*plan(simulator, setting.faults, seed=seed, events=told)]
    moments = sorted(chance.sample(range(len(deliveries)), KILLS_PER_RUN))
    with serving(home) as server:
        unheard = deliver(server, deliveries, moments, chance)
        deliver(server, unheard, [], chance)  # as Stripe does, hours later
        assert eventually(lambda: server.lag() == 0, CATCH_UP_SECONDS), "the views do not catch up"
        for _ in range(2):  # what the first fills may use terms that no event tells
            with listed(simulator) as api_at:
                reconcile(server, api_at.base)
            assert eventually(lambda: server.lag() == 0, CATCH_UP_SECONDS), "no catching up"
        settings = Settings.from_env(server.environ)
        with installation(settings) as opened:
            return faults(settings, opened.ledger(), simulator)


def deliver(
    server: Server, deliveries: list[Delivery], moments: list[int], chance: Random
) -> list[Delivery]:
    """Send deliveries, killing something before those at `moments`; return what was not taken."""
    unheard: list[Delivery] = []
    lock = Lock()
    sender = Sender(lambda: int(datetime.now(UTC).timestamp()), concurrency=4)
    for index, delivery in enumerate(deliveries):
        if index in moments:
            KILLS[chance.choice(sorted(KILLS))](server, chance)
        to = replace(delivery, url=f"http://127.0.0.1:{server.port}/webhooks/stripe", secret=SECRET)

        def answered(status: int, sent: Delivery = to) -> None:
            if status != 200:
                with lock:
                    unheard.append(sent)

        sender.send(to, answered)
    sender.close()
    return unheard


def reconcile(server: Server, api_base: str) -> None:
    """Run `ledger reconcile` beside the server."""
    done = subprocess.run(
        [sys.executable, "-m", "ledger", "reconcile"],
        env={**server.environ, "STRIPE_API_KEY": API_KEY, "STRIPE_API_BASE": api_base},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
