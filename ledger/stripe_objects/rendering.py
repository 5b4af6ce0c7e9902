"""Brings facts of several API versions to what they have in common, so they can be compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ledger.stripe_objects.order import Fact

Rendered = tuple[Mapping[str, Any], Mapping[str, Any]]
LAST_PARTIAL_ARRAYS = "2017-04-06"


def one_rendering(facts: Sequence[Fact]) -> list[Rendered]:
    """Return (snapshot, previous_attributes) of each fact in one rendering.

    Up to 2017-04-06 `previous_attributes` bore only the changed elements of an array: the old
    array is rebuilt. Where versions differ, only members that all of them have are compared.
    """
    rendered: list[Rendered] = [
        (fact.snapshot, _whole_arrays(fact.previous or {}, fact.snapshot, fact.api_version))
        for fact in facts
    ]
    if len({fact.api_version for fact in facts}) <= 1:
        return rendered
    common = _shape([snapshot for snapshot, _ in rendered])
    return [(_cut(snapshot, common), _cut(previous, common)) for snapshot, previous in rendered]


def _whole_arrays(
    previous: Mapping[str, Any], snapshot: Mapping[str, Any], api_version: str | None
) -> Mapping[str, Any]:
    if api_version is not None and api_version > LAST_PARTIAL_ARRAYS:
        return previous
    whole: dict[str, Any] = {}
    for key, old in previous.items():
        new = snapshot.get(key)
        if isinstance(old, list) and isinstance(new, list):
            rebuilt = _old_array(old, new)
            if rebuilt is not None:
                whole[key] = rebuilt
        elif isinstance(old, Mapping) and isinstance(new, Mapping):
            whole[key] = _whole_arrays(old, new, api_version)
        else:
            whole[key] = old
    return whole


def _old_array(old: list[Any], new: list[Any]) -> list[Any] | None:
    """Return the array as it was, from its changed elements; None where that is not told."""
    by_id = {item["id"]: item for item in old if isinstance(item, Mapping) and "id" in item}
    if by_id and len(by_id) == len(old):
        return [
            {**item, **by_id[item["id"]]}
            if isinstance(item, Mapping) and item.get("id") in by_id
            else item
            for item in new
        ]
    if len(old) != len(new):
        return None
    return [
        {**b, **a} if isinstance(a, Mapping) and isinstance(b, Mapping) else a
        for a, b in zip(old, new, strict=True)
    ]


def _shape(values: Sequence[Any]) -> Any:
    """Return what all values have in common: shared members of hashes, elements of arrays."""
    present = [value for value in values if value is not None]
    if present and all(isinstance(value, Mapping) for value in present):
        shared = set.intersection(*(set(value) for value in present))
        return {key: _shape([value[key] for value in present]) for key in shared}
    if present and all(isinstance(value, list) for value in present):
        return [_shape([item for value in present for item in value])]
    return None


def _cut(value: Any, shape: Any) -> Any:
    if isinstance(shape, dict) and isinstance(value, Mapping):
        return {key: _cut(inner, shape[key]) for key, inner in value.items() if key in shape}
    if isinstance(shape, list) and isinstance(value, list):
        return [_cut(item, shape[0]) for item in value]
    if isinstance(value, Mapping) and isinstance(value.get("id"), str):
        return value["id"]  # expanded here, named elsewhere
    return value
