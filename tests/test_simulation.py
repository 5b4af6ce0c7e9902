"""The ledger against a business that does anything, with every fault of delivery."""

from __future__ import annotations

import pytest

from ledger.application import Ledger
from ledger.settings import Settings
from tests.simulation import Setting, run


@pytest.mark.parametrize("seed", range(4))
def test_a_few_seeds(settings: Settings, ledger: Ledger, seed: int) -> None:
    assert run(settings, ledger, Setting.of(seed)) == []
