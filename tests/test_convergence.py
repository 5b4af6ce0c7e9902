"""Any order, any repetition, any batching of the same facts: the same read models (P4, P5)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from msgspec import to_builtins
from psycopg import sql
from psycopg.rows import dict_row

from ledger.application import Ledger
from ledger.clock import FixedClock, utc
from ledger.errors import NotFound
from ledger.log import Log, RecordedEvent
from ledger.projections import Crm, Runner
from ledger.projections.crm.queries import contacts
from ledger.stripe_objects.readers import view_of
from tests.conftest import TABLES, empty, empty_views
from tests.facts import (
    T0,
    Json,
    charge,
    customer,
    event,
    invoice,
    payment_intent,
    price,
    project,
    record,
    subscription,
)

VIEWS = (*Crm.tables, "timeline", "projection_faults")
OF_ARRIVAL = frozenset({"position", "recorded_at", "contact_position"})
Models = dict[str, list[str]]


@dataclass
class Life:
    """An object from its first fact to its last: every change says what was before."""

    obj: Json
    facts: list[Json] = field(default_factory=list)

    def told(self, type_: str, second: int, **changes: object) -> Life:
        previous = {name: self.obj.get(name) for name in changes}
        self.obj = {**self.obj, **changes}
        self.facts.append(event(type_, self.obj, at=T0 + second, previous=previous or None))
        return self


def in_shop() -> Iterator[Life]:
    product = {"id": "prod_premium", "object": "product", "name": "Premium", "created": T0}
    coupon = {"id": "HEMAT", "object": "coupon", "name": "Hemat", "times_redeemed": 0}
    yield (
        Life(product)
        .told("product.created", 0)
        .told("product.updated", 1, name="Premium+")
        .told("product.updated", 1, name="Premium")
    )
    yield (
        Life(price())
        .told("price.created", 0)
        .told("price.updated", 0, nickname="Sebulan")
        .told("price.updated", 1, active=False)
        .told("price.updated", 1, active=True)
    )
    yield (
        Life({**coupon, "percent_off": 10, "created": T0, "valid": True})
        .told("coupon.created", 0)
        .told("coupon.updated", 1, times_redeemed=1)
        .told("coupon.updated", 1, times_redeemed=2)
    )


def of_subscriber() -> Iterator[Life]:
    yield (
        Life(customer())
        .told("customer.created", 0)
        .told("customer.updated", 1, email="andi@new.test")
        .told("customer.updated", 1, delinquent=True)
        .told("customer.updated", 20, delinquent=False, name="Andi W. Wijaya")
    )
    items = subscription()["items"]
    more = {**items, "data": [{**items["data"][0], "quantity": 3}]}
    yield (
        Life(subscription(status="incomplete"))
        .told("customer.subscription.created", 10)
        .told("customer.subscription.updated", 10, status="active")
        .told("customer.subscription.updated", 10, items=more, metadata={"seats": "3"})
        .told("customer.subscription.updated", 12, status="past_due")
        .told("customer.subscription.updated", 20, status="active")
        .told("customer.subscription.updated", 20, status="past_due")
        .told("customer.subscription.updated", 20, status="active", latest_invoice="in_andi")
        .told("customer.subscription.updated", 30, cancel_at_period_end=True)
        .told("customer.subscription.deleted", 40, status="canceled", ended_at=T0 + 40)
    )


def of_invoice() -> Iterator[Life]:
    life = Life(invoice()).told("invoice.created", 10)
    life.told("invoice.updated", 10, status="open", number="A-0001")
    life.facts.append(event("invoice.finalized", life.obj, at=T0 + 10))
    life.told("invoice.updated", 12, attempted=True, attempt_count=1)
    life.facts.append(event("invoice.payment_failed", life.obj, at=T0 + 12))
    life.told("invoice.updated", 20, status="paid", amount_paid=10_000_000, amount_remaining=0)
    life.facts.append(event("invoice.paid", life.obj, at=T0 + 20))
    yield life
    named = {"type": "payment_intent", "payment_intent": "pi_andi"}
    joined = {"id": "inpay_andi", "object": "invoice_payment", "invoice": "in_andi"}
    yield (
        Life({**joined, "payment": named, "status": "open", "created": T0 + 10})
        .told("invoice_payment.created", 10)
        .told("invoice_payment.paid", 20, status="paid")
    )


def of_payment() -> Iterator[Life]:
    error = {"code": "card_declined", "decline_code": "insufficient_funds", "type": "card_error"}
    yield (
        Life(payment_intent(status="requires_payment_method", amount_received=0))
        .told("payment_intent.created", 10)
        .told("payment_intent.payment_failed", 12, last_payment_error=error)
        .told("payment_intent.succeeded", 20, status="succeeded", amount_received=10_000_000)
    )
    lost = charge("ch_lost", status="failed", failure_code="card_declined", captured=False)
    yield Life({**lost, "amount_captured": 0}).told("charge.failed", 12)
    yield (
        Life(charge())
        .told("charge.succeeded", 20)
        .told("charge.refunded", 30, amount_refunded=4_000_000)
        .told("charge.updated", 30, amount_refunded=5_000_000)
        .told("charge.updated", 40, disputed=True)
    )
    of_charge = {"charge": "ch_andi", "amount": 5_000_000, "currency": "idr", "created": T0 + 30}
    yield (
        Life({"id": "re_andi", "object": "refund", "status": "pending", **of_charge})
        .told("refund.created", 30)
        .told("refund.updated", 30, status="succeeded")
    )
    yield (
        Life({"id": "du_andi", "object": "dispute", "status": "needs_response", **of_charge})
        .told("charge.dispute.created", 40)
        .told("charge.dispute.updated", 40, status="under_review")
        .told("charge.dispute.closed", 50, status="lost")
    )


def of_others() -> Iterator[Life]:
    budi = customer("cus_budi", name="Budi", email="budi@example.test", delinquent=True)
    yield Life(budi).told("customer.created", 0).told("customer.deleted", 50)
    yield Life(charge("ch_guest", of=None, payment_intent="pi_guest")).told("charge.succeeded", 5)
    yield Life(payment_intent("pi_guest", of="cus_budi")).told("payment_intent.succeeded", 5)
    cut = {"order_reference": "in_citra"}
    for name in ("in_citra", "in_second"):  # no fact about the customer: who is it?
        one = invoice(name, of="cus_citra", parent=None, customer_name=f"Citra {name}")
        yield Life(one).told("invoice.created", 7).told("invoice.updated", 7, status="open")
    paid = payment_intent("pi_citra", of="cus_citra", payment_details=cut)
    yield Life(paid).told("payment_intent.succeeded", 8)


def lives() -> list[Life]:
    return [
        life
        for tell in (in_shop, of_subscriber, of_invoice, of_payment, of_others)
        for life in tell()
    ]


def story(seed: int = 0) -> list[Json]:
    """Return all facts in the order in which they happened; their ids tell nothing of it."""
    facts = [fact for life in lives() for fact in life.facts]
    facts.sort(key=lambda fact: fact["created"])  # stable: inside a second as they were told
    return [
        {**fact, "id": f"evt_{sha256(f'{seed} {index}'.encode()).hexdigest()[:24]}"}
        for index, fact in enumerate(facts)
    ]


FACTS = len(story())


@dataclass(frozen=True)
class Plan:
    """Which facts are delivered in which order, and how many before each look at the log."""

    order: tuple[int, ...]
    steps: tuple[tuple[int, int], ...]  # (deliveries, events per batch of the projection)

    @property
    def in_order(self) -> Plan:
        return Plan(tuple(sorted(set(self.order))), ((FACTS, 1000),))


@st.composite
def plans(draw: st.DrawFn, *, complete: bool = False) -> Plan:
    missing = draw(st.just(set()) if complete else st.sets(st.integers(1, FACTS - 1)))
    kept = [index for index in range(FACTS) if index not in missing]
    again = draw(st.lists(st.sampled_from(kept), max_size=12))
    step = st.tuples(st.integers(1, 20), st.sampled_from([1, 3, 8, 1000]))
    order = draw(st.permutations([*kept, *again]))
    return Plan(tuple(order), tuple(draw(st.lists(step, max_size=5))))


def start_over(ledger: Ledger) -> None:
    with ledger.pool.connection() as connection:
        subjects = connection.execute("SELECT subject FROM subject_keys").fetchall()
    empty(ledger)
    ledger.keys.forget([subject for (subject,) in subjects])


def deliver(ledger: Ledger, facts: list[Json], plan: Plan, erase_at: int | None = None) -> None:
    """Empty the ledger, then record and project in turns, erasing a customer on the way."""
    start_over(ledger)
    waiting = [facts[index] for index in plan.order]
    for step, (deliveries, batch_events) in enumerate([*plan.steps, (len(waiting), 1000)]):
        record(ledger, *waiting[:deliveries])
        project(ledger, batch_events)
        del waiting[:deliveries]
        if erase_at is not None and (step >= erase_at or not waiting):
            erase_at = erase_at if not erased(ledger) else None
    project(ledger)


def erased(ledger: Ledger) -> bool:
    ledger.clock = FixedClock(utc(T0 + 60))
    try:
        ledger.erase_customer("cus_andi", reason="customer_request")
    except NotFound:
        return False
    return True


def read_models(ledger: Ledger, *, without: frozenset[str] = OF_ARRIVAL) -> Models:
    """Return the rows of all views as text, with contacts opened, without these columns."""
    with ledger.pool.connection() as connection, connection.cursor(row_factory=dict_row) as cursor:
        rows = {
            view: cursor.execute(
                sql.SQL("SELECT * FROM {}").format(sql.Identifier(view))
            ).fetchall()
            for view in VIEWS
        }
        opened = contacts(connection, ledger.keys, rows["customers"])
    rows["contacts"] = [{"id": id_, "contact": contact} for id_, contact in opened.items()]
    return {
        view: sorted(str({k: v for k, v in row.items() if k not in without}) for row in found)
        for view, found in rows.items()
    }


def differences(expected: Models, found: Models) -> list[str]:
    """Return which rows are only in one of the two."""
    return [
        f"{view}: {told} {row}"
        for view in expected
        for told, here, there in (
            ("missing", expected[view], found[view]),
            ("unexpected", found[view], expected[view]),
        )
        for row in (Counter(here) - Counter(there)).elements()
    ]


def disagreements(
    ledger: Ledger, facts: list[Json], plan: Plan, erase_at: int | None = None
) -> list[str]:
    """Return how the views differ from those of the same facts delivered once, in order."""
    deliver(ledger, facts, plan.in_order, None if erase_at is None else len(plan.steps))
    expected = read_models(ledger)
    deliver(ledger, facts, plan, erase_at)
    return differences(expected, read_models(ledger))


def untruths(ledger: Ledger) -> list[str]:
    """Return which objects are not what the last thing that happened to them left behind."""
    with ledger.pool.connection() as connection:
        states: dict[str, Json] = dict(
            connection.execute(
                "SELECT canonical ->> 'id', canonical FROM current_objects"
            ).fetchall()
        )
        owners: dict[str, str] = dict(
            connection.execute("SELECT object_id, customer_id FROM owners").fetchall()
        )
    true_states = {life.obj["id"]: to_builtins(view_of(life.obj)) for life in lives()}
    found = [
        f"{id_} is {states.get(id_)}"
        for id_, true in true_states.items()
        if states.get(id_) != true
    ]
    return found + [
        f"{id_} belongs to {owners.get(id_)}"
        for id_, customer_id in TRUE_OWNERS.items()
        if owners.get(id_) != customer_id
    ]


def plain_words(ledger: Ledger) -> list[str]:
    """Return which words that tell of a person stand in which table, as text or as bytes."""
    with ledger.database.connect_as_owner() as connection:
        return [
            f"{word} in {table}"
            for table in TABLES
            for (word,) in connection.execute(
                sql.SQL(
                    "SELECT word FROM unnest(%s::text[]) AS word WHERE EXISTS ("
                    " SELECT FROM {} AS line WHERE position(word IN line::text) > 0"
                    " OR position(encode(word::bytea, 'hex') IN line::text) > 0)"
                ).format(sql.Identifier(ledger.schema, table)),
                [list(PERSONAL)],
            ).fetchall()
        ]


def added_by_other_renderings(ledger: Ledger, facts: list[Json]) -> int:
    """Return how many events the log gains when every fact comes in another version too."""
    record(ledger, *facts)
    record(ledger, *map(as_rendered_in_2020, facts))
    with ledger.pool.connection() as connection:
        return Log(connection).last_position() - len(facts)


def as_rendered_in_2020(fact: Json) -> Json:
    obj = {**fact["data"]["object"], "of_old": True}
    return {**fact, "api_version": "2020-08-27", "data": {**fact["data"], "object": obj}}


PERSONAL = ("Andi", "andi@", "Budi", "budi@", "Citra", "Makassar", "Somba", "+62 811", "lead 17")
# Those who name no customer themselves.
TRUE_OWNERS = {
    "re_andi": "cus_andi", "du_andi": "cus_andi", "inpay_andi": "cus_andi", "ch_guest": "cus_budi",
}  # fmt: skip

every_time_the_same = hypothesis_settings(
    max_examples=25,
    derandomize=True,  # a check before a merge says the same twice; the long ones explore
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
exploring = hypothesis_settings(every_time_the_same, max_examples=300, derandomize=False)


@every_time_the_same
@given(seed=st.integers(0, 99), plan=plans())
def test_any_order_repetition_and_batching_gives_the_same_views(
    ledger: Ledger, seed: int, plan: Plan
) -> None:
    assert disagreements(ledger, story(seed), plan) == []


@pytest.mark.long
@exploring
@given(seed=st.integers(), plan=plans())
def test_hundreds_of_orders_repetitions_and_batchings_give_the_same_views(
    ledger: Ledger, seed: int, plan: Plan
) -> None:
    assert disagreements(ledger, story(seed), plan) == []


@hypothesis_settings(every_time_the_same, max_examples=6)
@given(seed=st.integers(0, 99), plan=plans(complete=True))
def test_complete_facts_in_any_order_tell_the_true_state(
    ledger: Ledger, seed: int, plan: Plan
) -> None:
    deliver(ledger, story(seed), plan)

    assert untruths(ledger) == []


@hypothesis_settings(every_time_the_same, max_examples=6)
@given(plan=plans(), erase_at=st.integers(0, 8))
def test_an_erasure_at_any_moment_gives_the_same_views(
    ledger: Ledger, plan: Plan, erase_at: int
) -> None:
    assert disagreements(ledger, story(), plan, erase_at) == []


def test_another_rendering_of_every_fact_adds_nothing(ledger: Ledger) -> None:
    assert added_by_other_renderings(ledger, story()) == 0


def test_no_personal_word_stands_in_any_table(ledger: Ledger) -> None:
    deliver(ledger, story(), Plan(tuple(range(FACTS)), ()))

    assert plain_words(ledger) == []


@pytest.mark.parametrize("batch_events", [1, 20])
def test_a_rebuild_equals_the_live_views_row_for_row(ledger: Ledger, batch_events: int) -> None:
    shuffled = sorted(range(FACTS), key=lambda index: index * 31 % 59)
    deliver(ledger, story(), Plan(tuple(shuffled), ((5, 2), (11, 1), (20, 3))))
    live = read_models(ledger, without=frozenset())

    rebuild(ledger, batch_events)

    assert differences(live, read_models(ledger, without=frozenset())) == []


class Picky(Crm):
    """Cannot read every third event."""

    def apply(
        self, connection: psycopg.Connection[tuple[Any, ...]], events: Sequence[RecordedEvent]
    ) -> None:
        if any(event.position % 3 == 0 for event in events):
            raise ValueError("unreadable")
        super().apply(connection, events)


@pytest.mark.parametrize("projection", [Crm, Picky])
def test_two_workers_at_once_give_the_views_that_one_gives(
    ledger: Ledger, projection: type[Crm]
) -> None:
    start_over(ledger)
    record(ledger, *story())
    Runner(ledger, [projection], batch_events=7).catch_up()
    alone = read_models(ledger, without=frozenset())
    empty_views(ledger)

    runners = [Runner(ledger, [projection], batch_events=7) for _ in range(2)]
    with ThreadPoolExecutor(2) as workers:
        list(workers.map(Runner.catch_up, runners))

    assert differences(alone, read_models(ledger, without=frozenset())) == []


def rebuild(ledger: Ledger, batch_events: int) -> None:
    empty_views(ledger)
    project(ledger, batch_events)
