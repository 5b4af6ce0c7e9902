"""Read models: everything here can be dropped and made again from the log."""

from __future__ import annotations

from ledger.projections.access import Access
from ledger.projections.crm import Crm
from ledger.projections.journal import Journal
from ledger.projections.numbers import Numbers
from ledger.projections.projection import Projection
from ledger.projections.reactions import Reactions
from ledger.projections.runner import Runner
from ledger.projections.work import Work

PROJECTIONS: tuple[type[Projection], ...] = (Crm, Numbers, Journal, Reactions, Access, Work)

__all__ = [
    "PROJECTIONS",
    "Access",
    "Crm",
    "Journal",
    "Numbers",
    "Projection",
    "Reactions",
    "Runner",
    "Work",
]
