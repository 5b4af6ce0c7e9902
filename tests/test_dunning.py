"""Dunning: given facts about an unpaid invoice, then these steps, mails and closings."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from ledger.aggregates.decision import DecisionRefused
from ledger.application import Ledger
from ledger.orders import case_of, resume_case, send_step_now, switch_campaign
from ledger.policies import POLICIES
from ledger.policies.dunning.campaign import shipped
from ledger.policies.runner import PolicyRunner
from ledger.projections import Reactions
from ledger.projections.rebuild import Rebuild
from ledger.settings import Settings
from tests.facts import event, invoice, project, record, subscription
from tests.reactions import (
    ANSWERS,
    SITE,
    START,
    Mailbox,
    Reactor,
    andi,
    declined,
    failed,
    mail_server,
    paid,
    seconds,
)

STANDARD = {
    "name": "standard", "version": 2, "kind": "dunning", "stripe_retry_window_days": 14,
    "steps": [{"name": "mail_1", "channel": "mail", "template": "payment_failed_1",
               "after_days": 0, "ignores_quiet_hours": True}],
}  # fmt: skip


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with mail_server() as found:
        yield found


@pytest.fixture
def reactor(ledger: Ledger, mailbox: Mailbox) -> Reactor:
    made = Reactor(ledger, mailbox)
    made.told(*andi())
    return made


# --- what opens a case, and what does not ---------------------------------------------------------


def test_a_failed_renewal_is_answered_at_once_with_reason_and_cure(
    reactor: Reactor, mailbox: Mailbox
) -> None:
    reactor.switch_on()
    reactor.told(*failed(reactor.at()))
    reactor.work()

    (mail,) = mailbox.mails
    body = mail.get_body(("plain",))
    assert body is not None
    text = body.get_content()
    assert mail["Subject"] == "Pembayaran Langganan Gagal – Warung Digital"
    assert mailbox.recipients == ["andi@example.test"]
    assert "Hai Andi," in text
    assert "Rp100.000" in text
    assert "WD-0042" in text
    assert "top-up" in text
    assert "https://billing.example.test/l/" in text
    case = reactor.case()
    assert (case["status"], case["failures"], case["decline_class"]) == (
        "notified", 1, "insufficient_funds",
    )  # fmt: skip


def test_a_failure_that_is_heard_of_after_its_payment_opens_nothing(reactor: Reactor) -> None:
    reactor.switch_on()
    reactor.told(paid(reactor.at(hours=2)))
    reactor.told(*failed(reactor.at()))
    reactor.wait(days=20)

    assert reactor.rows("SELECT * FROM dunning_cases") == []


def test_a_failure_and_its_payment_in_one_delivery_open_nothing(reactor: Reactor) -> None:
    reactor.switch_on()
    reactor.told(*failed(reactor.at()), paid(reactor.at(minutes=1)))

    assert reactor.rows("SELECT * FROM dunning_cases") == []


def test_the_failure_of_a_checkout_is_none_of_a_customer(reactor: Reactor) -> None:
    reactor.switch_on()
    reactor.told(*failed(reactor.at(), billing_reason="subscription_create"))
    reactor.wait(days=1)

    assert reactor.rows("SELECT * FROM dunning_cases") == []


def test_a_fact_that_comes_days_late_waits_for_a_person(reactor: Reactor, mailbox: Mailbox) -> None:
    reactor.switch_on()
    reactor.told(*failed(seconds(START - timedelta(days=3))))
    reactor.wait(days=30)
    assert (reactor.case()["status"], mailbox.mails) == ("waiting", [])

    reactor.decide(lambda desk: resume_case(desk, "in_andi", "looked at it", "eka"))
    reactor.react()
    reactor.wait(days=4)

    assert mailbox.subjects == [
        "Pembayaran Langganan Gagal – Warung Digital",
        "Pengingat: pembayaranmu belum masuk – Warung Digital",
    ]


def test_a_new_policy_answers_what_comes_from_then_on(ledger: Ledger, mailbox: Mailbox) -> None:
    record(ledger, *andi(), *failed(seconds(START)))
    reactor = Reactor(ledger, mailbox)
    reactor.react()

    assert reactor.rows("SELECT * FROM dunning_cases") == []


# --- the steps ------------------------------------------------------------------------------------


def test_the_shipped_campaign_from_the_first_failure_to_inactive(
    reactor: Reactor, mailbox: Mailbox
) -> None:
    reactor.switch_on()
    seen = []
    reactor.told(*failed(reactor.at()))
    for day in range(32):
        reactor.clock.at = START + timedelta(days=day)
        reactor.react()
        reactor.wait(minutes=1)
        case = reactor.case()
        seen.append((len(mailbox.mails), case["is_revoked"], case["status"]))

    assert [count for count, _, _ in seen].index(1) == 0
    assert [count for count, _, _ in seen].index(2) == 3
    assert [count for count, _, _ in seen].index(3) == 11
    assert [revoked for _, revoked, _ in seen].index(True) == 21
    assert [status for _, _, status in seen].index("inactive") == 30
    assert len(mailbox.mails) == 3


def test_nothing_is_sent_after_the_invoice_is_paid(reactor: Reactor, mailbox: Mailbox) -> None:
    reactor.switch_on()
    reactor.told(*failed(reactor.at()))
    reactor.wait(days=1)
    reactor.told(paid(seconds(reactor.now)))
    reactor.wait(days=40)

    case = reactor.case()
    assert (len(mailbox.mails), case["status"], case["outcome"]) == (1, "paid", "paid")
    assert reactor.rows("SELECT * FROM agenda") == []


@pytest.mark.parametrize(
    ("type_", "obj", "outcome"),
    [
        ("invoice.voided", invoice(status="void"), "void"),
        ("invoice.marked_uncollectible", invoice(status="uncollectible"), "uncollectible"),
        ("customer.subscription.deleted", subscription(status="canceled"), "canceled"),
        ("customer.deleted", {"id": "cus_andi", "object": "customer", "deleted": True},
         "customer_gone"),
    ],
)  # fmt: skip
def test_a_case_ends_with_what_it_is_about(
    reactor: Reactor, mailbox: Mailbox, type_: str, obj: dict[str, object], outcome: str
) -> None:
    reactor.switch_on()
    reactor.told(*failed(reactor.at()))
    reactor.wait(hours=1)
    reactor.told(event(type_, obj, at=reactor.at(hours=1)))
    reactor.wait(days=20)

    assert (reactor.case()["outcome"], len(mailbox.mails)) == (outcome, 1)


def test_an_erased_customer_is_not_written_to(reactor: Reactor, mailbox: Mailbox) -> None:
    reactor.switch_on()
    reactor.told(*failed(reactor.at()))
    reactor.ledger.erase_customer("cus_andi", reason="customer_request")
    reactor.react()
    reactor.wait(days=20)

    assert (reactor.case()["outcome"], mailbox.mails) == ("customer_gone", [])


def test_without_its_reason_the_first_mail_waits_five_minutes(
    reactor: Reactor, mailbox: Mailbox
) -> None:
    reactor.switch_on()
    reactor.told(*failed(reactor.at(), decline=None))
    reactor.wait(minutes=4)
    assert mailbox.mails == []
    reactor.wait(minutes=2)

    assert len(mailbox.mails) == 1


def test_as_soon_as_the_reason_is_known_the_first_mail_goes_out(
    reactor: Reactor, mailbox: Mailbox
) -> None:
    reactor.switch_on()
    reactor.told(*failed(reactor.at(), decline=None))
    reactor.wait(minutes=1)
    reactor.told(declined(reactor.at(), "expired_card"))
    reactor.work()

    (mail,) = mailbox.mails
    assert "kedaluwarsa" in str(mail.get_body(("plain",)))


@pytest.mark.parametrize(
    ("decline", "subject", "told"),
    [
        ("authentication_required", "Mohon Konfirmasi Pembayaran – Warung Digital", "/pay/"),
        ("lost_card", "Pembayaran Langganan Gagal – Warung Digital", "Bank menolak pembayaran."),
        ("stolen_card", "Pembayaran Langganan Gagal – Warung Digital", "Bank menolak pembayaran."),
    ],
)
def test_what_a_mail_says_depends_on_what_helps(
    reactor: Reactor, mailbox: Mailbox, decline: str, subject: str, told: str
) -> None:
    reactor.switch_on()
    reactor.told(*failed(reactor.at(), decline=decline))
    reactor.work()

    (mail,) = mailbox.mails
    text = mail.get_body(("plain",)).get_content()  # type: ignore[union-attr]
    assert (mail["Subject"], told in text) == (subject, True)
    assert "hilang" not in text  # nothing of a lost or stolen card


def test_a_mail_that_would_come_at_night_comes_in_the_morning(
    reactor: Reactor, mailbox: Mailbox
) -> None:
    reactor.switch_on()
    reactor.clock.at = START + timedelta(hours=8)  # midnight in Jakarta
    reactor.told(*failed(reactor.at(hours=8)))
    reactor.wait(days=4)

    sent = reactor.rows("SELECT sent_at FROM effects ORDER BY sent_at")
    case = reactor.case()
    assert case["zone"] == "Asia/Jakarta"
    assert [row["sent_at"] for row in sent] == [
        START + timedelta(hours=8),  # the first one at once, whatever the hour
        START + timedelta(days=3, hours=16),  # 08:00 in Jakarta
    ]


def test_more_than_three_failures_alert_support(reactor: Reactor) -> None:
    reactor.switch_on()
    for attempt in range(1, 5):
        at = seconds(reactor.now)
        reactor.told(*failed(at, attempt))
        reactor.wait(days=3)
        assert len(reactor.alerts.tasks) == (attempt == 4)

    (task,) = reactor.alerts.tasks
    assert (task.request.what, task.request.params["failures"]) == ("payment_keeps_failing", 4)


def test_what_was_missed_while_stopped_is_caught_up_but_not_twice_at_once(
    reactor: Reactor, mailbox: Mailbox
) -> None:
    reactor.switch_on()
    reactor.told(*failed(reactor.at()))
    reactor.clock.at = START + timedelta(days=3, hours=1)  # nobody was working
    reactor.wait(hours=1)

    steps = reactor.rows(
        "SELECT data ->> 'step' AS step, topic, data ->> 'because' AS because FROM events"
        " WHERE topic LIKE 'DunningCase.Step%%' AND topic <> 'DunningCase.StepScheduled'"
        " ORDER BY position"
    )
    assert [(row["step"], row["topic"], row["because"]) for row in steps] == [
        ("mail_1", "DunningCase.StepSkipped", "missed"),
        ("mail_2", "DunningCase.StepTaken", None),
    ]
    assert len(mailbox.mails) == 1


def test_two_steps_that_are_late_together_become_one_mail(
    reactor: Reactor, mailbox: Mailbox
) -> None:
    two = {**STANDARD, "steps": [
        *STANDARD["steps"],  # type: ignore[misc]
        {"name": "mail_2", "channel": "mail", "template": "payment_failed_2", "after_days": 1},
    ]}  # fmt: skip
    reactor.switch_on(campaign=None)
    reactor.campaign(two)
    reactor.told(*failed(reactor.at()))
    reactor.clock.at = START + timedelta(days=1, hours=1)
    reactor.wait(minutes=5)

    assert mailbox.subjects == ["Pengingat: pembayaranmu belum masuk – Warung Digital"]


def test_a_step_follows_stripes_next_attempt_when_that_is_moved(
    reactor: Reactor, mailbox: Mailbox
) -> None:
    before = {"name": "before", "channel": "mail", "template": "payment_failed_2",
              "before_next_attempt_hours": 6, "ignores_quiet_hours": True}  # fmt: skip
    reactor.switch_on(campaign=None)
    reactor.campaign({**STANDARD, "steps": [before]})
    reactor.told(*failed(reactor.at()))
    assert reactor.case()["next_step_at"] == START + timedelta(days=3, hours=-6)
    moved = invoice(status="open", number="WD-0042", attempted=True, attempt_count=1,
                    next_payment_attempt=reactor.at(days=5))  # fmt: skip
    reactor.told(event("invoice.updated", moved, at=reactor.at(hours=1),
                       previous={"next_payment_attempt": reactor.at(days=3)}))  # fmt: skip

    assert reactor.case()["next_step_at"] == START + timedelta(days=5, hours=-6)


def test_a_running_case_keeps_its_version_of_a_campaign(reactor: Reactor, mailbox: Mailbox) -> None:
    reactor.switch_on()
    reactor.told(*failed(reactor.at()))
    reactor.wait(minutes=1)
    reactor.campaign(STANDARD)
    reactor.wait(days=15)

    assert (reactor.case()["campaign_version"], len(mailbox.mails)) == (1, 3)


@pytest.mark.parametrize(
    ("applies", "is_for_andi"),
    [
        ({"countries": ["ID"]}, True),
        ({"countries": ["DE"]}, False),
        ({"plans": ["price_monthly"]}, True),
        ({"plans": ["price_other"]}, False),
        ({"currency": "idr", "amount_min_minor": 10_000_000}, True),
        ({"currency": "idr", "amount_min_minor": 10_000_001}, False),
        ({"currency": "usd", "amount_max_minor": 10**12}, False),
        ({"decline_class": ["insufficient_funds"]}, True),
        ({"decline_class": ["expired"]}, False),
        ({"collection_method": ["send_invoice"]}, False),
    ],
)
def test_a_campaign_is_for_those_it_names(
    reactor: Reactor, applies: dict[str, object], is_for_andi: bool
) -> None:
    reactor.switch_on(campaign=None)
    reactor.campaign({**STANDARD, "name": "special", "version": 1, "applies_to": applies})
    reactor.told(*failed(reactor.at()))

    assert reactor.case()["campaign"] == ("special" if is_for_andi else "standard")


def test_a_step_is_left_out_if_it_is_not_for_this_failure(
    reactor: Reactor, mailbox: Mailbox
) -> None:
    step = {**STANDARD["steps"][0], "when": {"decline_class": ["expired"]}}  # type: ignore[index]
    reactor.switch_on(campaign=None)
    reactor.campaign({**STANDARD, "steps": [step]})
    reactor.told(*failed(reactor.at()))
    reactor.wait(hours=1)

    assert mailbox.mails == []
    assert "StepSkipped" in reactor.topics("dunning:in_andi")


def test_an_invoice_that_was_sent_and_is_overdue_is_a_case_of_its_own_kind(
    reactor: Reactor, mailbox: Mailbox
) -> None:
    reactor.switch_on(campaign=None)
    reactor.campaign({**STANDARD, "name": "sent", "version": 1,
                      "applies_to": {"collection_method": ["send_invoice"]}})  # fmt: skip
    bill = invoice(status="open", number="WD-7", collection_method="send_invoice")
    reactor.told(event("invoice.overdue", bill, at=reactor.at()))
    reactor.work()

    (mail,) = mailbox.mails
    text = mail.get_body(("plain",)).get_content()  # type: ignore[union-attr]
    assert reactor.case()["decline_class"] == "overdue"
    assert "Bayar tagihan" in text


@pytest.mark.parametrize(
    ("action", "what"),
    [("cancel", "cancel_subscription"), ("mark_uncollectible", "mark_uncollectible"),
     ("pause", "pause_collection")],
)  # fmt: skip
def test_the_final_action_is_done_through_stripe(reactor: Reactor, action: str, what: str) -> None:
    reactor.switch_on(campaign=None)
    reactor.campaign({**STANDARD, "final_action": action, "final_action_after_days": 28})
    reactor.told(*failed(reactor.at()))
    reactor.wait(days=27)
    assert reactor.stripe.tasks == []
    reactor.wait(days=2)

    assert reactor.stripe.whats == [what]


# --- steering -------------------------------------------------------------------------------------


def other_card(at: int) -> dict[str, object]:
    from tests.facts import customer

    now = customer(invoice_settings={"default_payment_method": "pm_new"})
    before = {"invoice_settings": {"default_payment_method": "pm_old"}}
    return event("customer.updated", now, at=at, previous=before)


def test_a_new_card_is_charged_at_once_and_replaces_the_one_that_failed(
    ledger: Ledger, mailbox: Mailbox
) -> None:
    reactor = Reactor(ledger, mailbox)
    (was, _) = andi()
    own = subscription(default_payment_method="pm_old")
    reactor.told(was, event("customer.subscription.created", own, at=reactor.at(days=-31)))
    reactor.switch_on()
    reactor.told(*failed(reactor.at()))
    reactor.wait(hours=1)
    reactor.told(other_card(reactor.at(hours=1)))
    reactor.work()

    assert sorted(reactor.stripe.whats) == ["pay_invoice", "set_payment_method"]
    assert {task.request.params["payment_method"] for task in reactor.stripe.tasks} == {"pm_new"}


def test_the_networks_limit_on_retries_is_never_exceeded(reactor: Reactor) -> None:
    reactor.switch_on()
    tries = [declined(reactor.at(hours=n), "insufficient_funds", n + 1) for n in range(15)]
    reactor.told(*failed(reactor.at()), *tries)
    reactor.clock.at = START + timedelta(hours=16)
    reactor.told(other_card(reactor.at(hours=16)))
    reactor.work()
    assert "pay_invoice" not in reactor.stripe.whats

    reactor.clock.at = START + timedelta(days=31)  # the tries are out of the window
    reactor.told(event("customer.updated", {"id": "cus_andi", "object": "customer"},
                       at=reactor.at(days=31), previous={"name": "x"}))  # fmt: skip
    reactor.work()

    assert "pay_invoice" in reactor.stripe.whats


def test_what_contradicts_the_answers_about_stripe_is_told_once(reactor: Reactor) -> None:
    reactor.switch_on()  # Stripe is said to retry for 14 days and to leave it past due
    late = invoice(status="open", number="WD-0042", attempted=True, attempt_count=2,
                   next_payment_attempt=reactor.at(days=20))  # fmt: skip
    reactor.told(*failed(reactor.at()))
    for hour in (1, 2):
        reactor.told(event("invoice.updated", late, at=reactor.at(hours=hour)))
    gone = subscription(status="canceled", cancellation_details={"reason": "payment_failed"})
    last = invoice(status="open", attempted=True, attempt_count=4)
    reactor.told(event("invoice.updated", last, at=reactor.at(hours=3)),
                 event("customer.subscription.deleted", gone, at=reactor.at(hours=3)))  # fmt: skip
    reactor.work()

    told = [task.request.params for task in reactor.alerts.tasks]
    found = {(one["setting"], one["said"], one["seen"]) for one in told if "setting" in one}
    assert found == {("retry_window_days", 14, 20), ("final_action", "past_due", "cancel")}
    assert sum("setting" in one for one in told) == len(found)


def test_a_card_is_not_charged_while_a_case_rests_nor_for_an_invoice_that_was_sent(
    reactor: Reactor,
) -> None:
    reactor.switch_on(campaign=None)
    reactor.campaign({**STANDARD, "name": "sent", "version": 1,
                      "applies_to": {"collection_method": ["send_invoice"]}})  # fmt: skip
    reactor.decide(lambda desk: switch_campaign(desk, "standard", "on", ANSWERS, "tests"))
    bill = invoice("in_sent", status="open", collection_method="send_invoice")
    reactor.told(event("invoice.overdue", bill, at=reactor.at()), *failed(reactor.at()))
    reactor.decide(lambda desk: case_of(desk, "in_andi").pause("x", actor="e", now=desk.now))
    reactor.clock.at += timedelta(hours=1)
    reactor.told(other_card(reactor.at(hours=1)))
    reactor.work()

    assert "pay_invoice" not in reactor.stripe.whats


# --- what people do -------------------------------------------------------------------------------


def test_a_case_that_is_paused_does_nothing_until_it_is_resumed(
    reactor: Reactor, mailbox: Mailbox
) -> None:
    reactor.switch_on()
    reactor.told(*failed(reactor.at()))
    reactor.wait(hours=1)
    reactor.decide(lambda desk: case_of(desk, "in_andi").pause("call", actor="eka", now=desk.now))
    reactor.react()
    reactor.wait(days=4)
    assert (reactor.case()["status"], len(mailbox.mails)) == ("paused", 1)

    reactor.decide(lambda desk: resume_case(desk, "in_andi", "called", "eka"))
    reactor.react()
    reactor.wait(days=2)
    assert len(mailbox.mails) == 1  # the time of the pause does not count
    reactor.wait(days=1)
    assert len(mailbox.mails) == 2


def test_who_is_let_go_on_late_is_not_cut_off_in_the_same_breath(
    reactor: Reactor, mailbox: Mailbox
) -> None:
    reactor.switch_on(campaign=None)
    reactor.campaign({**STANDARD, "revoke_after_days": 21, "inactive_after_days": 30,
                      "final_action": "cancel", "final_action_after_days": 35})  # fmt: skip
    reactor.told(*failed(seconds(START - timedelta(days=40))))
    reactor.decide(lambda desk: resume_case(desk, "in_andi", "looked at it", "eka"))
    reactor.react()
    reactor.wait(days=20)
    case = reactor.case()
    assert (len(mailbox.mails), case["is_revoked"], reactor.stripe.tasks) == (1, False, [])
    reactor.wait(days=16)

    assert reactor.case()["is_revoked"]
    assert reactor.stripe.whats == ["cancel_subscription"]


def test_nothing_is_taken_from_somebody_who_was_never_told(reactor: Reactor) -> None:
    reactor.switch_on("stripe", campaign=None)  # mail is off
    reactor.campaign({**STANDARD, "revoke_after_days": 21, "final_action": "cancel",
                      "final_action_after_days": 28})  # fmt: skip
    reactor.told(*failed(reactor.at()))
    reactor.wait(days=40)

    assert (reactor.case()["is_revoked"], reactor.stripe.tasks) == (False, [])


def test_a_campaign_that_is_switched_off_takes_and_says_nothing_more(
    reactor: Reactor, mailbox: Mailbox
) -> None:
    reactor.switch_on()
    mailbox.refusals = ["451 later"]
    reactor.told(*failed(reactor.at()))
    reactor.work()
    reactor.decide(lambda desk: switch_campaign(desk, "standard", "off", {}, "tests"))
    for attempt in range(2, 6):
        reactor.told(*failed(reactor.at(hours=attempt), attempt))
    reactor.wait(days=40)

    case = reactor.case()
    assert (mailbox.mails, case["is_revoked"], case["is_inactive"]) == ([], False, False)
    assert reactor.alerts.tasks == []


def test_a_step_can_be_left_out_sent_now_and_a_case_stopped(
    reactor: Reactor, mailbox: Mailbox
) -> None:
    reactor.switch_on()
    reactor.told(*failed(reactor.at()))
    reactor.wait(hours=1)
    reactor.decide(lambda desk: send_step_now(desk, "in_andi", "mail_2", "eka"))
    reactor.react()
    reactor.work()
    assert len(mailbox.mails) == 2
    with pytest.raises(DecisionRefused, match="taken already"):
        reactor.decide(lambda desk: send_step_now(desk, "in_andi", "mail_2", "eka"))

    def leave_out(desk: object) -> None:
        case_of(desk, "in_andi").skip(  # type: ignore[arg-type]
            "mail_3", "agreed", now=reactor.now, read_until=0, actor="eka"
        )

    reactor.decide(leave_out)
    reactor.react()
    reactor.wait(days=12)
    assert len(mailbox.mails) == 2

    def stop(desk: object) -> None:
        case_of(desk, "in_andi").close(  # type: ignore[arg-type]
            "stopped", now=reactor.now, read_until=0, reason="agreed", actor="eka"
        )

    reactor.decide(stop)
    reactor.react()
    reactor.wait(days=30)
    assert (reactor.case()["outcome"], reactor.case()["is_inactive"]) == ("stopped", False)


# --- rebuilt, twice, and by two -------------------------------------------------------------------


def test_policies_that_read_again_decide_nothing_again(reactor: Reactor) -> None:
    reactor.switch_on()
    reactor.told(*failed(reactor.at()))
    reactor.wait(days=4)
    before = reactor.rows("SELECT max(position) AS last FROM events")
    with reactor.ledger.pool.connection() as connection:
        connection.execute("UPDATE policy_bookmarks SET position = 0")
    PolicyRunner(reactor.ledger, POLICIES, SITE).catch_up(batch_events=1)
    project(reactor.ledger)
    reactor.work()

    assert reactor.rows("SELECT max(position) AS last FROM events") == before


def test_the_shipped_campaign_is_the_articles() -> None:
    campaign = shipped()

    assert [step.template for step in campaign.steps] == [
        "payment_failed_1", "payment_failed_2", "payment_failed_3",
    ]  # fmt: skip
    assert (campaign.inactive_after_days, campaign.alert_after_failures) == (30, 3)
    assert campaign.final_action == "none"


def test_rebuilt_cases_effects_and_agenda_are_the_live_ones(
    reactor: Reactor, settings: Settings, mailbox: Mailbox
) -> None:
    reactor.switch_on()
    reactor.told(*failed(reactor.at()))
    reactor.wait(days=4)
    last = reactor.rows("SELECT max(position) AS last FROM events")

    done = Rebuild(settings, reactor.ledger, Reactions, workers=0).run(swap=False)
    assert done.differences == []
    assert len(mailbox.mails) == 2  # and nobody was written to again
    assert reactor.rows("SELECT max(position) AS last FROM events") == last  # nothing was decided
