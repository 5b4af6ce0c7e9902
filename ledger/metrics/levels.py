"""What is told beside MRR at the end of each period: at risk, in trials, set to end, paused."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from ledger.metrics.frames import BUCKET, Source
from ledger.metrics.question import Period, Question
from ledger.projections.projection import Connection

MEASURES = ("at_risk", "scheduled", "trial", "trial_scheduled", "paused")
_COLUMNS = "measure, currency, amount_minor"


def levels(
    connection: Connection, asked: Question, by: str | None = None
) -> dict[tuple[str, str], dict[tuple[Period, str], int]]:
    """Return amounts (minor units) at the end of each period, by (currency, value) and measure."""
    known = not by and asked.filters.keys() <= {"currency"}
    source = Source("level_entries", _COLUMNS, "level_days" if known else None)
    told, bounds = source.query(asked, by)
    query = (
        f"SELECT {BUCKET} AS first, measure, currency, value, sum(amount_minor)"  # noqa: S608 — constants of ours
        f" FROM ({told}) AS told WHERE measure = ANY (%(measures)s) GROUP BY 1, 2, 3, 4"
    )
    changes: dict[tuple[str, str], dict[str, dict[Any, int]]] = defaultdict(
        lambda: defaultdict(dict)
    )
    for first, measure, currency, value, amount in connection.execute(
        query.encode(), {**bounds, "measures": list(MEASURES)}
    ).fetchall():
        changes[currency, value][measure][first] = int(amount)
    return {
        key: {
            (period, measure): amount
            for measure, by_start in of_key.items()
            for period, amount in _followed(asked, by_start)
        }
        for key, of_key in changes.items()
    }


def _followed(asked: Question, by_start: dict[Any, int]) -> Iterator[tuple[Period, int]]:
    amount = by_start.get(None, 0)
    for period in asked.periods:
        amount += by_start.get(period.start, 0)
        yield period, amount
