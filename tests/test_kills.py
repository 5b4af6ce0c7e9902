"""P1 under `kill -9`: what was answered 2xx is in the log once, whatever is killed when."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from itertools import count
from pathlib import Path
from random import Random
from threading import Condition, Event, Thread
from typing import Any

import pytest

from ledger.bootstrap import installation
from ledger.log import Log
from ledger.privacy.box import open_box
from ledger.settings import Settings
from tests.facts import SECRET, Json, customer, event, signed
from tests.test_database import ledger_command, log_faults
from tests.waiting import eventually

PROC = Path("/proc")
TOKEN = "bootstrap-token-of-the-kill-tests"
START_SECONDS = 60
RECOVERY_SECONDS = 40
PAUSE_SECONDS = 0.05
CLIENTS = 6
APPEND_PATIENCE_SECONDS = 60

pytestmark = pytest.mark.skipif(
    not (PROC / "self" / "stat").exists(), reason="finds processes in /proc, which only Linux has"
)


def children_of(pid: int) -> dict[int, str]:
    """Return the living child processes: pid → command line."""
    found = {}
    for process in PROC.iterdir():
        with suppress(OSError):
            if process.name.isdigit():
                state, parent = (process / "stat").read_text().rpartition(")")[2].split()[:2]
                if int(parent) == pid and state != "Z":
                    line = (process / "cmdline").read_bytes()
                    found[int(process.name)] = line.replace(b"\0", b" ").decode().strip()
    return found


def descendants_of(pid: int) -> dict[int, str]:
    """Return the living processes below one: pid → command line."""
    found = children_of(pid)
    for child in list(found):
        found |= descendants_of(child)
    return found


def is_alive(pid: int) -> bool:
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Server:
    """A real `ledger serve` on a home of its own."""

    options: tuple[str, ...] = ()

    def __init__(self, home: Path, *, as_init: bool = False, **environ: str) -> None:
        self.home = home
        with closing(socket.socket()) as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.environ = {
            "LEDGER_HOME": str(home), "LEDGER_BOOTSTRAP_TOKEN": TOKEN,
            "STRIPE_WEBHOOK_SECRET": SECRET, "PATH": os.environ["PATH"], **environ,
        }  # fmt: skip
        self._prefix = [sys.executable, "-c", ADOPTING] if as_init else []
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start and return when it takes deliveries."""
        command = [sys.executable, "-m", "ledger", "serve", "--port", str(self.port), *self.options]
        with self.home.with_suffix(".log").open("ab") as output:
            self._process = subprocess.Popen(
                [*self._prefix, *command],
                env=self.environ,
                cwd=Path(__file__).parent.parent,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        assert eventually(self.is_ready, START_SECONDS), self.home.with_suffix(".log").read_text()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def connection(self) -> HTTPConnection:
        return HTTPConnection("127.0.0.1", self.port, timeout=10)

    def get(self, path: str) -> tuple[int, bytes]:
        """Return status and body; status 0 where nobody answers."""
        with closing(self.connection()) as connection:
            try:
                connection.request("GET", path, headers={"Authorization": f"Bearer {TOKEN}"})
                response = connection.getresponse()
                return response.status, response.read()
            except (OSError, HTTPException):
                return 0, b""

    def is_ready(self) -> bool:
        return self.get("/readyz")[0] == 200

    def lag(self) -> int | None:
        status, body = self.get("/v1/status")
        return int(json.loads(body)["lag_events"]) if status == 200 else None

    def postmaster(self) -> int:
        file = self.home / "postgres" / "data" / "postmaster.pid"
        with suppress(OSError, IndexError):  # gone, or only begun to be written
            return int(file.read_text().split()[0])
        return 0

    def stop(self) -> None:
        """Stop everything that was started here, in order if it can be, at any rate."""
        postmaster = self.postmaster()
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(RECOVERY_SECONDS)
            self.kill_tree()
        if postmaster and is_alive(postmaster):
            os.kill(postmaster, signal.SIGQUIT)  # "immediate": it takes its children along
            assert eventually(lambda: not is_alive(postmaster), START_SECONDS)

    def kill_tree(self) -> None:
        """Kill `ledger serve` and all that it runs, but for the database server."""
        assert self._process is not None
        tree = [] if self._process.poll() is not None else [self.pid, *descendants_of(self.pid)]
        for pid in tree:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()

    # What may be killed; each returns once it is dead.

    def kill(self, pid: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        assert eventually(lambda: not is_alive(pid), START_SECONDS)

    def kill_one(self, chance: Random, parent: int, told_by: str) -> None:
        """Kill a process below this one that can be told by its command line."""

        def candidates() -> list[int]:
            below = descendants_of(parent).items()
            return [pid for pid, line in below if re.search(told_by, line)]

        assert eventually(lambda: bool(candidates()), RECOVERY_SECONDS), f"no {told_by}"
        self.kill(chance.choice(candidates()))

    def kill_web_process(self, chance: Random) -> None:
        self.kill_one(chance, self.pid, "-m api ")  # its master or its worker

    def kill_projector(self, chance: Random) -> None:
        self.kill_one(chance, self.pid, "ledger worker")
        assert eventually(self.is_projecting, RECOVERY_SECONDS), "nobody projects any more"

    def is_projecting(self) -> bool:
        return any("ledger worker" in line for line in children_of(self.pid).values())

    def kill_backend(self, chance: Random) -> None:
        self.kill_one(chance, self.postmaster(), "^postgres: ledger_app")

    def kill_postmaster(self, chance: Random) -> None:
        killed = self.postmaster()
        self.kill(killed)
        assert eventually(lambda: self.postmaster() not in {0, killed}, RECOVERY_SECONDS)

    def kill_supervisor_and_restart(self, chance: Random) -> None:
        assert self._process is not None
        orphans = descendants_of(self.pid)
        self._process.kill()
        self._process.wait()
        assert eventually(lambda: not any(map(is_alive, orphans)), RECOVERY_SECONDS), orphans
        self.start()

    def kill_all_and_restart(self, chance: Random) -> None:
        self.kill_tree()
        self.start()

    def cut_power_and_restart(self, chance: Random) -> None:
        postmaster = self.postmaster()
        self.kill_tree()
        self.kill(postmaster)
        self.start()


# Makes `ledger serve` the parent of every orphan below it, as PID 1 of a container is.
ADOPTING = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""
KILLS: dict[str, Callable[[Server, Random], None]] = {
    "web": Server.kill_web_process,
    "projector": Server.kill_projector,
    "backend": Server.kill_backend,
    "postmaster": Server.kill_postmaster,
    "supervisor": Server.kill_supervisor_and_restart,
    "all": Server.kill_all_and_restart,
    "power": Server.cut_power_and_restart,
}


@contextmanager
def serving(home: Path, *, as_init: bool = False, **environ: str) -> Iterator[Server]:
    server = Server(home, as_init=as_init, **environ)
    try:
        server.start()
        yield server
    finally:
        server.stop()


@dataclass
class Clients:
    """Threads that deliver as Stripe does: each event again until it is answered 2xx."""

    port: int
    answered: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    _changed: Condition = field(default_factory=Condition)
    _stop: Event = field(default_factory=Event)
    _gave_up: Event = field(default_factory=Event)

    def deliver_on_and_on(self, number: int) -> None:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=10)
        for turn in count():
            if self._stop.is_set():
                break
            one = event("customer.updated", customer(f"cus_{turn % 40}"))
            self._deliver(connection, {**one, "id": f"evt_{number}x{turn}"})
        connection.close()

    def _deliver(self, connection: HTTPConnection, one: Json) -> None:
        body = json.dumps(one).encode()
        while (status := self._post(connection, body)) != 200:
            if status not in {0, 503} or self._gave_up.is_set():
                self.faults.append(f"{one['id']} was answered {status}")
                return
            self._stop.wait(PAUSE_SECONDS)
        with self._changed:
            self.answered.append(one["id"])
            self._changed.notify_all()

    @staticmethod
    def _post(connection: HTTPConnection, body: bytes) -> int:
        try:
            connection.request("POST", "/webhooks/stripe", body, signed(body))
            response = connection.getresponse()
            response.read()
        except (OSError, HTTPException):
            connection.close()
            return 0
        return response.status

    def wait_for(self, more: int, seconds: float = RECOVERY_SECONDS) -> bool:
        """Return whether so many more events are answered 2xx in time."""
        with self._changed:
            goal = len(self.answered) + more
            return self._changed.wait_for(lambda: len(self.answered) >= goal, seconds)

    @contextmanager
    def delivering(self) -> Iterator[None]:
        threads = [
            Thread(target=self.deliver_on_and_on, args=[number]) for number in range(CLIENTS)
        ]
        for thread in threads:
            thread.start()
        try:
            yield
            self._stop.set()
            for thread in threads:
                thread.join(RECOVERY_SECONDS)
        finally:
            self._stop.set()
            self._gave_up.set()
            for thread in threads:
                thread.join()


def survive(server: Server, kills: Sequence[str], seed: int) -> Clients:
    """Kill in this order at random moments of the traffic; see 2xx again after each."""
    chance, clients = Random(seed), Clients(server.port)
    with clients.delivering():
        for kill in kills:
            assert clients.wait_for(chance.randint(5, 120)), f"no traffic before: {kill}"
            KILLS[kill](server, chance)
            # More than were on their way: at least one of them was sent after the kill.
            assert clients.wait_for(CLIENTS + 1), f"no 2xx within {RECOVERY_SECONDS} s: {kill}"
    return clients


def customers_read_back(server: Server) -> list[str]:
    """Return per event of the log whom it is about, as far as its personal part opens."""
    with installation(Settings.from_env(server.environ), migrated=False) as opened:
        ledger = opened.ledger()
        with ledger.pool.connection() as connection:
            events = Log(connection).after(0, 1_000_000)
            customers = {one.customer_id: one.customer_id or "" for one in events}
            ciphers = ledger.keys.for_reading(customers.values(), connection)
    for one in events:
        customer_id = customers[one.customer_id]
        open_box(ciphers[customer_id], customer_id, one.stripe_event_id or "", one.personal or b"")
    return [customers[one.customer_id] for one in events]


def assert_promise_kept(server: Server, clients: Clients) -> None:
    assert clients.faults == []
    assert eventually(server.is_ready, RECOVERY_SECONDS)
    with installation(Settings.from_env(server.environ), migrated=False) as opened:
        assert log_faults(opened.ledger(), clients.answered) == []
    customers = customers_read_back(server)
    assert len(customers) == len(clients.answered)
    assert verified(server)["clean"]
    assert eventually(lambda: server.lag() == 0, RECOVERY_SECONDS)
    counts = json.loads(server.get("/v1/status")[1])["counts"]
    assert counts["customers"] == len(set(customers))


def verified(server: Server) -> dict[str, Any]:
    command = ledger_command(server.home, "verify", "--json")
    out, err = command.communicate(timeout=START_SECONDS)
    assert command.returncode == 0, out + err
    told: dict[str, Any] = json.loads(out)
    return told


def test_three_kills_lose_and_double_nothing(tmp_path: Path) -> None:
    with serving(tmp_path / "home") as server:
        clients = survive(server, ["projector", "postmaster", "all"], seed=1)

        assert_promise_kept(server, clients)


@pytest.mark.long
@pytest.mark.parametrize("seed", [1, 2])
def test_dozens_of_kills_lose_and_double_nothing(tmp_path: Path, seed: int) -> None:
    kills = Random(seed).sample([*KILLS] * 4, 4 * len(KILLS))

    with serving(tmp_path / "home") as server:
        clients = survive(server, kills, seed)

        assert_promise_kept(server, clients)


@pytest.mark.long
def test_a_killed_postmaster_is_replaced_where_serve_adopts_its_orphans(tmp_path: Path) -> None:
    with serving(tmp_path / "home", as_init=True) as server:
        clients = survive(server, ["postmaster", "backend", "postmaster"], seed=3)

        assert_promise_kept(server, clients)


def test_a_stopped_database_is_answered_503_in_time_and_nothing_is_lost(tmp_path: Path) -> None:
    body = json.dumps(event("customer.updated", customer("cus_waiting"))).encode()
    with serving(tmp_path / "home") as server:
        connection = HTTPConnection("127.0.0.1", server.port, timeout=APPEND_PATIENCE_SECONDS)
        for pid in (postmaster := server.postmaster(), *children_of(postmaster)):
            os.kill(pid, signal.SIGSTOP)
        try:
            connection.request("POST", "/webhooks/stripe", body, signed(body))
            assert connection.getresponse().status == 503
            assert server.get("/healthz")[0] == 200
        finally:
            for pid in (postmaster, *children_of(postmaster)):
                os.kill(pid, signal.SIGCONT)
        assert eventually(server.is_ready, RECOVERY_SECONDS)
        connection.close()
        connection.request("POST", "/webhooks/stripe", body, signed(body))
        assert connection.getresponse().status == 200
        connection.close()


@pytest.mark.long
def test_an_upload_that_never_ends_does_not_keep_the_database_running(tmp_path: Path) -> None:
    with serving(tmp_path / "home") as server:
        postmaster = server.postmaster()
        with closing(socket.create_connection(("127.0.0.1", server.port))) as sender:
            sender.sendall(
                b"POST /webhooks/stripe HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"
            )
            os.kill(server.pid, signal.SIGTERM)

            assert eventually(lambda: not is_alive(server.pid), START_SECONDS)
            assert eventually(lambda: not is_alive(postmaster), START_SECONDS)


def test_the_database_stops_with_the_server_that_started_it(tmp_path: Path) -> None:
    with serving(tmp_path / "home") as server:
        postmaster = server.postmaster()
        os.kill(server.pid, signal.SIGTERM)

        assert eventually(lambda: not is_alive(server.pid), START_SECONDS)
        assert eventually(lambda: not is_alive(postmaster), START_SECONDS)
