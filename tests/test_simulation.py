"""The ledger against a business that does anything, with every fault of delivery."""

from __future__ import annotations

from pathlib import Path

import hypothesis
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from ledger.application import Ledger
from ledger.bootstrap import Installation
from ledger.settings import Settings
from tests.conftest import new_ledger
from tests.simulation import Setting, run
from tests.simulation_with_kills import run_with_kills


@pytest.mark.parametrize("seed", range(2))
def test_a_few_businesses(settings: Settings, ledger: Ledger, seed: int) -> None:
    assert run(settings, ledger, Setting.of(seed)) == []


@pytest.mark.long
@pytest.mark.parametrize("seed", range(2, 183))
def test_a_hundred_and_eighty_businesses(settings: Settings, ledger: Ledger, seed: int) -> None:
    assert run(settings, ledger, Setting.of(seed)) == []


@pytest.mark.long
@hypothesis.settings(
    max_examples=20, deadline=None, derandomize=False, suppress_health_check=list(HealthCheck)
)
@given(seed=st.integers(10_000, 10**9), steps=st.integers(5, 40))
def test_any_business(
    settings: Settings, installation: Installation, seed: int, steps: int
) -> None:
    for ledger in new_ledger(installation):
        assert run(settings, ledger, Setting.of(seed, steps)) == []


@pytest.mark.long
@pytest.mark.parametrize("seed", range(2000, 2020))
def test_twenty_businesses_while_processes_are_killed(tmp_path: Path, seed: int) -> None:
    assert run_with_kills(tmp_path / "home", seed) == []
