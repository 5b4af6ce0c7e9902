"""The command line of the reactions: switches, campaigns, previews, reports, back-tests."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ledger.application import Ledger
from ledger.bootstrap import Installation
from ledger.settings import Settings
from tests.conftest import new_ledger
from tests.reactions import Reactor, andi, failed, seconds
from tests.test_cli import Shell

OURS = """
name = "ours"
version = 1
kind = "dunning"
stripe_retry_window_days = 14
[[steps]]
name = "only"
channel = "mail"
template = "payment_failed_1"
after_days = 1
ignores_quiet_hours = true
"""
# A library that some channels of Apprise use is to leave the standard library.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")
ON = ("--stripe-mails-off", "--retry-window-days", "14", "--final-action", "cancel")


@pytest.fixture
def ledger(installation: Installation) -> Iterator[Ledger]:
    yield from new_ledger(
        installation, public_url="https://b.example.test", alert_urls="json://127.0.0.1:9/x"
    )


@pytest.fixture
def shell(settings: Settings, ledger: Ledger) -> Shell:
    return Shell(settings, ledger.name)


def test_what_may_go_out_is_told_and_switched(shell: Shell) -> None:
    _, before = shell.both("effects", "status")
    assert {one["goes_out"] for one in before["kinds"]} == {False}
    assert before["claimed_by"] is None
    assert shell("effects", "claim").code == 0
    assert shell("effects", "on", "alerts").code == 0
    people, after = shell.both("effects", "status")
    assert [one["kind"] for one in after["kinds"] if one["goes_out"]] == ["alerts"]
    assert "belongs to it" in people
    assert shell("effects", "caps", "--per-hour", "7").out.startswith("At most 7 an hour")
    assert shell("effects", "stop").code == 0
    assert "Everything is stopped" in shell("effects", "status").out
    assert shell("effects", "resume").code == 0
    assert shell("effects", "off", "alerts").code == 0
    assert shell("effects", "on", "pigeons").code == 2
    said = shell("effects", "on", "stripe")
    assert (said.code, "STRIPE_API_KEY for stripe" in said.err) == (0, True)
    doctor = shell("doctor", "--json")
    assert "not_configured" in {one["code"] for one in doctor.json["warnings"]}
    for caps in (("--per-person-days", "99999999999"), ("--per-hour", "99999999999999999999")):
        assert "at most" in shell("effects", "caps", *caps).err


def test_without_an_address_for_links_nothing_is_claimed(
    installation: Installation, settings: Settings
) -> None:
    for bare in new_ledger(installation):
        said = Shell(settings, bare.name)("effects", "claim")
        assert (said.code, "LEDGER_PUBLIC_URL" in said.err) == (1, True)


def test_campaigns_are_added_shown_and_switched(shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "ours.toml"
    file.write_text(OURS)
    assert "can be used" in shell("campaigns", "add", str(file), "--check").out
    assert shell("campaigns", "add", str(file)).out == "dunning ours version 1 was added.\n"
    _, listed = shell.both("campaigns", "list")
    assert {one["name"]: one["state"] for one in listed} == {
        "ours": "off", "standard": "shadow", "stay": "shadow", "lifecycle": "shadow",
    }  # fmt: skip
    refused = shell("campaigns", "on", "ours")
    assert (refused.code, "--stripe-mails-off" in refused.err) == (1, True)
    assert shell("campaigns", "on", "ours", *ON).out == "ours is on.\n"
    assert shell("campaigns", "shadow", "ours").code == 0
    assert shell("campaigns", "off", "ours").code == 0
    assert shell("campaigns", "show", "ours").json["steps"][0]["name"] == "only"
    assert shell("campaigns", "show", "nobody").code == 1
    file.write_text(OURS.replace("after_days = 1", "after_days = 2"))
    again = shell("campaigns", "add", str(file))
    assert (again.code, "count it up to 2" in again.err) == (1, True)
    file.write_text(OURS.replace("payment_failed_1", "payment_fialed_1"))
    unknown = shell("campaigns", "add", str(file))
    assert (unknown.code, "no template payment_fialed_1.en" in unknown.err) == (1, True)
    file.write_text("name = ")
    broken = shell("campaigns", "add", str(file))
    assert (broken.code, "is no TOML" in broken.err) == (1, True)


def test_the_brand_is_set_piece_by_piece(shell: Shell) -> None:
    assert shell("brand", "set", "name=Warung", "zone=Asia/Makassar").code == 0
    assert shell("brand", "set", "language=id").json["name"] == "Warung"
    assert shell("brand", "show").json["zone"] == "Asia/Makassar"
    for change in ("colour=red", "zone=Mars/Base", "sender"):
        said = shell("brand", "set", change)
        assert (said.code, bool(said.err)) == (1, True)


def test_messages_can_be_looked_at_before_anybody_gets_them(shell: Shell, tmp_path: Path) -> None:
    assert "payment_failed_1" in shell("effects", "preview").out
    page = tmp_path / "mail.html"
    said = shell(
        "effects", "preview", "payment_failed_1", "--language", "id", "--output", str(page)
    )
    assert "Pembayaran Langganan Gagal" in said.out
    assert page.read_text().startswith("<!DOCTYPE html>")
    assert shell("effects", "preview", "payment_failed_sms").out.startswith("Your business:")
    assert shell("effects", "preview", "nothing").code == 1
    unset = shell("effects", "preview", "payment_failed_1", "--to", "me@example.test")
    assert (unset.code, "LEDGER_SMTP_URL" in unset.err) == (1, True)


def test_who_got_what_is_reported(shell: Shell, ledger: Ledger) -> None:
    reactor = Reactor(ledger)
    reactor.told(*andi(), *failed(reactor.at()))
    reactor.wait(days=4)
    span = ("--from", "2026-03-01", "--to", "2026-03-31")
    people, rows = shell.both("effects", "report", *span)
    assert {(row["what"], row["state"], row["effects"]) for row in rows} == {
        ("payment_failed_1", "shadowed", 1), ("payment_failed_2", "shadowed", 1),
    }  # fmt: skip
    assert "shadowed" in people
    _, who = shell.both("effects", "report", *span, "--who")
    assert {row["customer_is"] for row in who} == {"active"}
    _, listed = shell.both("effects", "list", "--state", "shadowed")
    assert len(listed) == 2
    assert shell("effects", "retry", listed[0]["id"]).code == 1
    assert shell("effects", "drop", "outbox:x|y").code == 1
    assert shell("effects", "report", "--from", "spring", "--to", "2026-03-31").code == 1


def test_a_campaign_is_tried_on_the_past(shell: Shell, ledger: Ledger, tmp_path: Path) -> None:
    reactor = Reactor(ledger)
    reactor.told(*andi(), *failed(seconds(datetime(2026, 3, 2, 9, 0, tzinfo=UTC))))
    file = tmp_path / "ours.toml"
    file.write_text(OURS)
    call = ("backtest", str(file), "--from", "2026-03", "--to", "2026-03")
    people, told = shell(*call).out, shell(*call, "--json").json
    assert told["steps"] == [{"step": "only", "kind": "mail", "state": "requested", "times": 1}]
    assert (told["after_paying"], told["retry_budget_violations"]) == (0, [])
    assert "Written to after paying: 0" in people
    assert "payment_failed_1" in shell(*call, "--contacts").out


def test_doctor_tells_what_waits(shell: Shell, ledger: Ledger) -> None:
    reactor = Reactor(ledger)
    old = seconds(datetime(2026, 2, 20, 9, 0, tzinfo=UTC))
    reactor.told(*andi(), *failed(old))
    said = shell("doctor", "--json")

    assert "dunning_cases_waiting" in {one["code"] for one in said.json["warnings"]}
