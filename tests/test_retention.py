"""Retention: a cancellation is scheduled first and then answered, within limits."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from ledger.agenda import Agenda
from ledger.aggregates.decision import DecisionRefused
from ledger.application import Ledger
from ledger.cancellations import accept_offer, cancel, decline_offer
from ledger.effects.performing import EffectFailed, Receipt, Task
from ledger.errors import RequestInvalid
from ledger.orders import add_campaign, sending_to_change, set_brand, switch_campaign
from ledger.policies.desk import Site
from ledger.policies.retention.campaign import read_campaign, shipped
from ledger.policies.retention.offers import in_holdout
from ledger.projections.reactions.queries import retention_board
from tests.facts import Json, customer, event, price, subscription
from tests.reactions import START, Mailbox, Reactor, Recorder, mail_server, seconds

OFFER = "retention:sub_andi:1"
ENDS = seconds(START + timedelta(days=20))
ALWAYS: Json = {
    "name": "stay", "version": 2, "kind": "retention", "holdout_percent": 0,
    "offers": [{"name": "discount", "kind": "discount", "reasons": ["*"],
                "percent_off": 20, "months": 3}],
}  # fmt: skip


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with mail_server() as found:
        yield found


def andis(**changes: Any) -> Json:
    found = subscription(**{"start_date": seconds(START - timedelta(days=400)), **changes})
    for item in found["items"]["data"]:
        item.update(current_period_end=ENDS)
    return found


@pytest.fixture
def reactor(ledger: Ledger, mailbox: Mailbox) -> Reactor:
    made = Reactor(ledger, mailbox)
    at = seconds(START - timedelta(days=31))
    made.told(
        event("customer.created", customer(), at=at),
        event("customer.subscription.created", andis(), at=at),
    )
    made.switch_on()
    made.campaign(ALWAYS)
    return made


def leaves(at: int, reason: str | None = "too_expensive", **changes: Any) -> Json:
    now = andis(
        cancel_at_period_end=True, cancel_at=ENDS, canceled_at=at,
        cancellation_details={"reason": "cancellation_requested", "feedback": reason,
                              "comment": None}, **changes,
    )  # fmt: skip
    previous = {"cancel_at_period_end": False, "cancel_at": None, "canceled_at": None}
    return event("customer.subscription.updated", now, at=at, previous=previous)


def stays(at: int) -> Json:
    previous = {"cancel_at_period_end": True, "cancel_at": ENDS}
    return event("customer.subscription.updated", andis(), at=at, previous=previous)


def offer_row(reactor: Reactor, id_: str = OFFER) -> Json:
    (row,) = reactor.rows("SELECT * FROM retention_offers WHERE id = %s", id_)
    return row


# --- the sequence ---------------------------------------------------------------------------------


def test_a_cancellation_at_stripe_is_acknowledged_offered_against_and_reminded_of(
    reactor: Reactor, mailbox: Mailbox
) -> None:
    reactor.told(leaves(reactor.at()))
    reactor.wait(hours=1)
    assert mailbox.subjects == ["Permintaan berhenti sudah kami terima – Warung Digital"]
    reactor.wait(days=1)
    assert mailbox.subjects[1:] == ["Jangan Mi' Hilang – Warung Digital"]
    text = mailbox.mails[1].get_body(("plain",)).get_content()  # type: ignore[union-attr]
    assert "diskon 20% untuk langgananmu selama 3 bulan" in text
    assert mailbox.mails[1]["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert mailbox.mails[0]["List-Unsubscribe"] is None
    reactor.wait(days=17)

    assert mailbox.subjects[2:] == ["Langgananmu segera berakhir – Warung Digital"]
    assert reactor.alerts.whats == ["cancellation_requested"]
    assert offer_row(reactor)["status"] == "offered"


def test_a_cancellation_by_api_is_scheduled_at_stripe_at_once(reactor: Reactor) -> None:
    def order(desk: Any) -> Any:
        return cancel(desk, "cus_andi", "sub_andi", source="api", reason="unused",
                      comment="Jarang dipakai")  # fmt: skip

    reactor.decide(order)
    reactor.decide(order)  # clicked twice
    reactor.react()
    reactor.work()

    (task,) = reactor.stripe.tasks
    assert (task.request.what, task.request.params["feedback"]) == (
        "schedule_cancellation", "unused",
    )  # fmt: skip
    assert task.request.text == {"comment": "Jarang dipakai"}
    reactor.told(leaves(reactor.at(minutes=1), "unused"))
    assert len(reactor.rows("SELECT * FROM retention_offers")) == 1
    assert (
        reactor.rows(
            "SELECT * FROM events WHERE data::text LIKE '%%Jarang%%' AND stream <> 'sub_andi'"
        )
        == []
    )


def test_an_accepted_offer_is_made_at_stripe_and_judged_by_billing_facts(
    reactor: Reactor, mailbox: Mailbox
) -> None:
    reactor.told(leaves(reactor.at()))
    reactor.wait(days=2)
    reactor.decide(lambda desk: accept_offer(desk, OFFER, "customer"))
    reactor.react()
    reactor.work()
    (task,) = reactor.stripe.tasks
    assert (task.request.what, task.request.params["percent_off"]) == ("discount", 20)
    reactor.told(stays(seconds(reactor.now)))
    reactor.wait(days=29)
    assert (offer_row(reactor)["outcome"], len(mailbox.mails)) == (None, 2)
    reactor.wait(days=2)

    assert offer_row(reactor)["outcome"] == "saved"


def test_whoever_accepts_and_leaves_all_the_same_is_lost(reactor: Reactor) -> None:
    reactor.told(leaves(reactor.at()))
    reactor.wait(days=2)
    reactor.decide(lambda desk: accept_offer(desk, OFFER, "customer"))
    reactor.told(stays(seconds(reactor.now)))
    reactor.wait(days=10)
    gone = andis(status="canceled", ended_at=seconds(reactor.now))
    reactor.told(event("customer.subscription.deleted", gone, at=seconds(reactor.now)))
    reactor.wait(days=40)

    assert offer_row(reactor)["outcome"] == "lost"


def test_a_declined_offer_is_not_repeated(reactor: Reactor, mailbox: Mailbox) -> None:
    reactor.told(leaves(reactor.at()))
    reactor.wait(days=2)
    reactor.decide(lambda desk: decline_offer(desk, OFFER, "customer"))
    reactor.react()
    reactor.wait(days=20)

    assert (len(mailbox.mails), reactor.stripe.tasks) == (2, [])


def test_who_withdraws_by_themselves_gets_no_more_mail_and_counts_as_saved(
    reactor: Reactor, mailbox: Mailbox
) -> None:
    reactor.told(leaves(reactor.at()))
    reactor.wait(hours=2)
    reactor.told(stays(seconds(reactor.now)))
    reactor.wait(days=35)

    assert (len(mailbox.mails), offer_row(reactor)["outcome"]) == (1, "saved")


def test_silence_lets_the_cancellation_go_on_and_the_end_counts_as_lost(
    reactor: Reactor, mailbox: Mailbox
) -> None:
    reactor.told(leaves(reactor.at()))
    reactor.wait(days=20)
    gone = andis(status="canceled", ended_at=ENDS)
    reactor.told(event("customer.subscription.deleted", gone, at=ENDS))
    reactor.wait(days=2)

    assert (offer_row(reactor)["outcome"], reactor.stripe.tasks) == ("lost", [])


def test_some_weeks_after_the_end_a_customer_is_asked_back(
    reactor: Reactor, mailbox: Mailbox
) -> None:
    reactor.campaign({**ALWAYS, "version": 3, "win_back_after_days": 30})
    reactor.told(leaves(reactor.at()))
    reactor.wait(days=20)
    gone = andis(status="canceled", ended_at=ENDS)
    reactor.told(event("customer.subscription.deleted", gone, at=ENDS))
    reactor.wait(days=29)
    assert "Kami kangen – Warung Digital" not in mailbox.subjects
    reactor.wait(days=2)

    assert mailbox.subjects[-1] == "Kami kangen – Warung Digital"
    assert mailbox.mails[-1]["List-Unsubscribe"] is not None
    assert offer_row(reactor)["outcome"] == "lost"


def test_whoever_wants_no_offers_gets_none(reactor: Reactor, mailbox: Mailbox) -> None:
    reactor.decide(lambda desk: desk.outbox("cus_andi").unsubscribe("mail", now=desk.now))
    reactor.told(leaves(reactor.at()))
    reactor.wait(days=3)

    assert mailbox.subjects == ["Permintaan berhenti sudah kami terima – Warung Digital"]


@pytest.mark.parametrize("has_consented", [False, True])
def test_with_consent_needed_only_who_has_said_yes_gets_offers(
    reactor: Reactor, mailbox: Mailbox, has_consented: bool
) -> None:
    reactor.decide(lambda desk: set_brand(desk, {"marketing_needs_consent": True}, "t"))
    if has_consented:
        reactor.decide(lambda desk: desk.outbox("cus_andi").consent("mail", now=desk.now))
    reactor.told(leaves(reactor.at()))
    reactor.wait(days=3)

    assert len(mailbox.subjects) == (2 if has_consented else 1)
    assert ("no_consent" in [row["because"] for row in reactor.rows(
        "SELECT because FROM effects")]) is not has_consented  # fmt: skip


# --- limits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "offer"),
    [("too_expensive", "discount"), ("switched_service", "loyalty"), ("unused", "pause"),
     ("too_complex", "training"), ("customer_service", "support"), ("other", "talk"),
     (None, "talk")],
)  # fmt: skip
def test_the_shipped_campaign_offers_by_reason(
    ledger: Ledger, reason: str | None, offer: str
) -> None:
    customer_id = next(name for n in range(99) if not in_holdout(shipped(), name := f"cus_{n}"))
    reactor = Reactor(ledger)
    of = {**andis(), "customer": customer_id}
    at = seconds(START - timedelta(days=31))
    reactor.told(
        event("customer.created", customer(customer_id), at=at),
        event("customer.subscription.created", of, at=at),
    )
    reactor.told(leaves(reactor.at(), reason, customer=customer_id))

    assert offer_row(reactor)["offer"] == offer


def chosen(reactor: Reactor, **changes: Any) -> tuple[str | None, str | None]:
    reactor.told(leaves(reactor.at(), **changes))
    row = offer_row(reactor)
    return row["offer"], row["no_offer_because"]


def test_one_offer_a_year(reactor: Reactor) -> None:
    reactor.told(leaves(reactor.at()))
    reactor.wait(days=2)
    reactor.told(stays(seconds(reactor.now)))
    reactor.wait(days=40)
    reactor.told(leaves(seconds(reactor.now)))
    second = offer_row(reactor, "retention:sub_andi:2")
    assert (second["offer"], second["no_offer_because"]) == (None, "offered_lately")
    reactor.told(stays(seconds(reactor.now)))
    reactor.wait(days=340)
    reactor.told(leaves(seconds(reactor.now)))

    assert offer_row(reactor, "retention:sub_andi:3")["offer"] == "discount"


def test_no_discount_is_put_upon_another(reactor: Reactor) -> None:
    held = [{"id": "di_1", "object": "discount",
             "coupon": {"id": "OFF", "object": "coupon", "percent_off": 10}}]  # fmt: skip
    assert chosen(reactor, discounts=held) == (None, "coupon_running")


def test_no_pause_skips_the_renewal_of_a_year(reactor: Reactor) -> None:
    pause = {"name": "pause", "kind": "pause", "reasons": ["*"], "months": 2}
    reactor.campaign({**ALWAYS, "version": 3, "offers": [pause]})
    yearly = andis()
    yearly["items"]["data"][0]["price"] = price(
        recurring={"interval": "year", "interval_count": 1, "usage_type": "licensed"}
    )

    assert chosen(reactor, items=yearly["items"]) == (None, "no_pause")


def test_an_offer_costs_no_more_than_its_share_of_the_margin(reactor: Reactor) -> None:
    dear = {"name": "half", "kind": "discount", "reasons": ["*"], "percent_off": 50, "months": 12}
    reactor.campaign({**ALWAYS, "version": 3, "offers": [dear], "cost_share_percent": 20})

    assert chosen(reactor) == (None, "cost_share")


def test_a_months_budget_is_not_exceeded(reactor: Reactor) -> None:
    # A discount costs 20 % of Rp100.000 for three months: Rp60.000.
    reactor.campaign({**ALWAYS, "version": 3, "monthly_budget_minor": {"idr": 5_999_999}})
    assert chosen(reactor) == (None, "budget")
    reactor.campaign({**ALWAYS, "version": 4, "monthly_budget_minor": {"idr": 6_000_000}})
    of = {**andis(), "id": "sub_b", "customer": "cus_b"}
    reactor.told(
        event("customer.created", customer("cus_b"), at=reactor.at()),
        event("customer.subscription.created", of, at=reactor.at()),
        leaves(reactor.at(), id="sub_b", customer="cus_b"),
    )

    assert offer_row(reactor, "retention:sub_b:1")["offer"] == "discount"


def test_those_in_the_holdout_are_offered_nothing_and_always_the_same(reactor: Reactor) -> None:
    reactor.campaign({**ALWAYS, "version": 3, "holdout_percent": 100})
    assert chosen(reactor) == (None, "holdout")

    campaign = read_campaign({**ALWAYS, "holdout_percent": 10})
    held = [name for n in range(5_000) if in_holdout(campaign, name := f"cus_{n}")]
    assert 400 < len(held) < 600
    assert all(in_holdout(campaign, name) for name in held)


def test_a_cancellation_that_may_not_be_made_at_stripe_says_so(ledger: Ledger) -> None:
    reactor = Reactor(ledger)
    reactor.told(event("customer.subscription.created", andis(), at=reactor.at()))
    with pytest.raises(DecisionRefused, match="ledger effects on stripe"):
        reactor.decide(lambda desk: cancel(desk, "cus_andi", "sub_andi", source="api",
                                           reason=None, comment=None))  # fmt: skip
    with pytest.raises(RequestInvalid, match="too_expensive"):
        reactor.decide(lambda desk: cancel(desk, "cus_andi", "sub_andi", source="api",
                                           reason="nonsense", comment=None))  # fmt: skip


# --- turns ----------------------------------------------------------------------------------------


def test_a_cancellation_that_still_waits_does_not_undo_what_was_accepted(
    reactor: Reactor,
) -> None:
    reactor.stripe.failures = [EffectFailed("Stripe does not answer")]
    reactor.decide(lambda desk: cancel(desk, "cus_andi", "sub_andi", source="api",
                                       reason="too_expensive", comment=None))  # fmt: skip
    reactor.react()
    reactor.work()
    reactor.decide(lambda desk: accept_offer(desk, OFFER, "customer"))
    reactor.react()
    reactor.wait(hours=3)

    assert reactor.stripe.whats == ["schedule_cancellation", "discount"]
    assert reactor.effects(what="schedule_cancellation")[0][1] == "withdrawn"


def goodbye(reactor: Reactor, reason: str | None = "too_expensive") -> Any:
    found = reactor.decide(lambda desk: cancel(desk, "cus_andi", "sub_andi", source="api",
                                               reason=reason, comment=None))  # fmt: skip
    reactor.react()
    return found


def test_of_two_wishes_the_last_one_counts(reactor: Reactor) -> None:
    reactor.told(leaves(reactor.at()))
    reactor.decide(lambda desk: accept_offer(desk, OFFER, "customer"))
    reactor.react()
    offer, state = goodbye(reactor)  # before Stripe has heard of the first

    assert (offer.id, state) == ("retention:sub_andi:2", "requested")
    reactor.work()
    assert reactor.stripe.whats == ["schedule_cancellation"]
    assert reactor.effects(what="discount")[0][1] == "withdrawn"


def test_who_cancels_after_an_offer_was_made_at_stripe_is_canceled(reactor: Reactor) -> None:
    reactor.told(leaves(reactor.at()))
    reactor.decide(lambda desk: accept_offer(desk, OFFER, "customer"))
    reactor.react()
    reactor.work()
    goodbye(reactor)
    reactor.work()

    assert reactor.stripe.whats == ["discount", "schedule_cancellation"]


def test_two_actions_about_a_subscription_are_not_tried_at_once(reactor: Reactor) -> None:
    class Slow(Recorder):
        """While the first is under way the customer changes their mind, and another works."""

        def perform(self, task: Task) -> Receipt:
            receipt = super().perform(task)
            if len(self.tasks) == 1:
                reactor.decide(lambda desk: accept_offer(desk, OFFER, "customer"))
                reactor.react()
                Agenda(reactor.ledger, reactor.tools).work()
                assert self.whats == ["schedule_cancellation"]
            return receipt

    reactor.performers["stripe"] = reactor.stripe = Slow()
    goodbye(reactor)
    reactor.work()

    assert reactor.stripe.whats == ["schedule_cancellation", "discount"]


def test_a_reason_told_later_is_kept_the_first_one_stays(reactor: Reactor) -> None:
    goodbye(reactor, None)
    offer, _ = goodbye(reactor, "unused")
    assert (offer.reason, offer_row(reactor)["reason"]) == ("unused", "unused")

    assert goodbye(reactor, "too_expensive")[0].reason == "unused"


def test_without_the_means_to_change_stripe_nobody_is_told_it_was_done(reactor: Reactor) -> None:
    reactor.site = Site(reactor.site.installation, reactor.site.public_url, frozenset({"mail"}))
    with pytest.raises(DecisionRefused, match="not_configured"):
        goodbye(reactor)

    assert reactor.effects() == []


def test_a_promise_is_kept_when_the_campaign_is_off_by_then(reactor: Reactor) -> None:
    reactor.told(leaves(reactor.at()))
    reactor.wait(days=2)
    reactor.decide(lambda desk: switch_campaign(desk, "stay", "off", {}, "tests"))
    reactor.decide(lambda desk: accept_offer(desk, OFFER, "customer"))
    reactor.react()
    reactor.work()

    assert reactor.stripe.whats == ["discount"]


def test_a_cancellation_that_never_reached_stripe_has_saved_nobody(reactor: Reactor) -> None:
    reactor.stripe.failures = [EffectFailed("no", is_final=True)]
    reactor.decide(lambda desk: cancel(desk, "cus_andi", "sub_andi", source="api", reason=None,
                                       comment=None))  # fmt: skip
    reactor.react()
    reactor.wait(days=60)

    assert offer_row(reactor)["outcome"] == "unconfirmed"
    assert "action_given_up" in reactor.alerts.whats


def test_another_address_of_the_same_installation_loses_no_cancellation(reactor: Reactor) -> None:
    reactor.stripe.failures = [EffectFailed("Stripe does not answer")]
    reactor.decide(lambda desk: cancel(desk, "cus_andi", "sub_andi", source="api", reason=None,
                                       comment=None))  # fmt: skip
    reactor.react()
    reactor.work()
    reactor.site = Site("inst-test", "https://new.example.test")
    reactor.decide(lambda desk: sending_to_change(desk).claim(
        "inst-test", "https://new.example.test", actor="t", now=desk.now))  # fmt: skip
    reactor.wait(hours=1)

    assert reactor.stripe.whats == ["schedule_cancellation"] * 2


def test_a_subscription_that_was_to_end_from_its_beginning_on_asks_for_nothing(
    reactor: Reactor, mailbox: Mailbox
) -> None:
    fixed = andis(cancel_at=ENDS, metadata={"seats": "5"})
    reactor.told(event("customer.subscription.updated", fixed, at=reactor.at(),
                       previous={"metadata": {"seats": "4"}}))  # fmt: skip
    reactor.wait(days=3)

    assert (mailbox.mails, reactor.rows("SELECT * FROM retention_offers")) == ([], [])


def test_what_is_ended_for_want_of_payment_is_nobodys_wish(
    reactor: Reactor, mailbox: Mailbox
) -> None:
    told = leaves(reactor.at())
    told["data"]["object"]["cancellation_details"]["reason"] = "payment_failed"
    reactor.told(told)

    assert reactor.rows("SELECT * FROM retention_offers") == []


def test_a_cancellation_heard_of_weeks_later_is_not_acknowledged_now(
    reactor: Reactor, mailbox: Mailbox
) -> None:
    reactor.told(leaves(seconds(START - timedelta(days=9))))
    reactor.wait(days=3)

    assert mailbox.mails == []


def test_two_subscriptions_left_at_once_get_one_offer(reactor: Reactor, mailbox: Mailbox) -> None:
    reactor.told(event("customer.subscription.created", andis(id="sub_two"), at=reactor.at()))
    reactor.told(leaves(reactor.at()))
    reactor.clock.at += timedelta(hours=2)
    reactor.told(leaves(reactor.at(hours=2), id="sub_two"))
    reactor.wait(days=3)

    assert mailbox.subjects.count("Jangan Mi' Hilang – Warung Digital") == 1


def test_an_offer_taken_before_its_mail_counts_for_the_year(reactor: Reactor) -> None:
    reactor.told(leaves(reactor.at()))
    reactor.decide(lambda desk: accept_offer(desk, OFFER, "eka"))
    reactor.told(stays(reactor.at(minutes=5)))
    reactor.wait(days=60)
    reactor.told(leaves(seconds(reactor.now)))

    assert offer_row(reactor, "retention:sub_andi:2")["no_offer_because"] == "offered_lately"


def test_who_stayed_and_leaves_again_is_answered_again(reactor: Reactor, mailbox: Mailbox) -> None:
    reactor.told(leaves(reactor.at()))
    reactor.wait(hours=2)
    reactor.told(stays(seconds(reactor.now)))
    reactor.wait(days=3)
    reactor.told(leaves(seconds(reactor.now)))
    reactor.wait(hours=1)

    assert offer_row(reactor)["outcome"] == "lost"
    assert mailbox.subjects == ["Permintaan berhenti sudah kami terima – Warung Digital"] * 2


def test_nobody_is_offered_what_cannot_be_made(reactor: Reactor, mailbox: Mailbox) -> None:
    reactor.told(leaves(reactor.at()))
    reactor.decide(
        lambda desk: sending_to_change(desk).switch("stripe", on=False, actor="t", now=desk.now)
    )
    reactor.wait(days=3)

    assert "Jangan Mi' Hilang – Warung Digital" not in mailbox.subjects


def test_who_has_another_subscription_by_then_is_not_missed(
    reactor: Reactor, mailbox: Mailbox
) -> None:
    reactor.campaign({**ALWAYS, "version": 3, "win_back_after_days": 30})
    reactor.told(leaves(reactor.at()))
    reactor.wait(days=20)
    gone = andis(status="canceled", ended_at=ENDS)
    reactor.told(event("customer.subscription.deleted", gone, at=ENDS),
                 event("customer.subscription.created", andis(id="sub_new"), at=ENDS))  # fmt: skip
    reactor.wait(days=35)

    assert "Kami kangen – Warung Digital" not in mailbox.subjects


def test_shadow_spends_nothing_and_is_compared_with_nobody(
    reactor: Reactor,
) -> None:
    budget = {**ALWAYS, "version": 3, "monthly_budget_minor": {"idr": 6_000_000}}
    reactor.campaign(budget, state="shadow")
    reactor.told(leaves(reactor.at()))
    reactor.decide(lambda desk: switch_campaign(desk, "stay", "on", {}, "tests"))
    of = {**andis(), "id": "sub_b", "customer": "cus_b"}
    reactor.told(
        event("customer.created", customer("cus_b"), at=reactor.at()),
        event("customer.subscription.created", of, at=reactor.at()),
        leaves(reactor.at(), id="sub_b", customer="cus_b"),
    )
    assert offer_row(reactor, "retention:sub_b:1")["offer"] == "discount"
    with reactor.ledger.pool.connection() as connection:
        board = retention_board(connection, "offer", START - timedelta(days=1),
                                START + timedelta(days=1))  # fmt: skip
    assert {row["key"]: row["cancellations"] for row in board} == {"in shadow": 1, "discount": 1}


def test_a_name_is_of_one_kind(reactor: Reactor) -> None:
    for name in ("standard", "plans"):
        with pytest.raises(RequestInvalid, match="is the name of what is of the kind"):
            reactor.decide(lambda desk, n=name: add_campaign(desk, {**ALWAYS, "name": n}, "t"))
