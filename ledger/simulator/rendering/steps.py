"""What a step of the chain is: for each kind of object, the newer shape in, the older out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Json = dict[str, Any]
Convert = Callable[[Json], Json]
Step = Mapping[str, Convert]


def without(*members: str) -> Convert:
    """Return a conversion that leaves these members out."""
    gone = frozenset(members)

    def convert(obj: Json) -> Json:
        return {key: value for key, value in obj.items() if key not in gone}

    return convert


def in_list(obj: Json, member: str, convert: Convert) -> Json:
    """Return the object with every entry of one of its list objects converted."""
    listed = obj[member]
    return {**obj, member: {**listed, "data": [convert(one) for one in listed["data"]]}}
