"""A real worker, a real mail server, and `kill -9`: everybody is written to, hardly ever twice."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.facts import customer, event, invoice, signed, subscription
from tests.reactions import Mailbox, mail_server
from tests.test_database import ledger_command
from tests.test_kills import Server, serving
from tests.test_kills import pytestmark as only_linux
from tests.waiting import eventually

pytestmark = [pytest.mark.long, only_linux]

CUSTOMERS = 40
KILLS = 3
FOUND_AGAIN_SECONDS = 200  # an attempt without an answer is made again after two minutes
HALTED_SECONDS = 1.0


@dataclass
class SlowMailbox(Mailbox):
    """Takes its time with each mail, as mail servers do."""

    pause_seconds: float = 0.1

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        await asyncio.sleep(self.pause_seconds)
        return await super().handle_DATA(server, session, envelope)


def fail(port: int, number: int) -> None:
    """Deliver how a renewal fails."""
    now = int(time.time())
    of, sub = f"cus_{number}", f"sub_{number}"
    bill = invoice(f"in_{number}", of=of, status="open", attempted=True, attempt_count=1, parent={
        "type": "subscription_details", "subscription_details": {"subscription": sub}})  # fmt: skip
    told = [
        event("customer.created", customer(of, email=f"c{number}@example.test"), at=now),
        event("customer.subscription.created", subscription(sub, of=of), at=now),
        event("invoice.payment_action_required", bill, at=now),
        event("invoice.payment_failed", bill, at=now),
    ]
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    for one in told:
        body = json.dumps({**one, "id": f"{one['id']}x{number}"}).encode()
        connection.request("POST", "/webhooks/stripe", body, signed(body))
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200
    connection.close()


def order(server: Server, *arguments: str) -> None:
    done = ledger_command(server.home, *arguments, LEDGER_PUBLIC_URL="https://b.example.test")
    out, err = done.communicate(timeout=60)
    assert done.returncode == 0, out + err


@pytest.fixture
def mailbox() -> Any:
    with mail_server(box=SlowMailbox()) as found:
        yield found


def set_up(server: Server) -> None:
    for arguments in (
        ["brand", "set", "sender=billing@warung.example.test"],
        ["effects", "claim"],
        ["effects", "on", "mail"],
        ["effects", "caps", "--per-hour", "10000"],
        ["campaigns", "on", "standard", "--stripe-mails-off", "--retry-window-days", "14",
         "--final-action", "cancel"],
    ):  # fmt: skip
        order(server, *arguments)


def test_a_worker_that_is_killed_again_and_again_writes_to_everybody(
    tmp_path: Path, mailbox: Mailbox
) -> None:
    chance = Random(1)
    with serving_with_mail(tmp_path / "home", mailbox) as server:
        set_up(server)
        for number in range(CUSTOMERS):
            fail(server.port, number)
        for kill in range(KILLS):
            seen = 5 * (kill + 1)
            assert eventually(lambda wanted=seen: len(mailbox.mails) >= wanted, 60)  # type: ignore[misc]
            server.kill_projector(chance)
        everybody = {f"c{number}@example.test" for number in range(CUSTOMERS)}
        assert eventually(lambda: set(mailbox.recipients) == everybody, FOUND_AGAIN_SECONDS)
        counts = Counter(mailbox.recipients)
        assert sum(counts.values()) <= CUSTOMERS + KILLS
        ids = Counter(str(mail["Message-ID"]) for mail in mailbox.mails)
        assert len(ids) == CUSTOMERS  # what came twice can be told by its id


def test_stop_halts_a_worker_within_a_second(tmp_path: Path, mailbox: Mailbox) -> None:
    with serving_with_mail(tmp_path / "home", mailbox) as server:
        set_up(server)
        for number in range(CUSTOMERS):
            fail(server.port, number)
        assert eventually(lambda: len(mailbox.mails) >= 5, 60)
        order(server, "effects", "stop")
        stopped = time.monotonic()
        eventually(lambda: time.monotonic() - stopped > HALTED_SECONDS, 2 * HALTED_SECONDS)
        then = len(mailbox.mails)
        eventually(lambda: time.monotonic() - stopped > 4 * HALTED_SECONDS, 8 * HALTED_SECONDS)

        assert len(mailbox.mails) == then < CUSTOMERS


def serving_with_mail(home: Path, mailbox: Mailbox) -> Any:
    return serving(
        home,
        LEDGER_SMTP_URL=f"smtp://127.0.0.1:{mailbox.port}",
        LEDGER_PUBLIC_URL="https://b.example.test",
    )
