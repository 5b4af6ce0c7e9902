"""Read models: everything here can be dropped and made again from the log."""

from __future__ import annotations

from ledger.projections.crm import Crm
from ledger.projections.numbers import Numbers
from ledger.projections.projection import Projection
from ledger.projections.runner import Runner

PROJECTIONS: tuple[type[Projection], ...] = (Crm, Numbers)

__all__ = ["PROJECTIONS", "Crm", "Numbers", "Projection", "Runner"]
