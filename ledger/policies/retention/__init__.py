"""Retention: a cancellation is answered, never blocked."""

from __future__ import annotations

from ledger.policies.retention.policy import Retention

__all__ = ["Retention"]
