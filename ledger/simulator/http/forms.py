"""Stripe's form encoding: `items[0][price]=…` opened into hashes and lists."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

_PART = re.compile(r"\[([^\]]*)\]")


def opened(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Return form or query pairs as nested hashes and lists of strings."""
    root: dict[str, Any] = {}
    for name, value in pairs:
        first = name.partition("[")[0]
        _put(root, [first, *_PART.findall(name[len(first) :])], value)
    found: dict[str, Any] = _lists(root)
    return found


def _put(node: dict[str, Any], path: list[str], value: str) -> None:
    key, *rest = path
    if key == "":
        key = _next_place(node, rest)
    if not rest:
        node[key] = value
        return
    inner = node.setdefault(key, {})
    if not isinstance(inner, dict):
        inner = node[key] = {}
    _put(inner, rest, value)


def _next_place(node: dict[str, Any], rest: list[str]) -> str:
    """Return where `[]` puts a value: in the last entry if that lacks it, else in a new one."""
    last = str(len(node) - 1)
    known = node.get(last)
    if rest and isinstance(known, dict) and rest[0] != "" and rest[0] not in known:
        return last
    return str(len(node))


def _lists(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    inner = {key: _lists(one) for key, one in value.items()}
    if inner and all(key.isdigit() for key in inner):
        return [inner[key] for key in sorted(inner, key=int)]
    return inner
