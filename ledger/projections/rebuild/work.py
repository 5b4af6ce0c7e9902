"""The worker processes of a rebuild: each has its own connections and does one task at a time."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import parent_process
from pathlib import Path
from typing import Any

import psycopg

from ledger.application import Ledger, open_ledger
from ledger.database import Database, open_database
from ledger.log import RecordedEvent
from ledger.projections.generations import Generation, on_path
from ledger.projections.projection import Projection
from ledger.projections.rebuild.spill import Spill
from ledger.projections.runner import FAULTS_IN_A_ROW_MAX, NOT_OF_AN_EVENT, told
from ledger.settings import Settings

LOAD_EVENTS = 2000

Connection = psycopg.Connection[tuple[Any, ...]]


@dataclass(frozen=True)
class Site:
    """Everything a worker needs to know to be of use."""

    settings: Settings
    ledger: str
    projection: type[Projection]
    generation: Generation
    run: str
    folder: Path
    parts: int


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
        return f"{self.step or self.kind}:{self.number}"


class Worker:
    """One process's share of a rebuild."""

    def __init__(self, site: Site, database: Database, ledger: Ledger) -> None:
        self._site = site
        self._database = database
        self._ledger = ledger
        self._projection = site.projection(ledger)
        self._derivations = {one.name: one for one in self._projection.derivations()}
        self._spill = Spill(site.folder, site.parts)

    def do(self, task: Task) -> Task:
        """Do a task; what it writes and that it is done are one commit."""
        if task.kind == "sort":
            with self._connection() as connection:
                self._spill.write(connection, task.number, *task.bounds)
        elif task.kind == "load":
            with self._connection() as connection, self._noted(connection, task) as todo:
                if todo:
                    for events in self._spill.read(task.number, LOAD_EVENTS):
                        self._load(connection, events)
            self._spill.forget(task.number)
        elif task.kind == "index":
            with self._database.connect_as_owner() as connection:
                connection.execute("SET maintenance_work_mem = '128MB'")
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
            readable = [event for event in events if self._can_read(connection, event)]
            if len(readable) < len(events) - FAULTS_IN_A_ROW_MAX:
                raise  # not the events are at fault
            self._projection.load(connection, readable)

    def _can_read(self, connection: Connection, event: RecordedEvent) -> bool:
        try:
            with connection.transaction(force_rollback=True):
                self._projection.load(connection, [event])
        except NOT_OF_AN_EVENT:
            raise
        except Exception as error:  # noqa: BLE001 — of this event
            connection.execute(
                "INSERT INTO projection_faults VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
                [self._projection.name, event.position, told(error)],
            )
            return False
        return True

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        with self._database.connect(self._site.generation.search_path) as connection:
            connection.execute("SET synchronous_commit = off")  # what is lost is done again
            yield connection

    @contextmanager
    def _noted(self, connection: Connection, task: Task) -> Iterator[bool]:
        with connection.transaction():
            noted = connection.execute(
                "INSERT INTO rebuild_tasks VALUES (%s, %s) ON CONFLICT DO NOTHING",
                [self._site.run, task.name],
            )
            yield noted.rowcount == 1


_worker: Worker | None = None


def start(site: Site) -> None:
    """Open what a worker process needs, once."""
    global _worker  # noqa: PLW0603 — a process of a pool has no other place of its own
    # What is decoded is dropped batch by batch and holds no cycles; looking for such again and
    # again among a million young hashes took as long as reading them.
    gc.disable()
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
