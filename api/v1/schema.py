"""JSON schemas (2020-12) in few words: what `shapes` are written in."""

from __future__ import annotations

from typing import Any

Shape = dict[str, Any]

STRING: Shape = {"type": "string"}
BOOLEAN: Shape = {"type": "boolean"}
COUNT: Shape = {"type": "integer", "minimum": 0, "examples": [3]}
INTEGER: Shape = {"type": "integer"}
NUMBER: Shape = {"type": "number"}
SHARE: Shape = {"type": "number", "description": "a part of one", "examples": [0.25]}
MINOR: Shape = {"type": "integer", "description": "in minor units", "examples": [150000]}
SECONDS: Shape = {
    "type": "integer",
    "description": "unix seconds, UTC",
    "examples": [1772442000],
}
TIME: Shape = {"type": "string", "format": "date-time"}
POSITION: Shape = {
    "type": "integer",
    "minimum": 0,
    "description": "a position of the log",
    "examples": [1042],
}
CURRENCY: Shape = {"type": "string", "examples": ["idr"]}
ANY: Shape = {}


def maybe(shape: Shape) -> Shape:
    """Return the shape of what may be null."""
    if "type" not in shape:
        return {"anyOf": [shape, {"type": "null"}]}
    return {**shape, "type": [shape["type"], "null"]}


def name(example: str) -> Shape:
    """Return the shape of an id or a word, with one as an example."""
    return {"type": "string", "examples": [example]}


def many(shape: Shape) -> Shape:
    """Return the shape of an array."""
    return {"type": "array", "items": shape}


def mapping(shape: Shape) -> Shape:
    """Return the shape of an object whose members are not known beforehand."""
    return {"type": "object", "additionalProperties": shape}


def one_of(*values: str) -> Shape:
    """Return the shape of one of these words."""
    return {"type": "string", "enum": list(values)}


def record(*optional: str, **members: Shape) -> Shape:
    """Return the shape of an object with these members, some of which may be missing.

    A trailing underscore of a member's name is not part of it (`from_`).
    """
    properties = {key.removesuffix("_"): shape for key, shape in members.items()}
    return {
        "type": "object",
        "properties": properties,
        "required": [key for key in properties if key not in optional],
        "additionalProperties": False,
    }


def thing(kind: str, /, *optional: str, **members: Shape) -> Shape:
    """Return the shape of an object of Stripe's kind or ours: it says which in `object`."""
    made = record(*optional, **members)
    made["properties"] = {"object": {"const": kind, "type": "string"}, **made["properties"]}
    made["required"] = ["object", *made["required"]]
    return {"title": kind, **made}


def more(shape: Shape, *optional: str, **members: Shape) -> Shape:
    """Return an object's shape with further members."""
    added = record(*optional, **members)
    return {
        **shape,
        "properties": {**shape["properties"], **added["properties"]},
        "required": [*shape["required"], *added["required"]],
    }


def list_of(shape: Shape, *optional: str, **members: Shape) -> Shape:
    """Return the shape of Stripe's list."""
    made = thing("list", *optional, url=STRING, has_more=BOOLEAN, data=many(shape), **members)
    return {**made, "title": f"list of {shape.get('title', 'rows')}"}


# At a moment of the past an answer names it.
_MOMENT = {"as_of": maybe(SECONDS), "known_at": maybe(POSITION)}


def in_time(shape: Shape) -> Shape:
    """Return the shape of what can be asked of the past."""
    return more(shape, *_MOMENT, **_MOMENT)


def list_in_time(shape: Shape) -> Shape:
    """Return the shape of a list that can be asked of the past."""
    return list_of(shape, *_MOMENT, **_MOMENT)
