"""`previous_attributes`: what an object was where it differs, arrays whole."""

from __future__ import annotations

from typing import Any

# Leaves that change without being named: no event is made for them, none mentions them.
SILENT = frozenset({"next_invoice_sequence", "webhooks_delivered_at", "client_secret"})

_NEVER = object()


def difference(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """Return the old value of every member that is another now; hashes are opened."""
    changed: dict[str, Any] = {}
    for key, new in after.items():
        old = before.get(key, _NEVER)
        if old is new or key in SILENT:
            continue
        if old is _NEVER:
            changed[key] = None
        elif isinstance(old, dict) and isinstance(new, dict):
            if inner := difference(old, new):
                changed[key] = inner
        elif old != new or type(old) is not type(new):
            changed[key] = old
    for key, old in before.items():
        if key not in after:
            changed[key] = old
    return changed
