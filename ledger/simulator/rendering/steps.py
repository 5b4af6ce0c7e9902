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


def without_inner(member: str, *inner: str) -> Convert:
    """Return a conversion that leaves members out of a hash inside the object."""
    convert_inner = without(*inner)

    def convert(obj: Json) -> Json:
        value = obj[member]
        return obj if value is None else {**obj, member: convert_inner(value)}

    return convert


def then(*conversions: Convert) -> Convert:
    """Return the conversion that does all of these, one after the other."""

    def convert(obj: Json) -> Json:
        for one in conversions:
            obj = one(obj)
        return obj

    return convert


def in_list(obj: Json, member: str, convert: Convert) -> Json:
    """Return the object with every entry of one of its list objects converted."""
    listed = obj[member]
    return {**obj, member: {**listed, "data": [convert(one) for one in listed["data"]]}}


def list_of(data: list[Any], url: str) -> Json:
    """Return a whole list object, as older versions held it inside others."""
    return {
        "object": "list",
        "data": data,
        "has_more": False,
        "total_count": len(data),
        "url": url,
    }
