"""The simulated Stripe's money: payments, refunds, disputes, credit notes, payouts."""

from __future__ import annotations

from typing import Any

import pytest

from ledger.simulator import NEWEST, Refused
from ledger.simulator.declines import DECLINES
from tests.test_simulator_subscriptions import DAY, T0, Json, Shop


@pytest.fixture
def shop() -> Shop:
    return Shop.opened()


def pay(shop: Shop, **params: Any) -> Json:
    return shop.sim.payment_intents.create(
        **{
            "amount": 10_000,
            "currency": "usd",
            "payment_method": "pm_card_visa",
            "confirm": True,
            **params,
        }
    )


def test_a_payment_costs_a_fee_and_is_available_after_days(shop: Shop) -> None:
    charge = shop.sim.charges.retrieve(pay(shop)["latest_charge"])

    booked = shop.sim.balance_transactions.retrieve(charge["balance_transaction"])
    assert (booked["amount"], booked["fee"], booked["net"]) == (10_000, 320, 9_680)
    assert shop.sim.balance_transactions.available("usd") == 0
    shop.sim.advance(booked["available_on"] - 1)
    assert "balance.available" not in shop.told()
    shop.sim.advance(booked["available_on"])

    payout = shop.sim.payouts.all()[-1]
    assert payout["amount"] == 9_680
    assert "balance.available" in shop.told()
    shop.pass_days(3)
    assert shop.sim.payouts.retrieve(payout["id"])["status"] == "paid"


def test_a_declined_payment_says_why_and_may_be_tried_again(shop: Shop) -> None:
    with pytest.raises(Refused) as refused:
        pay(shop, payment_method="pm_card_visa_chargeDeclinedInsufficientFunds")

    assert refused.value.status == 402
    assert refused.value.more["decline_code"] == "insufficient_funds"
    intent = shop.sim.payment_intents.all()[-1]
    assert intent["status"] == "requires_payment_method"
    paid = shop.sim.payment_intents.confirm(intent["id"], payment_method="pm_card_visa")
    assert (paid["status"], paid["amount_received"]) == ("succeeded", 10_000)


@pytest.mark.parametrize("code", DECLINES)
def test_every_decline_is_told_with_its_codes(shop: Shop, code: str) -> None:
    shop.let_card(decline=code)

    with pytest.raises(Refused) as refused:
        pay(shop, customer=shop.customer, payment_method=shop.card)

    decline = DECLINES[code]
    charge = shop.sim.charges.all()[-1]
    error = shop.sim.payment_intents.all()[-1]["last_payment_error"]
    assert refused.value.code == charge["failure_code"] == error["code"] == decline.code
    assert charge["outcome"]["reason"] == code
    for advice in ("advice_code", "network_advice_code", "network_decline_code"):
        assert charge["outcome"][advice] == error[advice] == getattr(decline, advice)


def test_reserved_money_is_captured_in_part_or_expires(shop: Shop) -> None:
    reserved = pay(shop, capture_method="manual")
    left = pay(shop, capture_method="manual")
    assert reserved["status"] == "requires_capture"

    taken = shop.sim.payment_intents.capture(reserved["id"], amount_to_capture=6_000)
    shop.pass_days(8)

    charge = shop.sim.charges.retrieve(taken["latest_charge"])
    assert (charge["amount_captured"], charge["amount_refunded"]) == (6_000, 4_000)
    assert shop.sim.payment_intents.retrieve(left["id"])["status"] == "canceled"
    assert "charge.expired" in shop.told()
    assert shop.sim.truth.cash_total("usd").collected == 6_000


def test_refunds_add_up_and_never_exceed_the_charge(shop: Shop) -> None:
    charge = pay(shop)["latest_charge"]

    shop.sim.refunds.create(charge=charge, amount=4_000)
    shop.sim.refunds.create(charge=charge)

    assert shop.sim.charges.retrieve(charge)["refunded"]
    with pytest.raises(Refused, match="already been refunded"):
        shop.sim.refunds.create(charge=charge)
    assert shop.sim.truth.cash_total("usd").refunded == 10_000
    told = [e.body(NEWEST)["data"] for e in shop.sim.events if e.type == "charge.refunded"]
    assert [one["previous_attributes"]["amount_refunded"] for one in told] == [0, 4_000]


def test_a_refund_that_the_bank_sends_back_is_money_again(shop: Shop) -> None:
    charge = pay(shop, payment_method="pm_card_refundFail")["latest_charge"]
    refund = shop.sim.refunds.create(charge=charge)["id"]

    shop.pass_days(5)

    assert shop.sim.refunds.retrieve(refund)["status"] == "failed"
    assert shop.sim.charges.retrieve(charge)["amount_refunded"] == 0
    assert shop.sim.truth.cash_total("usd").refunded == 0
    assert {"refund.failed", "charge.refund.updated"} <= set(shop.told())


@pytest.mark.parametrize(("won", "disputed"), [(True, 0), (False, 10_000)])
def test_a_dispute_takes_the_money_and_gives_it_back_if_it_is_won(
    shop: Shop, won: bool, disputed: int
) -> None:
    charge = pay(shop)["latest_charge"]
    dispute = shop.sim.disputes.open(charge)["id"]
    assert shop.sim.truth.cash_total("usd").disputed == 10_000
    assert shop.sim.charges.retrieve(charge)["disputed"]
    shop.sim.disputes.update(dispute, evidence={"uncategorized_text": "They used it."})
    assert shop.sim.disputes.retrieve(dispute)["status"] == "under_review"

    shop.sim.disputes.decide(dispute, won=won)

    cash = shop.sim.truth.cash_total("usd")
    assert (cash.disputed, cash.fees) == (disputed, 320 + 1_500)
    assert ("charge.dispute.funds_reinstated" in shop.told()) is won


def test_a_dispute_that_nobody_answers_is_lost_and_an_inquiry_closes(shop: Shop) -> None:
    silent = shop.sim.disputes.open(pay(shop)["latest_charge"])["id"]
    asked = shop.sim.disputes.open(pay(shop)["latest_charge"], inquiry=True)["id"]
    prevented = shop.sim.disputes.prevent(pay(shop)["latest_charge"])

    shop.pass_days(130)

    assert shop.sim.disputes.retrieve(silent)["status"] == "lost"
    assert shop.sim.disputes.retrieve(asked)["status"] == "warning_closed"
    assert prevented["status"] == "prevented"
    assert shop.sim.truth.cash_total("usd").disputed == 10_000
    assert shop.sim.disputes.appeal(silent)["status"] == "appeal_under_review"


def test_a_disputed_subscription_ends_where_the_account_says_so() -> None:
    shop = Shop.opened(cancels_on_dispute=True)
    subscription = shop.subscribe()
    shop.sim.disputes.open(shop.last_invoice(subscription)["_"]["charge"])

    ended = shop.subscription(subscription)
    assert ended["cancellation_details"]["reason"] == "payment_disputed"


def test_a_credit_note_lowers_what_is_due_or_gives_back_what_was_paid(shop: Shop) -> None:
    price = shop.sim.prices.create(product=shop.product, currency="usd", unit_amount=5_000)["id"]
    shop.sim.invoice_items.create(customer=shop.customer, price=price)
    invoice = shop.sim.invoices.create(customer=shop.customer)["id"]
    shop.sim.invoices.finalize_invoice(invoice)

    shop.sim.credit_notes.create(invoice=invoice, amount=2_000)
    due = shop.sim.invoices.retrieve(invoice)
    assert (due["amount_remaining"], due["pre_payment_credit_notes_amount"]) == (3_000, 2_000)
    shop.sim.invoices.pay(invoice)
    note = shop.sim.credit_notes.create(invoice=invoice, amount=1_000, refund_amount=1_000)

    assert note["refunds"][0]["amount_refunded"] == 1_000
    after = shop.sim.invoices.retrieve(invoice)
    assert (after["amount_paid"], after["post_payment_credit_notes_amount"]) == (3_000, 1_000)
    assert shop.sim.truth.cash_total("usd").refunded == 1_000


def test_a_credit_note_over_all_that_is_due_settles_the_invoice(shop: Shop) -> None:
    shop.let_card(decline="generic_decline")
    subscription = shop.subscribe(collection_method="send_invoice", days_until_due=5)
    shop.pass_days(1)
    invoice = shop.last_invoice(subscription)["id"]

    note = shop.sim.credit_notes.create(invoice=invoice, amount=3_000)

    assert shop.sim.invoices.retrieve(invoice)["status"] == "paid"
    assert note["type"] == "pre_payment"
    assert "payment_intent.canceled" in shop.told()


def test_an_uncollectible_invoice_may_still_be_paid_and_a_void_one_not(shop: Shop) -> None:
    subscription = shop.subscribe(collection_method="send_invoice", days_until_due=5)
    other = shop.subscribe(collection_method="send_invoice", days_until_due=5)
    shop.pass_days(1)
    lost, wrong = shop.last_invoice(subscription)["id"], shop.last_invoice(other)["id"]

    written = shop.sim.invoices.mark_uncollectible(lost)
    assert written["status_details"]["uncollectible"]["reason"] == "user_forgiven"
    assert shop.sim.invoices.pay(lost)["status"] == "paid"
    shop.sim.invoices.void_invoice(wrong)

    with pytest.raises(Refused, match="void"):
        shop.sim.invoices.pay(wrong)


def test_checkout_makes_the_customer_and_the_subscription(shop: Shop) -> None:
    session = shop.sim.checkout_sessions.create(
        mode="subscription",
        line_items=[{"price": shop.price, "quantity": 2}],
        customer_email="new@example.test",
    )

    done = shop.sim.checkout_sessions.complete(session["id"])

    assert (done["status"], done["payment_status"]) == ("complete", "paid")
    assert shop.status(done["subscription"]) == "active"
    assert shop.told()[-1] == "checkout.session.completed"
    left = shop.sim.checkout_sessions.create(mode="setup", customer=shop.customer)["id"]
    shop.pass_days(2)
    assert shop.sim.checkout_sessions.retrieve(left)["status"] == "expired"


def test_the_portals_new_card_is_the_customers_and_not_the_subscriptions(shop: Shop) -> None:
    subscription = shop.subscribe(default_payment_method=shop.card)

    shop.sim.portal_sessions.change_card(shop.customer, "pm_card_mastercard")

    customer = shop.sim.customers.retrieve(shop.customer)
    assert customer["invoice_settings"]["default_payment_method"] != shop.card
    assert shop.subscription(subscription)["default_payment_method"] == shop.card


def test_a_preview_says_what_the_next_invoice_will_be_and_makes_nothing(shop: Shop) -> None:
    subscription = shop.subscribe()
    events = len(shop.sim.events)
    item = shop.item(subscription)["id"]

    same = shop.sim.previews.create_preview(subscription=subscription)
    more = shop.sim.previews.create_preview(
        subscription=subscription, subscription_details={"items": [{"id": item, "quantity": 2}]}
    )

    assert (same["total"], more["total"]) == (3_000, 6_000)
    assert same["id"].startswith("upcoming_in_")
    assert len(shop.sim.events) == events
    assert len(shop.sim.invoices.of_subscription(subscription)) == 1


def test_payouts_fail_and_come_back(shop: Shop) -> None:
    pay(shop)
    shop.sim.advance(T0 + 9 * DAY)
    payout = shop.sim.payouts.all()[-1]["id"]

    failed = shop.sim.payouts.fail(payout)

    assert (failed["status"], failed["failure_code"]) == ("failed", "account_closed")
    assert shop.sim.balance_transactions.available("usd") == 9_680
