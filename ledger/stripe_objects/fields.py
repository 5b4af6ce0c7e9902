"""Reads single leaves of Stripe's hashes; a leaf of another kind than expected is None."""

from __future__ import annotations

from typing import Any, TypeVar

from ledger.ids import ID_MAX

Node = dict[str, Any]
LAST_SECOND = 253_402_300_799  # 9999-12-31T23:59:59Z
T = TypeVar("T")


def dig(node: Any, *path: str) -> Any:
    """Return what lies at the end of a path of hash members, or None."""
    for step in path:
        if not isinstance(node, dict):
            return None
        node = node.get(step)
    return node


def text(node: Any, *path: str) -> str | None:
    """Return a string leaf."""
    found = dig(node, *path)
    return found if isinstance(found, str) else None


def whole(node: Any, *path: str) -> int | None:
    """Return an integer leaf (amounts in minor units, unix seconds, counts)."""
    found = dig(node, *path)
    if isinstance(found, float) and found.is_integer():
        return int(found)
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def decimal(node: Any, *path: str) -> float | None:
    """Return a number leaf that may have decimals (a percentage)."""
    found = dig(node, *path)
    if isinstance(found, bool) or not isinstance(found, (int, float)):
        return None
    try:
        return float(found)
    except OverflowError:  # an integer beyond a double is no percentage
        return None


def instant(node: Any, *path: str) -> int | None:
    """Return unix seconds, if they lie in a year that a calendar has."""
    found = whole(node, *path)
    return found if found is not None and 0 <= found <= LAST_SECOND else None


def flag(node: Any, *path: str) -> bool | None:
    """Return a boolean leaf."""
    found = dig(node, *path)
    return found if isinstance(found, bool) else None


def nested(node: Any, *path: str) -> Node:
    """Return a hash, empty where there is none."""
    found = dig(node, *path)
    return found if isinstance(found, dict) else {}


def members(node: Any, *path: str) -> list[Node]:
    """Return the hashes of an array or of a Stripe list object."""
    found = dig(node, *path)
    if isinstance(found, dict):
        found = found.get("data")
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def reference(node: Any, *path: str) -> str | None:
    """Return the id of another object, whether it is named or expanded."""
    found = dig(node, *path)
    if isinstance(found, dict):
        found = found.get("id")
    return found if isinstance(found, str) and 0 < len(found) <= ID_MAX else None


def first(*candidates: T | None) -> T | None:
    """Return the first candidate that is there."""
    return next((candidate for candidate in candidates if candidate is not None), None)
