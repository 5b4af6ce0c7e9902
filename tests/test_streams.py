"""A synthetic account's whole stream, delivered in disorder, ends in the states it must."""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import Client

from ledger.application import Ledger
from tests.facts import SECRET, Json, project
from tests.test_crm import Tell, asking, every, telling

ROOT = Path(__file__).resolve().parent.parent
THREADS = 8
WINDOW = 60
Deliver = Callable[[Ledger, list[bytes]], None]


@dataclass(frozen=True)
class Stream:
    """A stream in the true order, and what is known of its end."""

    folder: Path
    bodies: list[bytes]
    expected: Json


@pytest.fixture(scope="session")
def stream_of(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Stream]:
    """Return a function that makes streams, each once."""

    @cache
    def make(events: int, bursts: float, seed: int = 7) -> Stream:
        folder = tmp_path_factory.mktemp("stream")
        subprocess.run(
            [sys.executable, str(shared / "tools" / "webhook_stream.py"), "--out", str(folder),
             "--events", str(events), "--bursts", str(bursts), "--seed", str(seed)],
            check=True,
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        bodies = (folder / "events.ndjson").read_bytes().splitlines()
        expected = json.loads((folder / "expected.json").read_bytes())["expected"]
        return Stream(folder, bodies, expected)

    return make


# --- ways to deliver ---------------------------------------------------------------------------


def in_causal_order(ledger: Ledger, bodies: list[bytes]) -> None:
    for body in bodies:
        ledger.intake.receive(body)
    project(ledger, 500)


def shuffled_within_a_window(ledger: Ledger, bodies: list[bytes]) -> None:
    """Deliver each event up to `WINDOW` places late, projecting a little every now and then."""
    jitter = random.Random(2)
    places = [(place + jitter.random() * WINDOW, body) for place, body in enumerate(bodies)]
    for count, (_, body) in enumerate(sorted(places), 1):
        ledger.intake.receive(body)
        if count % 150 == 0:
            project(ledger, 40)
    project(ledger, 40)


def in_no_order_from_many_threads(ledger: Ledger, bodies: list[bytes]) -> None:
    """Deliver everything anyhow, a tenth twice, from threads, and project meanwhile."""
    dice = random.Random(3)
    deliveries = bodies + dice.sample(bodies, len(bodies) // 10)
    dice.shuffle(deliveries)
    with ThreadPoolExecutor(THREADS) as threads:
        arriving = [threads.submit(ledger.intake.receive, body) for body in deliveries]
        while wait(arriving, timeout=0.2).not_done:
            project(ledger, 97)
    project(ledger, 97)

    outcomes = Counter(one.result().outcome for one in arriving)

    assert outcomes == {"recorded": len(bodies), "duplicate": len(deliveries) - len(bodies)}


WAYS = (in_causal_order, shuffled_within_a_window, in_no_order_from_many_threads)


# --- what must come of it ----------------------------------------------------------------------


def states_told(tell: Tell) -> Json:
    """Return what the API says of every customer, subscription and invoice."""
    return {
        "customer": {
            one["id"]: {"delinquent": one["delinquent"]} for one in every(tell, "customers")
        },
        "subscription": {
            one["id"]: {
                "status": one["status"],
                "cancel_at_period_end": one["cancel_at_period_end"],
                "price": one["items"][0]["price"],
                "period_end": one["current_period_end"],
            }
            for one in every(tell, "subscriptions")
        },
        "invoice": {
            one["id"]: {name: one[name] for name in ("status", "amount_paid", "attempt_count")}
            for one in every(tell, "invoices")
        },
    }


def wrong(told: Json, expected: Json) -> Json:
    """Return what differs: kind and id → (what is told, what is true)."""
    found: Json = {}
    for kind, objects in expected.items():
        for key in sorted({*objects, *told[kind]}):
            true, said = objects.get(key), told[kind].get(key)
            if true is None or said is None or said != {name: true[name] for name in said}:
                found[f"{kind} {key}"] = (said, true)
    return found


@pytest.mark.parametrize(
    ("deliver", "bursts"),
    [
        (in_no_order_from_many_threads, 0.5),
        *(
            pytest.param(way, share, marks=pytest.mark.long)
            for way, share in (
                *((way, 0.5) for way in WAYS if way is not in_no_order_from_many_threads),
                (in_no_order_from_many_threads, 0),
            )
        ),
    ],
)
def test_every_state_is_the_true_one_however_the_stream_arrives(
    ledger: Ledger,
    client: Client,
    stream_of: Callable[..., Stream],
    deliver: Deliver,
    bursts: float,
) -> None:
    stream = stream_of(1500, bursts)

    deliver(ledger, stream.bodies)

    tell = telling(asking(client, ledger, "read"))
    assert tell("status")["log"]["position"] == len(stream.bodies)
    assert wrong(states_told(tell), stream.expected) == {}


@pytest.mark.long
@pytest.mark.parametrize("seed", [1, 42, 2026])
@pytest.mark.parametrize("bursts", [0, 0.5])
@pytest.mark.parametrize("deliver", WAYS)
def test_every_state_of_a_long_stream_is_the_true_one(
    ledger: Ledger,
    client: Client,
    stream_of: Callable[..., Stream],
    deliver: Deliver,
    bursts: float,
    seed: int,
) -> None:
    stream = stream_of(6000, bursts, seed)

    deliver(ledger, stream.bodies)

    tell = telling(asking(client, ledger, "read"))
    assert wrong(states_told(tell), stream.expected) == {}


# --- through the running program ---------------------------------------------------------------

TOKEN = "a-token-for-this-test-only"
START_SECONDS = 60
CATCH_UP_SECONDS = 180


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """The address of a ledger served from a home of its own, with its worker."""
    address = f"http://127.0.0.1:{free_port()}"
    environ = {name: value for name, value in os.environ.items() if "DATABASE_URL" not in name}
    environ |= {
        "LEDGER_HOME": str(tmp_path / "home"),
        "STRIPE_WEBHOOK_SECRET": SECRET,
        "LEDGER_BOOTSTRAP_TOKEN": TOKEN,
    }
    command = [sys.executable, "-m", "ledger", "serve", "--port", address.rpartition(":")[2]]
    with (tmp_path / "served.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=log, stderr=log)
        try:
            until(lambda: is_ready(address), START_SECONDS)
            yield address
        finally:
            process.terminate()
            process.wait(60)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def is_ready(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def until(is_so: Callable[[], bool], seconds: float) -> None:
    """Ask again and again whether something is so; fail when it is not so in time."""
    deadline = time.monotonic() + seconds
    between = threading.Event()
    while not is_so():
        assert time.monotonic() < deadline, f"not so after {seconds} s"
        between.wait(0.2)


def telling_over_http(address: str) -> Tell:
    def tell(path: str, **parameters: Any) -> Json:
        asked = urllib.request.Request(
            f"{address}/v1/{path}?{urllib.parse.urlencode(parameters)}",
            headers={"Authorization": f"Bearer {TOKEN}"},
        )
        with urllib.request.urlopen(asked, timeout=30) as answer:
            told: Json = json.load(answer)
            return told

    return tell


@pytest.mark.long
def test_the_served_ledger_comes_to_the_true_states_under_load(
    served: str, shared: Path, stream_of: Callable[..., Stream]
) -> None:
    stream = stream_of(6000, 0.5, 11)
    tell = telling_over_http(served)

    load = subprocess.run(
        [sys.executable, str(shared / "tools" / "webhook_load.py"), "--data", str(stream.folder),
         "--url", f"{served}/webhooks/stripe", "--secret", SECRET, "-c", str(THREADS),
         "--mode", "shuffle", "--dup", "0.1", "--retry", "3"],
        check=True,
        capture_output=True,
    )  # fmt: skip
    sent = json.loads(load.stdout)

    assert sent["codes"] == {"200": sent["deliveries"]}
    assert sent["deliveries"] > len(stream.bodies)
    until(lambda: caught_up(tell("status"), len(stream.bodies)), CATCH_UP_SECONDS)
    again = sent["deliveries"] - len(stream.bodies)
    until(lambda: tell("status")["deliveries"]["duplicate"] == again, CATCH_UP_SECONDS)
    assert wrong(states_told(tell), stream.expected) == {}


def caught_up(status: Json, events: int) -> bool:
    """Return whether the views have seen all: the facts, and what the policies decided of them."""
    is_all_there = status["log"]["position"] >= events
    return is_all_there and bool(status["projections"]) and status["lag_events"] == 0
