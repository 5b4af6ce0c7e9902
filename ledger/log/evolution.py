"""Brings what was stored by an older release to the shape that a class of ours has now.

A class whose stored fields change counts its `class_version` up and says in `upcast_v1_v2(state)`
how the older shape becomes the newer one. What Stripe sent is never changed: it is interpreted
when it is read.
"""

from __future__ import annotations

from typing import Any

VERSION = "class_version"  # the member of a stored body that says which shape it has; absent: 1


def version_of(event_class: type) -> int:
    """Return which shape a class stores now."""
    version: int = getattr(event_class, VERSION, 1)
    return version


def upcast(event_class: type, state: dict[str, Any]) -> dict[str, Any]:
    """Return a stored body in the present shape of its class; the body itself may be changed."""
    for version in range(state.pop(VERSION, 1), version_of(event_class)):
        getattr(event_class, f"upcast_v{version}_v{version + 1}")(state)
    return state
