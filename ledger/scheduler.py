"""Every periodic job in one list; APScheduler is the alarm clock, nothing more."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from apscheduler.schedulers.background import BackgroundScheduler

from ledger.application import Ledger
from ledger.completeness import keep_complete
from ledger.errors import LedgerError
from ledger.log.seals import seal
from ledger.observation import keep_balance, keep_observed

Jobs = BackgroundScheduler

logger = logging.getLogger("ledger.scheduler")


@dataclass(frozen=True)
class Job:
    """Something that is done again and again; `work` must bear being done twice at once."""

    name: str
    every_seconds: int
    work: Callable[[Ledger], object]
    at_start: bool = False


def seal_log(ledger: Ledger) -> None:
    """Seal the tail of the log."""
    with ledger.pool.connection() as connection:
        seal(connection)


JOBS: tuple[Job, ...] = (
    Job("seal the log", 30, seal_log),
    Job("compare with Stripe's list of events", 300, keep_complete, at_start=True),
    Job("fetch terms and lines that no event tells", 60, keep_observed),
    Job("fetch what Stripe kept of payments", 600, keep_balance),
)


def scheduler() -> BackgroundScheduler:
    """Return a started scheduler without jobs, running in a thread of its own."""
    logging.getLogger("apscheduler").setLevel(logging.ERROR)
    made = BackgroundScheduler(timezone="UTC")
    made.start()
    return made


def add_jobs(running: BackgroundScheduler, ledger: Ledger) -> None:
    """Do every periodic job for this ledger from now on."""
    for job in JOBS:
        running.add_job(
            _run,
            "interval",
            args=[job, ledger],
            seconds=job.every_seconds,
            **({"next_run_time": ledger.clock.now()} if job.at_start else {}),
            max_instances=1,
            coalesce=True,
            misfire_grace_time=None,
        )


def _run(job: Job, ledger: Ledger) -> None:
    try:
        job.work(ledger)
    except LedgerError as error:
        logger.error("%s of %s: %s", job.name, ledger.name, error)
    except Exception as error:  # noqa: BLE001 — the next round tries again
        logger.error("%s of %s failed: %s", job.name, ledger.name, type(error).__name__)
