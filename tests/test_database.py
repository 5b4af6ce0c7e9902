"""PostgreSQL as we use it: appends in order, keys, migrations, our own server and others'."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from threading import Barrier
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from psycopg import errors, sql
from psycopg.conninfo import make_conninfo

from ledger import history
from ledger.application import Ledger, open_ledger
from ledger.bootstrap import Installation, installation, migrate
from ledger.clock import utc
from ledger.database import Database
from ledger.database.embedded import EmbeddedServer
from ledger.errors import DatabaseUnsuitable, VersionConflict
from ledger.intake.committer import GroupCommitter
from ledger.log import Log, NewEvent
from ledger.privacy.box import open_box, seal_box
from ledger.settings import Settings
from tests.facts import SECRET, T0, customer, event, record
from tests.waiting import eventually

MASTER_KEY = "YW5vdGhlci1tYXN0ZXIta2V5LW9mLTMyLWJ5dGVzISE="
PATIENCE_SECONDS = 60


# --- the log ------------------------------------------------------------------------------------


def fact(id_: str | None = None, **changes: Any) -> NewEvent:
    named = {"stream": "cus_andi", "topic": "Customer.Updated", "occurred_at": utc(T0)}
    return NewEvent(**{**named, "data": b"{}", "stripe_event_id": id_, **changes})


def decision(version: int) -> NewEvent:
    return fact(stream="case_1", topic="Case.Decided", version=version)


def log_faults(ledger: Ledger, answered: Collection[str]) -> list[str]:
    """Return which of these event ids are not in the log once, and where positions have a gap."""
    with ledger.database.connect(ledger.schema) as connection:
        rows = connection.execute(
            "SELECT position, stripe_event_id FROM events ORDER BY position"
        ).fetchall()
    times = Counter(id_ for _, id_ in rows)
    found = [f"{id_} is in the log {times[id_]} times" for id_ in answered if times[id_] != 1]
    gaps = (f"{at} follows {n}" for n, (at, _) in enumerate(rows) if at != n + 1)
    return found + [f"position {gap}" for gap in list(gaps)[:1]]


def append_all(ledger: Ledger, ids: list[str], seed: int) -> list[tuple[str, int]]:
    """Append these ids in an order and in batches of our own; return the answers."""
    chance = Random(seed)
    waiting = chance.sample(ids, len(ids))
    answers: list[tuple[str, int]] = []
    with ledger.database.connect(ledger.schema) as connection:
        log = Log(connection)
        while waiting:
            size = chance.randint(1, 9)
            batch, waiting = waiting[:size], waiting[size:]
            answers += zip(batch, log.append([fact(id_) for id_ in batch]), strict=True)
    return answers


def read_until(ledger: Ledger, last: int) -> list[int]:
    """Follow the log as a projection does, never looking back; return the positions seen."""
    seen: list[int] = []
    with ledger.database.connect(ledger.schema) as connection:
        log = Log(connection)
        while not seen or seen[-1] < last:
            seen += [one.position for one in log.after(seen[-1] if seen else 0, 1000)]
    return seen


def test_appends_of_six_threads_are_gapless_and_commit_in_order(ledger: Ledger) -> None:
    ids = [f"evt_{number:04}" for number in range(200)]

    with ThreadPoolExecutor(7) as threads:
        seen = threads.submit(read_until, ledger, len(ids))
        answers = threads.map(lambda seed: append_all(ledger, ids, seed), range(6))
        told = [answer for own in answers for answer in own]

    assert seen.result(PATIENCE_SECONDS) == list(range(1, len(ids) + 1))
    assert log_faults(ledger, ids) == []
    assert sorted(position for _, position in told if position > 0) == list(range(1, 201))
    assert len({(id_, abs(position)) for id_, position in told}) == len(ids)


def test_appends_are_gapless_where_another_isolation_is_the_default(
    ledger: Ledger, settings: Settings
) -> None:
    with ledger.database.connect_as_owner() as owner:
        (name,) = owner.execute("SELECT current_database()").fetchone() or ("",)
        change = sql.SQL("ALTER DATABASE {} {} default_transaction_isolation {}")
        try:
            owner.execute(
                change.format(sql.Identifier(name), sql.SQL("SET"), sql.SQL("= 'serializable'"))
            )
            with ThreadPoolExecutor(4) as threads:
                list(threads.map(lambda seed: append_all(ledger, ["evt_a", "evt_b"], seed), "1234"))
        finally:
            owner.execute(change.format(sql.Identifier(name), sql.SQL("RESET"), sql.SQL("")))

    assert log_faults(ledger, ["evt_a", "evt_b"]) == []


def test_an_append_waits_neither_for_a_snapshot_nor_for_a_long_transaction(ledger: Ledger) -> None:
    connect = ledger.database.connect
    with connect(ledger.schema) as analyst, connect(ledger.schema) as other:
        analyst.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        before = analyst.execute("SELECT count(*) FROM events").fetchone()
        other.execute("BEGIN")
        other.execute("INSERT INTO bookmarks VALUES ('slow', 7)")
        with connect(ledger.schema) as connection:
            connection.execute("SET lock_timeout = '2s'")
            log = Log(connection)
            positions = [log.append([fact(f"evt_{n}")]) for n in range(3)]

        assert positions == [[1], [2], [3]]
        assert analyst.execute("SELECT count(*) FROM events").fetchone() == before == (0,)


def test_several_logs_append_over_one_connection(ledger: Ledger) -> None:
    with ledger.database.connect(ledger.schema) as connection:
        positions = [Log(connection).append([fact(id_)]) for id_ in ("evt_1", "evt_2")]

    assert positions == [[1], [2]]


def test_recorded_at_never_goes_backward_when_the_clock_does(ledger: Ledger) -> None:
    ahead = datetime.now(UTC) + timedelta(days=1)
    record(ledger, event("customer.created", customer()))
    with ledger.database.connect_as_owner() as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute(
            sql.SQL("UPDATE {} SET recorded_at = %s").format(
                sql.Identifier(ledger.schema, "events")
            ),
            [ahead],
        )

    record(ledger, *(event("customer.updated", customer()) for _ in range(2)))

    with ledger.pool.connection() as connection:
        assert [one.recorded_at for one in Log(connection).after(0, 9)] == [ahead] * 3


def test_a_decision_on_a_stream_that_moved_on_is_refused_with_its_whole_batch(
    ledger: Ledger,
) -> None:
    with ledger.database.connect(ledger.schema) as connection:
        log = Log(connection)
        log.append([decision(1)])

        with pytest.raises(VersionConflict):
            log.append([fact("evt_1"), decision(1)])

        assert log.last_position() == 1
        assert log.append([fact("evt_1"), decision(2)]) == [2, 3]
        assert [one.version for one in log.stream("case_1")] == [1, 2]


def test_of_two_decisions_made_at_once_one_is_kept(ledger: Ledger) -> None:
    together = Barrier(2)

    def decide(_: int) -> str:
        with ledger.database.connect(ledger.schema) as connection:
            together.wait(PATIENCE_SECONDS)
            try:
                Log(connection).append([decision(1)])
            except VersionConflict:
                return "refused"
            return "kept"

    with ThreadPoolExecutor(2) as threads:
        assert sorted(threads.map(decide, range(2))) == ["kept", "refused"]


def test_a_connection_that_broke_is_replaced_and_the_event_recorded(ledger: Ledger) -> None:
    connections: list[psycopg.Connection[tuple[object, ...]]] = []

    def connect() -> psycopg.Connection[tuple[object, ...]]:
        connections.append(ledger.database.connect(ledger.schema))
        return connections[-1]

    async def submit() -> list[int]:
        committer = GroupCommitter(connect, lambda: None)
        answers = []
        for number in range(1, 7):  # in turn a new connection and one that broke meanwhile
            answers.append(await committer.submit(fact(f"evt_{number}")))
            if number % 2 == 0:
                break_off(connections)
        await committer.close()
        return answers

    assert asyncio.run(submit()) == [1, 2, 3, 4, 5, 6]
    assert len(connections) > 1
    assert log_faults(ledger, [f"evt_{number}" for number in range(1, 7)]) == []


def break_off(connections: list[psycopg.Connection[tuple[object, ...]]]) -> None:
    for connection in connections:
        if not connection.closed:
            with socket.socket(fileno=os.dup(connection.fileno())) as broken:
                broken.shutdown(socket.SHUT_RDWR)


def test_one_bad_event_in_a_batch_harms_none_of_the_others(ledger: Ledger) -> None:
    bad = fact("evt_bad", data=b'{"too": "\\ud800"}')  # half a character: no text for PostgreSQL

    async def submit() -> list[int | BaseException]:
        committer = ledger.group_committer()
        batch = [fact("evt_1"), bad, fact("evt_2"), *(fact(f"evt_n{n}") for n in range(400))]
        answers = await asyncio.gather(
            *(committer.submit(one) for one in batch), return_exceptions=True
        )
        await committer.close()
        return answers

    first, refused, second, *others = asyncio.run(submit())

    assert isinstance(refused, psycopg.DataError)
    assert isinstance(first, int)
    assert isinstance(second, int)
    assert sorted([first, second, *others]) == list(range(1, 403))  # type: ignore[type-var]


def test_who_no_longer_waits_for_an_answer_stops_nobody_else(ledger: Ledger) -> None:
    async def submit() -> list[int]:
        committer = ledger.group_committer()
        gone = asyncio.create_task(committer.submit(fact("evt_gone")))
        await asyncio.sleep(0)
        gone.cancel()
        answers = [await committer.submit(fact(id_)) for id_ in ("evt_1", "evt_2")]
        await committer.close()
        return answers

    assert len(set(asyncio.run(submit()))) == 2
    assert log_faults(ledger, ["evt_1", "evt_2"]) == []


def test_a_batch_larger_than_a_sockets_buffer_is_sent_in_parts(ledger: Ledger) -> None:
    body = json.dumps({"text": "x" * 60_000}).encode()

    async def submit() -> list[int]:
        committer = ledger.group_committer()
        answers = await asyncio.gather(
            *(committer.submit(fact(f"evt_{n}", data=body)) for n in range(200))
        )
        await committer.close()
        return list(answers)

    assert sorted(asyncio.run(submit())) == list(range(1, 201))


# --- keys ---------------------------------------------------------------------------------------


def test_of_two_new_keys_of_a_subject_in_one_batch_one_stands(ledger: Ledger) -> None:
    keys = [os.urandom(32), os.urandom(32)]
    batch = [
        fact(
            f"evt_{number}",
            subject="cus_andi",
            box=seal_box(AESGCM(key), "cus_andi", f"evt_{number}", b"", [(("name",), "Andi")]),
            new_key=ledger.master.wrap("cus_andi", key),
        )
        for number, key in enumerate(keys)
    ]

    with ledger.pool.connection() as connection:
        answers = Log(connection).append(batch)
        stored = ledger.keys.for_reading(["cus_andi"], connection)["cus_andi"]
        (kept,) = Log(connection).after(0, 9)

    assert sorted(answers) == [0, 1]
    assert kept.stripe_event_id is not None
    assert kept.personal is not None
    assert open_box(stored, "cus_andi", kept.stripe_event_id, kept.personal)[1]


def test_two_writers_meeting_a_new_customer_at_once_encrypt_under_one_key(
    installation: Installation, ledger: Ledger
) -> None:
    settings, database = installation.settings, installation.database
    with closing(open_ledger(settings, database, ledger.name)) as second:
        together = Barrier(2)

        def write(writer: Ledger) -> None:
            for number in range(20):
                one = event("customer.created", customer(f"cus_{number}"))
                together.wait(PATIENCE_SECONDS)
                record(writer, one)

        with ThreadPoolExecutor(2) as threads:
            list(threads.map(write, [ledger, second]))

    with ledger.pool.connection() as connection:
        recorded = Log(connection).after(0, 99)
        opened = [history.opened_event(connection, ledger.keys, one) for one in recorded]
    assert [one.data["data"]["object"]["name"] for one in opened] == ["Andi Wijaya"] * 40


# --- our own server -----------------------------------------------------------------------------


def ledger_command(home: Path, *arguments: str, **environ: str) -> subprocess.Popen[str]:
    """Start `ledger` with an environment of its own, in a process group of its own."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
    return subprocess.Popen(
        [sys.executable, "-m", "ledger", *arguments],
        env={**kept, "LEDGER_HOME": str(home), "STRIPE_WEBHOOK_SECRET": SECRET, **environ},
        cwd=Path(__file__).parent.parent,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@contextmanager
def running(home: Path) -> Iterator[Database]:
    server = EmbeddedServer(home)
    login = server.acquire()
    try:
        yield Database(login.owner, login.runtime, server)
    finally:
        server.release()


def is_running(home: Path) -> bool:
    return (home / "postgres" / "data" / "postmaster.pid").exists()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a database that has been used and stopped."""
    made = tmp_path_factory.mktemp("used")
    with running(made) as database, database.connect_as_owner() as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    return made


def test_data_survives_a_restart(home: Path) -> None:
    assert not is_running(home)

    with running(home) as database, database.connect_as_owner() as connection:
        assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)


def test_the_server_listens_on_a_private_socket_only_and_asks_for_a_password(home: Path) -> None:
    with running(home) as database:
        folder = Path(database.owner["host"])
        with database.connect_as_owner() as connection:
            shown = connection.execute(
                "SELECT current_setting('listen_addresses'), current_setting('data_checksums')"
            ).fetchone()
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(make_conninfo("", **{**database.owner, "password": "guessed"}))

    assert shown == ("", "on")
    assert folder.stat().st_mode & 0o077 == 0


def test_the_server_is_shared_and_stops_with_its_last_user(home: Path) -> None:
    first, second = EmbeddedServer(home), EmbeddedServer(home)
    first.acquire()
    second.acquire()
    command = ledger_command(home, "migrate")
    said = command.communicate(timeout=PATIENCE_SECONDS)

    assert command.returncode == 0, said
    first.release()
    assert is_running(home)
    second.release()
    assert not is_running(home)


@pytest.mark.long
def test_the_server_can_be_stopped_while_it_recovers_from_a_crash(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path)
    owner = make_conninfo("", **server.acquire().owner)
    with psycopg.connect(owner, autocommit=True) as connection:
        connection.execute("CREATE TABLE much AS SELECT generate_series(1, 1000000)")
        os.kill(connection.info.backend_pid, signal.SIGKILL)

    try:
        assert eventually(lambda: not is_answering(owner), 10)  # it recovers for a second or so
        server.release()

        assert not is_running(tmp_path)
    finally:
        if is_running(tmp_path):
            pid = (tmp_path / "postgres" / "data" / "postmaster.pid").read_text().split()[0]
            os.kill(int(pid), signal.SIGQUIT)


def test_lock_files_that_a_dead_server_left_with_a_living_number_do_not_stop_the_next(
    tmp_path: Path,
) -> None:
    with running(tmp_path):
        pass
    sleeper = (
        subprocess.Popen(
            ["sleep", str(PATIENCE_SECONDS)],
            user="postgres" if has_account("postgres") else "nobody",
        )
        if os.geteuid() == 0
        else subprocess.Popen(["sleep", str(PATIENCE_SECONDS)])
    )
    try:
        for name in ("data/postmaster.pid", "socket/.s.PGSQL.5432.lock"):
            left = tmp_path / "postgres" / name
            left.write_text(f"{sleeper.pid}\n{tmp_path / 'postgres' / 'data'}\n1\n5432\n\n\n\n")

        with running(tmp_path) as database, database.connect_as_owner() as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
    finally:
        sleeper.kill()
        sleeper.wait()


def test_a_server_whose_backlog_is_full_is_there(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path)
    folder = tmp_path / "postgres" / "socket"
    folder.mkdir(parents=True)
    assert not server.is_listening()
    with closing(socket.socket(socket.AF_UNIX)) as listener:
        listener.bind(str(folder / ".s.PGSQL.5432"))
        listener.listen(1)

        assert all(server.is_listening() for _ in range(3))
        waiting = [socket.socket(socket.AF_UNIX) for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            with suppress(BlockingIOError):
                one.connect(str(folder / ".s.PGSQL.5432"))
        assert server.is_listening()
        for one in waiting:
            one.close()


def test_settings_that_somebody_reset_are_made_again_and_no_data_is(home: Path) -> None:
    (home / "postgres" / "data" / "postgresql.auto.conf").write_text("")

    with running(home) as database, database.connect_as_owner() as connection:
        assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)
        assert connection.execute("SHOW listen_addresses").fetchone() == ("",)


def test_the_lock_files_of_a_living_server_stay(tmp_path: Path) -> None:
    with running(tmp_path) as database:
        assert database.server is not None
        (tmp_path / "postgres" / "socket" / ".s.PGSQL.5432").unlink()  # it seems to be gone
        assert not database.server.is_listening()
        assert database.server._is_in_use()
        pid = int((tmp_path / "postgres" / "data" / "postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGTERM)


def has_account(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def is_answering(conninfo: str) -> bool:
    try:
        psycopg.connect(conninfo).close()
    except psycopg.OperationalError:
        return False
    return True


def test_data_of_another_major_version_is_refused_with_a_way_out(tmp_path: Path) -> None:
    data = tmp_path / "postgres" / "data"
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("17\n")

    with pytest.raises(DatabaseUnsuitable) as refused:
        EmbeddedServer(tmp_path).acquire()

    for told in (str(data), "is of PostgreSQL 17", "PostgreSQL 18", "pg_dump"):
        assert told in str(refused.value)
    assert [path.name for path in data.iterdir()] == ["PG_VERSION"]


def test_four_processes_starting_and_migrating_at_once_do_it_once(tmp_path: Path) -> None:
    commands = [ledger_command(tmp_path, "migrate") for _ in range(4)]

    said = [command.communicate(timeout=PATIENCE_SECONDS) for command in commands]

    assert [command.returncode for command in commands] == [0] * 4, said
    applied = [line for out, _ in said for line in out.splitlines() if ": 0" in line]
    assert len(applied) == len(set(applied)) > 1
    assert sorted(out.startswith("Nothing to do") for out, _ in said) == [False, True, True, True]
    assert not is_running(tmp_path)


def test_a_home_whose_path_is_too_long_for_a_socket_is_served(tmp_path: Path) -> None:
    deep = tmp_path / ("a" * 60) / ("b" * 60)

    with running(deep) as database, database.connect_as_owner() as connection:
        answer = connection.execute("SELECT 1").fetchone()

    assert len(str(deep)) > 108
    assert answer == (1,)
    shutil.rmtree(database.owner["host"])


@pytest.mark.parametrize("left", [["base/1/1259"], ["PG_VERSION", "base/1/1259", "global/1213"]])
def test_what_an_interrupted_initdb_left_is_made_anew(tmp_path: Path, left: list[str]) -> None:
    for name in left:  # initdb writes PG_VERSION first, and everything else afterwards
        path = tmp_path / "postgres" / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.write_text("18\n")

    with running(tmp_path) as database, database.connect_as_owner() as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


@pytest.fixture
def folder_of_nobody() -> Iterator[Path]:
    """A folder that belongs to an ordinary account, where these tests run as root."""
    if os.geteuid() != 0:
        pytest.skip("not root: every other test has shown that an ordinary account will do")
    if shutil.which("setpriv") is None:
        pytest.skip("no `setpriv` to become an ordinary account with")
    with tempfile.TemporaryDirectory(prefix="ledger-nobody-") as name:
        account = pwd.getpwnam("nobody")
        os.chown(name, account.pw_uid, account.pw_gid)
        yield Path(name)


def test_an_ordinary_account_can_run_it_all(folder_of_nobody: Path) -> None:
    account = pwd.getpwnam("nobody")
    prefix = [
        "setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups",
        # The interpreter may lie in root's own folder: let it be read, no more.
        "--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search",
    ]  # fmt: skip
    if subprocess.run([*prefix, sys.executable, "-c", ""], check=False).returncode != 0:
        pytest.skip("this machine does not let an ordinary account reach the interpreter")

    done = subprocess.run(
        [*prefix, sys.executable, "-m", "ledger", "migrate"],
        env={"LEDGER_HOME": str(folder_of_nobody / "home"), "PATH": os.environ["PATH"]},
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )

    assert (done.returncode, done.stderr) == (0, "")
    data = folder_of_nobody / "home" / "postgres" / "data"
    assert data.stat().st_uid == account.pw_uid
    assert data.stat().st_mode & 0o077 == 0


# --- a server of somebody else's ----------------------------------------------------------------

DEBIAN_15 = Path("/usr/lib/postgresql/15/bin")


@dataclass(frozen=True)
class Estate:
    """A database on a server that is not ours, and two roles of its administrator's making."""

    superuser: psycopg.Connection[tuple[Any, ...]]
    host: str
    name: str = "billing"

    def give(self, statement: str) -> None:
        self.superuser.execute(statement.encode())

    def settings(self, user: str, owner: str | None = None) -> Settings:
        def url(role: str) -> str:
            return f"postgresql://{role}:secret@/{self.name}?host={quote(self.host, safe='')}"

        environ = {"LEDGER_HOME": "/nonexistent", "LEDGER_MASTER_KEY": MASTER_KEY}
        environ |= {"LEDGER_DATABASE_URL": url(user), "STRIPE_WEBHOOK_SECRET": SECRET}
        return Settings.from_env(
            environ | ({"LEDGER_DATABASE_OWNER_URL": url(owner)} if owner else {})
        )


@contextmanager
def postgresql_15() -> Iterator[str]:
    if not (DEBIAN_15 / "initdb").exists():
        pytest.skip(f"no PostgreSQL 15 under {DEBIAN_15}")
    account = pwd.getpwnam("postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name)
    become = ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]

    def run(program: str, *arguments: str) -> None:
        subprocess.run(
            [*(become if os.geteuid() == 0 else []), str(DEBIAN_15 / program), *arguments],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd="/",
        )

    with tempfile.TemporaryDirectory(prefix="ledger-pg15-") as folder:
        os.chown(folder, account.pw_uid, account.pw_gid)
        data = f"{folder}/data"
        run("initdb", "-D", data, "-U", "postgres", "--auth=trust", "--no-sync")
        options = f"-c listen_addresses='' -c unix_socket_directories='{folder}' -c fsync=off"
        run("pg_ctl", "start", "-D", data, "-l", f"{folder}/log", "-w", "-s", "-o", options)
        try:
            yield make_conninfo("", host=folder, user="postgres", dbname="postgres")
        finally:
            run("pg_ctl", "stop", "-D", data, "-m", "immediate", "-s")


@contextmanager
def postgresql_18(home: Path) -> Iterator[str]:
    with running(home) as database:
        yield make_conninfo("", **database.owner)


@pytest.fixture(scope="module", params=[15, 18])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """How the superuser of a server reaches it on which no ledger has ever been."""
    new_home = tmp_path_factory.mktemp("foreign")
    with postgresql_15() if request.param == 15 else postgresql_18(new_home) as conninfo:
        yield conninfo


@pytest.fixture
def estate(server: str) -> Iterator[Estate]:
    with psycopg.connect(server, autocommit=True) as superuser:
        superuser.execute("CREATE ROLE keeper LOGIN CREATEROLE PASSWORD 'secret'")
        superuser.execute("CREATE ROLE clerk LOGIN NOINHERIT PASSWORD 'secret'")
        superuser.execute("CREATE DATABASE billing OWNER keeper")
        yield Estate(superuser, superuser.info.host)
        superuser.execute("DROP DATABASE billing WITH (FORCE)")
        superuser.execute("DROP ROLE IF EXISTS ledger_runtime, clerk")
        superuser.execute("DROP ROLE keeper")


def assert_works(settings: Settings, refusals: Callable[[Ledger], None]) -> None:
    with installation(settings) as opened:
        ledger = opened.ledger()
        assert record(ledger, event("customer.created", customer()))[0].outcome == "recorded"
        refusals(ledger)
        assert log_faults(ledger, []) == []


def may_not_rewrite(ledger: Ledger) -> None:
    with ledger.database.connect(ledger.schema) as connection:
        for statement in (b"UPDATE events SET data = '{}'", b"DELETE FROM events"):
            with pytest.raises(errors.InsufficientPrivilege):
                connection.execute(statement)


def may_not_rewrite_as_itself_either(ledger: Ledger) -> None:
    may_not_rewrite(ledger)
    with ledger.database.connect(ledger.schema) as connection:
        connection.execute("SET ROLE NONE")
        with pytest.raises(errors.InsufficientPrivilege):
            connection.execute(
                sql.SQL("DELETE FROM {}").format(sql.Identifier(ledger.schema, "events"))
            )


def test_an_owner_without_superuser_who_may_create_roles_is_enough(estate: Estate) -> None:
    assert_works(estate.settings("keeper"), may_not_rewrite)


def test_owner_and_runtime_may_be_two_logins(estate: Estate) -> None:
    assert_works(estate.settings("clerk", owner="keeper"), may_not_rewrite_as_itself_either)


def test_an_owner_who_may_not_create_roles_is_told_what_to_ask_for(estate: Estate) -> None:
    estate.give("ALTER ROLE keeper NOCREATEROLE")
    settings = estate.settings("keeper")

    with pytest.raises(DatabaseUnsuitable) as refused, installation(settings):
        pass

    told = str(refused.value)
    assert told.startswith("The role keeper may not create the role ledger_runtime.")
    estate.give(told.partition("superuser run: ")[2])
    assert_works(settings, may_not_rewrite)


def test_an_owner_who_may_not_create_schemas_is_told_what_to_ask_for(estate: Estate) -> None:
    estate.give("ALTER DATABASE billing OWNER TO postgres")
    settings = estate.settings("keeper")

    with pytest.raises(DatabaseUnsuitable) as refused, installation(settings):
        pass

    told = str(refused.value)
    assert told.startswith("The role keeper may not create schemas in this database.")
    estate.give(told.partition("owner run: ")[2])
    assert_works(settings, may_not_rewrite)


def test_a_server_that_is_not_there_is_named_in_one_sentence(tmp_path: Path) -> None:
    with closing(socket.socket()) as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    url = f"postgresql://nobody@127.0.0.1:{port}/none"

    command = ledger_command(tmp_path, "events", LEDGER_DATABASE_URL=url)
    out, err = command.communicate(timeout=PATIENCE_SECONDS)

    assert (command.returncode, out) == (1, "")
    assert err.startswith("ledger: PostgreSQL does not answer: ")
    assert "Traceback" not in err


def test_a_url_that_is_none_is_refused(tmp_path: Path) -> None:
    command = ledger_command(tmp_path, "events", LEDGER_DATABASE_URL="postgresql://[::1")
    out, err = command.communicate(timeout=PATIENCE_SECONDS)

    assert (command.returncode, out) == (1, "")
    assert err.startswith("ledger: LEDGER_DATABASE_URL is not a PostgreSQL URL: ")


def test_migrating_again_does_nothing(installation: Installation) -> None:
    assert migrate(installation.database) == []
