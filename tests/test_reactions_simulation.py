"""Random failing subscriptions: nobody is written to after paying, every step once and in time."""

from __future__ import annotations

import sys

import pytest

from ledger.application import Ledger
from ledger.standing import Standing
from tests.reactions import Reactor
from tests.simulation_dunning import Findings, live, look


def faults(found: Findings) -> list[str]:
    return [*found.after_payment, *found.doubled, *found.early, *found.never]


def test_nobody_is_written_to_after_paying(ledger: Ledger) -> None:
    world = live(Reactor(ledger), 1, 15, days=25)
    found = look(world)

    assert faults(found) == []
    assert found.mails > 20


def test_with_dying_workers_two_at_once_nothing_is_lost_or_doubled(ledger: Ledger) -> None:
    world = live(Reactor(ledger), 3, 12, days=22, deaths=0.15, workers=2)
    found = look(world)

    assert faults(found) == []
    assert sum(world.deadly.killed.values()) > 0


def test_a_policy_that_does_not_listen_to_payments_is_found(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    listens = Standing.settled_as

    def deaf(standing: Standing, invoice_id: str) -> str | None:
        found = listens(standing, invoice_id)
        return None if found == "paid" else found

    monkeypatch.setattr(Standing, "settled_as", deaf)
    found = look(live(Reactor(ledger), 1, 12, days=22))

    assert len(found.after_payment) > 3


@pytest.mark.long
def test_five_thousand_failing_subscriptions(ledger: Ledger) -> None:
    world = live(Reactor(ledger), 4, 5_000, deaths=0.02, workers=2)
    found = look(world)
    warned = f"{found.mails} mails, {found.in_the_window} paid between the last look and sending"
    sys.stderr.write(warned + "\n")

    assert faults(found) == []
    assert found.mails > 8_000
