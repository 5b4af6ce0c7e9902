"""Reads single leaves of Stripe's hashes; a leaf of another kind than expected is None.

Every fact goes through some fifty of these, so each walks its path itself and asks for the exact
class: what JSON is decoded to has no subclasses.
"""

from __future__ import annotations

from typing import Any, TypeVar

from ledger.ids import ID_MAX

Node = dict[str, Any]
LAST_SECOND = 253_402_300_799  # 9999-12-31T23:59:59Z
T = TypeVar("T")


def dig(node: Any, *path: str) -> Any:
    """Return what lies at the end of a path of hash members, or None."""
    for step in path:
        if node.__class__ is not dict:
            return None
        node = node.get(step)
    return node


def text(node: Any, *path: str) -> str | None:
    """Return a string leaf."""
    for step in path:
        if node.__class__ is not dict:
            return None
        node = node.get(step)
    return node if node.__class__ is str else None


def whole(node: Any, *path: str) -> int | None:
    """Return an integer leaf (amounts in minor units, unix seconds, counts)."""
    for step in path:
        if node.__class__ is not dict:
            return None
        node = node.get(step)
    if node.__class__ is float and node.is_integer():
        return int(node)
    return node if node.__class__ is int else None


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
    for step in path:
        if node.__class__ is not dict:
            return None
        node = node.get(step)
    if node.__class__ is not int:
        node = whole(node)
    return node if node is not None and 0 <= node <= LAST_SECOND else None


def flag(node: Any, *path: str) -> bool | None:
    """Return a boolean leaf."""
    for step in path:
        if node.__class__ is not dict:
            return None
        node = node.get(step)
    return node if node.__class__ is bool else None


def nested(node: Any, *path: str) -> Node:
    """Return a hash, empty where there is none."""
    for step in path:
        if node.__class__ is not dict:
            return {}
        node = node.get(step)
    return node if node.__class__ is dict else {}


def members(node: Any, *path: str) -> list[Node]:
    """Return the hashes of an array or of a Stripe list object."""
    found = dig(node, *path)
    if found.__class__ is dict:
        found = found.get("data")
    return [item for item in found if item.__class__ is dict] if found.__class__ is list else []


def reference(node: Any, *path: str) -> str | None:
    """Return the id of another object, whether it is named or expanded."""
    for step in path:
        if node.__class__ is not dict:
            return None
        node = node.get(step)
    if node.__class__ is dict:
        node = node.get("id")
    return node if node.__class__ is str and 0 < len(node) <= ID_MAX else None


def first(*candidates: T | None) -> T | None:
    """Return the first candidate that is there."""
    for candidate in candidates:
        if candidate is not None:
            return candidate
    return None
