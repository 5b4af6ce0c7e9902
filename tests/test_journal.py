"""The journal: given what Stripe told, then these balances."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from itertools import pairwise, permutations
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger.application import Ledger
from ledger.bootstrap import Installation
from ledger.clock import FixedClock, utc
from ledger.completeness import AccountMismatch
from ledger.log import Log
from ledger.money import split
from ledger.observation import observe as observe_all
from ledger.observation import observe_balance, observe_lines
from ledger.projections.journal.documents import statement_of
from ledger.projections.journal.notes import (
    Captured,
    Credited,
    GivenUp,
    Line,
    Note,
    NoteVoided,
    Paid,
    Refunded,
    RefundFailed,
    Returned,
    Sale,
    Voided,
)
from ledger.simulator import Simulator
from tests.conftest import new_ledger
from tests.facts import Json, customer, event, project
from tests.journal import (
    FEB,
    JAN,
    Bookkeeper,
    bill,
    charged,
    credited,
    finalized,
    given_up,
    line,
    moved,
    observe,
    paid,
    tax,
    voided,
)
from tests.simulation import listed

MID = datetime(2024, 1, 16, 12, tzinfo=UTC)  # half of January


@pytest.fixture
def books(ledger: Ledger) -> Bookkeeper:
    return Bookkeeper(ledger)


# --- selling --------------------------------------------------------------------------------------


def test_an_invoice_is_owed_at_once_and_earned_day_by_day(books: Bookkeeper) -> None:
    books.told(finalized(bill(line(3_100))))

    day_after = datetime(2024, 1, 2, tzinfo=UTC)
    assert books.balances(day_after) == {
        "receivable": 3_100, "deferred_revenue": -3_000, "revenue": -100,
    }  # fmt: skip
    assert books.balances(MID) == {
        "receivable": 3_100, "deferred_revenue": -1_550, "revenue": -1_550,
    }  # fmt: skip
    assert books.balances() == {"receivable": 3_100, "revenue": -3_100}


def test_what_is_earned_by_the_day_adds_up_to_the_line_to_the_unit(books: Bookkeeper) -> None:
    books.told(finalized(bill(line(1_000))))
    days = [datetime(2024, 1, 1 + n, tzinfo=UTC) for n in range(31)] + [utc(FEB)]
    earned = [-books.balances(day).get("revenue", 0) for day in days]
    steps = [after - before for before, after in pairwise(earned)]

    assert sum(steps) == 1_000
    assert set(steps) == {32, 33}


def test_tax_is_no_revenue_whether_added_or_contained(books: Bookkeeper) -> None:
    books.told(
        finalized(bill(line(1_000, taxes=[tax(110)]), line(1_100, id="il_2", taxes=[
            tax(100, "inclusive", "txr_gst")])))
    )  # fmt: skip
    assert books.balances() == {
        "receivable": 2_210, "revenue": -2_000, "tax:txr_vat": -110, "tax:txr_gst": -100,
    }  # fmt: skip


def test_a_discount_lowers_what_is_earned(books: Bookkeeper) -> None:
    off = [{"amount": 300, "discount": "di_1"}]
    books.told(finalized(bill(line(1_000, discount_amounts=off))))

    assert books.balances() == {"receivable": 700, "revenue": -700}


def test_a_discount_that_no_line_tells_is_shared_out_over_the_lines(books: Bookkeeper) -> None:
    invoice = {**bill(line(1_000), line(2_000, id="il_2")), "total": 2_000}
    books.told(finalized(invoice))

    assert books.balances() == {"receivable": 2_000, "revenue": -2_000}


def test_a_credit_balance_pays_a_part_and_is_no_longer_owed_to_the_customer(
    books: Bookkeeper,
) -> None:
    of = customer("cus_a", currency="usd", balance=-300)
    books.told(
        event("customer.updated", of, at=JAN - 60, previous={"balance": 0}),
        finalized(bill(line(1_000), starting_balance=-300, ending_balance=0)),
        event("customer.updated", {**of, "balance": 0}, at=JAN, previous={"balance": -300}),
    )
    # Who gave the credit, and what for, no webhook tells: it stands on the clearing account.
    assert books.balances() == {"receivable": 700, "clearing_credit": 300, "revenue": -1_000}


def test_a_downgrade_credits_the_customer_and_takes_revenue_back(books: Bookkeeper) -> None:
    books.told(finalized(bill(line(-400), starting_balance=0, ending_balance=-400)))

    assert books.balances() == {"revenue": 400, "clearing_credit": -400}


def test_lines_past_the_tenth_stand_on_a_clearing_account_until_they_are_observed(
    books: Bookkeeper,
) -> None:
    simulator = Simulator(1, start=JAN - 86_400)
    of = simulator.customers.create(name="Many")
    for number in range(12):
        simulator.invoice_items.create(
            customer=of["id"], amount=100 + number, currency="usd", description="hours"
        )
    draft = simulator.invoices.create(customer=of["id"])
    simulator.invoices.finalize_invoice(draft["id"])
    (told,) = [one for one in simulator.events if one.type == "invoice.finalized"]
    books.heard(told.bodies[simulator.engine.settings.api_version])

    first_ten = sum(range(100, 110))
    total = first_ten + 110 + 111
    before = books.balances()
    assert (before["revenue"], before["clearing_lines"]) == (-first_ten, first_ten - total)
    with listed(simulator) as there:
        assert observe_lines(books.ledger, there.api) == 1
        project(books.ledger)
        assert observe_lines(books.ledger, there.api) == 0
    assert books.balances() == {"receivable": total, "revenue": -total}


# --- paying ---------------------------------------------------------------------------------------


def test_a_payment_settles_what_is_owed_and_the_money_is_at_stripe(books: Bookkeeper) -> None:
    invoice = bill(line(1_000))
    books.told(finalized(invoice), charged(1_000), paid(invoice, JAN + 60))

    assert books.balances() == {"stripe_unobserved": 1_000, "revenue": -1_000}


def test_money_that_no_invoice_claims_is_named(books: Bookkeeper) -> None:
    books.told(charged(1_000))

    assert books.balances() == {"stripe_unobserved": 1_000, "clearing_payments": -1_000}


def test_what_was_paid_outside_stripe_is_not_at_stripe(books: Bookkeeper) -> None:
    invoice = bill(line(1_000))
    books.told(finalized(invoice), paid(invoice, JAN + 60, amount_paid_off_stripe=1_000))

    assert books.balances() == {"paid_outside": 1_000, "revenue": -1_000}


def test_partial_payments_settle_step_by_step(books: Bookkeeper) -> None:
    invoice = bill(line(1_000))
    part = {**invoice, "amount_paid": 400, "amount_remaining": 600}
    books.told(finalized(invoice), event("invoice.updated", part, at=JAN + 60))
    assert books.balances()["receivable"] == 600

    books.told(paid(invoice, JAN + 120))
    assert "receivable" not in books.balances()
    assert books.balances(utc(JAN + 90))["receivable"] == 600


def test_a_written_off_invoice_is_bad_debt_until_it_is_paid_after_all(books: Bookkeeper) -> None:
    invoice = bill(line(1_000))
    gone = given_up(invoice, JAN + 60)
    books.told(finalized(invoice), gone)
    assert books.balances() == {"bad_debt": 1_000, "revenue": -1_000}

    books.told(paid(gone["data"]["object"], JAN + 120))
    assert books.balances() == {"clearing_payments": 1_000, "revenue": -1_000}


def test_voiding_takes_back_what_was_earned_and_stops_the_rest(books: Bookkeeper) -> None:
    invoice = bill(line(3_100, taxes=[tax(341)]))
    books.told(finalized(invoice), voided(invoice, int(MID.timestamp())))

    assert books.balances(MID)["revenue"] == -1_550
    assert books.balances() == {}


def test_voiding_what_was_written_off_leaves_no_bad_debt(books: Bookkeeper) -> None:
    invoice = bill(line(1_000))
    gone = given_up(invoice, JAN + 60)
    books.told(finalized(invoice), gone, voided(gone["data"]["object"], JAN + 120))

    assert books.balances() == {}


# --- giving back ----------------------------------------------------------------------------------


def test_a_credit_note_before_payment_lowers_what_is_owed_and_earned(books: Bookkeeper) -> None:
    books.told(
        finalized(bill(line(3_100))),
        credited(1_000, int(MID.timestamp()), pre_payment_amount=1_000, type="pre_payment"),
    )
    assert books.balances(MID)["revenue"] == -1_550
    assert books.balances() == {"receivable": 2_100, "revenue": -2_100}


def test_a_credit_note_that_refunds_explains_the_refund(books: Bookkeeper) -> None:
    invoice, back = bill(line(1_000)), JAN + 600
    refund = {
        "id": "re_1", "object": "refund", "charge": "ch_1", "amount": 400, "currency": "usd",
        "created": back, "status": "succeeded",
    }  # fmt: skip
    books.told(
        finalized(invoice), charged(1_000), paid(invoice, JAN + 60),
        event("refund.created", refund, at=back),
        credited(400, back, post_payment_amount=400,
                 refunds=[{"refund": "re_1", "amount_refunded": 400}]),
    )  # fmt: skip
    assert books.balances() == {"stripe_unobserved": 600, "revenue": -600}


def test_a_refund_without_a_credit_note_is_told_apart_from_revenue(books: Bookkeeper) -> None:
    refund = {
        "id": "re_1", "object": "refund", "charge": "ch_1", "amount": 400, "currency": "usd",
        "created": JAN, "status": "succeeded",
    }  # fmt: skip
    books.told(charged(1_000), event("refund.created", refund, at=JAN))
    assert books.balances()["refunds"] == 400

    books.told(event("refund.failed", {**refund, "status": "failed"}, at=JAN + 60))
    assert "refunds" not in books.balances()


def test_a_refund_that_only_the_charge_tells_of_counts_once_it_is_told_itself_too(
    books: Bookkeeper,
) -> None:
    took = charged(1_000)["data"]["object"]
    back = {**took, "amount_refunded": 400}
    books.told(charged(1_000), event("charge.refunded", back, at=JAN + 60))
    assert books.balances()["refunds"] == 400

    refund = {
        "id": "re_1", "object": "refund", "charge": "ch_1", "amount": 400, "currency": "usd",
        "created": JAN + 60, "status": "succeeded",
    }  # fmt: skip
    books.told(event("refund.created", refund, at=JAN + 60))
    assert books.balances()["refunds"] == 400


def test_a_dispute_takes_the_money_and_a_fee_and_brings_the_money_back(books: Bookkeeper) -> None:
    lost = {"id": "txn_1", "amount": -1_000, "fee": 1_500, "currency": "usd", "created": JAN}
    won = {"id": "txn_2", "amount": 1_000, "fee": 0, "currency": "usd", "created": JAN + 60}
    dispute: Json = {
        "id": "dp_1", "object": "dispute", "charge": "ch_1", "status": "needs_response",
        "amount": 1_000, "currency": "usd", "created": JAN, "balance_transactions": [lost],
    }  # fmt: skip
    books.told(event("charge.dispute.funds_withdrawn", dispute, at=JAN))
    assert books.balances() == {"disputes": 1_000, "fees": 1_500, "stripe_unobserved": -2_500}

    more = {**dispute, "status": "won", "balance_transactions": [lost, won]}
    books.told(event("charge.dispute.funds_reinstated", more, at=JAN + 60))
    assert books.balances() == {"fees": 1_500, "stripe_unobserved": -1_500}


@pytest.mark.parametrize(
    ("statuses", "then"),
    [
        (("pending",), {"in_transit": 500, "stripe_unobserved": -500}),
        (("pending", "paid"), {"bank": 500, "stripe_unobserved": -500}),
        (("pending", "failed"), {}),
        (("pending", "paid", "failed"), {}),
        (("pending", "canceled"), {}),
    ],
)
def test_a_payout_is_in_transit_then_at_the_bank_or_back(
    books: Bookkeeper, statuses: tuple[str, ...], then: dict[str, int]
) -> None:
    payout = {"id": "po_1", "object": "payout", "amount": 500, "currency": "usd", "created": JAN}
    names = {"pending": "created"}
    books.told(
        *(
            event(f"payout.{names.get(status, status)}", {**payout, "status": status}, at=JAN + n)
            for n, status in enumerate(statuses)
        )
    )
    assert books.balances() == then


def test_a_checkout_without_an_invoice_sells_at_once(books: Bookkeeper) -> None:
    session = {
        "id": "cs_1", "object": "checkout.session", "mode": "payment", "payment_status": "paid",
        "currency": "usd", "amount_total": 1_110, "invoice": None, "customer": "cus_a",
        "total_details": {"amount_tax": 110}, "payment_intent": "pi_1", "created": JAN,
    }  # fmt: skip
    books.told(charged(1_110), event("checkout.session.completed", session, at=JAN))

    assert books.balances() == {
        "stripe_unobserved": 1_110, "revenue": -1_000, "tax:unknown": -110,
    }  # fmt: skip


# --- what Stripe kept -----------------------------------------------------------------------------


def test_fees_are_known_when_balance_transactions_are_observed_each_once(
    books: Bookkeeper,
) -> None:
    simulator = Simulator(1, start=JAN)
    of = simulator.customers.create(name="Pays", payment_method="pm_card_visa")
    simulator.payment_intents.create(
        amount=10_000, currency="usd", customer=of["id"], payment_method="pm_card_visa",
        confirm=True, off_session=True,
    )  # fmt: skip
    version = simulator.engine.settings.api_version
    books.heard(*(one.bodies[version] for one in simulator.events if version in one.bodies))
    books.ledger.clock = FixedClock(utc(JAN + 30 * 86_400))
    assert books.balances()["stripe_unobserved"] == 10_000

    with listed(simulator) as there:
        assert observe_balance(books.ledger, there.api) == 1
        project(books.ledger)
        observe_balance(books.ledger, there.api)
        project(books.ledger)
    assert books.balances() == {
        "stripe_balance": 10_000 - 320, "fees": 320, "clearing_payments": -10_000,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("transaction", "then"),
    [
        (moved(), {"stripe_unobserved": -1_000, "stripe_balance": 960, "fees": 40}),
        (
            moved(type="refund", amount=-500, fee=0, source="re_1"),
            {"stripe_unobserved": 500, "stripe_balance": -500},
        ),
        (moved(type="stripe_fee", amount=-70, fee=0), {"fees": 70, "stripe_balance": -70}),
        (
            moved(type="payout", amount=-500, fee=10),
            {"stripe_unobserved": 500, "fees": 10, "stripe_balance": -510},
        ),
        (
            moved(type="adjustment", amount=-1_000, fee=1_500, source="dp_1"),
            {"stripe_unobserved": 2_500, "stripe_balance": -2_500},
        ),
        (
            moved(type="topup", fee=0, source="tu_1"),
            {"stripe_balance": 1_000, "clearing_stripe": -1_000},
        ),
    ],
)
def test_a_balance_transaction_says_what_stripe_kept(
    books: Bookkeeper, transaction: Json, then: dict[str, int]
) -> None:
    observe(books, transaction)

    assert books.balances() == then


def test_converted_money_balances_in_both_currencies(books: Bookkeeper) -> None:
    observe(books, moved(exchange_rate=1.1, amount=1_100, source={
        "id": "ch_1", "object": "charge", "amount": 1_000, "currency": "eur"}))  # fmt: skip

    assert books.balances() == {"conversion": -1_100, "stripe_balance": 1_060, "fees": 40}
    assert books.balances(currency="eur") == {"conversion": 1_000, "stripe_unobserved": -1_000}


# --- told otherwise, or not at all ----------------------------------------------------------------


def test_a_conflicting_delivery_moves_no_money(books: Bookkeeper) -> None:
    first = finalized(bill(line(1_000)))
    other = {**first, "data": {"object": bill(line(2_000), name="in_2")}}
    books.told(first, other)

    assert books.balances()["receivable"] == 1_000


@pytest.mark.parametrize("turned", [False, True])
def test_versions_that_tell_less_do_not_win_whichever_comes_first(
    books: Bookkeeper, turned: bool
) -> None:
    told = bill(line(1_000, taxes=[tax(110)]))
    less = {k: v for k, v in told.items() if k != "total_taxes"} | {"tax": 110}
    story = [event("invoice.finalized", less, at=JAN), event("invoice.updated", told, at=JAN + 60)]
    books.told(*(reversed(story) if turned else story))

    assert books.balances()["tax:txr_vat"] == -110


def test_what_the_charge_tells_step_by_step_is_given_back_step_by_step(books: Bookkeeper) -> None:
    took = charged(1_000)["data"]["object"]
    for amount, day in ((200, 1), (500, 40)):
        when = JAN + day * 86_400
        books.told(event("charge.refunded", {**took, "amount_refunded": amount}, at=when))

    assert books.balances(utc(JAN + 2 * 86_400))["refunds"] == 200
    assert books.balances()["refunds"] == 500


def test_a_charge_captured_in_parts_is_taken_in_parts(books: Bookkeeper) -> None:
    took = charged(1_000)["data"]["object"]
    for amount, day in ((600, 1), (1_000, 3)):
        when = JAN + day * 86_400
        books.told(event("charge.captured", {**took, "amount_captured": amount}, at=when))

    assert books.balances(utc(JAN + 2 * 86_400))["stripe_unobserved"] == 600
    assert books.balances()["stripe_unobserved"] == 1_000


def test_what_is_credited_after_it_was_written_off_is_no_bad_debt(books: Bookkeeper) -> None:
    invoice = bill(line(1_000))
    books.told(
        finalized(invoice), given_up(invoice, JAN + 60),
        credited(1_000, JAN + 120, pre_payment_amount=1_000),
    )  # fmt: skip

    assert books.balances() == {}


def test_a_credit_balance_is_of_one_currency_and_lapses_with_its_customer(
    books: Bookkeeper,
) -> None:
    of = customer("cus_a", currency="usd", balance=-300)
    books.told(
        event("customer.updated", of, at=JAN, previous={"balance": 0}),
        event("customer.updated", {**of, "currency": "idr", "balance": -70_000}, at=JAN + 60,
              previous={"balance": 0}),
    )  # fmt: skip
    assert books.balances()["customer_credit"] == -300
    assert books.balances(currency="idr")["customer_credit"] == -70_000

    books.told(event("customer.deleted", {**of, "currency": "idr", "balance": -70_000},
                     at=JAN + 120))  # fmt: skip
    assert books.balances(currency="idr") == {}


def test_a_second_ends_where_the_trail_of_its_changes_ends(books: Bookkeeper) -> None:
    of = customer("cus_a", currency="usd")
    used_up = event("customer.updated", {**of, "balance": 0}, at=JAN, previous={"balance": -300})
    given = event("customer.updated", {**of, "balance": -300}, at=JAN, previous={"balance": 0})
    assert used_up["id"] < given["id"]
    books.told(given, used_up)

    assert books.balances() == {}


def test_a_credit_balance_that_was_used_up_unheard_is_known_by_the_next_event(
    books: Bookkeeper,
) -> None:
    of = customer("cus_a", currency="usd", balance=-300)
    books.told(event("customer.updated", of, at=JAN, previous={"balance": 0}))
    books.told(event("customer.updated", {**of, "balance": 0}, at=JAN + 60,
                     previous={"name": "A"}))  # fmt: skip

    assert books.balances() == {}


def test_before_balances_were_told_an_invoice_owes_what_is_due(books: Bookkeeper) -> None:
    invoice = bill(line(1_000), amount_due=700, starting_balance=None, ending_balance=None)
    books.told(finalized(invoice))

    assert books.balances()["receivable"] == 700


def test_an_old_invoice_that_was_forgiven_is_written_off(books: Bookkeeper) -> None:
    invoice = {**bill(line(1_000)), "status": None, "forgiven": True, "closed": True,
               "paid": False, "status_transitions": None}  # fmt: skip
    books.told(event("invoice.updated", invoice, at=JAN + 60))

    assert books.balances()["bad_debt"] == 1_000


def test_a_part_paid_outside_is_outside_only_in_part(books: Bookkeeper) -> None:
    invoice = bill(line(1_000))
    books.told(
        finalized(invoice),
        event("invoice.updated", {**invoice, "amount_paid": 400}, at=JAN + 60),
        paid(invoice, JAN + 120, amount_paid=400, paid_out_of_band=True),
    )
    assert (books.balances()["paid_outside"], books.balances()["clearing_payments"]) == (600, 400)


def test_what_is_earned_is_exact_for_any_amount(books: Bookkeeper) -> None:
    start, end = JAN, JAN + 2_764_801
    amount = 2_000_001_390_632
    books.told(finalized(bill(line(amount, start, end))))
    passed = 1_000_000
    exact = (2 * amount * passed + (end - start)) // (2 * (end - start))

    assert books.balances(utc(JAN + passed))["revenue"] == -exact


def test_amounts_beyond_64_bits_are_kept(books: Bookkeeper) -> None:
    books.told(finalized(bill(line(10**19))))

    assert books.balances()["receivable"] == 10**19


def test_nothing_is_observed_with_the_key_of_another_account(books: Bookkeeper) -> None:
    own = dataclasses.replace(books.ledger.settings, stripe_account="acct_of_ours")
    books.ledger.settings = own
    with listed(Simulator(1, start=JAN)) as there, pytest.raises(AccountMismatch):
        observe_all(books.ledger, there.api)


def test_where_nothing_moves_for_long_that_is_not_asked_again(books: Bookkeeper) -> None:
    books.told(event("customer.created", customer("cus_a"), at=JAN))
    books.ledger.clock = FixedClock(utc(JAN + 100 * 86_400))
    asked: list[int] = []

    class Nothing:
        def balance_transactions(self, since: int, until: int) -> list[list[Json]]:
            asked.append(since)
            return []

    observe_balance(books.ledger, Nothing())  # type: ignore[arg-type]
    spans = len(asked)
    observe_balance(books.ledger, Nothing())  # type: ignore[arg-type]

    assert (spans, len(asked)) == (15, 15)


def test_two_that_observe_at_once_record_each_transaction_once(books: Bookkeeper) -> None:
    books.told(event("customer.created", customer("cus_a"), at=JAN - 60))
    books.ledger.clock = FixedClock(utc(JAN + 86_400))

    class Slow:
        def balance_transactions(self, since: int, until: int) -> list[list[Json]]:
            if not self.is_second:
                self.is_second = True
                observe_balance(books.ledger, self)  # type: ignore[arg-type]
            return [[moved()]] if since <= JAN < until else []

        is_second = False

    assert observe_balance(books.ledger, Slow()) == 0  # type: ignore[arg-type]
    project(books.ledger)
    assert books.balances()["fees"] == 40
    with books.ledger.pool.connection() as connection:
        assert len(Log(connection).stream("balance")) == 1


# --- what older versions tell, and what is no money -----------------------------------------------


def test_tax_in_a_price_is_no_revenue_in_older_versions_either(books: Bookkeeper) -> None:
    told = [{"amount": 100, "inclusive": True, "tax_rate": "txr_gst"}]
    older = line(1_100, tax_amounts=told)
    invoice = {**bill(older), "total_tax_amounts": told}
    del invoice["total_taxes"]
    invoice["lines"]["data"][0].pop("taxes")
    books.told(finalized(invoice))

    assert books.balances() == {"receivable": 1_100, "revenue": -1_000, "tax:txr_gst": -100}


def test_what_is_of_the_other_mode_moves_no_money(books: Bookkeeper) -> None:
    books.told({**finalized(bill(line(1_000))), "livemode": True})

    assert books.balances() == {}


def test_what_was_authorized_and_let_go_was_never_given_back(books: Bookkeeper) -> None:
    took = charged(1_000)["data"]["object"] | {"amount_captured": 600, "amount_refunded": 400}
    books.told(event("charge.captured", took, at=JAN + 60))

    assert books.balances() == {"stripe_unobserved": 600, "clearing_payments": -600}


@pytest.mark.parametrize(
    "otherwise", [{"invoice": "in_1"}, {"payment_status": "unpaid"}, {"mode": "setup"}]
)
def test_a_checkout_that_is_no_sale_of_its_own_sells_nothing(
    books: Bookkeeper, otherwise: Json
) -> None:
    session = {
        "id": "cs_1", "object": "checkout.session", "mode": "payment", "payment_status": "paid",
        "currency": "usd", "amount_total": 1_110, "invoice": None, "created": JAN, **otherwise,
    }  # fmt: skip
    books.told(event("checkout.session.completed", session, at=JAN))

    assert books.balances() == {}


def test_a_refund_that_was_canceled_gave_nothing_back(books: Bookkeeper) -> None:
    refund = {
        "id": "re_1", "object": "refund", "charge": "ch_1", "amount": 400, "currency": "usd",
        "created": JAN, "status": "canceled",
    }  # fmt: skip
    books.told(charged(1_000), event("refund.updated", refund, at=JAN + 60))

    assert "refunds" not in books.balances()


@pytest.mark.parametrize(
    ("how", "then"),
    [
        ({"customer_balance_transaction": "cbtxn_1"}, {"clearing_credit": -400}),
        ({"out_of_band_amount": 400}, {"paid_outside": -400}),
        ({"refund": "re_1", "refunds": None}, {"refunds": -400}),
        (
            {"refund": "re_1", "refunds": None, "customer_balance_transaction": "cbtxn_1"},
            {"clearing_notes": -400},  # of how much each, older versions do not say
        ),
    ],
)
def test_a_credit_note_after_payment_says_where_the_money_went(
    books: Bookkeeper, how: Json, then: dict[str, int]
) -> None:
    invoice = bill(line(1_000))
    books.told(
        finalized(invoice), paid(invoice, JAN + 60),
        credited(400, JAN + 120, post_payment_amount=400, **how),
    )  # fmt: skip

    assert books.balances() == {"clearing_payments": 1_000, "revenue": -600, **then}


@pytest.mark.parametrize("turned", [False, True])
def test_the_version_that_says_how_much_each_counts(books: Bookkeeper, turned: bool) -> None:
    both = {"refund": "re_1", "customer_balance_transaction": "cbtxn_1"}
    less = credited(400, JAN + 120, post_payment_amount=400, **both, refunds=None)
    more = credited(400, JAN + 120, post_payment_amount=400, **both,
                    refunds=[{"refund": "re_1", "amount_refunded": 300}])  # fmt: skip
    more["type"] = "credit_note.updated"
    notes = [more, less] if turned else [less, more]
    books.told(finalized(bill(line(1_000))), *notes)

    assert (books.balances()["refunds"], books.balances()["clearing_credit"]) == (-300, -100)


def test_a_credit_note_that_is_voided_credits_nothing(books: Bookkeeper) -> None:
    note = credited(400, JAN + 120, pre_payment_amount=400)
    gone = {**note["data"]["object"], "status": "void", "voided_at": JAN + 180}
    books.told(finalized(bill(line(1_000))), note)
    assert books.balances() == {"receivable": 600, "revenue": -600}

    books.told(event("credit_note.voided", gone, at=JAN + 180))
    assert books.balances() == {"receivable": 1_000, "revenue": -1_000}
    assert books.balances(utc(JAN + 150))["receivable"] == 600


def test_a_credit_note_for_a_line_takes_back_that_line(books: Bookkeeper) -> None:
    now, later = line(1_000), line(1_000, FEB, FEB + 86_400, id="il_later")
    named = {"id": "cnli_1", "invoice_line_item": "il_later", "amount": 1_000}
    books.told(
        finalized(bill(now, later)),
        credited(1_000, JAN + 120, pre_payment_amount=1_000, lines={"data": [named]}),
    )

    assert books.balances(utc(FEB))["revenue"] == books.balances()["revenue"] == -1_000


def test_a_part_paid_after_all_is_a_part_of_the_bad_debt(books: Bookkeeper) -> None:
    invoice = bill(line(1_000))
    gone = given_up(invoice, JAN + 60)
    part = {**gone["data"]["object"], "amount_paid": 400, "amount_remaining": 600}
    books.told(finalized(invoice), gone, event("invoice.updated", part, at=JAN + 120))

    assert (books.balances()["bad_debt"], books.balances().get("receivable")) == (600, None)


def test_refunds_told_of_later_do_not_move_those_that_only_the_charge_told_of(
    books: Bookkeeper,
) -> None:
    took = charged(1_000)["data"]["object"]
    refund = {
        "id": "re_1", "object": "refund", "charge": "ch_1", "amount": 300, "currency": "usd",
        "created": JAN + 600, "status": "succeeded",
    }  # fmt: skip
    books.told(
        event("charge.refunded", {**took, "amount_refunded": 400}, at=JAN + 60),
        event("charge.refunded", {**took, "amount_refunded": 700}, at=JAN + 600),
        event("refund.created", refund, at=JAN + 600),
    )

    assert books.balances(utc(JAN + 300))["refunds"] == 400
    assert books.balances()["refunds"] == 700


def test_a_converted_refund_goes_the_other_way(books: Bookkeeper) -> None:
    observe(books, moved(type="refund", exchange_rate=1.1, amount=-1_100, fee=0, source={
        "id": "re_1", "object": "refund", "amount": 1_000, "currency": "eur"}))  # fmt: skip

    assert books.balances() == {"conversion": 1_100, "stripe_balance": -1_100}
    assert books.balances(currency="eur") == {"conversion": -1_000, "stripe_unobserved": 1_000}


def test_a_converted_charge_is_of_what_was_captured(books: Bookkeeper) -> None:
    observe(books, moved(exchange_rate=1.1, amount=660, fee=0, source={
        "id": "ch_1", "object": "charge", "amount": 1_000, "amount_captured": 600,
        "currency": "eur"}))  # fmt: skip

    assert books.balances(currency="eur") == {"conversion": 600, "stripe_unobserved": -600}


# --- always ---------------------------------------------------------------------------------------


def test_any_order_and_any_batch_give_the_same_balances_and_known_at_tells_them_apart(
    books: Bookkeeper, installation: Installation
) -> None:
    invoice = bill(line(3_100))
    gone = given_up(invoice, JAN + 60)
    story = [finalized(invoice), gone, credited(100, JAN + 90, pre_payment_amount=100),
             paid(gone["data"]["object"], JAN + 120)]  # fmt: skip
    books.told(*story, batch_events=1)
    expected = books.balances()
    assert [books.balances(known_at=position).get("bad_debt") for position in range(1, 5)] == [
        None, 3_100, 3_000, None,
    ]  # fmt: skip
    for order in list(permutations(story))[::5]:
        for other in new_ledger(installation):
            books = Bookkeeper(other)
            books.told(*order, batch_events=2)
            assert books.balances() == expected


amounts = st.integers(0, 5_000)
moments = st.integers(JAN, FEB)


@st.composite
def invoice_notes(draw: st.DrawFn) -> list[Note]:
    """Anything that may be told of one invoice, consistent or not."""
    lines = [
        Line(f"il_{n}", draw(st.integers(-3_000, 3_000)), JAN, draw(st.sampled_from([JAN, FEB])))
        for n in range(draw(st.integers(0, 3)))
    ]
    taxes = {rate: draw(amounts) for rate in draw(st.sets(st.sampled_from(["a", "b"])))}
    total = sum(one.net for one in lines) + sum(taxes.values())
    notes: list[Note] = [
        Sale(JAN, "usd", total + draw(st.sampled_from([0, 0, 500])), draw(st.integers(-300, 300)),
             lines, taxes, JAN, all_lines=draw(st.booleans()))
    ]  # fmt: skip
    if draw(st.booleans()):  # another version tells less of the taxes
        untold = {"unknown": sum(taxes.values())} if taxes else {}
        notes.append(msgspec.structs.replace(notes[0], taxes=untold))
    for n in range(draw(st.integers(0, 2))):
        amount = draw(amounts)
        before, refunded = draw(st.integers(0, amount)), 0
        refunded = draw(st.integers(0, amount - before))
        notes.append(
            Credited(draw(moments), f"cn_{n}", amount, {}, {}, before, refunded,
                     amount - before - refunded)
        )  # fmt: skip
        if draw(st.booleans()):
            notes.append(NoteVoided(draw(moments), f"cn_{n}"))
    notes += [Paid(draw(moments), draw(amounts), 0) for _ in range(draw(st.integers(0, 3)))]
    notes += [GivenUp(draw(moments))] * draw(st.integers(0, 1))
    notes += [Voided(FEB + 60)] * draw(st.integers(0, 1))
    return notes


@st.composite
def charge_notes(draw: st.DrawFn) -> list[Note]:
    notes: list[Note] = [Captured(draw(moments), "usd", draw(amounts), draw(st.booleans()))]
    for n in range(draw(st.integers(0, 2))):
        notes.append(Refunded(draw(moments), f"re_{n}", "usd", draw(amounts)))
        notes += [RefundFailed(draw(moments), f"re_{n}")] * draw(st.integers(0, 1))
    return notes + [Returned(draw(moments), "usd", draw(amounts))] * draw(st.integers(0, 1))


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(st.one_of(invoice_notes(), charge_notes()), st.randoms(use_true_random=False))
def test_a_statement_balances_and_does_not_depend_on_the_order_of_its_notes(
    notes: list[Note], chance: Any
) -> None:
    made = statement_of("in_1", notes)
    by_moment: dict[tuple[int, str, str], int] = {}
    for one in made.postings:
        key = one.at, one.source, one.currency
        by_moment[key] = by_moment.get(key, 0) + one.amount_minor
    assert not any(by_moment.values())
    deferred = sum(p.amount_minor for p in made.postings if p.account == "deferred_revenue")
    assert deferred + sum(s.amount_minor for s in made.schedules) == 0
    if any(isinstance(one, Voided) for one in notes):
        assert not deferred

    shuffled = [*notes, *notes]  # told twice
    chance.shuffle(shuffled)
    again = statement_of("in_1", shuffled)
    assert sorted(map(repr, again.postings)) == sorted(map(repr, made.postings))
    assert sorted(map(repr, again.schedules)) == sorted(map(repr, made.schedules))


@given(st.integers(-10_000, 10_000), st.lists(st.integers(0, 1_000), min_size=1, max_size=8))
def test_shares_add_up_and_follow_their_weights(amount: int, weights: list[int]) -> None:
    shares = split(amount, weights)

    assert sum(shares) == (amount if any(weights) else 0)
    for share, weight in zip(shares, weights, strict=True):
        assert abs(share * sum(weights) - amount * weight) <= sum(weights)
