"""Writes what books yield, and keeps the sums of it: by day or month, and by block of positions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from ledger.database import wire
from ledger.projections.numbers.levels import Level
from ledger.projections.numbers.movements import Entry, Loss, Period
from ledger.projections.numbers.shelf import Opened
from ledger.projections.numbers.trials import Trial
from ledger.projections.projection import Connection

_ENTRIES = (
    b"COPY mrr_entries (series, position, recorded_at, valid_at, currency, customer_id,"
    b' subscription_id, item_id, product, price, "interval", kind, reason, amount_minor, movements,'
    b" customers, unknowns, group_at, cohort) FROM STDIN (FORMAT binary)"
)
_LEVELS = (
    b"COPY level_entries (series, measure, position, recorded_at, valid_at, currency, customer_id,"
    b' subscription_id, product, price, "interval", amount_minor, customers)'
    b" FROM STDIN (FORMAT binary)"
)
_PERIODS = (
    b"COPY mrr_periods (series, grain, start, currency, customer_id, start_minor, end_minor,"
    b" was_active, is_lost) FROM STDIN (FORMAT binary)"
)

_LOSSES = (
    b"COPY losses (series, customer_id, lost_at, currency, subscription_id, reason, feedback,"
    b" amount_minor, product, price, position) FROM STDIN (FORMAT binary)"
)
_TRIALS = (
    b"COPY trials (subscription_id, customer_id, currency, product, price, started_at, ends_at,"
    b" ended_at, outcome, converted_at) FROM STDIN (FORMAT binary)"
)

BLOCK = 20_000  # positions: what is known at one is the blocks before it, and a part of its own

_DAY = "(e.valid_at AT TIME ZONE (s.definitions #>> '{reporting,zone}'))::date"
_MONTH = f"date_trunc('month', {_DAY}::timestamp)::date"
_SUMS = ("amount_minor", "movements", "customers", "unknowns")


def _summing(
    table: str, entries: str, day: str, keys: Mapping[str, str], sums: Sequence[str]
) -> bytes:
    """Return the statement that adds entries to a table of sums."""
    columns = ", ".join(["series", "valid_day", "block", *keys])
    told = ", ".join(["e.series", day, f"(e.position - 1) / {BLOCK}", *keys.values()])
    return (
        f"INSERT INTO {table} AS known ({columns}, {', '.join(sums)})"  # noqa: S608 — our words
        f" SELECT {told}, {', '.join(f'sum(e.{one})' for one in sums)}"
        f" FROM {entries} AS e JOIN mrr_series AS s USING (series)"
        " WHERE e.series = ANY (%(series)s) AND e.position > %(after)s AND e.position <= %(until)s"
        f" GROUP BY {', '.join(str(n + 1) for n in range(len(keys) + 3))}"
        f" ON CONFLICT ({columns}) DO UPDATE SET "
        + ", ".join(f"{one} = known.{one} + EXCLUDED.{one}" for one in sums)
    ).encode()


_OF_ITEMS = {
    "product": "coalesce(e.product, '')",
    "price": "coalesce(e.price, '')",
    '"interval"': "coalesce(e.\"interval\", '')",
}
_BY_KIND = {"currency": "e.currency", "kind": "e.kind"}


def totals() -> tuple[bytes, ...]:
    """Return the statements that add entries to each table of sums."""
    return (
        _summing("mrr_days", "mrr_entries", _DAY, _BY_KIND, _SUMS),
        _summing("mrr_price_days", "mrr_entries", _DAY, {**_BY_KIND, **_OF_ITEMS}, _SUMS),
        _summing("mrr_price_months", "mrr_entries", _MONTH, {**_BY_KIND, **_OF_ITEMS}, _SUMS),
        _summing(
            "mrr_cohort_months",
            "mrr_entries",
            _MONTH,
            {**_BY_KIND, "cohort": "coalesce(e.cohort, '-infinity')"},
            _SUMS,
        ),
        _summing(
            "level_days",
            "level_entries",
            _DAY,
            {"measure": "e.measure", "currency": "coalesce(e.currency, '')"},
            ("amount_minor", "customers"),
        ),
    )


_TOTALS = totals()


def write_learnt(
    connection: Connection,
    books: Sequence[Opened],
    recorded: Mapping[int, datetime],
) -> None:
    """Write the entries that facts recorded at these positions brought."""
    told = [
        (position, recorded[position], one.book.customer, learnt)
        for one in books
        for position, learnt in one.learnt
        if position in recorded
    ]
    wire.copy_in(
        connection,
        _ENTRIES,
        (
            _entry(learnt.series, position, at, customer, entry)
            for position, at, customer, learnt in told
            for entry in learnt.entries
        ),
    )
    wire.copy_in(
        connection,
        _LEVELS,
        (
            _level(learnt.series, position, at, customer, level)
            for position, at, customer, learnt in told
            for level in learnt.levels
        ),
    )


_OUTCOMES = """
INSERT INTO mrr_outcomes AS known (
    series, grain, start, currency, moved, lost, shrunk_minor, change_minor
)
SELECT series, grain, start, currency, {sign}count(*), {sign}count(*) FILTER (WHERE is_lost),
    {sign}coalesce(sum(greatest(start_minor - end_minor, 0)), 0),
    {sign}coalesce(sum(end_minor - start_minor) FILTER (WHERE start_minor > 0), 0)
FROM mrr_periods WHERE {which}
GROUP BY 1, 2, 3, 4
ON CONFLICT (series, grain, start, currency) DO UPDATE SET
    moved = known.moved + EXCLUDED.moved, lost = known.lost + EXCLUDED.lost,
    shrunk_minor = known.shrunk_minor + EXCLUDED.shrunk_minor,
    change_minor = known.change_minor + EXCLUDED.change_minor
"""
_OF_CUSTOMERS = "customer_id = ANY (%(customers)s)"


def add_outcomes(connection: Connection, customers: Sequence[str], sign: str = "") -> None:
    """Add what became of these customers to the sums of outcomes; with `-`, take it away."""
    query = _OUTCOMES.format(sign=sign, which=_OF_CUSTOMERS)
    connection.execute(query.encode(), {"customers": list(customers)})
    if not sign:
        connection.execute("DELETE FROM mrr_outcomes WHERE moved = 0")


def sum_up_outcomes(connection: Connection, series: Sequence[int]) -> None:
    """Sum up what became of all customers in series that have no sums yet."""
    query = _OUTCOMES.format(sign="", which="series = ANY (%(series)s)")
    connection.execute(query.encode(), {"series": list(series)})


def forget_outcomes(connection: Connection, customers: Sequence[str]) -> None:
    """Remove what became of customers, to be written anew."""
    add_outcomes(connection, customers, "-")
    for table in (b"mrr_periods", b"losses", b"trials"):
        connection.execute(
            b"DELETE FROM " + table + b" WHERE customer_id = ANY (%s)", [list(customers)]
        )


def write_outcomes(connection: Connection, books: Sequence[Opened], series: set[int]) -> None:
    """Write what became of customers in their periods, of whom nothing must be there.

    Trials are the same in every series: they are written with the first.
    """
    if 1 in series:
        trials = (
            _trial(subscription, one.book.customer, trial)
            for one in books
            for subscription, trial in one.book.trials()
        )
        wire.copy_in(connection, _TRIALS, trials)
    losses = (
        _loss(number, one.book.customer, loss, feedback, position)
        for one in books
        for number, loss, feedback, position in one.book.losses()
    )
    wire.copy_in(connection, _LOSSES, losses)
    wire.copy_in(
        connection,
        _PERIODS,
        (
            _period(number, one.book.customer, period)
            for one in books
            for number, period in one.book.periods()
        ),
    )


def sum_up(connection: Connection, series: Sequence[int], after: int, until: int) -> None:
    """Add the entries of positions in (after, until] to the sums."""
    bounds = {"series": list(series), "after": after, "until": until}
    for statement in _TOTALS:
        connection.execute(statement, bounds)


def _entry(
    series: int, position: int, recorded_at: datetime, customer: str, entry: Entry
) -> wire.Row:
    return (
        wire.smallint(series),
        wire.bigint(position),
        wire.instant(recorded_at),
        wire.unix(entry.at),
        entry.currency.encode(),
        customer.encode(),
        entry.subscription.encode(),
        wire.text(entry.item),
        wire.text(entry.product),
        wire.text(entry.price),
        wire.text(entry.interval),
        entry.kind.encode(),
        entry.reason.encode(),
        wire.bigint(entry.amount_minor),
        wire.smallint(entry.movements),
        wire.smallint(entry.customers),
        wire.smallint(entry.unknowns),
        wire.unix(entry.group_at),
        None if entry.cohort is None else wire.day(entry.cohort),
    )


def _level(
    series: int, position: int, recorded_at: datetime, customer: str, level: Level
) -> wire.Row:
    return (
        wire.smallint(series),
        level.measure.encode(),
        wire.bigint(position),
        wire.instant(recorded_at),
        wire.unix(level.at),
        wire.text(level.currency),
        customer.encode(),
        wire.text(level.subscription),
        wire.text(level.product),
        wire.text(level.price),
        wire.text(level.interval),
        wire.bigint(level.amount_minor),
        wire.smallint(level.customers),
    )


def _loss(
    series: int, customer: str, loss: Loss, feedback: str | None, position: int | None
) -> wire.Row:
    return (
        wire.smallint(series),
        customer.encode(),
        wire.unix(loss.at),
        loss.currency.encode(),
        loss.subscription.encode(),
        loss.reason.encode(),
        wire.text(feedback),
        wire.bigint(loss.amount_minor),
        wire.text(loss.product),
        wire.text(loss.price),
        wire.bigint(position),
    )


def _trial(subscription: str, customer: str, trial: Trial) -> wire.Row:
    return (
        subscription.encode(),
        customer.encode(),
        wire.text(trial.currency),
        wire.text(trial.product),
        wire.text(trial.price),
        wire.unix(trial.started_at),
        wire.unix(trial.ends_at),
        wire.unix(trial.ended_at),
        trial.outcome.encode(),
        wire.unix(trial.converted_at),
    )


def _period(series: int, customer: str, period: Period) -> wire.Row:
    return (
        wire.smallint(series),
        period.grain.encode(),
        wire.day(period.start),
        period.currency.encode(),
        customer.encode(),
        wire.bigint(period.start_minor),
        wire.bigint(period.end_minor),
        wire.boolean(period.was_active),
        wire.boolean(period.is_lost),
    )
