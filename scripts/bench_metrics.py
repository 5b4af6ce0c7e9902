"""How fast questions about numbers are answered, on a ledger of a million events.

A hundred thousand subscriptions over three years, up to ten events each: they begin, change plan
and quantity, fall past due and recover, and end. Each question is asked again and again, in turn,
on one connection; told is the 95th percentile of each. With --explain the plans, too.
usage: scripts/bench metrics [--subscriptions N] [--home FOLDER] [--rounds N] [--explain] [--json]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from bench_log import BATCH_EVENTS, _Collected

from ledger.bootstrap import installation
from ledger.log import Log
from ledger.log.log import prepare
from ledger.metrics.answers import answer
from ledger.metrics.cohorts import cohorts
from ledger.metrics.exchange import import_rates
from ledger.metrics.frames import frames
from ledger.metrics.losses import by_category, reasons
from ledger.metrics.movements import movements
from ledger.metrics.question import Question, question
from ledger.metrics.statuses import statuses
from ledger.moments import Moment
from ledger.projections import PROJECTIONS
from ledger.projections.rebuild import Rebuild
from ledger.settings import Settings

START = 1_672_531_200  # 2023-01-01T00:00:00Z
DAY = 86_400
DAYS = 1_095
NOW = datetime(2026, 1, 15, tzinfo=UTC)
EVENTS_PER_SUBSCRIPTION = 10
WORKERS = 2
PRICES = [(900, "month"), (2_900, "month"), (9_900, "month"), (29_000, "year"), (99_000, "year")]
CURRENCIES = ("usd", "usd", "usd", "eur", "idr")
FEEDBACK = ("too_expensive", "unused", "missing_features", "other", None)


def price(index: int, currency: str) -> dict[str, Any]:
    """Return a price of a small catalogue."""
    amount, interval = PRICES[index]
    return {
        "id": f"price_{currency}{index}00000000000000", "object": "price", "currency": currency,
        "unit_amount": amount, "unit_amount_decimal": str(amount),
        "product": f"prod_{index}0000000000000a",
        "recurring": {"interval": interval, "interval_count": 1, "usage_type": "licensed"},
    }  # fmt: skip


def life(number: int) -> Iterator[dict[str, Any]]:
    """Yield the ten events of one subscription, in the order of time."""
    chance = Random(number)  # noqa: S311 — a made-up business
    currency = chance.choice(CURRENCIES)
    at = START + chance.randrange(DAYS - 100) * DAY + chance.randrange(DAY)
    state: dict[str, Any] = {
        "id": f"sub_{number:014d}a", "object": "subscription", "customer": f"cus_{number:014d}a",
        "status": "active", "currency": currency, "created": at, "start_date": at,
        "cancel_at_period_end": False, "discounts": [],
        "items": {"object": "list", "data": [{
            "id": f"si_{number:014d}a", "object": "subscription_item", "quantity": 1,
            "price": price(chance.randrange(len(PRICES)), currency), "discounts": [],
        }]},
    }  # fmt: skip
    yield told(f"{number}a", "customer.subscription.created", state, at)
    ended = chance.random() < 0.4
    for step in range(EVENTS_PER_SUBSCRIPTION - 2):
        at += chance.randrange(2, 40) * DAY + chance.randrange(DAY)
        item = state["items"]["data"][0]
        what = chance.random()
        if state["status"] == "past_due":
            state = {**state, "status": "active"}
        elif what < 0.15:
            state = {**state, "status": "past_due"}
        elif what < 0.4:
            change = {"quantity": chance.randrange(1, 6)}
            state = {**state, "items": {"object": "list", "data": [{**item, **change}]}}
        elif what < 0.5:
            change = {"price": price(chance.randrange(len(PRICES)), currency)}
            state = {**state, "items": {"object": "list", "data": [{**item, **change}]}}
        yield told(f"{number}b{step}", "customer.subscription.updated", state, at)
    at += chance.randrange(1, 20) * DAY
    if ended:
        state = {
            **state, "status": "canceled", "ended_at": at, "canceled_at": at,
            "cancellation_details": {
                "reason": chance.choice(("cancellation_requested", "payment_failed")),
                "feedback": chance.choice(FEEDBACK), "comment": None,
            },
        }  # fmt: skip
    kind = "deleted" if ended else "updated"
    yield told(f"{number}c", f"customer.subscription.{kind}", state, at)


def told(key: str, type_: str, obj: dict[str, Any], at: int) -> dict[str, Any]:
    """Return an event about an object."""
    return {
        "id": f"evt_{key:0>20}", "object": "event", "api_version": "2025-09-30.clover",
        "created": at, "data": {"object": obj}, "livemode": False, "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None}, "type": type_,
    }  # fmt: skip


def fill(settings: Settings, subscriptions: int, folder: Path) -> int:
    """Append all events in the order in which they arrive; return how many.

    They are sorted month by month, in files: together they would fill memory.
    """
    months = DAYS // 30 + 20
    files = [(folder / f"{month}.jsonl").open("wb") for month in range(months)]
    for number in range(subscriptions):
        for index, event in enumerate(life(number)):
            if event["created"] > NOW.timestamp():
                break
            late = 20 * DAY if (number + index) % 100 == 0 else 0  # every hundredth comes late
            arrives = event["created"] + late
            month = min((arrives - START) // (30 * DAY), months - 1)
            files[month].write(b"%d %s\n" % (arrives, json.dumps(event).encode()))
    for one in files:
        one.close()
    written = 0
    with installation(settings) as opened:
        ledger = opened.ledger()
        with opened.database.connect(ledger.schema) as connection:
            connection.execute("SET synchronous_commit = off")
            log, taken = Log(connection), _Collected()
            for one in files:
                for line in sorted(Path(one.name).read_bytes().splitlines()):
                    with suppress(StopIteration):
                        ledger.intake.take(line.partition(b" ")[2], taken).send(None)
                    if len(taken.events) >= BATCH_EVENTS:
                        written += sum(at > 0 for at in log.append(taken.events))
                        taken.events.clear()
                Path(one.name).unlink()
            written += sum(at > 0 for at in log.append(taken.events))
    return written


def prepare_ledger(settings: Settings, subscriptions: int) -> None:
    """Fill an empty ledger and make its read models."""
    with installation(settings) as opened:
        ledger = opened.ledger()
        with opened.database.connect(ledger.schema) as connection:
            if Log(connection).last_position():
                return
        started = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            written = fill(settings, subscriptions, Path(folder))
        say(f"filled with {written:,} events in {time.monotonic() - started:.0f} s")
        import_rates(ledger, rates(settings.home), actor="bench")
        for projection in PROJECTIONS:
            started = time.monotonic()
            Rebuild(settings, ledger, projection, WORKERS).run()
            seconds = time.monotonic() - started
            say(f"{projection.name} in {seconds:.0f} s, {written / seconds:,.0f} events/s")


def rates(folder: Path) -> Path:
    """Write a rate to dollars for every weekday of every currency; return the file."""
    file = folder / "rates.csv"
    chance = Random(1)  # noqa: S311 — made-up rates
    first = datetime.fromtimestamp(START, UTC).date()
    days = [first + timedelta(days=number) for number in range(DAYS + 20)]
    lines = [
        f"{day},{currency},usd,{about * chance.uniform(0.9, 1.1):.8f}"
        for day in days
        if day.weekday() < 5
        for currency, about in (("eur", 1.1), ("idr", 0.000065))
    ]
    file.write_text("\n".join(["date,from,to,rate", *lines]) + "\n")
    return file


Ask = Callable[[Any], object]


def questions(connection: Any) -> dict[str, Ask]:
    """Return the questions by name."""
    last = Log(connection).last_position()

    def asked(*, known_at: int | None = None, **given: Any) -> Question:
        moment = Moment(NOW, known_at)
        return question(connection, now=NOW, moment=moment, **given)

    def metric(name: str, by: str | None = None, **given: Any) -> Ask:
        return lambda c: answer(c, asked(**given), name, by)

    year = {"start": "2025-01", "end": "2025-12"}
    return {
        "mrr, 12 months": metric("mrr", **year),
        "mrr, 36 months": metric("mrr", start="2023-01", end="2025-12"),
        "mrr, 90 days by day": metric("mrr", start="2025-10-01", end="2025-12-29", interval="day"),
        "mrr by price": metric("mrr", "price", **year),
        "mrr of one price": metric("mrr", filters={"price": "price_usd100000000000000"}, **year),
        "mrr of one cohort": metric("mrr", filters={"cohort": "2024-03"}, **year),
        "mrr known at half the log": metric("mrr", known_at=last // 2, **year),
        "mrr in one currency": metric("mrr", convert_to="usd", **year),
        "arpa": metric("arpa", **year),
        "movements": lambda c: frames(c, asked(**year)),
        "customer churn": metric("customer_churn_rate", **year),
        "nrr": metric("nrr", **year),
        "nrr known at half the log": metric("nrr", known_at=last // 2, **year),
        "grr by quarter": metric("grr", interval="quarter", **year),
        "cltv over 3 months": metric("cltv_3_periods", **year),
        "churn of the month so far": metric("customer_churn_rate", start="2026-01", end="2026-01"),
        "at risk": metric("at_risk_mrr", **year),
        "committed": metric("committed_mrr", **year),
        "cohorts of a year": lambda c: cohorts(c, asked(**year)),
        "statuses": lambda c: statuses(c, asked(**year)),
        "churn by category": lambda c: by_category(c, asked(**year)),
        "churn reasons": lambda c: reasons(c, asked(**year)),
        "explained: a month's movements": lambda c: movements(
            c, asked(start="2025-06", end="2025-06"), limit=100
        ),
    }


def main() -> None:
    """Fill, ask, tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subscriptions", type=int, default=106_000)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--home", type=Path, help="keep the ledger here and use what is there")
    parser.add_argument("--explain", action="store_true", help="show the plans of the queries")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings.from_env({
            "LEDGER_HOME": str(chosen.home or Path(folder)),
            "LEDGER_MASTER_KEY": "YmVuY2htYXJrcy1uZWVkLW5vLXNlY3JldC1rZXkhISE=",
        })  # fmt: skip
        prepare_ledger(settings, chosen.subscriptions)
        with installation(settings) as opened:
            ledger = opened.ledger()
            with opened.database.connect(ledger.schema) as connection:
                prepare(connection)
                found = measured(connection, chosen.rounds)
                if chosen.explain:
                    explain(connection)
    for name, p95 in found.items():
        say(f"{name:32}{p95:>9.1f} ms")
    if chosen.json:
        print(json.dumps({"p95_ms": max(found.values()), "queries": found}))


def measured(connection: Any, rounds: int) -> dict[str, float]:
    """Return the 95th percentile of each question, in milliseconds; the questions take turns."""
    asked = questions(connection)
    taken: dict[str, list[float]] = {name: [] for name in asked}
    for number in range(rounds + 2):
        for name, ask in asked.items():
            started = time.perf_counter()
            ask(connection)
            if number >= 2:  # the first rounds fill caches
                taken[name].append((time.perf_counter() - started) * 1000)
    return {name: round(sorted(times)[int(len(times) * 0.95)], 1) for name, times in taken.items()}


class _Explained:
    """A connection that shows the plan of what it executes."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def execute(self, query: Any, *parameters: Any) -> Any:
        text = query.decode() if isinstance(query, bytes) else query
        rows = self._connection.execute(f"EXPLAIN (ANALYZE, BUFFERS) {text}", *parameters)
        say("\n".join(row[0] for row in rows.fetchall()))
        return self._connection.execute(query, *parameters)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


def explain(connection: Any) -> None:
    """Show the plans behind every question."""
    for name, ask in questions(connection).items():
        say(f"\n== {name}")
        ask(_Explained(connection))


def say(text: str) -> None:
    """Tell how it goes; the result alone is for standard output."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
