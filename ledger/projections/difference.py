"""What takes back entries that follow no more from what is known, and enters those that do now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from typing import Protocol, TypeVar


class Reversible(Hashable, Protocol):
    """An entry that another one takes back."""

    def reversed(self: T) -> T:
        """Return what takes this back."""
        ...


T = TypeVar("T", bound=Reversible)


def difference(before: list[T], now: list[T]) -> list[T]:
    """Return what takes back entries that are no more, and then those that are new."""
    if before == now:
        return []
    if not before:
        return now
    gone: Counter[T] = Counter(before)
    come: Counter[T] = Counter(now)
    found: list[T] = [one.reversed() for one in (gone - come).elements()]
    found.extend((come - gone).elements())
    return found
