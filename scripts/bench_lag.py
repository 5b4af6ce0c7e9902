"""How far the views are behind the log, and what a rebuild costs the deliveries that come in.

A ledger with a long log is served as shipped, worker and all. (a) *full*: 32 connections in a
closed loop, which gives the rate that it can take; (b) *half*: that rate's half, paced, each wait
counted from when the delivery was due; (c) *rebuild*: the same again while `ledger rebuild crm`
runs in as many processes as there are cores. Every 20 ms the ends of the log and of the views are
read: how long an event is in the log before all views have seen it is the time between the two
curves at its position.
"""

from __future__ import annotations

import argparse
import json
import secrets
import selectors
import socket
import subprocess
import sys
import tempfile
import threading
import time
from bisect import bisect_left
from collections import deque
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
from bench_events import request
from bench_ingest import HOST, Exchange, Round, Target, environment, free_port, process, run
from bench_log import grow

from ledger.bootstrap import installation
from ledger.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

SAMPLE_SECONDS = 0.02
CONNECTIONS = 32
FULL_REQUESTS = 12_000
SECONDS = 20
REBUILD_SECONDS_MAX = 120


@dataclass
class Curves:
    """Where the log and the views ended at which moments (seconds of a steady clock)."""

    at: list[float] = field(default_factory=list)
    log: list[int] = field(default_factory=list)
    views: list[int] = field(default_factory=list)

    def lags(self, since: int) -> list[float]:
        """Return for every position after `since` how long the views took to see it, sorted."""
        last = min(self.log[-1], self.views[-1])
        return sorted(
            max(0.0, self.at[bisect_left(self.views, one)] - self.at[bisect_left(self.log, one)])
            for one in range(since + 1, last + 1)
        )


class Sampler:
    """Reads the ends of the log and of the views again and again, beside the measurement."""

    def __init__(self, conninfo: str, schema: str) -> None:
        self.curves = Curves()
        self._stop = threading.Event()
        self._connection = psycopg.connect(
            conninfo, autocommit=True, options=f"-c search_path={schema}"
        )
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Sampler:
        """Start."""
        self.sample()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self._stop.set()
        self._thread.join()
        self._connection.close()

    def sample(self) -> tuple[int, int]:
        """Read once."""
        row = self._connection.execute(
            "SELECT (SELECT max(position) FROM events), (SELECT min(position) FROM bookmarks)"
        ).fetchone()
        assert row is not None
        self.curves.at.append(time.monotonic())
        self.curves.log.append(row[0])
        self.curves.views.append(max([row[1], *self.curves.views[-1:]]))
        return row[0], row[1]

    def drain(self) -> float:
        """Wait until the views have seen everything; return how long that took."""
        began = time.monotonic()
        while self.curves.views[-1] < self.curves.log[-1]:
            time.sleep(SAMPLE_SECONDS)
        return time.monotonic() - began

    def _run(self) -> None:
        while not self._stop.wait(SAMPLE_SECONDS):
            self.sample()


@dataclass(frozen=True)
class Lag:
    """How far the views were behind the log, in seconds, and how long they took to catch up."""

    p50: float
    p99: float
    longest: float
    drain: float


Measured = tuple[Round, Lag]


def paced(target: Target, per_second: float, going_on: Callable[[float], bool]) -> list[float]:
    """Send at this rate while it goes on; return the waits, each from when it was due, sorted."""
    ready = deque(request(f"{HOST}:{target.port}", target.path) for _ in range(2000))
    waits: list[float] = []
    selector = selectors.DefaultSelector()
    idle: list[socket.socket] = []
    for _ in range(CONNECTIONS):
        connection = socket.create_connection((HOST, target.port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        selector.register(connection, selectors.EVENT_READ, Exchange())
        idle.append(connection)
    began = time.perf_counter()
    due = began
    while going_on(time.perf_counter() - began) or len(idle) < CONNECTIONS:
        now = time.perf_counter()
        while due <= now and idle and going_on(now - began):
            connection = idle.pop()
            exchange = selector.get_key(connection).data
            exchange.answer, exchange.sent_at = b"", due
            connection.sendall(
                ready.popleft() if ready else request(f"{HOST}:{target.port}", target.path)
            )
            due += 1 / per_second
        pause = 0.0 if not idle else max(0.0, due - time.perf_counter())
        for key, _ in selector.select(min(pause, 0.01) if idle else 0.01):
            exchange = key.data
            exchange.answer += key.fileobj.recv(65536)  # type: ignore[union-attr]
            if exchange.is_complete:
                if not exchange.answer.startswith(b"HTTP/1.1 200"):
                    sys.exit(f"{target.name} answered {exchange.answer[:300]!r}")
                waits.append(time.perf_counter() - exchange.sent_at)
                idle.append(key.fileobj)  # type: ignore[arg-type]
    for connection in idle:
        connection.close()
    return sorted(waits)


def lag_of(sampler: Sampler, since: int) -> Lag:
    """Wait for the views, then tell how far they were behind."""
    drain = sampler.drain()
    lags = sampler.curves.lags(since)
    return Lag(_of(lags, 0.5), _of(lags, 0.99), lags[-1], drain)


def _of(ordered: list[float], part: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]


def main() -> None:
    """Fill, serve, measure, print; the last line of --json is one object."""
    parser = argparse.ArgumentParser(prog="scripts/bench lag", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object as last line")
    parser.add_argument("--events", type=int, default=100_000, help="how long the log is before")
    parser.add_argument("--home", type=Path, help="keep the ledger here and use what is there")
    parser.add_argument("--database-url", help="another PostgreSQL than the embedded one")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ledger-bench-") as folder, ExitStack() as stack:
        home = str(options.home or folder)
        environ = environment(home, options.database_url)
        environ["LEDGER_BOOTSTRAP_TOKEN"] = secrets.token_hex(16)
        settings = Settings.from_env(environ)
        grow(settings, options.events, say)
        opened = stack.enter_context(installation(settings))
        conninfo = psycopg.conninfo.make_conninfo("", **opened.database.owner)
        schema = opened.ledger().schema
        port = free_port()
        serve = [sys.executable, "-m", "ledger", "serve", "--port", str(port)]
        stack.enter_context(process(serve, environ, f"http://{HOST}:{port}/readyz"))
        target = Target("ledger", port, "/webhooks/stripe")
        with Sampler(conninfo, schema) as sampler:
            say(f"the views have caught up in {sampler.drain():.0f} s")
        run(target, 8, 400)  # warm up
        full = at_full_rate(target, conninfo, schema)
        rate = full[0].per_second / 2
        half = at_rate(target, conninfo, schema, rate, lambda seconds: seconds < SECONDS)
        rebuilding = while_rebuilding(target, conninfo, schema, rate, environ)
    report({"full": full, "half": half, "rebuild": rebuilding}, as_json=options.json)


def at_full_rate(target: Target, conninfo: str, schema: str) -> Measured:
    """Send in a closed loop."""
    with Sampler(conninfo, schema) as sampler:
        since = sampler.sample()[0]
        return run(target, CONNECTIONS, FULL_REQUESTS), lag_of(sampler, since)


def at_rate(
    target: Target,
    conninfo: str,
    schema: str,
    per_second: float,
    going_on: Callable[[float], bool],
) -> Measured:
    """Send at a rate, paced."""
    with Sampler(conninfo, schema) as sampler:
        since = sampler.sample()[0]
        began = time.monotonic()
        waits = paced(target, per_second, going_on)
        taken = time.monotonic() - began
        measured = Round(len(waits) / taken, 1000 * _of(waits, 0.5), 1000 * _of(waits, 0.99))
        return measured, lag_of(sampler, since)


def while_rebuilding(
    target: Target, conninfo: str, schema: str, per_second: float, environ: dict[str, str]
) -> Measured:
    """Send at a rate as long as a rebuild runs; it must find no difference."""
    rebuild = subprocess.Popen(  # B603 — the rebuild that is measured
        [sys.executable, "-m", "ledger", "rebuild", "crm", "--json"],
        env=environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    found = at_rate(
        target, conninfo, schema, per_second,
        lambda seconds: rebuild.poll() is None and seconds < REBUILD_SECONDS_MAX,
    )  # fmt: skip
    said = rebuild.communicate(timeout=REBUILD_SECONDS_MAX)[0]
    if rebuild.returncode or json.loads(said)[0]["differences"]:
        sys.exit(f"the rebuild failed: {said!r}")
    return found


def report(found: dict[str, Measured], *, as_json: bool) -> None:
    """Print what was measured."""
    print(f"{'run':<10}{'events/s':>9}{'p50 ms':>9}{'p99 ms':>9}"
          f"{'lag p50 s':>11}{'p99 s':>8}{'max s':>8}{'drain s':>9}")  # fmt: skip
    for name, (one, lag) in found.items():
        print(f"{name:<10}{one.per_second:>9.0f}{one.p50_ms:>9.2f}{one.p99_ms:>9.2f}"
              f"{lag.p50:>11.2f}{lag.p99:>8.2f}{lag.longest:>8.2f}{lag.drain:>9.2f}")  # fmt: skip
    result: dict[str, Any] = {
        "lag_p99_s_at_half": round(found["half"][1].p99, 2),
        "lag_max_s_at_full": round(found["full"][1].longest, 2),
        "drain_s_at_full": round(found["full"][1].drain, 2),
        "ingest_p99_in_rebuild": round(found["rebuild"][0].p99_ms / found["half"][0].p99_ms, 2),
    }
    if as_json:
        print(json.dumps(result))


def say(text: str) -> None:
    """Tell how it goes; the result alone is for standard output."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
