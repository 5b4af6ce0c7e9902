"""Waiting for what other processes do: asked again and again, never slept through."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event
from time import monotonic

PAUSE_SECONDS = 0.05


def eventually(is_so: Callable[[], bool], seconds: float) -> bool:
    """Return whether something comes true in time."""
    deadline, pause = monotonic() + seconds, Event()
    while not is_so():
        if monotonic() > deadline:
            return False
        pause.wait(PAUSE_SECONDS)
    return True
