"""The numbers: exact by position, whatever the order and the batches; restated, never moved."""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from ledger.application import Ledger
from ledger.bootstrap import Installation
from ledger.errors import RequestInvalid
from ledger.log import Log, NewEvent
from ledger.metrics.definitions import add_definitions, adopt_definitions, changed
from ledger.metrics.movements import movements
from ledger.metrics.restatement import between_definitions, between_positions
from ledger.metrics.tables import as_csv
from ledger.observation import note_terms
from ledger.projections import Numbers as Projection
from ledger.projections.definitions import read, shipped, shipped_names
from ledger.projections.numbers.series import CALCULATIONS
from ledger.projections.numbers.worth import worth_of
from ledger.projections.rebuild import Rebuild
from ledger.settings import Settings
from tests.conftest import new_ledger
from tests.facts import Json, event, project, record
from tests.numbers import (
    NOW,
    Numbers,
    at,
    begun,
    coupon,
    ended,
    held,
    identity_holds,
    price,
    sub,
    updated,
)

MONTHLY = price(1_000)


@pytest.fixture
def numbers(ledger: Ledger) -> Numbers:
    return Numbers(ledger)


# --- what others got wrong ------------------------------------------------------------------------


def test_weekly_subscriptions_add_up(numbers: Numbers) -> None:
    numbers.told(*(begun("2024-01-01", sub(f"a{n}", (price(300, "week"), 1))) for n in range(4)))

    assert numbers.value("mrr", "2024-01") == 4 * 1_300


def test_more_than_a_thousand_subscriptions_are_all_counted(numbers: Numbers) -> None:
    facts = [
        event("customer.subscription.created", sub("one", (MONTHLY, 1), name=str(number)),
              created=at("2024-01-01") + number * 1_800)
        for number in range(1_100)
    ]  # fmt: skip
    numbers.told(*facts)

    assert numbers.value("mrr", "2024-01") == 1_100_000
    assert numbers.value("customers", "2024-01") == 1


def paid(day: str, subscription: str, customer: str) -> Json:
    invoice = {
        "id": f"in_{subscription}", "object": "invoice", "subscription": subscription,
        "customer": customer, "status": "paid", "amount_paid": 1_000, "currency": "usd",
    }  # fmt: skip
    return event("invoice.paid", invoice, created=at(day))


def test_a_free_month_that_keeps_somebody_leaves_their_mrr(numbers: Numbers) -> None:
    of = sub("a", (MONTHLY, 1))
    free = updated(at("2024-02-01"), {**of, "status": "trialing", "trial_end": at("2024-03-01")})
    numbers.told(begun("2024-01-01", of), paid("2024-01-01", of["id"], of["customer"]), free)
    numbers.told(updated(at("2024-03-01"), of))

    assert [one.end_minor for one in numbers.frames("2024-01", "2024-04")] == [1_000] * 4
    assert numbers.moves() == [("new", 1_000)]


def test_tax_that_a_price_contains_is_no_revenue(numbers: Numbers) -> None:
    rate = {"id": "txr_1", "object": "tax_rate", "inclusive": True, "percentage": 19.0}
    numbers.told(begun("2024-01-01", sub("a", (price(11_900), 1), default_tax_rates=[rate])))

    assert numbers.value("mrr", "2024-01") == 10_000


def test_tax_that_stripe_computes_leaves_the_amount_unknown_and_counted(numbers: Numbers) -> None:
    of = price(11_900, tax_behavior="inclusive")
    numbers.told(begun("2024-01-01", sub("a", (of, 1), automatic_tax={"enabled": True})))

    (told,) = numbers.answers("mrr", "2024-01")
    assert (told.value.exact, told.unknowns) == (0, 1)


def test_to_cancel_twice_loses_a_customer_once(numbers: Numbers) -> None:
    of = sub("a", (MONTHLY, 1))
    numbers.told(begun("2024-01-01", of), ended(at("2024-02-01"), of), ended(at("2024-02-03"), of))

    assert numbers.moves() == [("new", 1_000), ("churn", -1_000)]
    assert numbers.value("churned_customers", "2024-02") == 1


@pytest.mark.parametrize(
    ("recognized", "moves"),
    [
        ("when_ended", [("new", 1_000)]),
        ("when_scheduled", [("new", 1_000), ("churn", -1_000), ("reactivation", 1_000)]),
    ],
)
def test_who_takes_a_cancellation_back_is_not_lost(
    numbers: Numbers, recognized: str, moves: Any
) -> None:
    of = sub("a", (MONTHLY, 1))
    scheduled = updated(at("2024-02-01"), {**of, "cancel_at_period_end": True})
    numbers.told(begun("2024-01-01", of), scheduled, updated(at("2024-02-05"), of))
    own = changed(shipped("adopted"), {"churn.recognized": recognized}, "own")
    add_definitions(numbers.ledger, own, actor="tests")
    project(numbers.ledger)
    numbers.definitions = "own"

    assert numbers.moves() == moves


# --- what happens by the passing of time ----------------------------------------------------------


def test_a_coupon_that_runs_out_is_an_expansion_on_that_day_and_taken_back_if_they_leave(
    numbers: Numbers,
) -> None:
    half = coupon("repeating", percent_off=50.0, duration_in_months=3)
    of = sub("a", (MONTHLY, 1), discounts=held(half, end=at("2024-04-01")))
    numbers.told(begun("2024-01-01", of))
    assert numbers.moves() == [("new", 500), ("expansion", 500)]
    assert numbers.value("mrr", "2024-03-31") == 500
    assert numbers.value("mrr", "2024-04-01") == 1_000

    numbers.told(ended(at("2024-02-01"), of))

    assert numbers.moves() == [("new", 500), ("churn", -500)]
    assert numbers.value("mrr", "2024-04-01") == 0


def test_who_stays_past_due_too_long_is_lost_where_definitions_say_so(numbers: Numbers) -> None:
    own = changed(shipped("adopted"), {"counts.delinquent_after_days": 30}, "strict")
    add_definitions(numbers.ledger, own, actor="tests")
    of = sub("a", (MONTHLY, 1))
    numbers.told(begun("2024-01-01", of), updated(at("2024-02-01"), {**of, "status": "past_due"}))

    assert numbers.value("mrr", "2024-03-15") == 1_000
    numbers.definitions = "strict"
    assert numbers.value("mrr", "2024-03-01") == 1_000
    assert numbers.value("mrr", "2024-03-15") == 0


def test_a_pause_is_no_loss_and_to_end_while_paused_is_one(numbers: Numbers) -> None:
    of = sub("a", (MONTHLY, 1))
    resting = {**of, "pause_collection": {"behavior": "void"}}
    numbers.told(begun("2024-01-01", of), updated(at("2024-02-01"), resting))
    assert numbers.moves() == [("new", 1_000), ("contraction", -1_000)]
    assert numbers.value("customers", "2024-02") == 0
    assert numbers.value("paused_mrr", "2024-02") == 1_000

    numbers.told(ended(at("2024-03-01"), resting))

    assert numbers.moves()[2:] == [("churn", 0)]
    assert numbers.value("churned_customers", "2024-03") == 1


# --- terms nobody told ----------------------------------------------------------------------------


def test_terms_that_were_never_told_are_counted_beside_the_number_until_they_are_observed(
    numbers: Numbers,
) -> None:
    tiered = {**price(0), "id": "price_tiered", "unit_amount": None, "unit_amount_decimal": None,
              "billing_scheme": "tiered", "tiers_mode": "graduated"}  # fmt: skip
    numbers.told(begun("2024-01-01", sub("a", (tiered, 15))))
    numbers.told(begun("2024-01-01", sub("b", (MONTHLY, 1), discounts=["di_never"])))
    (before,) = numbers.answers("mrr", "2024-01")
    assert (before.value.exact, before.unknowns) == (0, 2)

    tiers = [{"up_to": 10, "unit_amount": 100, "flat_amount": None},
             {"up_to": None, "unit_amount": 50, "flat_amount": 500}]  # fmt: skip
    note_terms(numbers.ledger, "price", "price_tiered", {**tiered, "tiers": tiers})
    discount = {
        "id": "di_never", "object": "discount", "customer": "cus_b", "start": at("2024-01-01"),
        "end": None, "subscription": "sub_b1", "source": {"coupon": "OLD"},
    }  # fmt: skip
    numbers.told(event("customer.discount.created", discount, created=at("2024-01-01")))
    note_terms(numbers.ledger, "coupon", "OLD", coupon("forever", id="OLD", percent_off=10.0))
    project(numbers.ledger)

    (told,) = numbers.answers("mrr", "2024-01")
    assert (told.value.exact, told.unknowns) == (10 * 100 + 5 * 50 + 500 + 900, 0)


# --- two axes of time -----------------------------------------------------------------------------


def story() -> list[Json]:
    """Return a customer's year, in which a fact may come at any time."""
    a, b = sub("a", (MONTHLY, 1)), sub("b", (price(2_000), 2))
    second = sub("a", (price(500), 1), name="2")
    return [
        begun("2024-01-01", a), begun("2024-01-10", b), begun("2024-02-01", second),
        updated(at("2024-02-20"), sub("a", (MONTHLY, 3))),
        updated(at("2024-03-01"), {**b, "status": "past_due"}),
        updated(at("2024-03-05"), sub("b", (price(3_000), 1))),
        ended(at("2024-03-20"), second), ended(at("2024-04-01"), sub("a", (MONTHLY, 3))),
        begun("2024-05-01", sub("a", (price(7_000), 1), name="3")),
        ended(at("2024-06-01"), sub("b", (price(3_000), 1)), "payment_failed"),
    ]  # fmt: skip


def series(numbers: Numbers) -> Any:
    return [
        (one.period.label, one.end_minor, one.customers_end, sorted(one.amounts.items()))
        for one in numbers.frames("2024-01", "2024-07")
    ]


@pytest.mark.parametrize("seed", range(4))
def test_what_was_known_at_a_position_is_what_the_numbers_said_then(
    numbers: Numbers, seed: int
) -> None:
    facts = story()
    Random(seed).shuffle(facts)
    said = {}
    for position, fact in enumerate(facts, 1):
        numbers.told(fact)
        said[position] = series(numbers)

    for position, then in said.items():
        numbers.known_at = position
        assert series(numbers) == then


@pytest.mark.parametrize("seed", range(4))
def test_as_known_now_the_order_of_arrival_changes_nothing(
    installation: Installation, ledger: Ledger, seed: int
) -> None:
    in_order, shuffled = Numbers(ledger), story()
    in_order.told(*story())
    Random(seed).shuffle(shuffled)
    for other in new_ledger(installation):
        numbers = Numbers(other)
        record(other, *shuffled)
        project(other, batch_events=3)

        assert series(numbers) == series(in_order)
        assert numbers.moves() == in_order.moves()


def test_the_numbers_of_the_past_do_not_depend_on_now(numbers: Numbers) -> None:
    numbers.told(*story())
    told = series(numbers)

    numbers.now = NOW.replace(year=2031)

    assert series(numbers) == told


def test_a_late_fact_is_a_bridge_from_what_was_known_to_what_is(numbers: Numbers) -> None:
    facts = story()
    late = facts.pop(3)
    numbers.told(*facts)
    known = len(facts)
    before = numbers.value("mrr", "2024-03")
    numbers.told(late)

    with numbers.ledger.pool.connection() as connection:
        asked = numbers.asked(connection, "2024-03")
        steps = between_positions(connection, asked, known, asked.begins(asked.periods[0].end))
        assert [(one.customer, one.change_minor, one.positions) for one in steps] == [
            ("cus_a", 2_000, (known + 1,))
        ]
    assert numbers.value("mrr", "2024-03") == before + 2_000
    numbers.known_at = known
    assert numbers.value("mrr", "2024-03") == before


# --- definition sets ------------------------------------------------------------------------------


def test_the_bridge_between_two_sets_explains_all_of_their_difference(numbers: Numbers) -> None:
    half = held(coupon("repeating", percent_off=50.0), end=at("2030-01-01"))
    numbers.told(
        begun("2024-01-01", sub("a", (MONTHLY, 1), discounts=half)),
        begun("2024-01-01", sub("b", (MONTHLY, 2))),
    )
    by_adopted = numbers.value("mrr", "2024-01")
    with numbers.ledger.pool.connection() as connection:
        old = numbers.asked(connection, "2024-01")
    numbers.by("stripe")
    by_stripe = numbers.value("mrr", "2024-01")

    with numbers.ledger.pool.connection() as connection:
        new = numbers.asked(connection, "2024-01")
        steps = between_definitions(connection, old, new, NOW)
    assert [(one.customer, one.change_minor) for one in steps] == [("cus_a", 500)]
    assert sum(one.change_minor for one in steps) == by_stripe - by_adopted


def test_a_set_added_later_has_the_rows_of_a_rebuild(settings: Settings, ledger: Ledger) -> None:
    record(ledger, *story()[:5])
    project(ledger)
    for name in shipped_names():
        if name != "adopted":
            add_definitions(ledger, shipped(name), actor="tests")
    record(ledger, *story()[5:])
    project(ledger)

    done = Rebuild(settings, ledger, Projection, workers=0).run(swap=False)

    assert done.compared
    assert done.differences == []


def test_a_formula_that_changed_moves_nothing_until_it_is_adopted(
    numbers: Numbers, monkeypatch: pytest.MonkeyPatch
) -> None:
    def doubled(*given: Any) -> Any:
        """A second calculation, on purpose another."""
        from dataclasses import replace

        return [replace(one, amount_minor=2 * one.amount_minor) for one in worth_of(*given)]

    numbers.told(*story())
    published = series(numbers)
    monkeypatch.setitem(CALCULATIONS, 2, doubled)

    add_definitions(numbers.ledger, shipped("adopted"), calculation=2, actor="tests")
    project(numbers.ledger)
    assert series(numbers) == published
    adopt_definitions(numbers.ledger, "adopted/2", actor="tests")
    project(numbers.ledger)

    assert [two for _, two, *_ in series(numbers)] == [2 * one for _, one, *_ in published]
    numbers.definitions = "adopted/1"
    assert series(numbers) == published


def test_shipped_sets_never_change() -> None:
    """A published number would move with them: a change is another version, in its own file."""
    assert {name: shipped(name).hash for name in shipped_names()} == {
        "adopted": "71dfa47542d0", "chartmogul": "2b871c91d195", "stripe": "6cef7312e160",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"discounts.profil": "net"}, "There is no choice 'discounts.profil'"),
        ({"discounts.profile": "gross"}, "Invalid enum value 'gross'"),
        ({"reporting.zone": "Mars/Olympus"}, "There is no time zone 'Mars/Olympus'"),
        ({"reporting.currency": "EUR"}, "'EUR' is no currency"),
        ({"counts.delinquent_after_days": 91}, "1 to 90, not 91"),
        ({"grouping.minutes": -1}, "0 to 1440"),
    ],
)
def test_choices_that_are_none_are_refused_by_name(changes: Any, told: str) -> None:
    with pytest.raises(RequestInvalid) as refused:
        changed(shipped("adopted"), changes, "own")

    assert told in str(refused.value)
    with pytest.raises(RequestInvalid):
        read({"name": "nothing"})


@pytest.mark.parametrize("share", ["abc", "1/0", "0/1", "-1/2", "\uff11", ""])
def test_a_share_that_is_none_never_gets_into_the_log(numbers: Numbers, share: str) -> None:
    with pytest.raises(RequestInvalid, match=r"months_per_period\.month is a fraction"):
        changed(shipped("adopted"), {"months_per_period.month": share}, "odd")
    for name in ("a/b", "=x", "../x", "-z", "two words", "n" * 41):
        with pytest.raises(RequestInvalid, match="is no name"):
            changed(shipped("adopted"), {}, name)
    with pytest.raises(RequestInvalid, match="There is no calculation 99"):
        add_definitions(numbers.ledger, shipped("stripe"), calculation=99, actor="tests")


def test_a_set_that_cannot_be_read_holds_up_no_other(numbers: Numbers) -> None:
    odd = msgspec.to_builtins(shipped("stripe"))
    odd["months_per_period"]["month"] = "abc"
    data = {"type": "definitions.added", "definitions": odd, "hash": "0", "calculation": 1}
    with numbers.ledger.pool.connection() as connection:
        Log(connection).append([
            NewEvent("definitions", "Account.DefinitionsAdded", NOW, msgspec.json.encode(data))
        ])  # fmt: skip
    numbers.told(begun("2024-01-01", sub("a", (price(1_000), 1))))

    assert numbers.value("mrr", "2024-01") == 1_000


def test_days_begin_where_the_definitions_say(numbers: Numbers) -> None:
    own = changed(shipped("adopted"), {"reporting.zone": "Asia/Jakarta"}, "jakarta")
    add_definitions(numbers.ledger, own, actor="tests")
    late = event("customer.subscription.created", sub("a", (MONTHLY, 1)),
                 created=at("2024-01-31", hour=20))  # fmt: skip
    numbers.told(late)

    assert numbers.value("mrr", "2024-01") == 1_000
    numbers.definitions = "jakarta"
    assert numbers.value("mrr", "2024-01") == 0
    assert numbers.value("mrr", "2024-02-01") == 1_000


# --- what must hold always ------------------------------------------------------------------------

STEPS = st.lists(
    st.tuples(
        st.integers(0, 2),  # which customer
        st.integers(0, 1),  # which of their subscriptions
        st.sampled_from(["plan", "quantity", "pause", "past_due", "end", "free", "trial"]),
        st.integers(0, 120),  # which day
        st.integers(1, 3),
    ),
    max_size=14,
)


def _events(steps: Any) -> list[Json]:
    facts = []
    for customer, name, what, day, size in steps:
        moment = at("2024-01-01") + day * 86_400
        of = sub(f"c{customer}", (price(1_000 * size), size), name=str(name))
        if what == "end":
            facts.append(ended(moment, of))
            continue
        more: dict[str, Json] = {
            "pause": {"pause_collection": {"behavior": "void"}},
            "past_due": {"status": "past_due"},
            "free": {"discounts": held(coupon("forever", percent_off=100.0))},
            "trial": {"status": "trialing"},
        }
        facts.append(updated(moment, {**of, **more.get(what, {})}))
    return facts


@given(STEPS)
@hypothesis_settings(max_examples=25, deadline=None)
def test_movements_explain_every_change_under_every_set(
    installation: Installation, steps: Any
) -> None:
    for ledger in new_ledger(installation):
        numbers = Numbers(ledger)
        for name in ("stripe", "chartmogul"):
            add_definitions(ledger, shipped(name), actor="tests")
        record(ledger, *_events(steps))
        project(ledger)
        for name in shipped_names():
            numbers.definitions = name
            for interval in ("day", "month", "quarter"):
                found = numbers.frames("2024-01", "2024-06", interval)
                assert identity_holds(found)
                assert all(one.end_minor >= 0 <= one.customers_end for one in found)
            with ledger.pool.connection() as connection:
                asked = numbers.asked(connection, "2024-01", "2024-06")
                explained = sum(one.amount_minor for one in movements(connection, asked))
                months = numbers.frames("2024-01", "2024-06")
            assert explained == sum(one.end_minor - one.start_minor for one in months)


def test_a_table_for_spreadsheets_holds_no_formulas() -> None:
    rows: list[Json] = [{"name": "=1+1", "amount": -5}, {"name": "@SUM(A1)", "amount": None}]

    assert as_csv(rows, ["name", "amount"]) == ("name,amount\r\n'=1+1,-5\r\n'@SUM(A1),\r\n")


# --- rates ----------------------------------------------------------------------------------------


def test_trials_convert_when_they_end_and_are_paid_for(numbers: Numbers) -> None:
    def trial(customer: str) -> Json:
        return sub(customer, (MONTHLY, 1), status="trialing", trial_end=at("2024-02-01"))

    numbers.told(
        *(begun("2024-01-15", trial(name)) for name in ("pays", "leaves", "owes", "tries"))
    )
    for name in ("pays", "owes"):
        numbers.told(updated(at("2024-02-01"), sub(name, (MONTHLY, 1))))
    numbers.told(
        ended(at("2024-01-31"), trial("leaves")), paid("2024-02-02", "sub_pays1", "cus_pays")
    )

    (rate,) = numbers.answers("trial_conversion_rate", "2024-02")
    assert (rate.value.numerator, rate.value.denominator) == (1, 2)
    (rate,) = numbers.answers("trial_conversion_rate", "2024-01")
    assert (rate.value.numerator, rate.value.denominator) == (0, 1)


def test_stripes_churn_rate_looks_at_thirty_days(numbers: Numbers) -> None:
    numbers.told(*(begun("2024-01-01", sub(f"a{n}", (MONTHLY, 1))) for n in range(4)))
    numbers.told(begun("2024-02-20", sub("new", (MONTHLY, 1))))
    numbers.told(ended(at("2024-02-21"), sub("a0", (MONTHLY, 1))))

    (rate,) = numbers.answers("customer_churn_rate_stripe_30d", "2024-02")
    assert (rate.value.numerator, rate.value.denominator) == (1, 5)


def test_the_month_so_far_leaves_out_what_is_still_to_come(numbers: Numbers) -> None:
    half = coupon("repeating", percent_off=50.0)
    soon = held(half, end=at("2026-11-29"))
    numbers.told(begun("2026-10-01", sub("a", (MONTHLY, 1), discounts=soon)))
    numbers.told(begun("2026-10-01", sub("b", (MONTHLY, 1))))
    numbers.told(updated(at("2026-11-10"), sub("b", (price(400), 1))))

    (nrr,) = numbers.answers("nrr", "2026-11")

    assert (nrr.value.numerator, nrr.value.denominator) == (900, 1_500)
    assert numbers.value("mrr", "2026-11") == 900
