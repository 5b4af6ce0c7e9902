"""What must be done again and again, and whether it is late: audits, drills, nightly copies."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import datetime

import msgspec

from ledger.aggregates import Account
from ledger.aggregates.base import ACCOUNT_STREAM
from ledger.application import Ledger
from ledger.decisions import Connection
from ledger.health import Concern
from ledger.log import Log, NewEvent
from ledger.recovery.copies import DATA, copies_in
from ledger.recovery.drill import DRILL_DAYS_MAX, OVERDUE, folders_of, last_noted
from ledger.settings import Settings

logger = logging.getLogger("ledger.regular_checks")

AUDIT_DAYS_MAX = 90
_FIRST = "SELECT recorded_at FROM events ORDER BY position LIMIT 1"


def late(settings: Settings, ledger: Ledger, connection: Connection) -> Iterator[Concern]:
    """Yield what is late; of a ledger that has just begun nothing is."""
    began = connection.execute(_FIRST.encode()).fetchone()
    if began is None or ledger.settings.is_demo:
        return
    now = ledger.clock.now()

    def days_since(topic: str) -> int:
        since: datetime = last_noted(connection, topic) or began[0]
        return (now - since).days

    if (days := days_since(Account.Audited.TOPIC)) > AUDIT_DAYS_MAX:
        yield Concern(
            "audit_late",
            f"Nobody has looked this installation over for {days} days: `scripts/audit` does it.",
        )
    if (days := days_since(Account.BackupVerified.TOPIC)) > DRILL_DAYS_MAX:
        yield Concern(
            "drill_late",
            f"No copy was restored and verified for {days} days: `ledger backup` does it.",
        )
    folders = folders_of(settings, embedded=ledger.database.is_embedded)
    if folders is not None:
        newest = [at for at, _ in copies_in(folders.data, ledger.name, DATA)[:1]]
        if now - max([*newest, began[0]]) > OVERDUE:
            yield Concern(
                "backup_late",
                f"The newest copy in {folders.data} is older than two days: is a worker running?"
                " Its log says why none could be made.",
            )


def remind(settings: Settings, ledger: Ledger) -> list[Concern]:
    """Warn of what is late: a periodic job."""
    with ledger.pool.connection() as connection:
        found = list(late(settings, ledger, connection))
    for one in found:
        logger.warning("%s: %s", ledger.name, one.sentence)
    return found


def note_audited(ledger: Ledger, findings: dict[str, int], not_looked_at: list[str]) -> None:
    """Record that the installation was looked over: how much was found, and what was not seen."""
    data = {"type": "audited", "findings": findings, "not_looked_at": not_looked_at}
    event = NewEvent(
        ACCOUNT_STREAM, Account.Audited.TOPIC, ledger.clock.now(), msgspec.json.encode(data)
    )
    with ledger.pool.connection() as connection:
        Log(connection).append([event])
    ledger.announce()
