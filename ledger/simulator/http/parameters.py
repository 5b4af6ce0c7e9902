"""Parameters of a call: what the operation's signature takes, and nothing else.

The signature is the only list: its keywords, or those of the TypedDict behind `**params`, say
which parameters there are, which are required, and of which type.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NotRequired, Required, Union, get_args, get_origin, get_type_hints

import msgspec

from ledger.simulator.refusals import Refused, needs

_UNIVERSAL = frozenset({"expand"})


class Accepted(msgspec.Struct, frozen=True):
    """The parameters that an operation takes, by name."""

    types: dict[str, Any]
    required: frozenset[str]


@cache
def accepted_by(operation: Callable[..., Any]) -> Accepted:
    """Return what an operation takes beside the ids in its path."""
    hints = get_type_hints(operation, include_extras=True)
    found: dict[str, Any] = {}
    required: set[str] = set()
    for name, parameter in inspect.signature(operation).parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            (params,) = get_args(hints[name])
            inner = get_type_hints(params, include_extras=True)
            found |= {key: _bare(hint) for key, hint in inner.items()}
            required |= {key for key, hint in inner.items() if _is_required(params, key, hint)}
        elif parameter.kind is parameter.KEYWORD_ONLY:
            found[name] = hints[name]
            if parameter.default is parameter.empty:
                required.add(name)
    return Accepted(found, frozenset(required))


def _is_required(params: Any, key: str, hint: Any) -> bool:
    marked = get_origin(hint)
    return marked is Required or (key in params.__required_keys__ and marked is not NotRequired)


def _bare(hint: Any) -> Any:
    return get_args(hint)[0] if get_origin(hint) in (Required, NotRequired) else hint


def taken(operation: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters as the operation takes them; refuse unknown and missing ones."""
    accepted = accepted_by(operation)
    for name in given:
        if name not in accepted.types and name not in _UNIVERSAL:
            raise Refused(
                f"Received unknown parameter: {name}", code="parameter_unknown", param=name
            )
    for name in sorted(accepted.required - given.keys()):
        raise needs(name)
    return {
        name: converted(value, accepted.types[name], name)
        for name, value in given.items()
        if name in accepted.types
    }


def converted(value: Any, hint: Any, name: str) -> Any:
    """Return a form's text as the type that a parameter has; empty text unsets it."""
    options = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    if value == "":
        if type(None) in options:
            return None
        if any(get_origin(one) is list for one in options):
            return []
        if any(get_origin(one) is dict for one in options):
            return {}
        raise Refused(
            f"You passed an empty string for '{name}'.", code="parameter_invalid_empty", param=name
        )
    if int in options and str in options:
        return int(value) if str(value).isdigit() else value
    try:
        return msgspec.convert(value, hint, strict=False)
    except msgspec.ValidationError as error:
        code = "parameter_invalid_integer" if hint is int else "parameter_invalid"
        raise Refused(f"Invalid {name}: {error}", code=code, param=name) from error
