"""Whose a new customer is."""

from __future__ import annotations

from ledger.policies.assignment.policy import Assignment

__all__ = ["Assignment"]
