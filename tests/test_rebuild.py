"""Read models made anew: the same rows, nothing lost meanwhile, nothing called outside."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from multiprocessing import active_children
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from psycopg import sql

from ledger.application import Ledger
from ledger.bootstrap import installation
from ledger.errors import NotMigrated, RequestInvalid
from ledger.log import RecordedEvent
from ledger.processes import PATIENT
from ledger.projections import Crm, Runner, generations
from ledger.projections.rebuild import Rebuild, Rebuilt
from ledger.projections.rebuild.plan import DiskTooFull
from ledger.projections.rebuild.versions import bring_to_version, roll_back
from ledger.projections.rebuild.work import Worker
from ledger.settings import Settings
from tests.conftest import VIEWS
from tests.facts import T0, customer, event, invoice, project, record, subscription
from tests.test_convergence import Plan, deliver, story

FACTS = len(story())
SHUFFLED = Plan(tuple(sorted(range(FACTS), key=lambda index: index * 31 % 59)), ((5, 2), (20, 3)))


def many(count: int) -> Iterator[dict[str, Any]]:
    for number in range(count):
        who, what, bill = f"cus_{number:05}", f"sub_{number:05}", f"in_{number:05}"
        yield event("customer.created", customer(who), at=T0 + number)
        yield event("customer.subscription.created", subscription(what, of=who), at=T0 + number)
        yield event("invoice.paid", invoice(bill, of=who, status="paid"), at=T0 + number)


class Newer(Crm):
    """The CRM views, of a version to come."""

    version = Crm.version + 1


def rebuild(
    settings: Settings, ledger: Ledger, projection: type[Crm] = Crm, **options: Any
) -> Rebuilt:
    return Rebuild(settings, ledger, projection, workers=2).run(**options)


def rows(ledger: Ledger) -> dict[str, list[tuple[Any, ...]]]:
    with ledger.pool.connection() as connection:
        return {
            name: sorted(
                connection.execute(
                    sql.SQL("SELECT t::text FROM {} AS t").format(sql.Identifier(name))
                ).fetchall()
            )
            for name in VIEWS
        }


def schemas(ledger: Ledger) -> set[str]:
    with ledger.database.connect_as_owner() as connection:
        found = connection.execute(
            "SELECT nspname FROM pg_namespace WHERE nspname LIKE %s", [f"%crm_{ledger.schema}"]
        ).fetchall()
    return {row[0].removesuffix(f"_crm_{ledger.schema}") for row in found}


def test_what_is_rebuilt_equals_what_was_projected_live_row_for_row(
    settings: Settings, ledger: Ledger
) -> None:
    deliver(ledger, story(), SHUFFLED)
    live = rows(ledger)

    done = rebuild(settings, ledger)

    assert done == Rebuilt("crm", FACTS, swapped=True, compared=True)
    assert rows(ledger) == live
    assert schemas(ledger) == {"former"}


def test_however_a_rebuild_is_cut_up_the_rows_are_the_same(
    settings: Settings, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ledger.projections.rebuild.plan.PART_POSITIONS", 2)
    monkeypatch.setattr("ledger.projections.rebuild.work.LOAD_EVENTS", 3)
    monkeypatch.setattr("ledger.projections.rebuild.DERIVE_KEYS", 2)
    deliver(ledger, story(), SHUFFLED)
    live = rows(ledger)
    work = Rebuild(settings, ledger, Crm, workers=0)

    assert work.plan().parts > 20
    assert work.run().differences == []
    assert rows(ledger) == live


def test_a_task_that_is_done_twice_is_done_once(
    settings: Settings, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    once = Worker.do
    monkeypatch.setattr(Worker, "do", lambda worker, task: once(worker, once(worker, task)))
    deliver(ledger, story(), SHUFFLED)
    live = rows(ledger)

    assert Rebuild(settings, ledger, Crm, workers=0).run().differences == []
    assert rows(ledger) == live


def test_a_rebuild_that_failed_after_catching_up_goes_on_from_there(
    settings: Settings, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ledger.projections.rebuild.DERIVE_KEYS", 2)
    record(ledger, *many(3))
    project(ledger)
    left = list(many(9))[9:]

    def fail(stage: str, *_: float) -> None:
        if stage == "analyzing":
            record(ledger, *left)
            left.clear()
        if stage == "comparing":
            raise TimeoutError

    with pytest.raises(TimeoutError):
        Rebuild(settings, ledger, Crm, workers=0).run(fail)

    done = Rebuild(settings, ledger, Crm, workers=0).run()
    assert (done.resumed, done.differences, done.swapped) == (True, [], True)
    assert len(rows(ledger)["facts"]) == 27


def test_what_comes_in_between_the_last_steps_is_on_both_sides_of_the_comparison(
    settings: Settings, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = story()
    record(ledger, *facts[:40])
    project(ledger)
    catch_up, left = Runner.catch_up, facts[40:]

    def then_one_more(runner: Runner) -> int:
        done = catch_up(runner)
        record(ledger, left.pop(0))
        return done

    monkeypatch.setattr(Runner, "catch_up", then_one_more)

    done = Rebuild(settings, ledger, Crm, workers=0).run()

    assert len(left) <= FACTS - 43
    assert (done.compared, done.differences) == (True, [])


def test_an_empty_ledger_can_be_rebuilt(settings: Settings, ledger: Ledger) -> None:
    assert rebuild(settings, ledger).swapped
    record(ledger, event("customer.created", customer()))
    project(ledger)

    assert len(rows(ledger)["customers"]) == 1


def test_live_projecting_goes_on_from_what_was_rebuilt(settings: Settings, ledger: Ledger) -> None:
    facts = story()
    record(ledger, *facts[: FACTS // 2])
    rebuild(settings, ledger)
    record(ledger, *facts[FACTS // 2 :])
    project(ledger)
    gone_on = rows(ledger)

    assert rebuild(settings, ledger).differences == []
    assert rows(ledger) == gone_on


def test_a_row_that_does_not_follow_from_the_log_is_named(
    settings: Settings, ledger: Ledger
) -> None:
    deliver(ledger, story(), SHUFFLED)
    right = rows(ledger)
    with ledger.pool.connection() as connection:
        connection.execute("UPDATE customers SET status = 'lead' WHERE id = 'cus_andi'")
        connection.execute("DELETE FROM owners WHERE object_id = 'in_andi'")

    found = {one.table: one for one in rebuild(settings, ledger, swap=False).differences}

    assert set(found) == {"customers", "owners"}
    assert [text[:32] for text in found["customers"].examples] == [
        "only before: (cus_andi,lead,f,id",
        "only now: (cus_andi,inactive,f,i",
    ]
    assert (found["owners"].old_rows, found["owners"].new_rows) == (
        len(right["owners"]) - 1,
        len(right["owners"]),
    )
    assert found["owners"].examples == ["only now: (in_andi,cus_andi)"]


def test_a_check_leaves_everything_as_it_was(settings: Settings, ledger: Ledger) -> None:
    deliver(ledger, story(), SHUFFLED)
    with ledger.pool.connection() as connection:
        connection.execute("UPDATE customers SET status = 'lead'")
    wrong = rows(ledger)

    done = rebuild(settings, ledger, swap=False)

    assert done.compared
    assert not done.swapped
    assert rows(ledger) == wrong
    assert schemas(ledger) == set()


def test_while_a_rebuild_runs_the_old_rows_are_read_and_what_comes_in_is_in_the_new_ones(
    settings: Settings, ledger: Ledger
) -> None:
    facts = story()
    record(ledger, *facts[:20])
    project(ledger)
    left = facts[20:]
    read: list[bool] = []

    def meanwhile(stage: str, done: float, total: float) -> None:
        if stage == "comparing":
            return  # live projecting stands still here
        if left:
            record(ledger, left.pop(0))
        project(ledger)
        with ledger.pool.connection() as connection:
            found = connection.execute(
                "SELECT count(*), (SELECT min(position) FROM bookmarks) FROM facts"
            ).fetchone()
        assert found is not None
        read.append(found[0] == found[1] > 0)

    done = rebuild(settings, ledger, progress=meanwhile)
    record(ledger, *left)
    project(ledger)

    assert len(read) > 10
    assert all(read)
    assert done.differences == []
    assert len(rows(ledger)["facts"]) == FACTS
    assert rebuild(settings, ledger).differences == []


BACKENDS = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'"


def test_its_processes_let_everybody_else_go_first(settings: Settings, ledger: Ledger) -> None:
    record(ledger, *story())
    seen: set[int] = set()
    of_backends: set[int] = set()

    def look(*_: object) -> None:
        for worker in active_children():
            with suppress(OSError):
                seen.add(os.getpriority(os.PRIO_PROCESS, worker.pid or 0))
        with ledger.database.connect_as_owner() as connection:
            for (backend,) in connection.execute(BACKENDS).fetchall():
                with suppress(OSError):
                    of_backends.add(os.getpriority(os.PRIO_PROCESS, backend))

    before = os.getpriority(os.PRIO_PROCESS, 0)
    rebuild(settings, ledger, progress=look)

    assert before + PATIENT in seen
    if ledger.database.is_embedded:
        assert before + PATIENT in of_backends
    assert os.getpriority(os.PRIO_PROCESS, 0) == before


def test_going_back_reads_the_former_rows_which_then_catch_up(
    settings: Settings, ledger: Ledger
) -> None:
    facts = story()
    record(ledger, *facts[:30])
    project(ledger)
    rebuild(settings, ledger)
    record(ledger, *facts[30:])
    project(ledger)
    now = rows(ledger)

    roll_back(ledger, Crm)

    assert len(rows(ledger)["facts"]) == 30
    project(ledger)
    assert rows(ledger) == now
    roll_back(ledger, Crm)
    assert rows(ledger) == now


def test_without_former_rows_there_is_no_way_back(ledger: Ledger) -> None:
    with pytest.raises(RequestInvalid, match="no former tables"):
        roll_back(ledger, Crm)


def test_another_version_is_rebuilt_when_it_starts_and_a_release_that_goes_back_takes_up_the_former(
    settings: Settings, ledger: Ledger
) -> None:
    deliver(ledger, story(), SHUFFLED)
    assert not bring_to_version(settings, ledger, Crm, None)

    assert bring_to_version(settings, ledger, Newer, None)

    with pytest.raises(NotMigrated, match="not of this release"):
        Runner(ledger, [Crm]).catch_up()
    record(ledger, event("customer.created", customer("cus_new"), at=T0 + 99))
    Runner(ledger, [Newer]).catch_up()
    with pytest.raises(RequestInvalid, match="of version"):
        roll_back(ledger, Newer)
    assert bring_to_version(settings, ledger, Crm, lambda *_: pytest.fail("nothing to rebuild"))
    project(ledger)
    assert rebuild(settings, ledger).differences == []


class Squeamish(Crm):
    """Cannot read what is about one customer."""

    def apply(self, connection: Any, events: Sequence[RecordedEvent]) -> None:
        refuse_poison(events)
        super().apply(connection, events)

    def load(self, connection: Any, events: Sequence[RecordedEvent]) -> None:
        refuse_poison(events)
        super().load(connection, events)


def refuse_poison(events: Sequence[RecordedEvent]) -> None:
    if any(one.customer_id == "cus_poison" for one in events):
        raise ValueError("cannot read this one")


def poisoned(at: int) -> dict[str, Any]:
    return event("customer.created", customer("cus_poison"), at=T0 + at)


@pytest.mark.parametrize(
    ("facts", "unreadable"),
    [
        ([*many(5), poisoned(0), *many(2)], 1),
        ([one for at, good in enumerate(many(15)) for one in (poisoned(at), good)], 45),
    ],
    ids=["one", "every other"],
)
def test_an_event_that_cannot_be_read_is_passed_over_as_it_is_live(
    settings: Settings, ledger: Ledger, facts: list[dict[str, Any]], unreadable: int
) -> None:
    record(ledger, *facts)
    Runner(ledger, [Squeamish]).catch_up()
    live = rows(ledger)

    done = Rebuild(settings, ledger, Squeamish, workers=0).run()

    assert done.differences == []
    again = rows(ledger)
    assert len(again.pop("projection_faults")) == len(live.pop("projection_faults")) == unreadable
    assert again == live


class Broken(Crm):
    """Cannot read anything."""

    def load(self, connection: Any, events: Sequence[RecordedEvent]) -> None:
        raise ValueError("no event is to blame")


def test_a_release_that_can_read_nothing_leaves_everything_as_it_was(
    settings: Settings, ledger: Ledger
) -> None:
    record(ledger, *many(70))
    project(ledger)
    live = rows(ledger)

    with pytest.raises(ValueError, match="no event is to blame"):
        Rebuild(settings, ledger, Broken, workers=0).run()

    assert rows(ledger) == live


class Solitary(Crm):
    """Cannot read two facts about one invoice."""

    def load(self, connection: Any, events: Sequence[RecordedEvent]) -> None:
        if sum(one.object_id == "in_andi" for one in events) > 1:
            raise ValueError("one is enough")
        super().load(connection, events)


def test_of_facts_that_cannot_be_read_together_the_first_are_kept(
    settings: Settings, ledger: Ledger
) -> None:
    record(ledger, *(event("invoice.updated", invoice(), at=T0 + n) for n in range(3)), *many(1))

    Rebuild(settings, ledger, Solitary, workers=0).run()

    with ledger.pool.connection() as connection:
        faults = connection.execute("SELECT position FROM projection_faults ORDER BY 1").fetchall()
        kept = connection.execute("SELECT position FROM facts ORDER BY 1").fetchall()
    assert faults == [(2,), (3,)]
    assert kept == [(1,), (4,), (5,), (6,)]


def test_only_one_at_a_time_makes_or_swaps_generations(settings: Settings, ledger: Ledger) -> None:
    record(ledger, *many(1))
    rebuild(settings, ledger)

    with (
        ledger.database.connect_as_owner() as owner,
        generations.alone(owner, ledger, Crm),
    ):
        for work in (
            lambda: rebuild(settings, ledger),
            lambda: roll_back(ledger, Crm),
            lambda: bring_to_version(settings, ledger, Newer, None),
        ):
            with pytest.raises(generations.RebuildRunning, match="by another process"):
                work()
    roll_back(ledger, Crm)


def test_too_little_space_is_said_before_anything_is_changed(
    settings: Settings, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver(ledger, story(), SHUFFLED)
    needed = Rebuild(settings, ledger, Crm).plan().needed_bytes
    usage = shutil.disk_usage(settings.home)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=int(1.29 * needed)))

    with pytest.raises(DiskTooFull, match="Nothing was changed"):
        rebuild(settings, ledger)

    assert schemas(ledger) == set()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=int(1.31 * needed)))
    assert rebuild(settings, ledger).swapped


# --- killed ---------------------------------------------------------------------------------------


class Program(NamedTuple):
    environ: dict[str, str]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "ledger", *arguments],
            env=self.environ, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "ledger", *arguments],
            env=self.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip


@pytest.fixture
def program(settings: Settings, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> Program:
    """The command line, on this test's ledger."""
    return Program({
        **os.environ, "LEDGER_HOME": str(settings.home),
        "LEDGER_MASTER_KEY": "dGVzdC1tYXN0ZXIta2V5LW9mLTMyLWJ5dGVzLWxvbmc=",
        **({"LEDGER_DATABASE_URL": settings.database_url} if settings.database_url else {}),
    })  # fmt: skip


@pytest.mark.parametrize(
    "stage",
    [
        "settling",
        "comparing",
        *(
            pytest.param(stage, marks=pytest.mark.long)
            for stage in ("ordering the log", "indexing", "owners", "customers")
        ),
    ],
)
def test_a_killed_rebuild_goes_on_where_it_was(
    ledger: Ledger, program: Program, stage: str
) -> None:
    record(ledger, *many(200))
    project(ledger)
    live = rows(ledger)

    process = program.start("--ledger", ledger.name, "rebuild", "crm")
    assert process.stderr is not None
    for line in process.stderr:
        if line.strip() == stage:
            break
    process.send_signal(signal.SIGKILL)
    process.communicate()

    assert rows(ledger) == live
    again = program.run("--ledger", ledger.name, "rebuild", "crm", "--json")
    assert again.returncode == 0, again.stderr
    (told,) = json.loads(again.stdout)
    assert (told["events"], told["swapped"], told["differences"]) == (600, True, [])
    assert told["resumed"]
    assert rows(ledger) == live
    assert schemas(ledger) == {"former"}


def test_a_rebuild_whose_database_crashes_goes_on_and_nothing_is_lost(tmp_path: Path) -> None:
    program = Program({
        "PATH": os.environ["PATH"], "LEDGER_HOME": str(tmp_path / "home"),
        "LEDGER_MASTER_KEY": "dGVzdC1tYXN0ZXIta2V5LW9mLTMyLWJ5dGVzLWxvbmc=",
    })  # fmt: skip
    settings = Settings.from_env(program.environ)
    with installation(settings) as opened:
        record(opened.ledger(), *many(200))
        project(opened.ledger())
        live = rows(opened.ledger())

    process = program.start("rebuild", "crm")
    assert process.stderr is not None
    for line in process.stderr:
        if line.strip() == "owners":  # what was loaded may not be on the disk yet
            break
    postmaster = tmp_path / "home" / "postgres" / "data" / "postmaster.pid"
    os.kill(int(postmaster.read_text().split()[0]), signal.SIGKILL)
    assert "Traceback" not in process.communicate()[1]
    assert process.returncode == 1

    again = program.run("rebuild", "crm", "--json")

    assert again.returncode == 0, again.stderr
    (told,) = json.loads(again.stdout)
    assert (told["events"], told["resumed"], told["differences"]) == (600, True, [])
    with installation(settings) as opened:
        assert rows(opened.ledger()) == live


# --- nothing outside ------------------------------------------------------------------------------

NO_NETWORK = """
import sys

def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        where = arguments[1] if event != "socket.getaddrinfo" else arguments[0]
        if not (isinstance(where, (str, bytes)) and event == "socket.connect"):
            open({told!r}, "a").write(f"{{event}} {{where}}\\n")
            raise PermissionError("a rebuild must not call anything outside")

sys.addaudithook(refuse)
"""


def test_a_rebuild_calls_nothing_outside(ledger: Ledger, program: Program, tmp_path: Path) -> None:
    told = tmp_path / "calls"
    (tmp_path / "sitecustomize.py").write_text(NO_NETWORK.format(told=str(told)))
    environ = {**program.environ, "PYTHONPATH": str(tmp_path)}
    guarded = Program(environ)
    probe = subprocess.run(
        [sys.executable, "-c", "import socket; socket.create_connection(('127.0.0.1', 9))"],
        env=environ, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "must not call" in probe.stderr  # the guard guards
    told.unlink()
    record(ledger, *many(20))

    done = guarded.run("--ledger", ledger.name, "rebuild", "--all")

    assert done.returncode == 0, done.stderr
    assert not told.exists()
