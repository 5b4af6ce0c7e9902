"""What one object was, second by second, as its facts become known one after the other."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any, Generic, TypeVar

import msgspec

from ledger.projections.crm.facts import OVERTAKEN, Row
from ledger.projections.crm.settle import settle_object
from ledger.stripe_objects.fields import nested
from ledger.stripe_objects.readers import view_of
from ledger.stripe_objects.views import View

Bodies = Mapping[int, Mapping[str, Any]]
V = TypeVar("V", bound=View)


class History(Generic[V]):
    """The states of one object, of the facts learnt so far: `times` (unix seconds) and `states`.

    A fact after all others is the state from its second on. Any other is settled by the order rule,
    with all that is known, from its second on: what comes out may differ from what it was before.
    """

    def __init__(self, shape: type[V], bodies: Bodies) -> None:
        self._decode = msgspec.json.Decoder(shape).decode
        self._shape = shape
        self._bodies = bodies
        self._seconds: list[list[Row]] = []
        self.times: list[int] = []
        self.states: list[V] = []

    def position_at(self, moment: int) -> int | None:
        """Return the position of the fact that shows the state at the end of a second."""
        index = bisect_right(self.times, moment)
        return _winner(self._seconds[index - 1]).position if index else None

    def learn(self, row: Row) -> int:
        """Take in one more fact; return the unix second from which the states may have changed."""
        at = int(row.occurred_at.timestamp())
        times, seconds = self.times, self._seconds
        if not times or (at > times[-1] and len(seconds[-1]) == 1):
            times.append(at)
            seconds.append([row])
            self.states.append(self._shown(row))
            return at
        index = next((i for i, known in enumerate(times) if known >= at), len(times))
        if index == len(times) or times[index] != at:
            times.insert(index, at)
            seconds.insert(index, [])
        seconds[index].append(row)
        if index and len(seconds[index - 1]) > 1:
            index -= 1  # what follows a tie may decide it
        before = _winner(seconds[index - 1]) if index else None
        settle_object(seconds[index:], self._bodies, before)
        self.states[index:] = [self._shown(_winner(second)) for second in seconds[index:]]
        return times[index]

    def at(self, moment: int) -> V | None:
        """Return the state at the end of a second, None before the first."""
        index = bisect_right(self.times, moment)
        return self.states[index - 1] if index else None

    def _shown(self, row: Row) -> V:
        if row.canonical is not None:
            return self._decode(row.canonical)
        view = view_of(nested(self._bodies[row.position], "data", "object"))
        return view if isinstance(view, self._shape) else self._shape()


def _winner(second: list[Row]) -> Row:
    if len(second) == 1:
        return second[0]
    return next(row for row in second if row.mark != OVERTAKEN)


def bodies_needed(rows: Iterable[Row]) -> set[int]:
    """Return the positions of the facts whose bodies learning these, in their order, will ask for.

    Those are the facts that share a second and their neighbours, all of an object whose facts were
    not recorded in the order in which they happened, and what later facts have overtaken.
    """
    by_object: dict[str | None, list[Row]] = {}
    needed: set[int] = set()
    for row in rows:
        by_object.setdefault(row.object_id, []).append(row)
        if row.canonical is None:
            needed.add(row.position)
    for facts in by_object.values():
        for index, (one, following) in enumerate(pairwise(facts)):
            if following.occurred_at < one.occurred_at:
                needed.update(row.position for row in facts)
                break
            if following.occurred_at == one.occurred_at:
                needed.update(row.position for row in _around(facts, index))
    return needed


def _around(facts: list[Row], index: int) -> list[Row]:
    """Return the facts of the second that this one is in, and of those before and after it."""
    at = facts[index].occurred_at
    first = next(i for i, row in enumerate(facts) if row.occurred_at == at)
    last = max(i for i, row in enumerate(facts) if row.occurred_at == at)
    low = first - 1 if first else 0
    while low and facts[low - 1].occurred_at == facts[low].occurred_at:
        low -= 1
    high = min(last + 1, len(facts) - 1)
    while high < len(facts) - 1 and facts[high + 1].occurred_at == facts[high].occurred_at:
        high += 1
    return facts[low : high + 1]
