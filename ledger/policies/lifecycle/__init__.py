"""The life of a subscription: trials, payments, plans, the end."""

from __future__ import annotations

from ledger.policies.lifecycle.policy import Lifecycle

__all__ = ["Lifecycle"]
