"""A made-up business runs on a real ledger while everything that may go wrong does.

From a seed follow the business (any operation at any time), which of its webhooks are shuffled,
doubled, late, lost or sent again, and when the ledger projects, fills gaps or is killed. Afterwards
the log must hold what Stripe lists, the views must say what the simulator knows to be true, now and
at past moments, and a rebuild must give the same rows. `scripts/simulate --seed N` runs it again.
"""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from typing import Any

from werkzeug.serving import make_server

from ledger.application import Ledger
from ledger.clock import FixedClock, utc
from ledger.completeness import compare
from ledger.log.log import prepare
from ledger.log.seals import seal, verify
from ledger.metrics.definitions import add_definitions
from ledger.moments import Moment
from ledger.observation import observe
from ledger.projections import PROJECTIONS, Runner
from ledger.projections.crm import past
from ledger.projections.definitions import shipped
from ledger.projections.rebuild import Rebuild
from ledger.settings import Settings
from ledger.simulator import NEWEST, Simulator
from ledger.simulator.delivery import Faults, plan
from ledger.simulator.engine import Event
from ledger.simulator.http import Service, create_app
from ledger.simulator.moments import DAY
from ledger.simulator.random_business import START, random_walk
from ledger.stripe_api import StripeApi
from tests.simulation_journal import journal_faults
from tests.simulation_numbers import identity_faults, number_faults

VERSIONS = ("2020-08-27", "2024-06-20", "2025-03-31.basil", "2025-09-30.clover", NEWEST)
GAP_FILL_DAYS = 8  # of thirty that the list goes back: one step may take twenty
MOMENTS = 6  # past moments looked at for each object
API_KEY = "sk_test_simulation"


@dataclass(frozen=True)
class Setting:
    """What follows from a seed before anything happens."""

    seed: int
    steps: int
    start: int
    versions: tuple[str, ...]
    faults: Faults
    batch_events: int

    @classmethod
    def of(cls, seed: int, steps: int | None = None, start: int = START) -> Setting:
        """Return the setting of a seed."""
        chance = Random(f"setting:{seed}")
        versions = chance.sample(VERSIONS, chance.choice([1, 1, 2]))
        return cls(
            seed,
            steps or chance.randrange(30, 90),
            start,
            tuple(versions),
            Faults(
                shuffle_window=chance.choice([1, 5, 40, 200]),
                duplicates=chance.choice([0.0, 0.05, 0.3]),
                redeliveries=chance.choice([0.0, 0.03]),
                delays=chance.choice([0.0, 0.05]),
                drops=chance.choice([0.0, 0.01, 0.05]),
                delay_events=chance.choice([20, 200]),
            ),
            chance.choice([1, 7, 100, 1000]),
        )


class Business:
    """A random walk that can be stepped, with the endpoints its setting says."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self._walk = random_walk(
            setting.seed,
            start=setting.start,
            endpoint_versions=setting.versions,
            api_version=setting.versions[0],
        )
        self.simulator = self._walk.sim

    def events(self, goes_on: Callable[[], bool]) -> Iterator[Event]:
        """Let the business live as long as `goes_on`, and yield its events as they happen."""
        told = 0
        for _ in range(self.setting.steps):
            if not goes_on():
                break
            self._walk.step()
            yield from self.simulator.events[told:]
            told = len(self.simulator.events)


@dataclass(frozen=True)
class Listed:
    """Where a simulator answers as Stripe's API."""

    base: str

    @property
    def api(self) -> StripeApi:
        """The ledger's way there."""
        return StripeApi(API_KEY, self.base)


@contextmanager
def listed(simulator: Simulator) -> Iterator[Listed]:
    """Serve Stripe's API over this simulator, whose time stands still meanwhile."""
    service = Service(simulator, lambda: simulator.now)
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = make_server("127.0.0.1", 0, create_app(service), threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield Listed(f"http://127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def run(settings: Settings, ledger: Ledger, setting: Setting) -> list[str]:
    """Live through a setting in this process; return what is wrong afterwards."""
    chance = Random(f"run:{setting.seed}")
    business = Business(setting)
    simulator = business.simulator
    clock = FixedClock(utc(setting.start))
    ledger.clock = clock
    runner = Runner(ledger, PROJECTIONS, setting.batch_events)
    filled_at = setting.start

    def fill() -> None:
        clock.at = utc(simulator.now)
        with listed(simulator) as there:
            compare(ledger, there.api)
            observe(ledger, there.api)

    def filling() -> bool:
        nonlocal filled_at
        if simulator.now - filled_at > GAP_FILL_DAYS * DAY:
            fill()
            filled_at = simulator.now
        return True

    told = business.events(filling)
    sets = [shipped(name) for name in ("stripe", "chartmogul")]
    for delivery in plan(simulator, setting.faults, seed=setting.seed, events=told):
        ledger.intake.receive(delivery.body)
        if sets and chance.random() < 0.01:
            add_definitions(ledger, sets.pop(), actor="tests")
        if chance.random() < 0.02:
            runner.catch_up()
    simulator.advance(simulator.now + 300)  # nothing is in flight any more
    fill()
    runner.catch_up()
    clock.at = utc(simulator.now + 3_600)  # what is young is not asked for yet
    with listed(simulator) as there:
        observe(ledger, there.api)
    runner.catch_up()
    return faults(settings, ledger, simulator)


def faults(settings: Settings, ledger: Ledger, simulator: Simulator) -> list[str]:
    """Return what of the ledger is not as the simulator knows it to be."""
    found = [*log_faults(ledger, simulator), *view_faults(ledger, simulator)]
    found += number_faults(ledger, simulator)
    found += identity_faults(ledger, simulator.now)
    found += journal_faults(ledger, simulator)
    for projection in PROJECTIONS:
        for one in Rebuild(settings, ledger, projection, workers=0).run(swap=False).differences:
            found.append(f"rebuilt {one.table} differs from live: {one.examples}")
    with ledger.pool.connection() as connection:
        seal(connection)
        found += [f"{one.kind} at {one.position}" for one in verify(connection).findings]
    return found


def log_faults(ledger: Ledger, simulator: Simulator) -> list[str]:
    """Return what the log lacks, holds twice, or holds that Stripe does not list."""
    # What shows no change in the account's version is told to endpoints of others only, and listed
    # nowhere: if it is lost on the way, nobody can know of it.
    version = simulator.engine.settings.api_version
    wanted = {event.id for event in simulator.events if version in event.bodies}
    told = {event.id for event in simulator.events}
    with ledger.pool.connection() as connection:
        rows = connection.execute(
            "SELECT stripe_event_id FROM events WHERE stripe_event_id IS NOT NULL"
        ).fetchall()
        odd = connection.execute(
            "SELECT position, topic FROM events WHERE topic IN"
            " ('Account.ConflictingDelivery', 'Account.DeliveryUnreadable')"
        ).fetchall()
        passed_over = connection.execute("SELECT position, fault FROM projection_faults").fetchall()
    held = {row[0] for row in rows}
    return [
        *(f"{id_} is not in the log" for id_ in sorted(wanted - held)),
        *(f"{id_} is in the log, but not at Stripe" for id_ in sorted(held - told)),
        *(f"{topic} at {position}" for position, topic in odd),
        *(f"{position} was passed over: {fault}" for position, fault in passed_over),
    ]


def view_faults(ledger: Ledger, simulator: Simulator) -> list[str]:
    """Return what the views say that is not true; what they mark as assumed may be untrue."""
    chance = Random(f"moments:{simulator.now}")
    with ledger.pool.connection() as connection:
        prepare(connection)
        found = [*_present(connection, simulator), *_money(connection, simulator)]
        for _ in range(MOMENTS):
            at = chance.randrange(simulator.now - 60 * DAY, simulator.now)
            found += _past(connection, simulator, at)
    return found


def _present(connection: Any, simulator: Simulator) -> Iterator[str]:
    final = simulator.final_objects()
    ids = [*simulator.truth.subscriptions(), *simulator.truth.invoices()]
    told = past.states(connection, ids, Moment())
    for id_ in ids:
        true = final.get(id_)
        if true is None or true.get("deleted"):
            continue  # a deleted draft is gone
        row = told.get(id_)
        if row is None:
            yield f"{id_} is unknown"
            continue
        for name in ("status", "customer", "amount_paid", "amount_due", "attempt_count",
                     "cancel_at_period_end", "canceled_at", "ended_at", "trial_end"):  # fmt: skip
            if name in true and (was := row["canonical"].get(name)) != true[name]:
                yield from _unless_assumed(row, name, f"{id_} {name}: {was}, truly {true[name]}")


def _past(connection: Any, simulator: Simulator, at: int) -> Iterator[str]:
    truth = simulator.truth
    ids = [*truth.subscriptions(), *truth.invoices()]
    told = past.states(connection, ids, Moment(as_of=utc(at)))
    for id_ in ids:
        true = truth.status_of(id_, at)
        row = told.get(id_)
        said = None if row is None else "deleted" if row["is_deleted"] else row["status"]
        if said != true:
            yield from _unless_assumed(row, "status", f"{id_} at {at}: {said}, truly {true}")


def _unless_assumed(row: dict[str, Any] | None, leaf: str, fault: str) -> Iterator[str]:
    assumed = row["provisional"] if row else []
    if not any(one == leaf or one.startswith(f"{leaf}.") for one in assumed):
        yield fault


def _money(connection: Any, simulator: Simulator) -> Iterator[str]:
    """Compare what the payments add up to with the cash the simulator saw move."""
    true: dict[str, int] = defaultdict(int)
    back: dict[str, int] = defaultdict(int)
    for (currency, _), cash in simulator.truth.cash().items():
        true[currency] += cash.collected
        back[currency] += cash.refunded
    rows = connection.execute(
        "SELECT currency, coalesce(sum(amount_received_minor), 0),"
        " coalesce(sum(amount_refunded_minor), 0) FROM payments"
        " WHERE currency IS NOT NULL GROUP BY currency"
    ).fetchall()
    told = {currency: (int(received), int(refunded)) for currency, received, refunded in rows}
    for currency in sorted({*true, *told}):
        expected = (true[currency], back[currency])
        if told.get(currency, (0, 0)) != expected:
            yield f"{currency} received and refunded: {told.get(currency)}, truly {expected}"
