"""A campaign tried on the past: the same policy, nothing recorded, nobody written to."""

from __future__ import annotations

from datetime import timedelta

import pytest

from ledger.application import Ledger
from ledger.backtest import Tried, backtest
from ledger.policies.dunning.campaign import read_campaign, shipped
from ledger.policies.dunning.policy import Dunning
from tests.facts import record
from tests.reactions import START, Reactor, Recorder, andi, declined, failed, paid, seconds
from tests.simulation_dunning import stories
from tests.test_dunning import STANDARD, other_card

END = START + timedelta(days=30)


def tried(ledger: Ledger, campaign: object = None) -> Tried:
    with ledger.pool.connection() as connection:
        return backtest(
            connection,
            read_campaign(campaign) if campaign else shipped(),  # type: ignore[arg-type]
            START,
            END,
            now=START + timedelta(days=90),
        )


def told(result: Tried) -> list[tuple[str, int]]:
    return [(one.step, (one.at - START).days) for one in result.contacts if one.kind == "mail"]


def test_a_failure_nobody_paid_would_have_had_all_steps(ledger: Ledger) -> None:
    record(ledger, *andi(), *failed(seconds(START)))
    result = tried(ledger)

    assert told(result) == [("mail_1", 0), ("mail_2", 3), ("mail_3", 11)]
    assert (result.cases, result.recovered, result.failed_minor) == (1, 0, {"idr": 10_000_000})


def test_a_case_that_was_paid_would_have_ended_there(ledger: Ledger) -> None:
    at = seconds(START)
    record(ledger, *andi(), *failed(at), paid(at + 4 * 86_400))
    result = tried(ledger)

    assert told(result) == [("mail_1", 0), ("mail_2", 3)]
    assert (result.recovered, result.after_paying) == (1, 0)


def test_what_is_tried_records_nothing_and_another_campaign_does_otherwise(ledger: Ledger) -> None:
    record(ledger, *andi(), *failed(seconds(START)))
    reactor = Reactor(ledger)
    before = reactor.rows("SELECT max(position) AS last FROM events")
    other = {**STANDARD, "steps": [
        {"name": f"day_{day}", "channel": "mail", "template": "payment_failed_1",
         "after_days": day, "ignores_quiet_hours": True} for day in (1, 2, 9)
    ]}  # fmt: skip

    assert told(tried(ledger, other)) == [("day_1", 1), ("day_2", 2), ("day_9", 9)]
    assert reactor.rows("SELECT max(position) AS last FROM events") == before


def test_what_happened_live_is_what_the_back_test_says(ledger: Ledger) -> None:
    reactor = Reactor(ledger)
    reactor.performers["mail"] = Recorder()
    reactor.switch_on()
    reactor.told(*andi(), *failed(reactor.at()))
    reactor.wait(days=40)
    sent = reactor.rows("SELECT key, asked_at FROM effects WHERE kind = 'mail' ORDER BY asked_at")
    live = [(row["key"].rpartition(":")[2], row["asked_at"]) for row in sent]

    assert [(one.step, one.at) for one in tried(ledger).contacts if one.kind == "mail"] == live


def test_a_card_is_not_charged_beyond_the_networks_limit(ledger: Ledger) -> None:
    at = seconds(START)
    tries = [declined(at + n * 3_600, "insufficient_funds", n + 1) for n in range(40)]
    record(ledger, *andi(), *failed(at), *tries, other_card(at + 41 * 3_600))
    result = tried(ledger)

    assert result.budget_violations == []
    assert [one for one in result.contacts if one.what == "pay_invoice"] == []


def test_over_many_nobody_is_written_to_after_paying(ledger: Ledger) -> None:
    record(ledger, *(one.body for story in stories(7, 60) for one in story.deliveries))
    result = tried(ledger)

    assert result.cases > 40
    assert result.after_paying == 0


def test_a_policy_that_does_not_listen_is_found(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = seconds(START)
    record(ledger, *andi(), *failed(at), paid(at + 86_400))
    monkeypatch.setattr(Dunning, "_close_if_over", lambda *_: False)

    assert tried(ledger).after_paying == 2


def test_expected_recovery_is_told_only_where_there_is_something_to_learn_from(
    ledger: Ledger,
) -> None:
    record(ledger, *andi(), *failed(seconds(START)))
    result = tried(ledger)

    assert result.expected_share is None
    assert result.expected_because == "only 0 failures before 2026-03-02 to learn from"
