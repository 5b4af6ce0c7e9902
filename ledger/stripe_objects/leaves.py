"""A Stripe object leaf by leaf: what changed, what differs, what it is at one place."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Any

from ledger.canonical import canonical

Leaf = tuple[str, ...]
Value = Hashable
PRESENT: Leaf = ("",)  # under a hash: whether it is there at all

# Leaves that change without being named in any `previous_attributes`.
SILENT: Mapping[str, frozenset[str]] = {
    "": frozenset({"url", "hosted_invoice_url", "invoice_pdf", "receipt_url", "updated"}),
    "invoice": frozenset({"webhooks_delivered_at"}),
    "customer": frozenset({"next_invoice_sequence"}),
}


def is_silent(leaf: Leaf, kind: str) -> bool:
    """Return whether a leaf of this kind of object says nothing about the order of facts."""
    return leaf[0] in SILENT[""] or leaf[0] in SILENT.get(kind, ())


def changes(
    previous: Mapping[str, Any], snapshot: Mapping[str, Any], path: Leaf = ()
) -> Iterable[tuple[Leaf, Value, Value]]:
    """Yield (leaf, old, new) for every leaf that a `previous_attributes` says has changed."""
    for key, old in previous.items():
        new = snapshot.get(key)
        here = (*path, key)
        if old.__class__ is dict and new.__class__ is dict:
            yield from changes(old, new, here)
        elif old.__class__ is dict or new.__class__ is dict:
            opened_old, opened_new = leaves({key: old}, path), leaves({key: new}, path)
            for leaf in sorted({*opened_old, *opened_new}):
                if opened_old.get(leaf) != opened_new.get(leaf):
                    yield leaf, opened_old.get(leaf), opened_new.get(leaf)
        elif (a := _value(old)) != (b := _value(new)):
            yield here, a, b


def leaves(node: Mapping[str, Any], path: Leaf = ()) -> dict[Leaf, Value]:
    """Return every leaf of a hash by its path; null is absent, arrays are whole."""
    found: dict[Leaf, Value] = {}
    for key, value in node.items():
        if value.__class__ is dict:
            found[(*path, key, *PRESENT)] = True
            found.update(leaves(value, (*path, key)))
        elif value is not None:
            found[*path, key] = _value(value)
    return found


def value_at(node: Any, leaf: Leaf) -> Value:
    """Return one leaf of a hash, None where there is none."""
    for step in leaf:
        if node.__class__ is not dict:
            return None
        if not step:
            return True  # a hash is present
        node = node.get(step)
    kind = node.__class__
    if kind is str or kind is int or node is None:
        return node  # type: ignore[no-any-return]
    return None if kind is dict else _value(node)


def _value(value: Any) -> Value:
    kind = value.__class__
    if kind is list or kind is dict:
        return canonical(value)
    if kind is bool:
        return ("bool", value)  # in Python True == 1, at Stripe it is not
    return value  # type: ignore[no-any-return]


def differing(a: Mapping[str, Any], b: Mapping[str, Any], kind: str) -> set[Leaf]:
    """Return the leaves that two snapshots of one object do not agree on."""
    if a == b:
        return set()
    here, there = leaves(a), leaves(b)
    return {
        leaf
        for leaf in {*here, *there}
        if here.get(leaf) != there.get(leaf) and not is_silent(leaf, kind) and leaf[-1]
    }
