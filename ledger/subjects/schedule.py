"""Who has been gone for long is erased: by a job, once somebody has set after how many years.

Gone is who has no subscription that goes on and of whom nothing has happened since. What tax and
company law want kept (invoices and their amounts) stays: only what is personal goes.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from ledger.aggregates import Customer
from ledger.aggregates.keeping import Keeping
from ledger.application import Ledger
from ledger.decisions import Connection, Decisions
from ledger.people.changes import Changing

logger = logging.getLogger("ledger.keeping")

YEARS_MIN = 1
A_DAY_MAX = 500  # a wrong number of years shall not empty the ledger in a night
A_DAY = timedelta(days=1)
REASON = "retention_schedule"
_OF_A_DAY = """
SELECT count(*) FROM events WHERE stripe_event_id IS NULL AND topic = %s
    AND data ->> 'reason' = %s AND occurred_at > %s
"""
_DUE = """
SELECT c.id, greatest(c.created, max(f.occurred_at)) AS gone_since
FROM customers AS c LEFT JOIN facts AS f ON f.customer_id = c.id
WHERE NOT c.erased AND NOT EXISTS (
    SELECT FROM subscriptions AS s
    WHERE s.customer_id = c.id AND s.status NOT IN ('canceled', 'incomplete_expired')
) AND NOT EXISTS (
    SELECT FROM dunning_cases AS d WHERE d.customer_id = c.id AND d.outcome IS NULL
)
GROUP BY c.id, c.created
HAVING greatest(c.created, max(f.occurred_at))
    < %(now)s::timestamptz - make_interval(years => %(years)s)
ORDER BY 2, 1
"""


def schedule_of(decisions: Decisions) -> int | None:
    """Return after how many years whoever has gone is erased; None: nobody is."""
    found = decisions.find(Keeping, Keeping.STREAM)
    return found.erase_after_years if found else None


def set_schedule(ledger: Ledger, years: int | None, *, actor: str) -> None:
    """Let those be erased who have been gone for so long."""
    now = ledger.clock.now()

    def change(connection: Connection, decisions: Decisions) -> None:
        found = decisions.find(Keeping, Keeping.STREAM)
        if found is None:
            found = Keeping.begin(now)
            decisions.add(found)
        found.set_schedule(years, actor=actor, now=now)

    Changing(ledger).saved(change)


def due(connection: Connection, now: datetime, years: int) -> list[tuple[str, datetime]]:
    """Return who has been gone for so many years, and since when; the longest first."""
    return connection.execute(_DUE.encode(), {"now": now, "years": years}).fetchall()


def keep_schedule(ledger: Ledger) -> int:
    """Erase who has been gone for long enough, so many a day at most: a periodic job."""
    if ledger.settings.is_demo:
        return 0
    now = ledger.clock.now()
    with ledger.pool.connection() as connection:
        years = schedule_of(Decisions(connection, ledger.keys))
        if years is None:
            return 0
        given = [Customer.CustomerErased.TOPIC, REASON, now - A_DAY]
        done = connection.execute(_OF_A_DAY.encode(), given).fetchone()
        room = max(0, A_DAY_MAX - (int(done[0]) if done else 0))
        rows = due(connection, now, years)[:room]
    for customer, _ in rows:
        ledger.erase_customer(customer, reason=REASON, actor=REASON)
    if rows:
        logger.info("%d customers gone for %s years were erased", len(rows), years)
    return len(rows)
