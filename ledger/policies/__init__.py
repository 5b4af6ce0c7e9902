"""Policies: what happens is answered with decisions, and nothing else is done here."""

from __future__ import annotations

from ledger.policies.assignment import Assignment
from ledger.policies.dunning import Dunning
from ledger.policies.lifecycle import Lifecycle
from ledger.policies.policy import Policy
from ledger.policies.retention import Retention

POLICIES: tuple[Policy, ...] = (Dunning(), Retention(), Lifecycle(), Assignment())

__all__ = ["POLICIES", "Assignment", "Dunning", "Lifecycle", "Policy", "Retention"]
