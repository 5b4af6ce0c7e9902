"""The worker processes of a rebuild: each has its own connections and does one task at a time."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from multiprocessing import parent_process
from typing import Any

import psycopg

from ledger.application import Ledger, open_ledger
from ledger.database import Database, open_database
from ledger.log import RecordedEvent
from ledger.processes import let_step_back, step_back
from ledger.projections.generations import Generation, on_path
from ledger.projections.projection import Projection
from ledger.projections.rebuild import order
from ledger.projections.runner import FAULTS_IN_A_ROW_MAX, NOT_OF_AN_EVENT, told
from ledger.settings import Settings

LOAD_EVENTS = 2000
# A part is found by its keys. Left to itself the planner reads whole tables for each part.
PART_BY_PART = "SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off"

Connection = psycopg.Connection[tuple[Any, ...]]


@dataclass(frozen=True)
class Site:
    """Everything a worker needs to know to be of use."""

    settings: Settings
    ledger: str
    projection: type[Projection]
    generation: Generation
    run: str
    target: int


@dataclass(frozen=True)
class Task:
    """A piece of work that can be done twice, and what it is to all the work (in events)."""

    kind: str
    number: int
    weight: float
    bounds: tuple[Any, Any] = ("", "")
    step: str = ""

    @property
    def name(self) -> str:
        """How its being done is noted."""
        return f"{self.kind} {self.step} {self.number}"


class Worker:
    """One process's share of a rebuild."""

    def __init__(self, site: Site, database: Database, ledger: Ledger) -> None:
        self._site = site
        self._database = database
        self._ledger = ledger
        self._projection = site.projection(ledger)
        self._derivations = {one.name: one for one in self._projection.derivations(site.target)}

    def do(self, task: Task) -> Task:
        """Do a task; what it writes and that it is done are one commit."""
        if task.kind == "load":
            with self._connection() as connection, self._noted(connection, task) as todo:
                if todo:
                    with self._connection() as log:
                        for events in order.read(
                            log, *task.bounds, LOAD_EVENTS, self._projection.reads
                        ):
                            self._load(connection, events)
        elif task.kind == "make":
            with self._database.connect_as_owner() as connection:
                connection.execute("SET maintenance_work_mem = '128MB'; SET work_mem = '64MB'")
                be_patient(self._database, connection)
                with connection.transaction():
                    on_path(connection, self._site.generation)
                    with self._noted(connection, task) as todo:
                        if todo:
                            connection.execute(task.step.encode())
        else:
            with self._connection() as connection, self._noted(connection, task) as todo:
                if todo:
                    self._derivations[task.step].work(connection, *task.bounds)
        return task

    def _load(self, connection: Connection, events: Sequence[RecordedEvent]) -> None:
        """Load a batch; an event that cannot be read is noted and passed over, as it is live."""
        try:
            with connection.transaction():
                self._projection.load(connection, events)
        except NOT_OF_AN_EVENT:
            raise
        except Exception:
            loaded = sum(
                self._load_readable(connection, list(facts))
                for _, facts in groupby(events, key=lambda event: event.object_id or event.position)
            )
            if not loaded and len(events) > FAULTS_IN_A_ROW_MAX:
                raise  # not the events are at fault

    def _load_readable(self, connection: Connection, facts: Sequence[RecordedEvent]) -> int:
        """Load what can be read of one object's facts; return how many those are."""
        if self._fault(connection, facts) is not None:
            readable: list[RecordedEvent] = []
            for fact in facts:
                fault = self._fault(connection, [*readable, fact])
                if fault is None:
                    readable.append(fact)
                else:
                    connection.execute(
                        "INSERT INTO projection_faults VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
                        [self._projection.name, fact.position, fault],
                    )
            facts = readable
        if facts:
            self._projection.load(connection, facts)
        return len(facts)

    def _fault(self, connection: Connection, facts: Sequence[RecordedEvent]) -> str | None:
        """Return why these facts cannot be loaded together; they are not."""
        try:
            with connection.transaction(force_rollback=True):
                self._projection.load(connection, facts)
        except NOT_OF_AN_EVENT:
            raise
        except Exception as error:  # noqa: BLE001 — of one of these events
            return told(error)
        return None

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        with self._database.connect(self._site.generation.search_path) as connection:
            connection.execute("SET synchronous_commit = off")  # what is lost is done again
            connection.execute(PART_BY_PART)
            be_patient(self._database, connection)
            yield connection

    @contextmanager
    def _noted(self, connection: Connection, task: Task) -> Iterator[bool]:
        with connection.transaction():
            noted = connection.execute(
                "INSERT INTO rebuild_tasks VALUES (%s, %s) ON CONFLICT DO NOTHING",
                [self._site.run, task.name],
            )
            yield noted.rowcount == 1


def be_patient(database: Database, connection: Connection) -> None:
    """Let deliveries go first in the database, too, where its processes are on this machine.

    Helpers of a backend would not step back with it: there are none.
    """
    connection.execute(
        "SET max_parallel_workers_per_gather = 0; SET max_parallel_maintenance_workers = 0"
    )
    if database.is_embedded:
        let_step_back(connection.info.backend_pid)


_worker: Worker | None = None


def start(site: Site) -> None:
    """Open what a worker process needs, once."""
    global _worker  # noqa: PLW0603 — a process of a pool has no other place of its own
    # What is decoded is dropped batch by batch and holds no cycles; looking for such again and
    # again among a million young hashes took as long as reading them.
    gc.disable()
    step_back()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    database = open_database(site.settings)
    _worker = Worker(site, database, open_ledger(site.settings, database, site.ledger))


def do(task: Task) -> Task:
    """Do a task in this process."""
    assert _worker is not None
    return _worker.do(task)


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)  # killed, it can want nothing any more; unfinished transactions roll back
