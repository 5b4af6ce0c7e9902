"""Reactions: what was decided about whom, what is due, and what has reached the outside."""

from __future__ import annotations

from typing import ClassVar

from ledger.aggregates.dunning_case import DunningCase
from ledger.aggregates.outbox import Outbox
from ledger.aggregates.retention_offer import RetentionOffer
from ledger.projections.folded import Folded, Kinds
from ledger.projections.reactions.cases import write_case
from ledger.projections.reactions.effects import write_effects
from ledger.projections.reactions.offers import write_offer


class Reactions(Folded):
    """What is due, what was sent, and how cases stand."""

    name = "reactions"
    version = 1
    package = __name__
    tables = ("agenda", "effects", "dunning_cases", "retention_offers")
    kinds: ClassVar[Kinds] = {
        "dunning": (DunningCase, write_case),
        "retention": (RetentionOffer, write_offer),
        "outbox": (Outbox, write_effects),
        "team": (Outbox, write_effects),
    }
