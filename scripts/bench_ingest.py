"""How fast deliveries get in: our endpoint beside two baselines, interleaved, as ratios.

(a) signature check and 200; (b) the same plus one INSERT of the raw body. All three run on the
same server software with the same number of threads against the same PostgreSQL with fsync and
synchronous_commit on. A closed loop of 1, 8 and 32 connections sends signed, unique events.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import selectors
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import defaultdict
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
from bench_events import SECRET, request

from ledger.database import open_database
from ledger.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

CLIENTS = {1: 400, 8: 1600, 32: 3200}  # connections: requests per round
THREADS = 48
HOST = "127.0.0.1"


@dataclass(frozen=True)
class Target:
    """An endpoint to send to."""

    name: str
    port: int
    path: str


@dataclass(frozen=True)
class Round:
    """What one closed loop measured."""

    per_second: float
    p50_ms: float
    p99_ms: float


class Exchange:
    """A request on its way and what has come back of its answer."""

    def __init__(self) -> None:
        self.sent_at = 0.0
        self.answer = b""

    @property
    def is_complete(self) -> bool:
        """Whether all of it has come."""
        head, found, rest = self.answer.partition(b"\r\n\r\n")
        if not found:
            return False
        _, _, length = head.lower().partition(b"content-length:")
        return len(rest) >= int(length.split(b"\r\n")[0])


def free_port() -> int:
    """Return a port nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def run(target: Target, clients: int, requests: int) -> Round:
    """Send requests over this many connections, each waiting for its answer; time them."""
    pending = [request(f"{HOST}:{target.port}", target.path) for _ in range(requests)]
    waits: list[float] = []
    selector = selectors.DefaultSelector()
    for _ in range(clients):
        connection = socket.create_connection((HOST, target.port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        selector.register(connection, selectors.EVENT_READ, Exchange())
    begun = time.perf_counter()
    live = 0
    for key in list(selector.get_map().values()):
        key.data.sent_at = time.perf_counter()
        key.fileobj.sendall(pending.pop())
        live += 1
    while live:
        for key, _ in selector.select(timeout=30):
            exchange = key.data
            exchange.answer += key.fileobj.recv(65536)
            if not exchange.is_complete:
                continue
            if not exchange.answer.startswith(b"HTTP/1.1 200"):
                sys.exit(f"{target.name} answered {exchange.answer[:300]!r}")
            waits.append(time.perf_counter() - exchange.sent_at)
            exchange.answer = b""
            if pending:
                exchange.sent_at = time.perf_counter()
                key.fileobj.sendall(pending.pop())
            else:
                selector.unregister(key.fileobj)
                key.fileobj.close()
                live -= 1
    taken = time.perf_counter() - begun
    waits.sort()
    return Round(
        len(waits) / taken, 1000 * waits[len(waits) // 2], 1000 * waits[int(len(waits) * 0.99)]
    )


@contextmanager
def process(command: list[str], environ: dict[str, str], ready: str) -> Iterator[int]:
    """Run a server until the block ends; yield its process id when it answers."""
    with tempfile.TemporaryFile() as log:
        started = subprocess.Popen(  # B603 — the servers that are measured
            command, env=environ, stdout=log, stderr=log, start_new_session=True
        )
        try:
            _await(ready, started)
            yield started.pid
        finally:
            os.killpg(started.pid, signal.SIGTERM)
            try:
                started.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(started.pid, signal.SIGKILL)


def _await(url: str, started: subprocess.Popen[bytes]) -> None:
    for _ in range(300):
        if started.poll() is not None:
            sys.exit(f"a server ended at start with {started.returncode}")
        try:
            with urllib.request.urlopen(url, timeout=2):  # B310 — a server on loopback
                return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.1)
    sys.exit(f"{url} does not answer")


def baselines_server(kind: str, port: int) -> list[str]:
    """Return the command that serves the baselines."""
    here = str(Path(__file__).parent)
    if kind == "gunicorn":
        return [
            sys.executable, "-m", "gunicorn", "-w", "1", "-k", "gthread", "--threads",
            str(THREADS), "-b", f"{HOST}:{port}", "--chdir", here, "--keep-alive", "60",
            "bench_baselines:app",
        ]  # fmt: skip
    return [
        sys.executable, "-m", "granian", "--interface", "wsgi", "--host", HOST, "--port",
        str(port), "--blocking-threads", str(THREADS), "--no-ws", "--log-level", "error",
        "--working-dir", here, "bench_baselines:app",
    ]  # fmt: skip


def environment(home: str, database_url: str | None) -> dict[str, str]:
    """Return the environment of every server in this run."""
    environ = {
        **os.environ,
        "LEDGER_HOME": home,
        "STRIPE_WEBHOOK_SECRET": SECRET,
        "LEDGER_MASTER_KEY": "YmVuY2htYXJrLWtleS1vZi0zMi1ieXRlcy1sb25nLi4=",
        "BENCH_SECRET": SECRET,
        "PYTHONPATH": str(Path(__file__).parent.parent),
    }
    environ.pop("LEDGER_DATABASE_URL", None)
    if database_url:
        environ["LEDGER_DATABASE_URL"] = database_url
    return environ


def measure(
    targets: list[Target], rounds: int, clients: dict[int, int]
) -> dict[tuple[str, int], list[Round]]:
    """Measure all targets in turn, several times, so that a drifting machine hits all alike."""
    results: dict[tuple[str, int], list[Round]] = defaultdict(list)
    total = rounds * len(clients)
    for index in range(rounds):
        for step, (count, requests) in enumerate(clients.items()):
            done = index * len(clients) + step + 1
            print(f"\r  round {done} of {total} …", end="", file=sys.stderr, flush=True)
            turn = targets[index % len(targets) :] + targets[: index % len(targets)]
            for target in turn:
                results[target.name, count].append(run(target, count, requests))
    print("\r" + " " * 30 + "\r", end="", file=sys.stderr)
    return results


def medians(rounds: list[Round]) -> Round:
    """Return the median of each figure."""
    return Round(
        statistics.median(one.per_second for one in rounds),
        statistics.median(one.p50_ms for one in rounds),
        statistics.median(one.p99_ms for one in rounds),
    )


def ratio(ours: list[Round], theirs: list[Round]) -> tuple[float, float]:
    """Return the median over rounds of (throughput ratio, p99 ratio), each within its round."""
    pairs = list(zip(ours, theirs, strict=True))
    return (
        round(statistics.median(a.per_second / b.per_second for a, b in pairs), 2),
        round(statistics.median(a.p99_ms / b.p99_ms for a, b in pairs), 2),
    )


def main() -> None:
    """Run the benchmark and print its tables; the last line of --json is one object."""
    parser = argparse.ArgumentParser(prog="scripts/bench ingest", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object as last line")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--database-url", help="another PostgreSQL than the embedded one")
    parser.add_argument("--server", choices=["granian", "gunicorn"], default="granian")
    parser.add_argument("--no-worker-line", action="store_true", help="skip the second line")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ledger-bench-") as home, ExitStack() as stack:
        environ = environment(home, options.database_url)
        database = open_database(Settings.from_env(environ))
        stack.callback(database.close)
        with database.connect_as_owner() as owner:
            version = owner.info.parameter_status("server_version")
            owner.execute("DROP TABLE IF EXISTS bench_raw")
            owner.execute(
                "CREATE TABLE bench_raw (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
                " body bytea NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp())"
            )
            settings = {
                name: owner.execute(f"SHOW {name}").fetchone()[0]
                for name in ("fsync", "synchronous_commit", "full_page_writes", "wal_sync_method")
            }
        environ["BENCH_CONNINFO"] = psycopg.conninfo.make_conninfo("", **database.owner)
        environ["LEDGER_BOOTSTRAP_TOKEN"] = secrets.token_hex(16)
        ours, base = free_port(), free_port()
        stack.enter_context(
            process(baselines_server(options.server, base), environ, f"http://{HOST}:{base}/verify")
        )
        targets = [
            Target("verify only", base, "/verify"),
            Target("one INSERT", base, "/insert"),
            Target("ledger", ours, "/webhooks/stripe"),
        ]
        serve = [
            sys.executable, "-m", "ledger", "serve", "--port", str(ours),
        ]  # fmt: skip
        ready = f"http://{HOST}:{ours}/readyz"
        with process([*serve, "--no-worker"], environ, ready):
            measure(targets, 1, {8: 400})  # warm up
            alone = measure(targets, options.rounds, CLIENTS)
        with_worker = {}
        if not options.no_worker_line:
            with process(serve, environ, ready):
                measure(targets[1:], 1, {8: 400})
                with_worker = measure(targets[1:], options.rounds, CLIENTS)
    report(version, settings, options, alone, with_worker)


Results = dict[tuple[str, int], list[Round]]


def report(
    version: str | None,
    settings: dict[str, str],
    options: argparse.Namespace,
    alone: Results,
    with_worker: Results,
) -> None:
    """Print what was measured."""
    said = ", ".join(f"{name} {value}" for name, value in settings.items())
    print(f"PostgreSQL {version} ({said}); {options.server}, {THREADS} threads; "
          f"{options.rounds} rounds, medians")  # fmt: skip
    print(f"{'clients':>7}  {'endpoint':<22}{'events/s':>9}{'p50 ms':>9}{'p99 ms':>9}"
          f"{'ratio':>8}{'p99 ratio':>11}")  # fmt: skip
    summary: dict[str, dict[str, float | None]] = {}
    for count in CLIENTS:
        for results, label in ((alone, ""), (with_worker, " + worker")):
            for name in ("verify only", "one INSERT", "ledger"):
                if (name, count) not in results:
                    continue
                one = medians(results[name, count])
                speed, tail = ratio(results[name, count], results["one INSERT", count])
                print(f"{count:>7}  {name + label:<22}{one.per_second:>9.0f}{one.p50_ms:>9.2f}"
                      f"{one.p99_ms:>9.2f}{speed:>8.2f}{tail:>11.2f}")  # fmt: skip
        speed, tail = ratio(alone["ledger", count], alone["one INSERT", count])
        worker = None
        if with_worker:
            worker, _ = ratio(with_worker["ledger", count], with_worker["one INSERT", count])
        summary[f"c{count}"] = {"ratio": speed, "p99_ratio": tail, "with_worker": worker}
    if options.json:
        print(json.dumps(summary))


if __name__ == "__main__":
    main()
