"""What is done again and again: the look over an installation, and the reminder that it is late."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from ledger.application import Ledger
from ledger.clock import FixedClock
from ledger.recovery.copies import Copy
from ledger.recovery.drill import note_verified
from ledger.regular_checks import late, note_audited, remind
from ledger.settings import Settings
from scripts import audit
from tests.facts import customer, event, record

ROOT = Path(__file__).parent.parent


@pytest.fixture
def home(settings: Settings, tmp_path: Path) -> Settings:
    return replace(settings, home=tmp_path)


@pytest.fixture
def begun(ledger: Ledger) -> FixedClock:
    """A ledger with one event, and the clock that it looks at."""
    record(ledger, event("customer.created", customer()))
    clock = FixedClock(ledger.clock.now())
    ledger.clock = clock
    return clock


def codes(settings: Settings, ledger: Ledger) -> set[str]:
    with ledger.pool.connection() as connection:
        return {one.code for one in late(settings, ledger, connection)}


def test_of_a_new_ledger_nothing_is_late(home: Settings, ledger: Ledger) -> None:
    assert codes(home, ledger) == set()


def test_after_ninety_days_it_is_said_until_it_is_done(
    home: Settings, ledger: Ledger, begun: FixedClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    assert codes(home, ledger) == set()
    begun.at += timedelta(days=3)
    assert codes(home, ledger) == {"backup_late"}
    assert codes(replace(home, backups="off"), ledger) == set()
    begun.at += timedelta(days=90)
    remind(home, ledger)
    assert codes(home, ledger) == {"backup_late", "drill_late", "audit_late"}
    assert "scripts/audit" in caplog.text
    note_audited(ledger, {"pins": 0}, [])
    here = Path(__file__)
    note_verified(ledger, Copy(here, here, begun.at, 1))
    assert codes(home, ledger) == {"backup_late"}


def test_what_is_pinned_is_installed_and_has_hashes() -> None:
    found = audit.pins()

    assert found.findings == []
    assert int(found.seen.split()[0]) > 100


def test_a_pin_without_a_hash_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in audit.LOCKS:
        (tmp_path / name).write_text("flask==0.1\nclick==1.0 \\\n    --hash=sha256:00\n")
    monkeypatch.setattr(audit, "ROOT", tmp_path)
    found = audit.pins().findings

    assert any("flask has no hash" in one for one in found)
    assert any(one.startswith("click ") and "1.0 is pinned" in one for one in found)


@pytest.mark.long
def test_bandit_finds_nothing_that_has_no_reason() -> None:
    assert audit.code().findings == []


@pytest.mark.long
def test_an_installation_is_looked_over_by_one_command(tmp_path: Path) -> None:
    environ = {"LEDGER_HOME": str(tmp_path / "home"), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "audit.py"), "--offline", "--json"],
        env=environ, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    sections = {one["name"]: one for one in json.loads(done.stdout)}

    assert done.returncode == 1  # a new installation has no copy, and a key that nobody saved
    assert not sections["known faults"]["was_looked_at"]
    assert sections["code"]["findings"] == []
    assert any("never" in one or "ledger backup" in one
               for one in sections["restore drill"]["findings"])  # fmt: skip
    (report,) = (tmp_path / "home" / "audits").iterdir()
    assert "not looked at" in report.read_text()
    told = subprocess.run(
        [sys.executable, "-m", "ledger", "events", "--type", "Account.Audited", "--json"],
        env=environ, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert json.loads(told.stdout)[0]["data"]["findings"]["code"] == 0
