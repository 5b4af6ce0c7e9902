"""Every periodic job in one list; APScheduler is the alarm clock, nothing more."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event

from apscheduler.schedulers.background import BackgroundScheduler

from ledger.agenda import Agenda
from ledger.application import Ledger
from ledger.completeness import keep_complete
from ledger.errors import LedgerError
from ledger.log.seals import seal
from ledger.observation import keep_balance, keep_cards, keep_observed
from ledger.recovery.drill import keep_backed_up, keep_keys
from ledger.regular_checks import remind
from ledger.settings import Settings
from ledger.subjects.erasure import keep_purged
from ledger.subjects.schedule import keep_schedule
from ledger.suppression import read_mailbox

Jobs = BackgroundScheduler

logger = logging.getLogger("ledger.scheduler")


@dataclass(frozen=True)
class Workplace:
    """What jobs work on: a ledger, and what is due in it."""

    ledger: Ledger
    agenda: Agenda
    stop: Event
    settings: Settings


@dataclass(frozen=True)
class Job:
    """Something that is done again and again; `work` must bear being done twice at once."""

    name: str
    every_seconds: int
    work: Callable[[Workplace], object]
    at_start: bool = False


def seal_log(ledger: Ledger) -> None:
    """Seal the tail of the log."""
    with ledger.pool.connection() as connection:
        seal(connection)


def forget_answers(ledger: Ledger) -> None:
    """Forget what was answered to requests with an Idempotency-Key more than a day ago."""
    with ledger.pool.connection() as connection:
        connection.execute(
            "DELETE FROM idempotency_keys WHERE created_at < clock_timestamp() - interval '1 day'"
        )


JOBS: tuple[Job, ...] = (
    Job("do what is due", 1, lambda at: at.agenda.work(lambda: not at.stop.is_set())),
    Job("seal the log", 30, lambda at: seal_log(at.ledger)),
    Job(
        "compare with Stripe's list of events",
        300,
        lambda at: keep_complete(at.ledger),
        at_start=True,
    ),
    Job("fetch terms and lines that no event tells", 60, lambda at: keep_observed(at.ledger)),
    Job("fetch what Stripe kept of payments", 600, lambda at: keep_balance(at.ledger)),
    Job("ask which cards expire soon", 3_600, lambda at: keep_cards(at.ledger)),
    Job("read the mailbox of bounces", 300, lambda at: read_mailbox(at.ledger, at.agenda.site)),
    Job("purge the keys of those who were erased", 600, lambda at: keep_purged(at.ledger)),
    Job("erase who has been gone for long", 3_600, lambda at: keep_schedule(at.ledger)),
    Job("write down who is erased", 60, lambda at: keep_keys(at.settings, at.ledger)),
    Job("back the ledger up", 600, lambda at: keep_backed_up(at.settings, at.ledger)),
    Job(
        "warn of what is late",
        24 * 3_600,
        lambda at: remind(at.settings, at.ledger),
        at_start=True,
    ),
    Job("forget old answers", 3_600, lambda at: forget_answers(at.ledger)),
)


def scheduler() -> BackgroundScheduler:
    """Return a started scheduler without jobs, running in a thread of its own."""
    logging.getLogger("apscheduler").setLevel(logging.ERROR)
    made = BackgroundScheduler(timezone="UTC")
    made.start()
    return made


def add_jobs(running: BackgroundScheduler, workplace: Workplace) -> None:
    """Do every periodic job at this place from now on."""
    ledger = workplace.ledger
    for job in JOBS:
        running.add_job(
            _run,
            "interval",
            args=[job, workplace],
            seconds=job.every_seconds,
            **({"next_run_time": ledger.clock.now()} if job.at_start else {}),
            max_instances=1,
            coalesce=True,
            misfire_grace_time=None,
        )


def _run(job: Job, workplace: Workplace) -> None:
    ledger = workplace.ledger
    try:
        job.work(workplace)
    except LedgerError as error:
        logger.error("%s of %s: %s", job.name, ledger.name, error)
    except Exception as error:  # noqa: BLE001 — the next round tries again
        logger.error("%s of %s failed: %s", job.name, ledger.name, type(error).__name__)
