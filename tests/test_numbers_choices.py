"""Choices and edges of the numbers: each choice of a definition set, dimensions, blocks, terms."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import pytest
from werkzeug.test import Client

from ledger.application import Ledger
from ledger.bootstrap import Installation
from ledger.errors import ViewsBehind
from ledger.log import RecordedEvent
from ledger.metrics import frames
from ledger.metrics.answers import DIMENSIONS
from ledger.metrics.definitions import add_definitions, changed
from ledger.metrics.metrics import METRICS
from ledger.metrics.restatement import between_positions
from ledger.observation import note_terms, observe_catalogue
from ledger.projections import Crm, Runner
from ledger.projections import Numbers as Projection
from ledger.projections.definitions import shipped
from ledger.projections.numbers import entries
from ledger.projections.projection import Connection
from ledger.simulator import Simulator
from ledger.stripe_api import StripeApi
from tests.conftest import new_ledger
from tests.facts import event, project, record
from tests.numbers import Numbers, at, begun, coupon, ended, held, price, sub, updated
from tests.simulation import listed
from tests.test_crm import asking

MONTHLY = price(1_000)


@pytest.fixture
def numbers(ledger: Ledger) -> Numbers:
    return Numbers(ledger)


def unnamed(coupon_id: str) -> list[Any]:
    """Return a discount of whose coupon only the name is told."""
    return [{"id": "di_1", "object": "discount", "source": {"coupon": coupon_id}}]


@pytest.mark.parametrize("name", ["HALF", "price_cut", "promo_2024", "a:b"])
def test_a_coupon_may_have_any_name(numbers: Numbers, name: str) -> None:
    numbers.told(begun("2024-01-01", sub("a", (MONTHLY, 1), discounts=unnamed(name))))
    note_terms(numbers.ledger, "coupon", name, coupon("forever", id=name, percent_off=50.0))
    project(numbers.ledger)

    (told,) = numbers.answers("mrr", "2024-01")
    assert (told.value.exact, told.unknowns) == (500, 0)


class Interrupted(Projection):
    """Fails once after everything of the first batch is written."""

    failed = False

    def apply(self, connection: Connection, events: Sequence[RecordedEvent]) -> None:
        super().apply(connection, events)
        if not Interrupted.failed:
            Interrupted.failed = True
            raise ValueError("once")


def test_a_batch_that_is_rolled_back_leaves_no_series_behind_that_is_not_there(
    numbers: Numbers,
) -> None:
    record(numbers.ledger, begun("2024-01-01", sub("a", (MONTHLY, 1))))
    Runner(numbers.ledger, [Crm, Interrupted]).catch_up()

    assert Interrupted.failed
    assert numbers.value("mrr", "2024-01") == 1_000


def test_a_set_whose_numbers_are_not_made_yet_is_no_zero(numbers: Numbers) -> None:
    numbers.told(begun("2024-01-01", sub("a", (MONTHLY, 1))))
    add_definitions(numbers.ledger, shipped("stripe"), actor="tests")
    numbers.definitions = "stripe"

    with pytest.raises(ViewsBehind, match="stripe"):
        numbers.value("mrr", "2024-01")
    project(numbers.ledger)
    assert numbers.value("mrr", "2024-01") == 1_000


def various(numbers: Numbers) -> None:
    other = price(2_000, product="prod_other")
    leaves = sub("leaves", (other, 1))
    numbers.told(
        begun("2024-01-01", sub("stays", (MONTHLY, 1))), begun("2024-01-01", leaves),
        begun("2024-01-02", sub("late", (other, 2), status="past_due")),
        begun("2024-01-02", sub("tries", (MONTHLY, 3), status="trialing")),
        updated(at("2024-02-02"), sub("stays", (MONTHLY, 2))),
        updated(at("2024-02-03"), {**sub("late", (other, 2)), "cancel_at_period_end": True}),
        ended(at("2024-02-04"), leaves),
    )  # fmt: skip


FILTERS: tuple[dict[str, str], ...] = (
    {}, {"product": "prod_other"}, {"price": "price_1000_month_1"}, {"billing_interval": "month"},
    {"cohort": "2024-01"}, {"country": "ID"}, {"currency": "usd"},
)  # fmt: skip


def test_every_metric_takes_every_filter_and_dimension_or_says_why_not(
    client: Client, ledger: Ledger, numbers: Numbers
) -> None:
    various(numbers)
    ask = asking(client, ledger, "read")
    span = {"from": "2024-01", "to": "2024-03"}
    for name in METRICS:
        for asked in FILTERS:
            for by in (None, *DIMENSIONS):
                answer = ask(f"metrics/{name}", **span, **asked, **({"by": by} if by else {}))
                assert answer.status_code in (200, 400), (name, asked, by)
        assert ask(f"metrics/{name}", **span, known_at="3").status_code in (200, 400), name


@pytest.mark.parametrize("name", [m.name for m in METRICS.values() if m.unit != "fraction"])
@pytest.mark.parametrize("by", DIMENSIONS)
def test_what_is_told_apart_adds_up_to_the_whole(
    client: Client, ledger: Ledger, numbers: Numbers, name: str, by: str
) -> None:
    various(numbers)
    ask = asking(client, ledger, "read")
    apart = ask(f"metrics/{name}", by=by, **{"from": "2024-01", "to": "2024-03"})
    if apart.status_code == 400:
        assert "told apart" in apart.json["detail"]  # type: ignore[index]
        return
    if name in ("arpa", "cltv", "cltv_3_periods"):
        return  # means do not add up

    whole = ask(f"metrics/{name}", **{"from": "2024-01", "to": "2024-03"}).json["data"]  # type: ignore[index]
    for one in whole:
        parts = [
            part["value"]
            for part in apart.json["data"]  # type: ignore[index]
            if part["period"] == one["period"]
        ]
        assert sum(parts) == one["value"], one["period"]


def test_terms_that_stripe_has_no_more_are_asked_for_once_and_hold_up_no_others(
    numbers: Numbers,
) -> None:
    simulator = Simulator(1, start=at("2024-01-01"))
    simulator.coupons.create(id="KEPT", percent_off=10.0, duration="forever")
    numbers.told(
        begun("2024-01-01", sub("a", (MONTHLY, 1), discounts=unnamed("GONE"))),
        begun("2024-01-01", sub("b", (MONTHLY, 1), discounts=unnamed("KEPT"))),
    )
    asked: list[str] = []

    class Counting(StripeApi):
        def coupon(self, coupon: str) -> dict[str, Any]:
            asked.append(coupon)
            return super().coupon(coupon)

    with listed(simulator) as there:
        api = Counting("sk_test_counting", there.base)
        first = observe_catalogue(numbers.ledger, api)
        project(numbers.ledger)
        second = observe_catalogue(numbers.ledger, api)

    assert (first, second) == (["coupon:KEPT"], [])
    assert sorted(asked) == ["GONE", "KEPT"]
    (told,) = numbers.answers("mrr", "2024-01")
    assert (told.value.exact, told.unknowns) == (900, 1)


# --- choices that no test made --------------------------------------------------------------------


def by(numbers: Numbers, **changes: Any) -> None:
    """Use the adopted set with these choices changed."""
    given = {name.replace("__", "."): value for name, value in changes.items()}
    add_definitions(numbers.ledger, changed(shipped("adopted"), given, "own"), actor="tests")
    project(numbers.ledger)
    numbers.definitions = "own"


def test_what_is_paid_for_counts_to_the_end_of_its_period_where_definitions_say_so(
    numbers: Numbers,
) -> None:
    of = sub("a", (MONTHLY, 1), current_period_end=at("2024-02-15"))
    failed = sub("b", (MONTHLY, 1), current_period_end=at("2024-02-15"))
    numbers.told(begun("2024-01-15", of), begun("2024-01-15", failed))
    numbers.told(ended(at("2024-02-01"), of), ended(at("2024-02-01"), failed, "payment_failed"))
    by(numbers, churn__recognized="end_of_paid_period")

    assert numbers.value("mrr", "2024-02-10") == 1_000
    assert numbers.value("mrr", "2024-02-15") == 0


@pytest.mark.parametrize(
    ("days", "kind"), [(None, "reactivation"), (90, "reactivation"), (20, "new")]
)
def test_who_comes_back_late_is_new_where_definitions_say_so(
    numbers: Numbers, days: int | None, kind: str
) -> None:
    of = sub("a", (MONTHLY, 1))
    numbers.told(begun("2024-01-01", of), ended(at("2024-02-01"), of))
    numbers.told(begun("2024-03-01", sub("a", (MONTHLY, 1), name="2")))
    by(numbers, churn__reactivation_within_days=days)

    assert [one for one, _ in numbers.moves()] == ["new", "churn", kind]


@pytest.mark.parametrize(("free_is_active", "kind"), [(True, "contraction"), (False, "churn")])
def test_who_pays_nothing_any_more_is_lost_or_not(
    numbers: Numbers, free_is_active: bool, kind: str
) -> None:
    of = sub("a", (MONTHLY, 1))
    free = {**of, "discounts": held(coupon("forever", percent_off=100.0))}
    numbers.told(begun("2024-01-01", of), updated(at("2024-02-01"), free))
    by(numbers, churn__free_is_active=free_is_active)

    assert numbers.moves() == [("new", 1_000), (kind, -1_000)]
    assert numbers.value("customers", "2024-02") == int(free_is_active)


def test_a_coupon_for_some_products_leaves_the_others_alone(numbers: Numbers) -> None:
    only = coupon("forever", percent_off=50.0, applies_to={"products": ["prod_other"]})
    items = ((MONTHLY, 1), (price(2_000, product="prod_other"), 1))
    numbers.told(begun("2024-01-01", sub("a", *items, discounts=held(only))))

    assert numbers.value("mrr", "2024-01") == 1_000 + 1_000


def test_a_movement_ends_with_its_reporting_day(numbers: Numbers) -> None:
    small, large = sub("a", (MONTHLY, 1)), sub("a", (price(3_000), 1))
    midnight = at("2024-02-01", 0)
    first = event("customer.subscription.created", small, created=midnight - 600)
    numbers.told(first, updated(midnight + 600, large))

    assert numbers.moves() == [("new", 1_000), ("expansion", 2_000)]
    assert numbers.value("new_mrr", "2024-01") == 1_000
    assert numbers.value("expansion_mrr", "2024-02") == 2_000


@pytest.mark.parametrize("minutes", [61, 60])
def test_a_group_lasts_an_hour_from_its_first_change(numbers: Numbers, minutes: int) -> None:
    numbers.told(begun("2024-01-01", sub("a", (MONTHLY, 1))))
    numbers.told(updated(at("2024-01-01") + minutes * 60, sub("a", (price(3_000), 1))))

    grouped = [("new", 3_000)]
    assert numbers.moves() == (grouped if minutes == 60 else [("new", 1_000), ("expansion", 2_000)])


def test_half_a_unit_is_rounded_up_and_only_once_per_item(numbers: Numbers) -> None:
    half = price(6, "year")  # 0.5 a month
    numbers.told(begun("2024-01-01", sub("a", (half, 1), ({**half, "id": "price_b"}, 1))))

    assert numbers.value("mrr", "2024-01") == 2


def test_sums_by_blocks_and_single_entries_meet_without_gap_or_overlap(
    numbers: Numbers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entries, "BLOCK", 3)
    monkeypatch.setattr(frames, "BLOCK", 3)
    monkeypatch.setattr(entries, "_TOTALS", entries.totals())
    said = {}
    for number in range(8):
        numbers.told(begun(f"2024-01-{number + 1:02}", sub(f"a{number}", (price(1_000), 1))))
        said[number + 1] = numbers.value("mrr", "2024-01")

    for position, told in said.items():
        numbers.known_at = position
        assert numbers.value("mrr", "2024-01") == told == 1_000 * position
        assert numbers.value("mrr", "2024-01", price="price_1000_month_1") == told
        assert numbers.value("mrr", "2024-01", cohort="2024-01") == told


# --- edges ----------------------------------------------------------------------------------------


def test_a_fixed_discount_is_split_by_largest_remainder(numbers: Numbers) -> None:
    prices = [price(amount, product=f"prod_{amount}") for amount in (101, 300, 100)]
    ten = held(coupon("forever", amount_off=10, currency="usd"))
    numbers.told(begun("2024-01-01", sub("a", *((one, 1) for one in prices), discounts=ten)))

    apart = {one.group: one.value.exact for one in numbers.answers("mrr", "2024-01", by="product")}
    assert apart == {"prod_101": 99, "prod_300": 294, "prod_100": 98}


@pytest.mark.parametrize("rests", [True, False])
def test_what_follows_a_tie_decides_it_for_the_numbers_too(numbers: Numbers, rests: bool) -> None:
    """Paused and resumed in the first second known; the next fact shows which came last."""
    moment, void = at("2024-02-01"), {"behavior": "void"}
    of = sub("a", (MONTHLY, 1), pause_collection=None)
    resting = {**of, "pause_collection": void}
    numbers.told(
        event("customer.subscription.updated", resting, created=moment,
              previous={"pause_collection": None}),
        event("customer.subscription.updated", of, created=moment,
              previous={"pause_collection": void}),
    )  # fmt: skip
    left = resting if rests else of
    numbers.told(
        event("customer.subscription.updated", {**left, "default_payment_method": "pm_2"},
              created=at("2024-04-01"), previous={"default_payment_method": "pm_1"}),
    )  # fmt: skip

    assert numbers.value("mrr", "2024-03") == (0 if rests else 1_000)


def test_a_coupon_runs_out_whatever_happens_to_the_customer_meanwhile(numbers: Numbers) -> None:
    soon = held(coupon("repeating", percent_off=50.0), end=at("2024-04-01"))
    who = {"id": "cus_a", "object": "customer"}
    own = {"id": "di_own", "object": "discount", "coupon": coupon("forever", percent_off=10.0)}
    numbers.told(begun("2024-01-01", sub("a", (MONTHLY, 1), discounts=soon)))
    numbers.told(
        event("customer.updated", {**who, "discount": own}, created=at("2024-02-01")),
        event("customer.updated", {**who, "discount": None}, previous={"discount": own},
              created=at("2024-03-01")),
    )  # fmt: skip

    assert [one.end_minor for one in numbers.frames("2024-01", "2024-05")] == [
        500, 500, 500, 1_000, 1_000,
    ]  # fmt: skip


def test_numbers_know_no_more_than_their_own_position(numbers: Numbers) -> None:
    of = sub("a", (MONTHLY, 1))
    record(numbers.ledger, begun("2024-01-01", of), ended(at("2024-01-20"), of))
    runner = Runner(numbers.ledger, [Projection], batch_events=1)
    with numbers.ledger.pool.connection() as connection:
        assert not runner.step(connection, Projection(numbers.ledger))  # never ahead of the views
        Runner(numbers.ledger, [Crm]).catch_up()
        assert runner.step(connection, Projection(numbers.ledger)) == 1
        lost = connection.execute("SELECT count(*) FROM losses").fetchone()
        ends = connection.execute(
            "SELECT end_minor FROM mrr_periods WHERE grain = 'month'"
        ).fetchall()

    assert lost == (0,)
    assert ends == [(1_000,)]


def told_of(discount: str, percent: float, moment: int, **more: Any) -> Any:
    return {
        "id": discount, "object": "discount", "customer": "cus_a", "subscription": "sub_a1",
        "start": moment, "end": None, "coupon": coupon("forever", percent_off=percent), **more,
    }  # fmt: skip


def test_where_no_list_of_discounts_is_told_the_events_about_them_say(numbers: Numbers) -> None:
    of = sub("a", (MONTHLY, 1))
    del of["discounts"]
    began, left = at("2024-02-10"), at("2024-03-10")
    half = told_of("di_half", 50.0, began)
    numbers.told(
        begun("2024-01-01", of),
        event("customer.discount.created", half, created=began),
        event("customer.discount.deleted", {**half, "end": left}, created=left),
    )

    days = ("2024-02-09", "2024-02-10", "2024-03-09", "2024-03-10")
    assert [numbers.value("mrr", day) for day in days] == [1_000, 500, 500, 1_000]


def test_beside_the_one_discount_that_older_versions_show_there_may_be_more(
    numbers: Numbers,
) -> None:
    moment = at("2024-01-01")
    half, tenth = told_of("di_half", 50.0, moment), told_of("di_tenth", 10.0, moment)
    of = {**sub("a", (MONTHLY, 1)), "discount": half}
    del of["discounts"]
    numbers.told(
        begun("2024-01-01", of),
        *(event("customer.discount.created", one, created=moment) for one in (half, tenth)),
    )

    assert numbers.value("mrr", "2024-01") == 450


def test_who_shrank_this_month_and_will_grow_in_it_counts_as_shrunk(numbers: Numbers) -> None:
    half = coupon("repeating", percent_off=50.0)
    soon = held(half, end=at("2026-11-29"))
    numbers.told(begun("2026-10-01", sub("a", (MONTHLY, 2))))
    numbers.told(updated(at("2026-11-05"), sub("a", (MONTHLY, 2), discounts=soon)))
    numbers.told(begun("2026-10-01", sub("b", (MONTHLY, 1))))

    (grr,) = numbers.answers("grr", "2026-11")
    assert (grr.value.numerator, grr.value.denominator) == (2_000, 3_000)


def test_what_is_to_come_later_today_has_not_come(numbers: Numbers) -> None:
    soon = held(coupon("repeating", percent_off=50.0), end=at("2026-11-28", hour=12))
    numbers.told(begun("2026-10-01", sub("a", (MONTHLY, 1), discounts=soon)))

    assert numbers.value("mrr", "2026-11") == 500  # it is midnight
    numbers.now = numbers.now.replace(hour=12)
    assert numbers.value("mrr", "2026-11") == 1_000


def test_a_bridge_tells_what_was_known_before_and_what_is_known_now(numbers: Numbers) -> None:
    numbers.told(begun("2024-01-01", sub("a", (MONTHLY, 1))))
    numbers.told(updated(at("2024-01-10"), sub("a", (MONTHLY, 4))))

    with numbers.ledger.pool.connection() as connection:
        asked = numbers.asked(connection, "2024-01")
        (step,) = between_positions(connection, asked, 1, asked.begins(asked.periods[0].end))
    assert (step.before_minor, step.after_minor, step.change_minor) == (1_000, 4_000, 3_000)


def test_what_was_known_in_the_past_is_reckoned_once_and_is_of_one_ledger(
    numbers: Numbers, installation: Installation
) -> None:
    told = [
        begun("2024-01-01", sub("a", (MONTHLY, 2))), begun("2024-01-01", sub("b", (MONTHLY, 1))),
        updated(at("2024-02-02"), sub("a", (MONTHLY, 1))),
        begun("2024-02-03", sub("c", (MONTHLY, 1))),
    ]  # fmt: skip
    numbers.told(*told)
    numbers.known_at = 3
    first = numbers.value("nrr", "2024-02")
    assert (
        [numbers.value("nrr", "2024-02") for _ in range(2)]
        == [first, first]
        == [Fraction(2, 3)] * 2
    )
    numbers.known_at = 2
    assert numbers.value("nrr", "2024-02") == 1
    for other in new_ledger(installation):
        else_ = Numbers(other)
        else_.told(told[0], told[1], ended(at("2024-02-02"), sub("b", (MONTHLY, 1))), told[3])
        else_.known_at = 3
        assert else_.value("nrr", "2024-02") == Fraction(2, 3)
        assert else_.value("grr", "2024-02") == Fraction(2, 3)
        assert else_.value("churned_mrr", "2024-02") == 1_000


def test_a_lifetime_over_three_months_uses_their_mean_churn(numbers: Numbers) -> None:
    """0 of 10, 1 of 10 and 2 of 9 lost; three periods are needed even if one is asked about."""
    numbers.told(*(begun("2024-01-01", sub(f"a{n}", (MONTHLY, 1))) for n in range(10)))
    numbers.told(ended(at("2024-03-05"), sub("a0", (MONTHLY, 1))))
    numbers.told(*(ended(at("2024-04-05"), sub(f"a{n}", (MONTHLY, 1))) for n in (1, 2)))

    mean = (Fraction(0) + Fraction(1, 10) + Fraction(2, 9)) / 3
    assert numbers.value("cltv_3_periods", "2024-04") == round(1_000 / mean)


def test_a_period_that_has_not_ended_says_so(
    client: Client, ledger: Ledger, numbers: Numbers
) -> None:
    numbers.told(begun("2024-01-01", sub("a", (MONTHLY, 1))))
    told = asking(client, ledger, "read")("metrics/mrr").json["data"]  # type: ignore[index]

    assert [one["complete"] for one in told] == [True] * 11 + [False]


def test_a_free_month_of_somebody_who_pays_is_no_trial(numbers: Numbers) -> None:
    of = sub("a", (MONTHLY, 1))
    invoice = {
        "id": "in_1", "object": "invoice", "subscription": of["id"], "customer": of["customer"],
        "status": "paid", "amount_paid": 1_000, "currency": "usd",
    }  # fmt: skip
    numbers.told(
        begun("2024-01-01", of), event("invoice.paid", invoice, created=at("2024-01-01")),
        updated(at("2024-02-01"), {**of, "status": "trialing"}), updated(at("2024-03-01"), of),
    )  # fmt: skip

    (rate,) = numbers.answers("trial_conversion_rate", "2024-03")
    assert rate.value.denominator == 0
