"""Dunning: a failed payment is followed by steps until the invoice is settled."""

from __future__ import annotations

from ledger.policies.dunning.policy import Dunning

__all__ = ["Dunning"]
