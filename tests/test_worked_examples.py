"""Worked examples of the field, as Stripe events through the whole way, and the article's own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from ledger.application import Ledger
from tests.facts import Json
from tests.numbers import Numbers, at, begun, coupon, ended, held, price, sub, updated


@pytest.fixture
def numbers(ledger: Ledger) -> Numbers:
    return Numbers(ledger)


# --- the article: MRR, churn rate, lifetime value -------------------------------------------------

RUPIAH = price(100_000_00, currency="idr")  # Stripe's IDR has two decimals


def customers(count: int, day: str, of: Json = RUPIAH, first: int = 0) -> Iterator[Json]:
    for number in range(first, first + count):
        yield begun(day, sub(f"n{number}", (of, 1)))


def test_a_hundred_customers_of_100_000_rupiah_are_an_mrr_of_10_million(numbers: Numbers) -> None:
    numbers.told(*customers(100, "2024-01-05"))

    assert numbers.value("mrr", "2024-01") == 10_000_000_00


def test_five_of_a_hundred_lost_are_a_churn_rate_of_5_per_cent_and_a_lifetime_value_of_2_million(
    numbers: Numbers,
) -> None:
    numbers.told(*customers(100, "2024-01-05"))
    numbers.told(*(ended(at("2024-02-10"), sub(f"n{one}", (RUPIAH, 1))) for one in range(5)))

    (rate,) = numbers.answers("customer_churn_rate", "2024-02")
    assert (rate.value.exact, rate.value.numerator, rate.value.denominator) == (
        Fraction(5, 100), 5, 100,
    )  # fmt: skip
    assert numbers.value("arpa", "2024-02") == 100_000_00
    assert numbers.value("cltv", "2024-02") == 2_000_000_00


def test_the_line_of_mrr_from_january_to_may(numbers: Numbers) -> None:
    """Rp 5.0, 5.5, 6.0, 5.8 and 6.2 million."""
    numbers.told(*customers(50, "2024-01-03"), *customers(5, "2024-02-03", first=50))
    numbers.told(*customers(5, "2024-03-03", first=55))
    numbers.told(*(ended(at("2024-04-03"), sub(f"n{one}", (RUPIAH, 1))) for one in (1, 2)))
    numbers.told(*customers(4, "2024-05-03", first=60))

    line = [one.value.exact for one in numbers.answers("mrr", "2024-01", "2024-05")]
    assert line == [500_000_000, 550_000_000, 600_000_000, 580_000_000, 620_000_000]


def test_the_bars_of_churn_from_january_to_may(numbers: Numbers) -> None:
    """5, 4, 6, 5 and 4.5 per cent: two hundred at the start of each month, lost ones replaced."""
    numbers.told(*customers(200, "2023-12-03"))
    lost_so_far = 0
    for month, lost in enumerate((10, 8, 12, 10, 9), 1):
        gone = range(lost_so_far, lost_so_far + lost)
        numbers.told(
            *(ended(at(f"2024-{month:02}-10"), sub(f"n{one}", (RUPIAH, 1))) for one in gone),
            *customers(lost, f"2024-{month:02}-20", first=200 + lost_so_far),
        )
        lost_so_far += lost

    bars = [one.value.exact for one in numbers.answers("customer_churn_rate", "2024-01", "2024-05")]
    assert bars == [Fraction(n, 1000) for n in (50, 40, 60, 50, 45)]


# --- worked examples of vendors and of open-source products ---------------------------------------

Check = Callable[[Numbers, Json, Any], None]


def _one(numbers: Numbers, given: Json, *, quantity: int | None = None, **more: Any) -> Json:
    amount = given["amount"] if "amount" in given else given["unit_amount"]
    of = price(amount, given.get("interval", "month"), given.get("interval_count", 1))
    return begun("2024-01-01", sub("a", (of, quantity or given.get("quantity", 1)), **more))


def _discounts(given: Json) -> list[Json]:
    terms = dict(given["coupon"])
    duration = terms.pop("duration")
    if "amount_off" in terms:
        terms["currency"] = "usd"
    return held(coupon(duration, **terms))


def n01(numbers: Numbers, given: Json, expected: Any) -> None:
    numbers.told(*customers(given["customers"], "2024-01-01", price(given["amount"] * 100)))
    assert numbers.value("mrr", "2024-01") == expected["mrr"] * 100


def one_price(numbers: Numbers, given: Json, expected: Any) -> None:
    numbers.told(_one(numbers, given))
    assert numbers.value("mrr", "2024-01") == expected["mrr"]


def n03(numbers: Numbers, given: Json, expected: Any) -> None:
    first = 0
    for group in given["subs"]:
        of = price(group["amount"], group["interval"])
        numbers.told(*customers(group["n"], "2024-01-01", of, first))
        first += group["n"]
    assert numbers.value("mrr", "2024-01") == expected["mrr"]


def n06(numbers: Numbers, given: Json, expected: Any) -> None:
    for number, one in enumerate(given["subs"]):
        of = price(one["amount"], one["interval"])
        numbers.told(begun(one["start"], sub(f"a{number}", (of, 1))))
    for day, amount in expected.items():
        assert numbers.value("mrr", day) == amount


def d01(numbers: Numbers, given: Json, expected: Any) -> None:
    numbers.by("stripe")
    numbers.told(_one(numbers, given, discounts=_discounts(given)))
    assert numbers.value("mrr", "2024-01") == expected["stripe_classic"]


def forever(numbers: Numbers, given: Json, expected: Any) -> None:
    numbers.told(_one(numbers, given, discounts=_discounts(given)))
    assert numbers.value("mrr", "2024-01") == expected["mrr_forever_only_profile"]


def d07(numbers: Numbers, given: Json, expected: Any) -> None:
    of = sub("a", (price(given["t0"]["unit_amount"]), 1))
    terms = {"coupon": given["t1"]["add_coupon"]}
    later = updated(at("2024-02-01"), {**of, "discounts": _discounts(terms)})
    numbers.told(begun("2024-01-01", of), later)
    assert numbers.moves() == [tuple(one) for one in expected]


def d09(numbers: Numbers, given: Json, expected: Any) -> None:
    addon = price(given["addon"]["unit"], product="prod_addon", id="price_addon")
    of = sub("a", (price(given["plan"]), 1), (addon, given["addon"]["qty"]))
    numbers.told(begun("2024-01-01", {**of, "discounts": _discounts(given)}))
    assert numbers.value("mrr", "2024-01") == expected["with_coupon"]
    numbers.by("list")
    assert numbers.value("mrr", "2024-01") == expected["recurring_components"]


def d10(numbers: Numbers, given: Json, expected: Any) -> None:
    addon = price(given["recurring_addon"], id="price_addon")
    terms = coupon("forever", amount_off=given["discount"], currency="usd")
    of = sub("a", (price(given["plan"]), 1), (addon, 1), discounts=held(terms))
    numbers.told(begun("2024-01-01", of))
    assert numbers.value("mrr", "2024-01") == expected["mrr"]


def d11(numbers: Numbers, given: Json, expected: Any) -> None:
    terms = coupon(given["discount"]["duration"], percent_off=given["discount"]["bp"] / 100)
    numbers.told(_one(numbers, given, discounts=held(terms)))
    for month, amount in expected.items():
        assert numbers.value("mrr", month) == amount


def d12(numbers: Numbers, given: Json, expected: Any) -> None:
    discounts = _discounts(given)
    numbers.told(
        *(
            begun("2024-01-01", sub(f"a{n}", (price(given["amount"]), 1), discounts=discounts))
            for n in range(given["n"])
        )
    )
    assert numbers.value("mrr", "2024-01") == expected["recurring_profile"]
    numbers.by("chartmogul")
    assert numbers.value("mrr", "2024-01") == expected["net_profile"]


def m01(numbers: Numbers, given: Json, expected: Any) -> None:
    gold = sub("a", (price(50_000, "year"), 4))
    silver = sub("a", (price(3_000), 2), name="2")
    again = sub("a", (price(5_000), 3), name="3")
    numbers.told(
        begun("2024-01-01", gold), begun("2024-02-01", silver), ended(at("2024-03-15"), silver),
        updated(at("2024-04-01"), {**gold, "cancel_at_period_end": True}),
        ended(at("2025-01-01"), gold), begun("2025-02-01", again),
    )  # fmt: skip
    assert numbers.moves() == [tuple(one) for one in expected]


def upgrade(numbers: Numbers, given: Json, expected: Any) -> None:
    bronze, gold = sub("a", (price(10_000), 1)), sub("a", (price(25_000), 1))
    numbers.told(begun("2019-01-01", bronze), updated(at("2019-02-01"), gold))
    wanted = expected if isinstance(expected, list) else [["new", 10_000], expected["movement"]]
    assert numbers.moves() == [tuple(one) for one in wanted]
    assert numbers.value("mrr", "2019-02") == 25_000


def m05(numbers: Numbers, given: Json, expected: Any) -> None:
    first, second = given["two_subs"]
    one, two = sub("a", (price(first), 1)), sub("a", (price(second), 1), name="2")
    numbers.told(begun("2024-01-01", one), begun("2024-01-01", two))
    numbers.told(ended(at("2024-02-01"), one), ended(at("2024-03-01"), two))
    assert numbers.moves()[1:] == [("contraction", -first), ("churn", -second)]


def m06(numbers: Numbers, given: Json, expected: Any) -> None:
    small, large = sub("a", (price(5_000), 1)), sub("a", (price(8_000), 1))
    later = updated(at("2024-01-01") + 55 * 60, large)
    numbers.told(begun("2024-01-01", small), later)
    assert numbers.moves() == [tuple(one) for one in expected]


def m07(numbers: Numbers, given: Json, expected: Any) -> None:
    for number, (day, amount) in enumerate(given["deltas"]):
        numbers.told(begun(day, sub(f"a{number}", (price(amount), 1))))
    for day, amount in expected.items():
        assert numbers.value("mrr", day) == amount


def r01(numbers: Numbers, given: Json, expected: Any) -> None:
    joined = given.get("joined_and_cancelled_in_period", 0)
    lost = given.get("lost", given.get("cancelled"))
    numbers.told(*customers(given["start"], "2024-01-01", price(100)))
    numbers.told(*customers(joined, "2024-02-02", price(100), first=1000))
    gone = [*range(lost - joined), *range(1000, 1000 + joined)]
    numbers.told(*(ended(at("2024-02-10"), sub(f"n{one}", (price(100), 1))) for one in gone))
    rate = Fraction(str(expected["churn"]))
    assert numbers.value("customer_churn_rate", "2024-02") == rate
    assert numbers.value("churned_customers", "2024-02") == lost


def r02(numbers: Numbers, given: Json, expected: Any) -> None:
    numbers.told(*customers(20, "2024-01-01", price(given["arpa"])))
    numbers.told(ended(at("2024-02-01"), sub("n0", (price(given["arpa"]), 1))))
    assert numbers.value("customer_churn_rate", "2024-02") == Fraction(str(given["churn"]))
    assert numbers.value("cltv", "2024-02") == expected["cltv"]


def r05(numbers: Numbers, given: Json, expected: Any) -> None:
    numbers.told(*customers(10, "2024-01-01", price(10)))
    numbers.told(
        ended(at("2024-02-01"), sub("n0", (price(10), 1))),
        *(updated(at("2024-02-02"), sub(f"n{one}", (price(5), 1))) for one in (1, 2)),
        updated(at("2024-02-02"), sub("n3", (price(20), 1))),
    )
    gross = numbers.value("gross_mrr_churn_rate", "2024-02")
    assert gross == Fraction(str(expected["gross"]))
    assert numbers.value("net_mrr_churn_rate", "2024-02") == Fraction(str(expected["net"]))


def r08(numbers: Numbers, given: Json, expected: Any) -> None:
    numbers.told(*customers(2, "2024-01-01", price(100)))
    of = sub("n0", (price(100), 1))
    scheduled = {**of, "cancel_at_period_end": True, "canceled_at": at("2024-02-15")}
    numbers.told(updated(at("2024-02-15"), scheduled), ended(at("2024-03-01"), scheduled))
    months = ("2024-01", "2024-02", "2024-03")
    # Polar divides by the active ones of the month; of nobody at a start there is no rate here.
    assert numbers.value("customer_churn_rate", "2024-01") is None
    for month in months[1:]:
        rate = numbers.value("customer_churn_rate", month)
        assert rate == Fraction(str(expected[month]))
    assert [numbers.value("customers", month) for month in months] == expected["active"]
    assert [numbers.value("churned_customers", m) for m in months] == expected["churned"]


def r11(numbers: Numbers, given: Json, expected: Any) -> None:
    first, second = (sub(f"n{n}", (price(10_000), 1)) for n in (1, 2))
    numbers.told(begun("2024-01-01", first))
    numbers.told(begun("2024-02-01", {**second, "cancel_at": at("2024-03-01")}))
    numbers.told(ended(at("2024-03-01"), second))
    for month, wanted in expected.items():
        told = [numbers.value(name, month) for name in ("mrr", "committed_mrr")]
        assert told == wanted


def r12(numbers: Numbers, given: Json, expected: Any) -> None:
    of = price(given["each"])
    numbers.told(begun("2024-01-01", sub("a", (of, 1))))
    trial: Json = {"status": "trialing", "trial_end": at("2024-03-01")}
    numbers.told(begun("2024-01-01", sub("b", (of, 1), **trial)))
    leaving = sub("c", (of, 1), **trial, cancel_at=at("2024-02-20"))
    numbers.told(begun("2024-01-01", leaving), ended(at("2024-02-20"), leaving))
    numbers.told(updated(at("2024-03-01"), sub("b", (of, 1))))
    for month, wanted in expected.items():
        told = [numbers.value(n, month) for n in ("mrr", "trial_mrr", "committed_trial_mrr")]
        assert told == wanted


def r15(numbers: Numbers, given: Json, expected: Any) -> None:
    large = price(10_000)
    numbers.told(
        begun("2024-01-01", sub("grows", (large, 1))),
        begun("2024-01-01", sub("ends", (price(given["churn"]), 1))),
        begun("2024-01-01", sub("shrinks", (large, 1))),
    )
    numbers.told(
        begun("2024-02-01", sub("comes", (price(given["new"]), 1))),
        updated(at("2024-02-01"), sub("grows", (price(10_000 + given["expansion"]), 1))),
        updated(at("2024-02-01"), sub("shrinks", (price(10_000 - given["contraction"]), 1))),
        ended(at("2024-02-01"), sub("ends", (price(given["churn"]), 1))),
    )
    assert numbers.value("quick_ratio", "2024-02") == Fraction(str(expected["quick"]))


def r18(numbers: Numbers, given: Json, expected: Any) -> None:
    numbers.told(begun("2024-01-01", sub("a", (price(given["start"]), 1))))
    numbers.told(updated(at("2024-02-01"), sub("a", (price(given["end"]), 1))))
    (growth,) = numbers.answers("mrr_growth", "2024-02")
    assert growth.value.exact == Fraction(str(expected["rate"]))
    assert numbers.value("expansion_mrr", "2024-02") == growth.value.numerator


def u08(numbers: Numbers, given: Json, expected: Any) -> None:
    for status in ("active", "trialing", "past_due"):
        for number in range(given[status]):
            of = sub(
                f"{status.replace('_', '')}{number}", (price(given["price"]), 1), status=status
            )
            numbers.told(begun("2024-01-01", of))
    assert numbers.value("mrr", "2024-01") == expected["committed"]
    assert numbers.value("at_risk_mrr", "2024-01") == given["past_due"] * given["price"]
    trials = numbers.value("trial_mrr", "2024-01")
    assert numbers.value("mrr", "2024-01") + trials == expected["overstated_with_trials"]


EXAMPLES: dict[str, Check] = {
    "N01": n01, "N02": one_price, "N03": n03, "N04": one_price, "N05": one_price, "N06": n06,
    "D01": d01, "D03": forever, "D05": forever, "D07": d07, "D09": d09, "D10": d10, "D11": d11,
    "D12": d12, "M01": m01, "M02": upgrade, "M03": upgrade, "M05": m05, "M06": m06, "M07": m07,
    "R01": r01, "R02": r02, "R04": r01, "R05": r05, "R08": r08, "R11": r11, "R12": r12,
    "R15": r15, "R18": r18, "U08": u08,
}  # fmt: skip

ELSEWHERE = {
    "M08": "an anti-example: history rebuilt backwards from the present and clipped at 0",
    "M11": "invoice-derived with an expiry of 45 days; MRR here follows subscriptions",
    "M12": "overlapping invoice periods; MRR here follows subscriptions, not invoices",
    "R06": "daily_sum: in test_recovery, the day's figures being derived",
    "R09": "over those there at the window's start; stripe_30d adds those who came since",
    "R14": "exchange rates: in test_exchange, as rates at the months' ends",
    "U01": "recovery: in test_recovery, to scale",
    "U02": "recovery: in test_recovery, to scale",
    "U03": "a dunning schedule, no metric",
    "U04": "a dunning schedule, no metric",
    "U05": "recovery: in test_recovery",
    "U06": "a measurement of one account, no rule",
    "U07": "a formula only: trial conversion is in test_numbers",
}


def _examples(shared: Path) -> dict[str, Json]:
    lines = (shared / "data" / "metrics" / "worked-examples.jsonl").read_text().splitlines()
    return {one["id"]: one for one in map(json.loads, lines)}


@pytest.mark.parametrize("name", EXAMPLES)
def test_worked_example(numbers: Numbers, shared: Path, name: str) -> None:
    example = _examples(shared)[name]

    EXAMPLES[name](numbers, example["input"], example["expected"])


def test_every_example_is_checked_or_there_is_a_reason(shared: Path) -> None:
    assert _examples(shared).keys() == EXAMPLES.keys() | ELSEWHERE.keys()
