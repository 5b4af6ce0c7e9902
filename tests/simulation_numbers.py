"""The numbers against what the simulator knows, and against themselves under every set there is."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from typing import Any

from ledger.application import Ledger
from ledger.clock import utc
from ledger.metrics.frames import frames
from ledger.metrics.movements import movements
from ledger.metrics.question import question
from ledger.projections.numbers.series import END, series_until
from ledger.simulator import Simulator
from ledger.simulator.moments import DAY, day_of
from ledger.simulator.random_business import START


def number_faults(ledger: Ledger, simulator: Simulator) -> list[str]:
    """Return where MRR is not, to the unit, what it truly is at the end of each day."""
    with ledger.pool.connection() as connection:
        rows = connection.execute(
            "SELECT (valid_at AT TIME ZONE 'UTC')::date::text, customer_id, currency,"
            " sum(amount_minor)::bigint FROM mrr_entries WHERE series = 1"
            " AND valid_at < to_timestamp(%s) GROUP BY 1, 2, 3 ORDER BY 1",
            [simulator.now // DAY * DAY],
        ).fetchall()
        unknown = connection.execute(
            "SELECT item_id, sum(unknowns) FROM mrr_entries WHERE series = 1 GROUP BY 1"
            " HAVING sum(unknowns) <> 0"
        ).fetchall()
    told: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    for day, customer, currency, change in rows:
        told[customer, currency][day] = change
    true = simulator.truth.mrr_per_day(START, simulator.now // DAY * DAY)
    days = [day_of(at) for at in range(START // DAY * DAY, simulator.now // DAY * DAY, DAY)]
    found = [f"{item} is counted {count} times as of unknown terms" for item, count in unknown]
    for customer, currency in sorted({(c, k) for _, c, k in true} | told.keys()):
        amount = 0
        for day in sorted({*days, *told[customer, currency]}):
            amount += told[customer, currency].get(day, 0)
            if amount != (truly := true.get((day, customer, currency), 0)):
                found.append(f"{customer} on {day}: MRR {amount} {currency}, truly {truly}")
                break
    return found


def identity_faults(ledger: Ledger, now: int) -> list[str]:
    """Return where movements do not lead from one end of a period to the other.

    Under every definition set, by day and by month, and whenever it is asked.
    """
    found: list[str] = []
    with ledger.pool.connection() as connection:
        for series in series_until(connection, END):
            for interval in ("day", "month"):
                told = _frames(connection, series.label, interval, now, now)
                later = _frames(connection, series.label, interval, now, now + 400 * DAY)
                for currency, of in told.items():
                    found += [
                        f"{series.label}, {interval} {one.period.label}: {one}"
                        for one in of
                        if one.start_minor + sum(one.amounts.values()) != one.end_minor
                    ]
                    found += [
                        f"{series.label}, {interval}: {a.period.label} ends otherwise than"
                        f" {b.period.label} begins"
                        for a, b in pairwise(of)
                        if a.end_minor != b.start_minor
                    ]
                    if later[currency] != of:
                        found.append(f"{series.label}, {interval}: depends on when it is asked")
            found += _unexplained(connection, series.label, now)
    return found


def _frames(connection: Any, definitions: str, interval: str, now: int, asked_at: int) -> Any:
    """Return the frames of the ninety days that were over yesterday."""
    asked = question(
        connection, now=utc(asked_at), definitions=definitions, interval=interval,
        start=day_of(now - 90 * DAY), end=day_of(now - DAY),
    )  # fmt: skip
    return {currency: of for (currency, _), of in frames(connection, asked).items()}


def _unexplained(connection: Any, definitions: str, now: int) -> list[str]:
    """Return where single movements do not add up to what the frames say."""
    asked = question(
        connection, now=utc(now), definitions=definitions, interval="year",
        start=day_of(now - 90 * DAY), end=day_of(now - DAY),
    )  # fmt: skip
    told = {
        (currency, kind): amount
        for (currency, _), of in frames(connection, asked).items()
        for one in of
        for kind, amount in one.amounts.items()
        if amount
    }
    single: dict[tuple[str, str], int] = defaultdict(int)
    for one in movements(connection, asked, limit=100_000):
        single[one.currency, one.kind] += one.amount_minor
    explained = {key: amount for key, amount in single.items() if amount}
    wrong = {key for key in told.keys() | explained.keys() if told.get(key) != explained.get(key)}
    return [
        f"{definitions}: {key} is {told.get(key)}, explained {explained.get(key)}" for key in wrong
    ]
