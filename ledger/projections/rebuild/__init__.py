"""Makes a projection's read models anew from the log, beside those that are read meanwhile.

    log ──order──▶ by object ──load──▶ facts, settled ──index──▶ ──derive──▶ owners, …
                                                                       │
        live generation ◀──swap, one transaction── compare ◀── catch up with the log

In as many processes as there are cores. Every task is noted in the transaction that did it, so a
rebuild that was killed goes on where it was. Nothing here calls anything outside the database.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from ledger.errors import LedgerError
from ledger.projections import generations
from ledger.projections.projection import LAST_KEY
from ledger.projections.rebuild import order, work
from ledger.projections.rebuild.compare import Difference, differences
from ledger.projections.rebuild.plan import Plan, part_bounds, plan_of
from ledger.projections.rebuild.work import Site, Task
from ledger.projections.runner import Runner

if TYPE_CHECKING:
    from ledger.application import Ledger
    from ledger.projections.projection import Projection
    from ledger.settings import Settings

Connection = psycopg.Connection[tuple[Any, ...]]
Progress = Callable[[str, float, float], None]  # what is done now, events' worth done, of all

DERIVE_KEYS = 4000
# What a stage costs, in parts of a whole rebuild; for the progress bar only.
ORDER, LOAD, INDEX, DERIVE = 0.05, 0.65, 0.1, 0.2


class RebuildBroken(LedgerError):
    """A worker process of the rebuild ended; what was done is kept."""


@dataclass
class Rebuilt:
    """What a rebuild did."""

    projection: str
    events: int = 0
    resumed: bool = False
    swapped: bool = False
    compared: bool = False
    differences: list[Difference] = field(default_factory=list)


class Rebuild:
    """One projection of one ledger, made anew. Construct it, look at `plan`, then `run` it.

    With 0 `workers` everything is done in this process.
    """

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        projection: type[Projection],
        workers: int | None = None,
    ) -> None:
        self._settings = settings
        self._ledger = ledger
        self._projection = projection
        self._workers = (os.cpu_count() or 1) if workers is None else workers
        self._live = generations.live(ledger)
        self._next = generations.following(ledger, projection)

    def plan(self) -> Plan:
        """Return what it will take."""
        server = self._ledger.database.server
        with self._ledger.database.connect(self._live.schema) as connection:
            return plan_of(
                connection, self._live, self._projection, server.data if server else None
            )

    def run(self, progress: Progress | None = None, *, swap: bool = True) -> Rebuilt:
        """Make the next generation and let it become live; with `swap` off, compare only.

        Raises DiskTooFull before anything is changed, RebuildRunning, RebuildBroken.
        """
        told = progress or (lambda *_: None)
        with ExitStack() as stack:
            owner = stack.enter_context(self._ledger.database.connect_as_owner())
            work.be_patient(self._ledger.database, owner)
            stack.enter_context(generations.alone(owner, self._ledger, self._projection))
            run, target, parts, resumed = self._begin(owner)
            done = Rebuilt(self._projection.name, target, resumed)
            site = Site(
                self._settings, self._ledger.name, self._projection, self._next, run, target
            )
            if target:
                self._make(site, target, parts, told)
            else:
                generations.make_indexes(owner, self._next, self._projection)
            told("catching up", target, target)
            self._runner(self._next).catch_up()
            self._finish(owner, done, swap=swap, told=told)
            return done

    def _begin(self, owner: Connection) -> tuple[str, int, int, bool]:
        """Return the run to go on with, or a new one: run, target, parts, whether it goes on."""
        name, version = self._projection.name, self._projection.version
        with self._ledger.database.connect(self._live.schema) as connection:
            row = connection.execute(
                "SELECT run, target, parts FROM rebuilds WHERE projection = %s AND version = %s",
                [name, version],
            ).fetchone()
            there = generations.version_of(owner, self._next, name)
            if row and there == version:
                return (*row, True)
            planned = self.plan()
            planned.require_space(self._settings.home)
            with connection.transaction():  # what was noted of an earlier run is not true of this
                _forget(connection, name)
            generations.make(owner, self._next, self._projection)
            run = secrets.token_hex(8)
            connection.execute(
                "INSERT INTO rebuilds (projection, run, version, target, parts)"
                " VALUES (%s, %s, %s, %s, %s)",
                [name, run, version, planned.target, planned.parts],
            )
            return run, planned.target, planned.parts, False

    def _make(self, site: Site, target: int, parts: int, told: Progress) -> None:
        """Do all tasks, stage by stage, those that are done already excepted."""
        with self._ledger.database.connect(self._next.search_path) as connection:
            row = connection.execute(
                "SELECT position FROM bookmarks WHERE projection = %s", [self._projection.name]
            ).fetchone()
            if row and row[0] >= target:
                return  # all is done, and more may have been projected: the keys are others now
            noted = {
                row[0]
                for row in connection.execute(
                    "SELECT task FROM rebuild_tasks WHERE run = %s", [site.run]
                ).fetchall()
            }
            with self._doing(site) as do:
                done = 0.0
                for stage, tasks in self._stages(connection, target, parts):
                    todo = [task for task in tasks if task.name not in noted]
                    done += sum(task.weight for task in tasks if task.name in noted)
                    told(stage, done, target)
                    for task in do(todo):
                        done += task.weight
                        told(stage, done, target)
                connection.execute(
                    "UPDATE bookmarks SET position = %s WHERE projection = %s AND position < %s",
                    [target, self._projection.name, target],
                )

    def _stages(
        self, connection: Connection, target: int, parts: int
    ) -> Iterator[tuple[str, list[Task]]]:
        if self._projection.loaded:
            ordering = Task("make", 0, ORDER * target, step=order.statement(target))
            yield "ordering the log", [ordering]
            bounds = part_bounds(target, parts)
            yield (
                "settling",
                [
                    Task("load", number, LOAD * target / len(bounds), part)
                    for number, part in enumerate(bounds)
                ],
            )
        statements = self._projection.statements("indexes.sql")
        statements += [f"ANALYZE {table}" for table in self._projection.loaded]
        yield (
            "indexing",
            [
                Task("make", number, INDEX * target / len(statements), step=statement)
                for number, statement in enumerate(statements)
            ],
        )
        derivations = self._projection(self._ledger).derivations(target)
        for derivation in derivations:
            found = connection.execute(
                derivation.bounds.encode(), {"every": DERIVE_KEYS}
            ).fetchall()
            keys = ["", *(row[0] for row in found), LAST_KEY]
            share = DERIVE * target / len(derivations) / (len(keys) - 1)
            yield (
                derivation.name,
                [
                    Task("derive", number, share, (low, high), derivation.name)
                    for number, (low, high) in enumerate(pairwise(keys))
                ],
            )
        derived = [name for name in self._projection.tables if name not in self._projection.loaded]
        yield "analyzing", [Task("make", 0, 0, step=f"ANALYZE {', '.join(derived)}")]

    @contextmanager
    def _doing(self, site: Site) -> Iterator[Callable[[Sequence[Task]], Iterator[Task]]]:
        """Yield what does tasks and yields each when it is done."""
        if not self._workers:
            worker = work.Worker(site, self._ledger.database, self._ledger)
            yield lambda tasks: map(worker.do, tasks)
            return
        pool = ProcessPoolExecutor(
            self._workers, mp_context=get_context("spawn"), initializer=work.start, initargs=(site,)
        )

        def done(tasks: Sequence[Task]) -> Iterator[Task]:
            for one in as_completed([pool.submit(work.do, task) for task in tasks]):
                yield one.result()

        try:
            yield done
        except BrokenProcessPool as error:
            raise RebuildBroken(
                "A worker process of the rebuild ended. Start it again: it goes on where it was."
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)

    def _runner(self, generation: generations.Generation) -> Runner:
        return Runner(self._ledger, [self._projection], search_path=generation.search_path)

    def _finish(self, owner: Connection, done: Rebuilt, *, swap: bool, told: Progress) -> None:
        """Bring both generations to one position, compare them, and swap them.

        Live projecting stands still meanwhile, reading and recording do not.
        """
        name = self._projection.name
        has_same = generations.has_rows_of(owner, self._live, self._projection)
        if has_same:
            self._runner(self._live).catch_up()
        with owner.transaction():
            bookmarks = sql.Identifier(self._live.schema, "bookmarks")
            owner.execute(
                sql.SQL("SELECT FROM {} WHERE projection = %s FOR UPDATE").format(bookmarks),
                [name],
            )
            self._runner(self._next).catch_up()
            if has_same:
                told("comparing", done.events, done.events)
                self._catch_up_live(owner)
                done.compared = True
                done.differences = self._differences(owner)
            if swap:
                generations.patiently(owner, self._swap)
                generations.on_path(owner, self._live)
                self._projection(self._ledger).went_live(owner)
                done.swapped = True
            else:
                generations.drop(owner, self._next)
            generations.on_path(owner, self._live)
            _forget(owner, name)

    def _differences(self, owner: Connection) -> list[Difference]:
        with self._ledger.database.connect(self._next.search_path) as beside:
            work.be_patient(self._ledger.database, beside)
            return differences(
                (owner, self._live.schema), (beside, self._next.schema), self._projection.tables
            )

    def _catch_up_live(self, owner: Connection) -> None:
        """Take the live tables to where the next ones are, on the connection that locks them."""
        generations.on_path(owner, self._live)
        row = owner.execute(
            sql.SQL("SELECT position FROM {} WHERE projection = %s").format(
                sql.Identifier(self._next.schema, "bookmarks")
            ),
            [self._projection.name],
        ).fetchone()
        assert row is not None
        runner = self._runner(self._live)
        while runner.step(owner, self._projection(self._ledger), until=row[0]):
            pass

    def _swap(self, owner: Connection) -> None:
        generations.swap(
            owner,
            self._projection,
            self._next,
            generations.former(self._ledger, self._projection),
        )


def _forget(connection: Connection, projection: str) -> None:
    """Remove what was noted of a rebuild."""
    connection.execute(
        "DELETE FROM rebuild_tasks WHERE run IN (SELECT run FROM rebuilds WHERE projection = %s)",
        [projection],
    )
    connection.execute("DELETE FROM rebuilds WHERE projection = %s", [projection])
