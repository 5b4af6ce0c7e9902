"""From endive back to basil."""

from __future__ import annotations

from ledger.simulator.rendering.steps import Step

STEPS: tuple[tuple[str, Step], ...] = ()
