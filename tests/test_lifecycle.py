"""The life of a subscription: given facts, then these mails and notices, each once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from ledger.application import Ledger
from ledger.observation import observe_cards
from ledger.orders import switch_campaign
from tests.facts import Json, customer, event, invoice, price, record, subscription
from tests.reactions import START, Mailbox, Reactor, andi, mail_server, seconds


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with mail_server() as found:
        yield found


@pytest.fixture
def reactor(ledger: Ledger, mailbox: Mailbox) -> Reactor:
    made = Reactor(ledger, mailbox)
    made.told(*andi())
    made.switch_on(campaign=None)
    made.decide(lambda desk: switch_campaign(desk, "lifecycle", "on", {}, "tests"))
    return made


def trial(**changes: Any) -> Json:
    return subscription(status="trialing", trial_end=seconds(START + timedelta(days=3)), **changes)


def changed(at: int, was: int, now: int) -> Json:
    def items(amount: int) -> Json:
        of = price(f"price_{amount}", unit_amount=amount, unit_amount_decimal=str(amount))
        found: Json = subscription()["items"]
        found["data"][0]["price"] = of
        return found

    return event("customer.subscription.updated", subscription(items=items(now)), at=at,
                 previous={"items": items(was)})  # fmt: skip


@pytest.mark.parametrize(
    ("fact", "subject"),
    [
        (lambda at: event("customer.subscription.trial_will_end", trial(), at=at),
         "Masa percobaanmu segera berakhir – Warung Digital"),
        (lambda at: event("customer.subscription.updated", subscription(), at=at,
                          previous={"status": "trialing"}),
         "Selamat bergabung – Warung Digital"),
        (lambda at: event("invoice.paid", invoice(status="paid", amount_paid=10_000_000), at=at),
         "Terima kasih, pembayaranmu sudah masuk – Warung Digital"),
        (lambda at: event("invoice.finalized", invoice(status="open", number="WD-1",
                          collection_method="send_invoice", due_date=at + 86_400), at=at),
         "Tagihanmu WD-1 – Warung Digital"),
        (lambda at: changed(at, 10_000_000, 25_000_000),
         "Paket barumu sudah siap – Warung Digital"),
        (lambda at: changed(at, 25_000_000, 10_000_000), "Paketmu sudah diganti – Warung Digital"),
        (lambda at: event("customer.subscription.deleted", subscription(status="canceled"), at=at),
         "Langgananmu sudah berakhir – Warung Digital"),
    ],
)  # fmt: skip
def test_each_turn_of_a_subscription_is_told_once(
    reactor: Reactor, mailbox: Mailbox, fact: Any, subject: str
) -> None:
    told = [fact(reactor.at())]
    if told[0]["type"] == "customer.subscription.trial_will_end":
        told.insert(0, event("customer.subscription.updated", trial(), at=reactor.at(minutes=-1)))
    reactor.told(*told)
    reactor.told(*told)
    reactor.work()

    assert mailbox.subjects == [subject]


@pytest.mark.parametrize(
    ("type_", "obj"),
    [
        ("invoice.paid", invoice(status="paid", amount_paid=0, amount_due=0)),
        ("invoice.finalized", invoice(status="open")),
        ("customer.subscription.trial_will_end", subscription()),  # it is no trial any more
    ],
)
def test_what_concerns_nobody_is_not_told(
    reactor: Reactor, mailbox: Mailbox, type_: str, obj: Json
) -> None:
    reactor.told(event(type_, obj, at=reactor.at()))
    reactor.work()

    assert mailbox.mails == []


def test_a_trial_that_is_canceled_is_not_reminded_of(reactor: Reactor, mailbox: Mailbox) -> None:
    leaving = trial(cancel_at_period_end=True)
    reactor.told(
        event("customer.subscription.updated", leaving, at=reactor.at(minutes=-1)),
        event("customer.subscription.trial_will_end", leaving, at=reactor.at()),
    )
    reactor.work()

    assert "Masa percobaanmu segera berakhir – Warung Digital" not in mailbox.subjects


def test_old_facts_are_not_told_to_anybody(reactor: Reactor, mailbox: Mailbox) -> None:
    old = seconds(START - timedelta(days=3))
    reactor.told(event("invoice.paid", invoice(status="paid", amount_paid=10_000_000), at=old))
    reactor.work()

    assert (mailbox.mails, reactor.effects()) == ([], [])


def test_sales_hears_of_an_upgrade_and_support_of_an_end(reactor: Reactor) -> None:
    reactor.told(changed(reactor.at(), 10_000_000, 25_000_000))
    gone = subscription(status="canceled")
    reactor.told(event("customer.subscription.deleted", gone, at=reactor.at(hours=1)))
    reactor.work()

    assert reactor.alerts.whats == ["plan_upgraded", "subscription_ended"]


class Cards:
    """What Stripe knows of cards; the test counts how often it is asked."""

    def __init__(self, **expires: tuple[int, int]) -> None:
        self.expires = expires
        self.asked: list[str] = []

    def payment_method(self, method: str) -> Json:
        self.asked.append(method)
        year, month = self.expires[method]
        return {"id": method, "object": "payment_method", "card": {
            "brand": "visa", "last4": "4242", "exp_month": month, "exp_year": year}}  # fmt: skip


def test_a_card_that_expires_soon_is_told_of_once_a_month_and_its_date_never_kept(
    reactor: Reactor, mailbox: Mailbox
) -> None:
    for name in ("soon", "later"):
        of = customer(f"cus_{name}", email=f"{name}@example.test",
                      invoice_settings={"default_payment_method": f"pm_{name}"})  # fmt: skip
        sub = subscription(f"sub_{name}", of=f"cus_{name}")
        reactor.told(event("customer.created", of, at=reactor.at()),
                     event("customer.subscription.created", sub, at=reactor.at()))  # fmt: skip
    cards = Cards(pm_soon=(2026, 4), pm_later=(2026, 5))
    assert observe_cards(reactor.ledger, cards) == 1  # type: ignore[arg-type]
    assert observe_cards(reactor.ledger, cards) == 0  # type: ignore[arg-type]
    reactor.react()
    reactor.work()

    assert mailbox.subjects == ["Kartumu segera kedaluwarsa – Warung Digital"]
    assert mailbox.recipients == ["soon@example.test"]
    assert cards.asked == ["pm_later", "pm_soon"]
    kept = reactor.rows("SELECT data::text AS data FROM events WHERE topic LIKE '%%CardExpiring'")
    assert "exp" not in kept[0]["data"].replace("card.expiring", "").replace(
        "card_expiring", "").replace("expiring_card", "")  # fmt: skip
    reactor.clock.at += timedelta(days=31)
    assert observe_cards(reactor.ledger, cards) == 2  # type: ignore[arg-type]


def test_what_was_recorded_before_the_policy_is_not_told(ledger: Ledger, mailbox: Mailbox) -> None:
    record(ledger, *andi(), event("invoice.paid", invoice(amount_paid=1), at=seconds(START)))
    reactor = Reactor(ledger, mailbox)
    reactor.switch_on()
    reactor.work()

    assert reactor.effects() == []
