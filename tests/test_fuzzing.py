"""A little of what `scripts/fuzz` does for long: no rubbish breaks anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as how
from werkzeug.test import Client

from api import rates
from ledger.application import Ledger
from ledger.settings import Settings
from tests.fuzzing import TARGETS, Place, Target

QUIET = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large]


@pytest.fixture(autouse=True)
def unlimited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "count_entrance", lambda address: None)


@pytest.mark.parametrize("target", TARGETS, ids=lambda one: one.name)
def test_rubbish_is_refused_clearly(
    settings: Settings, ledger: Ledger, client: Client, tmp_path: Path, target: Target
) -> None:
    place = Place(settings, ledger, client, tmp_path)

    @how(max_examples=25, deadline=None, suppress_health_check=QUIET, database=None)
    @given(brought=target.given)
    def feed(brought: Any) -> None:
        target.feed(place, brought)

    feed()
