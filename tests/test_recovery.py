"""Failed payments, how customers stand, and why they left: what a support agent asks."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from werkzeug.test import Client

from ledger.application import Ledger
from ledger.clock import utc
from ledger.errors import NotFound, RequestInvalid
from ledger.metrics.categories import categorize
from ledger.metrics.losses import by_category, lost_customers
from ledger.metrics.question import question
from ledger.metrics.recovery import Recovery, recovery
from ledger.metrics.statuses import statuses
from ledger.moments import Moment
from ledger.projections import Numbers as NumbersProjection
from ledger.projections.rebuild import Rebuild
from ledger.settings import Settings
from tests.facts import Json, charge, event, invoice, payment_intent, project
from tests.numbers import NOW, Numbers, at, begun, ended, price, sub, updated
from tests.test_cli import Shell
from tests.test_crm import asking

MONTHLY = price(1_000)


@pytest.fixture
def numbers(ledger: Ledger) -> Numbers:
    return Numbers(ledger)


def bill(name: str, **more: Any) -> Json:
    return invoice(
        f"in_{name}", of=f"cus_{name}", currency="usd", status="open", amount_due=1_000,
        total=1_000, amount_remaining=1_000, next_payment_attempt=at("2027-01-01"),
        **{"payment_intent": f"pi_{name}", **more},
    )  # fmt: skip


def tried(name: str, last4: str, status: str, when: int) -> Json:
    """A charge of an invoice's payment."""
    card = {"type": "card", "card": {"brand": "visa", "last4": last4}}
    made = charge(
        f"ch_{name}{when}", of=f"cus_{name}", payment_intent=f"pi_{name}", currency="usd",
        amount=1_000, created=when, status=status, payment_method_details=card,
        failure_code="card_declined" if status == "failed" else None,
        outcome={"type": "issuer_declined", "reason": "insufficient_funds"}
        if status == "failed" else None,
    )  # fmt: skip
    return event(f"charge.{status}", made, at=when)


def failed(name: str, day: str, last4: str = "0341", **more: Any) -> list[Json]:
    when = at(day)
    error = {"code": "card_declined", "decline_code": "insufficient_funds"}
    intent = payment_intent(
        f"pi_{name}", of=f"cus_{name}", status="requires_payment_method", currency="usd",
        amount=1_000, amount_received=0, last_payment_error=error, invoice=f"in_{name}",
    )  # fmt: skip
    return [
        tried(name, last4, "failed", when),
        event("payment_intent.payment_failed", intent, at=when),
        event("invoice.payment_failed", bill(name, attempt_count=1, **more), at=when),
    ]


def paid(
    name: str, day: str, last4: str = "0341", *, asked_by: str | None = None, **more: Any
) -> list[Json]:
    when = at(day)
    done = bill(
        name, attempt_count=2,
        status_transitions={"finalized_at": when, "paid_at": when, "voided_at": None},
    ) | {"status": "paid", "amount_paid": 1_000, "amount_remaining": 0, **more}  # fmt: skip
    intent = payment_intent(
        f"pi_{name}", of=f"cus_{name}", currency="usd", amount=1_000, amount_received=1_000,
        invoice=f"in_{name}",
    )  # fmt: skip
    request = {"id": asked_by, "idempotency_key": None}
    return [
        tried(name, last4, "succeeded", when),
        event("payment_intent.succeeded", intent, at=when),
        event("invoice.paid", done, at=when, request=request),
    ]


def asked(numbers: Numbers, start: str, end: str | None = None, **more: Any) -> list[Recovery]:
    with numbers.ledger.pool.connection() as connection:
        given = question(connection, now=NOW, start=start, end=end or start)
        return recovery(connection, given, **more)


def test_what_failed_counts_in_its_month_whenever_it_is_recovered(numbers: Numbers) -> None:
    """U05: failed on 28 December, recovered on 3 January."""
    numbers.told(*failed("a", "2024-12-28"), *paid("a", "2025-01-03"))
    (december,) = asked(numbers, "2024-12", "2025-01")

    assert december.period.label == "2024-12"
    assert (december.failed, december.recovered, december.days) == (1, 1, [6.0])
    assert december.declines == {"insufficient_funds": 1}


def test_those_still_being_tried_stay_in_the_denominator(numbers: Numbers) -> None:
    """U01 and U02, to scale: of ten that failed four are recovered, one is given up."""
    numbers.told(*(one for n in range(10) for one in failed(f"f{n}", "2026-11-20")))
    numbers.told(*(one for n in range(4) for one in paid(f"f{n}", "2026-11-22")))
    numbers.told(*(one for n in range(40) for one in paid(f"p{n}", "2026-11-20")))
    moments = {"finalized_at": at("2026-11-20"), "voided_at": at("2026-11-25"), "paid_at": None}
    gone = bill("f9", status_transitions=moments) | {"status": "void"}
    numbers.told(event("invoice.voided", gone, at=at("2026-11-25")))
    (told,) = asked(numbers, "2026-11")

    assert (told.attempts, told.failed, told.recovered, told.given_up, told.in_progress) == (
        50, 10, 4, 1, 5,
    )  # fmt: skip
    assert told.matured == 0
    with numbers.ledger.pool.connection() as connection:
        shown = told.told(question(connection, now=NOW, start="2026-11", end="2026-11"))
    assert shown["recovery_rate"] == {"value": 0.4, "numerator": 4, "denominator": 10}
    assert shown["failure_rate"] == {"value": 0.2, "numerator": 10, "denominator": 50}
    assert shown["matured_recovery_rate"]["reason"].startswith("of no failed payment")


def test_as_of_a_day_what_was_recovered_later_is_not_yet(numbers: Numbers) -> None:
    numbers.told(*failed("a", "2026-11-01"), *paid("a", "2026-11-20"))
    with numbers.ledger.pool.connection() as connection:
        then = question(
            connection,
            now=NOW,
            start="2026-11",
            end="2026-11",
            moment=Moment(utc(at("2026-11-10"))),
        )
        (told,) = recovery(connection, then)

    assert (told.recovered, told.in_progress) == (0, 1)


def test_the_matured_rate_is_over_those_whose_window_has_passed(numbers: Numbers) -> None:
    numbers.told(*failed("a", "2026-11-01"), *paid("a", "2026-11-05"))
    numbers.told(*failed("b", "2026-11-01"), *paid("b", "2026-11-20"))
    numbers.told(*failed("c", "2026-11-25"))
    (short,) = asked(numbers, "2026-11", window_days=10)

    assert (short.matured, short.matured_recovered, short.recovered) == (2, 1, 2)
    with pytest.raises(RequestInvalid, match="1 to 180 days"):
        asked(numbers, "2026-11", window_days=0)


@pytest.mark.parametrize(
    ("more", "by"),
    [
        ({}, "retry"),
        ({"last4": "4242"}, "card_updated"),
        ({"asked_by": "req_1"}, "request"),
    ],
)
def test_a_recovery_says_by_what(numbers: Numbers, more: Json, by: str) -> None:
    numbers.told(*failed("a", "2024-03-01"), *paid("a", "2024-03-04", **more))
    (told,) = asked(numbers, "2024-03")

    assert told.by == {by: 1}


def test_what_was_paid_outside_stripe_is_recovered_outside(numbers: Numbers) -> None:
    moments = {"finalized_at": at("2024-03-01"), "paid_at": at("2024-03-04"), "voided_at": None}
    done = bill("a", status_transitions=moments, payment_intent=None) | {
        "status": "paid", "amount_paid": 0, "paid_out_of_band": True,
    }  # fmt: skip
    numbers.told(
        event("invoice.payment_failed", bill("a", attempt_count=1), at=at("2024-03-01")),
        event("invoice.paid", done, at=at("2024-03-04")),
    )
    (told,) = asked(numbers, "2024-03")

    assert told.by == {"outside": 1}


@pytest.mark.parametrize("tells", [{"amount_paid_off_stripe": 1_000}, {}])
def test_what_failed_by_card_and_was_paid_outside_is_recovered_outside(
    numbers: Numbers, tells: Json
) -> None:
    moments = {"finalized_at": at("2024-03-01"), "paid_at": at("2024-03-04"), "voided_at": None}
    done = bill("a", status_transitions=moments) | {
        "status": "paid", "amount_paid": 1_000, "amount_remaining": 0, **tells,
    }  # fmt: skip
    canceled = payment_intent("pi_a", of="cus_a", status="canceled", currency="usd",
                              amount=1_000, amount_received=0, invoice="in_a")  # fmt: skip
    numbers.told(
        *failed("a", "2024-03-01"),
        event("invoice.paid", done, at=at("2024-03-04"), request={"id": "req_1"}),
        event("payment_intent.canceled", canceled, at=at("2024-03-04")),
    )
    (told,) = asked(numbers, "2024-03")
    assert told.by == {"outside": 1}


def test_where_payments_were_not_heard_of_the_invoice_tells(numbers: Numbers) -> None:
    numbers.told(failed("a", "2024-03-01")[-1], paid("a", "2024-03-04")[-1])
    numbers.told(*(paid(f"p{n}", "2024-03-02")[-1] for n in range(9)))
    (told,) = asked(numbers, "2024-03")

    assert (told.attempts, told.failed, told.by) == (10, 1, {"retry": 1})


def test_what_is_credited_in_full_is_given_up_not_recovered(numbers: Numbers) -> None:
    moments = {"finalized_at": at("2024-03-01"), "paid_at": at("2024-03-04"), "voided_at": None}
    done = bill("a", status_transitions=moments) | {
        "status": "paid", "amount_due": 0, "amount_paid": 0, "amount_remaining": 0,
    }  # fmt: skip
    numbers.told(*failed("a", "2024-03-01"), event("invoice.paid", done, at=at("2024-03-04")))
    (told,) = asked(numbers, "2024-03")

    assert (told.failed, told.failed_minor, told.recovered, told.given_up) == (1, 1_000, 0, 1)


def test_what_stripe_does_not_try_again_is_given_up_until_it_is_paid_after_all(
    numbers: Numbers,
) -> None:
    left = bill("a", attempt_count=4) | {"next_payment_attempt": None}
    numbers.told(event("invoice.payment_failed", left, at=at("2024-03-01")))
    (told,) = asked(numbers, "2024-03")
    assert (told.given_up, told.in_progress) == (1, 0)

    numbers.told(*paid("a", "2024-04-04"))
    (told,) = asked(numbers, "2024-03")
    assert (told.given_up, told.recovered) == (0, 1)


def test_amounts_beyond_64_bits_are_told(numbers: Numbers) -> None:
    huge = bill("a", attempt_count=1) | {"amount_due": 10**19}
    numbers.told(event("invoice.payment_failed", huge, at=at("2024-03-01")))
    (told,) = asked(numbers, "2024-03")

    assert told.failed_minor == 10**19


def test_a_payment_that_lets_go_of_its_invoice_leaves_the_same_row_live_and_rebuilt(
    numbers: Numbers, settings: Settings
) -> None:
    tried = failed("a", "2024-03-01", payment_intent=None)
    numbers.told(*tried, *paid("a", "2024-03-04", payment_intent=None))
    alone = payment_intent("pi_a", of="cus_a", status="canceled", currency="usd", amount=1_000)
    numbers.told(event("payment_intent.canceled", alone, at=at("2024-03-05")))

    done = Rebuild(settings, numbers.ledger, NumbersProjection, workers=0).run(swap=False)
    assert done.differences == []


def test_first_invoices_count_only_if_they_are_asked_for(numbers: Numbers) -> None:
    numbers.told(*failed("a", "2024-03-01", billing_reason="subscription_create"))

    assert asked(numbers, "2024-03") == []
    (told,) = asked(numbers, "2024-03", firsts=True)
    assert told.failed == 1


def test_recovery_over_the_api_and_on_the_command_line(
    numbers: Numbers, client: Client, settings: Settings
) -> None:
    numbers.told(*failed("a", "2024-03-01"), *paid("a", "2024-03-04"))
    told = asking(client, numbers.ledger, "read")(
        "metrics/recovery", window_days=14, **{"from": "2024-03", "to": "2024-03"}
    ).json
    assert told is not None
    (march,) = told["data"]
    assert (march["recovered"], march["recovered_by"], told["window_days"]) == (
        1, {"retry": 1}, 14,
    )  # fmt: skip

    said = Shell(settings, numbers.ledger.name)(
        "report", "recovery", "--from", "2024-03", "--to", "2024-03"
    )
    assert "100.0%" in said.out


# --- how customers stand --------------------------------------------------------------------------


def test_the_articles_pie_70_per_cent_active_15_in_a_trial_15_gone(numbers: Numbers) -> None:
    trials: Json = {"status": "trialing", "trial_end": at("2024-12-01")}
    numbers.told(
        *(begun("2024-01-02", sub(f"a{n}", (MONTHLY, 1))) for n in range(14)),
        *(begun("2024-01-02", sub(f"t{n}", (MONTHLY, 1), **trials)) for n in range(3)),
        *(begun("2024-01-02", sub(f"g{n}", (MONTHLY, 1))) for n in range(3)),
        *(ended(at("2024-01-20"), sub(f"g{n}", (MONTHLY, 1))) for n in range(3)),
    )
    with numbers.ledger.pool.connection() as connection:
        told = statuses(connection, question(connection, now=NOW, start="2024-01", end="2024-01"))

    assert {one.status: one.share for one in told} == {
        "active": Fraction(70, 100), "trialing": Fraction(15, 100), "inactive": Fraction(15, 100),
    }  # fmt: skip


def test_statuses_of_one_country(numbers: Numbers) -> None:
    for name, country in (("a", "ID"), ("b", "DE")):
        of = {"id": f"cus_{name}", "object": "customer", "address": {"country": country}}
        numbers.told(event("customer.created", of), begun("2024-01-02", sub(name, (MONTHLY, 1))))
    with numbers.ledger.pool.connection() as connection:
        asked = question(
            connection, now=NOW, start="2024-01", end="2024-01", filters={"country": "ID"}
        )
        (told,) = statuses(connection, asked)

    assert (told.status, told.customers, told.share) == ("active", 1, Fraction(1))


def test_statuses_follow_day_by_day_and_can_be_asked_of_the_past(
    numbers: Numbers, client: Client
) -> None:
    numbers.told(begun("2024-01-02", sub("a", (MONTHLY, 1))))
    numbers.told(updated(at("2024-01-03"), sub("a", (MONTHLY, 1), status="past_due")))
    ask = asking(client, numbers.ledger, "read")
    days = {"from": "2024-01-01", "to": "2024-01-03", "interval": "day"}
    told = ask("metrics/statuses", **days).json
    assert told is not None
    assert [(one["period"], one["status"]) for one in told["data"]] == [
        ("2024-01-02", "active"), ("2024-01-03", "past_due"),
    ]  # fmt: skip
    before = ask("metrics/statuses", known_at="1", **days).json
    assert before is not None
    assert [one["status"] for one in before["data"]] == ["active", "active"]


# --- why they left --------------------------------------------------------------------------------


def left(name: str, feedback: str | None, reason: str = "cancellation_requested") -> list[Json]:
    of = sub(name, (MONTHLY, 1))
    gone = ended(at("2024-02-10"), of, reason)
    gone["data"]["object"]["cancellation_details"]["feedback"] = feedback
    return [begun("2024-01-02", of), gone]


def test_the_articles_reasons_40_30_20_per_cent(numbers: Numbers) -> None:
    told = ["too_expensive"] * 4 + ["missing_features"] * 3 + ["customer_service"] * 2 + ["unused"]
    numbers.told(*(one for n, why in enumerate(told) for one in left(f"c{n}", why)))
    with numbers.ledger.pool.connection() as connection:
        asked = question(connection, now=NOW, start="2024-02", end="2024-02")
        found = by_category(connection, asked)

    assert [(one["category"], one["share"]) for one in found] == [
        ("price", 0.4), ("features_value", 0.3), ("service_experience", 0.2), ("engagement", 0.1),
    ]  # fmt: skip
    assert found[0]["lost_mrr"] == 4_000


def test_a_reason_is_categorized_by_an_event_and_the_last_one_counts(
    numbers: Numbers, settings: Settings
) -> None:
    numbers.told(*left("a", None), *left("b", "unused", "payment_failed"))
    shell = Shell(settings, numbers.ledger.name)
    assert shell("categorize", "sub_a1", "price").code == 0
    categorize(numbers.ledger, "sub_a1", "competition", actor="tests")
    project(numbers.ledger)

    with numbers.ledger.pool.connection() as connection:
        asked = question(connection, now=NOW, start="2024-02", end="2024-02")
        told = {one["customer"]: one["category"] for one in lost_customers(connection, asked)}
    assert told == {"cus_a": "competition", "cus_b": "billing"}
    assert "competition" in shell("report", "churn_categories", "--from", "2024-02").out
    with pytest.raises(RequestInvalid, match="there are price"):
        categorize(numbers.ledger, "sub_a1", "weather", actor="tests")
    with pytest.raises(NotFound, match="sub_z"):
        categorize(numbers.ledger, "sub_z", "price", actor="tests")


def test_the_daily_sum_of_churn(numbers: Numbers) -> None:
    """R06: five of a hundred on one day, five of the ninety-five left on the next."""
    numbers.told(*(begun("2024-01-02", sub(f"n{n}", (MONTHLY, 1))) for n in range(100)))
    numbers.told(
        *(
            ended(at(f"2024-02-{10 + n // 5}"), sub(f"n{n}", (MONTHLY, 1)))
            for n in range(10)
        )
    )  # fmt: skip
    rate = numbers.value("customer_churn_rate_daily_sum", "2024-02")

    assert rate == Fraction(5, 100) + Fraction(5, 95)
