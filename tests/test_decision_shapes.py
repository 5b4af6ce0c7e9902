"""What our decisions store never changes its shape unseen: an approved sample of every event.

`tests/approved/decisions/TOPIC.vN.json` is a stored body of version N, without what is personal.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ledger.aggregates import DECISIONS
from ledger.aggregates.campaigns import Campaigns
from ledger.aggregates.customer_work import AssignmentRule, CustomerWork, WorkRules
from ledger.aggregates.decision import Decision, DecisionEvent
from ledger.aggregates.dunning_case import CaseFailure, CaseTerms, DunningCase
from ledger.aggregates.effect import EffectRequest
from ledger.aggregates.keeping import Keeping
from ledger.aggregates.outbox import Outbox
from ledger.aggregates.people import Access, Program, User
from ledger.aggregates.retention_offer import (
    ChosenOffer,
    OfferBudget,
    RetentionOffer,
    RetentionTerms,
)
from ledger.aggregates.sending import Caps, Sending, SendingCap
from ledger.log.evolution import version_of
from ledger.log.recorder import EnvelopedEvent, LedgerMapper
from tests.test_evolution import shape

APPROVED = Path(__file__).parent / "approved" / "decisions"
NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
LATER = NOW + timedelta(days=3)
BASES = {"Event", "Asked", "Noted"}
EVENTS: dict[str, type[DecisionEvent]] = {
    member.TOPIC: member
    for aggregate in DECISIONS
    for member in vars(aggregate).values()
    if isinstance(member, type)
    and issubclass(member, DecisionEvent)
    and member.TOPIC.startswith(f"{aggregate.__name__}.")
    and member.__name__ not in BASES
}


def dunning() -> Decision:
    failure = CaseFailure(1, NOW, "do_not_honor", "try_again_later", "retry", 1, LATER)
    terms = CaseTerms(
        "cus_1", "in_1", "sub_1", "WD-1", "idr", 10_000_000, "standard", 1, "on", "Asia/Jakarta",
        "country", "id", NOW, is_waiting=True,
    )  # fmt: skip
    case = DunningCase.open(terms, failure, now=NOW, read_until=7)
    case.note(CaseFailure(2, LATER, "lost_card", "do_not_try_again", "concealed", 1, LATER),
              now=NOW, read_until=8)  # fmt: skip
    case.resume("looked at it", actor="eka", now=NOW)
    case.schedule("mail_1", NOW, "quiet_hours", now=NOW)
    case.schedule("mail_2", LATER, None, now=NOW)
    case.take("mail_1", "requested", "dunning:in_1:mail_1", now=NOW, read_until=8, actor="eka")
    case.skip("mail_2", "by_hand", now=NOW, read_until=8, actor="eka", reason="agreed")
    case.pause("call", actor="eka", now=NOW)
    case.revoke(now=NOW)
    case.mark_inactive(now=NOW)
    case.close("stopped", now=NOW, read_until=8, reason="agreed", actor="eka")
    return case


def retention() -> Decision:
    terms = RetentionTerms(
        "cus_1", "sub_1", "api", "unused", "stay", 1, "on", "idr", 10_000_000, 14, "Asia/Jakarta",
        "country", "id", LATER, in_holdout=False, assignee="eka",
    )  # fmt: skip
    offer = RetentionOffer.open(terms, 1, "Jarang dipakai", now=NOW, read_until=7)
    chosen = ChosenOffer("discount", "discount", {"percent_off": 20, "months": 3}, 6_000_000)
    offer.choose(chosen, "because", now=NOW, read_until=7)
    offer.show("mail", now=NOW)
    offer.confirm(LATER, "unused", now=NOW)
    offer.schedule("mail_1", NOW, "quiet_hours", now=NOW)
    offer.schedule("mail_2", NOW, None, now=NOW)
    offer.take("mail_1", "requested", "k", now=NOW, read_until=7, actor="eka")
    offer.skip("mail_2", "accepted", now=NOW, read_until=7, actor="eka")
    offer.withdraw(now=NOW, read_until=8)
    offer.decline("customer", now=NOW)
    offer.accept("customer", now=NOW)
    offer.end(now=NOW, read_until=9)
    offer.close("lost", now=NOW, read_until=9)
    offer.reason = None
    offer.explain("unused", None, now=NOW)
    return offer


def outbox() -> Decision:
    made = Outbox.begin("cus_1", now=NOW)
    for key, obstacle in (("a", None), ("b", "mail_off"), ("c", "shadow"), ("d", None)):
        request = EffectRequest(
            key, "mail", "payment_failed_1", "notice", {"invoice": "in_1"}, "id", "standard",
            {"invoice_settled": "in_1"}, LATER, "eka", {"body": "x"},
        )  # fmt: skip
        made.ask(request, obstacle, now=NOW, read_until=7)
    made.attempt("a", now=NOW, read_until=8)
    made.failed("a", "refused", final=False, attempt=1, now=NOW)
    made.retry("a", actor="eka", now=NOW)
    made.sent("a", "<m@x>", {"smtp": "accepted"}, now=NOW)
    made.withdraw("d", "paid", now=NOW, read_until=9)
    made.ask(EffectRequest("e", "sms", "x", "notice"), None, now=NOW, read_until=7)
    made.drop("e", "no", actor="eka", now=NOW)
    made.address_failed("mail", "a@b.c", "bounce", now=NOW)
    made.unsubscribe("mail", now=NOW)
    made.consent("mail", now=NOW)
    made.called("reached", "note", actor="eka", now=NOW)
    return made


def sending() -> Decision:
    made = Sending.begin(NOW)
    made.switch("mail", on=True, actor="eka", now=NOW)
    made.switch_campaign("standard", "on", {"stripe_mails_off": True}, actor="eka", now=NOW)
    made.claim("inst", "https://b.example.test", actor="eka", now=NOW)
    made.stop("x", actor="eka", now=NOW)
    made.resume(actor="eka", now=NOW)
    made.set_caps(Caps(1, 2, 3), actor="eka", now=NOW)
    made.set_brand({"name": "Warung"}, actor="eka", now=NOW)
    made.release(actor="eka", now=NOW)
    return made


def others() -> Iterator[Decision]:
    hour = SendingCap.begin(NOW)
    hour.grant("outbox:cus_1|a", now=NOW)
    yield hour
    budget = OfferBudget.begin("offer_budget:stay:2026-03:idr", NOW)
    budget.reserve("retention:sub_1:1", 6_000_000, now=NOW)
    yield budget
    campaigns = Campaigns.begin(NOW)
    campaigns.add({"name": "x", "version": 1, "kind": "dunning"}, actor="eka", now=NOW)
    yield campaigns


def people() -> Iterator[Decision]:
    user = User.add("usr_1", "auditor", NOW, actor="usr_2", now=NOW)
    user.note(User.RoleChanged, actor="usr_2", role="auditor", expires_at=NOW, now=NOW)
    user.note(User.Invited, actor="usr_2", until=NOW, now=NOW)
    for event in (User.PasswordSet, User.SecondFactorSet, User.SecondFactorReset, User.LoggedOut,
                  User.Disabled, User.Enabled):  # fmt: skip
        user.note(event, actor="usr_1", now=NOW)
    user.note(User.RecoveryCodeUsed, actor="usr_1", left=9, now=NOW)
    user.note(User.LoggedIn, actor="usr_1", how="password", second_factor=True, now=NOW)
    user.note(User.LogInFailed, because="password", now=NOW)
    user.note(User.Locked, until=NOW, now=NOW)
    yield user
    token = Program.add("tok_1", ["read"], NOW, replaces="tok_0", actor="usr_2", now=NOW)
    token.revoke(actor="usr_2", now=NOW)
    yield token
    yield Access.log("req_1", actor="usr_1", what="GET /v1/customers", subjects=["cus_1"], now=NOW)


def work() -> Iterator[Decision]:
    made = CustomerWork.begin("cus_1", NOW)
    made.tag("vip", actor="usr_1", reason="Kenal lama", now=NOW)
    made.untag("vip", actor="usr_1", reason=None, now=NOW)
    made.give_to("usr_1", actor="assignment", rule="java", now=NOW)
    note = made.write("Suka kopi", actor="usr_1", now=NOW)
    made.remove(note, actor="usr_1", reason=None, now=NOW)
    task = made.open_task("Telepon", NOW.date(), "usr_1", actor="usr_2", now=NOW)
    made.close_task(task, "done", actor="usr_1", reason=None, now=NOW)
    yield made
    rules = WorkRules.begin(NOW)
    rules.share_out([AssignmentRule("java", ["usr_1"], ["ID"], ["idr"])], actor="usr_1", now=NOW)
    rules.save_segment("vip", {"tag": "vip"}, actor="usr_1", now=NOW)
    rules.remove_segment("vip", actor="usr_1", now=NOW)
    yield rules
    keeping = Keeping.begin(NOW)
    keeping.set_schedule(7, actor="usr_1", now=NOW)
    yield keeping


def stored() -> dict[str, EnvelopedEvent]:
    """Return one stored event of each class of ours, the richest there is."""
    mapper, found = LedgerMapper(), dict[str, EnvelopedEvent]()
    for aggregate in (dunning(), retention(), outbox(), sending(), *others(), *people(), *work()):
        for event in aggregate.collect_events():
            one = mapper.to_stored_event(event)
            found.setdefault(one.topic, one)
    return found


def test_every_class_is_among_those_compared() -> None:
    assert set(stored()) == set(EVENTS)


@pytest.mark.parametrize("topic", sorted(EVENTS))
def test_what_is_personal_is_under_somebodys_key(topic: str) -> None:
    """Whose customer's it is not is the business's own: who it is, why it stopped sending."""
    kind = EVENTS[topic]
    if kind.PERSONAL and not topic.startswith("Sending."):
        assert "customer_id" in {field.name for field in fields(kind)}


@pytest.mark.parametrize("topic", sorted(EVENTS))
def test_what_a_decision_stores_has_the_approved_shape(topic: str) -> None:
    body = json.loads(stored()[topic].state)
    sample = APPROVED / f"{topic}.v{version_of(EVENTS[topic])}.json"

    assert sample.exists(), f"approve it as {sample.name}: {json.dumps(body, indent=1)}"
    assert shape(body) == shape(json.loads(sample.read_text())), (
        "what is stored has changed: count class_version up, write the upcaster, add a sample"
    )


@pytest.mark.parametrize("sample", sorted(APPROVED.glob("*.json")), ids=lambda path: path.stem)
def test_every_stored_version_is_read_again(sample: Path) -> None:
    topic = sample.stem.rpartition(".v")[0]
    one = EnvelopedEvent("s", 1, topic, sample.read_bytes(), NOW)

    event: Any = LedgerMapper().to_domain_event(one)

    assert type(event) is EVENTS[topic]


def test_what_is_personal_is_in_no_stored_body() -> None:
    for one in stored().values():
        assert b"Jarang" not in one.state
        assert b"a@b.c" not in one.state
