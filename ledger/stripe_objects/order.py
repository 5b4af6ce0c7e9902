"""The order of facts inside one second: what an object was at its end, from the set of facts.

Stripe's `created` has whole seconds and deliveries come in any order. Each attribute that a
`previous_attributes` names walks a trail old → new; its last value is the one that needs the
fewest missing steps from the value before. The winner is the snapshot that contradicts these
last values least; then progress tables per kind of object decide. Aggregates and projections
use this rule and no other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from ledger.stripe_objects.leaves import Leaf, Value, changes, differing, is_silent, value_at
from ledger.stripe_objects.progress import COUNTERS, RANKS, progress_of
from ledger.stripe_objects.rendering import one_rendering

Mark = Literal["clear", "gap", "assumed"]


class Fact(msgspec.Struct, frozen=True):
    """What one event says of its object: a whole snapshot and, on changes, what was before."""

    event_id: str
    type: str
    snapshot: Mapping[str, Any]
    previous: Mapping[str, Any] | None = None
    api_version: str | None = None

    @property
    def creates(self) -> bool:
        """Whether the object came into being."""
        return self.type.endswith(".created")

    @property
    def deletes(self) -> bool:
        """Whether the object ceased to be."""
        return self.type.endswith(".deleted")


class Settled(msgspec.Struct, frozen=True):
    """The state at the end of a second: whose snapshot it is and how sure that is."""

    winner: Fact
    is_deleted: bool
    mark: Mark
    doubtful: tuple[str, ...] = ()


def settle(
    facts: Sequence[Fact],
    before: Settled | None = None,
    following: Sequence[Fact] = (),
    kind: str = "",
) -> Settled:
    """Return the state of one object at the end of a second.

    `facts` are those of this second, distinct by event id, in any order; `before` is the state
    at the end of the second before, if one is known; `following` the facts of the next second,
    whose `previous_attributes` may tell what this one ended with.
    """
    if len(facts) == 1:
        return _settle_single(facts[0], before, kind)
    facts = sorted(facts, key=lambda fact: fact.event_id.encode())
    alive_before = not before.is_deleted if before else not any(f.creates for f in facts)
    deletions = [fact for fact in facts if fact.deletes]
    balance = alive_before + sum(fact.creates for fact in facts) - len(deletions)
    if deletions and balance <= 0:
        return _settle_deleted(deletions, kind)
    alive = [fact for fact in facts if not fact.deletes] or list(facts)
    if len(alive) == 1:
        return Settled(alive[0], False, "clear")
    # What was before a deletion or a re-creation says nothing about the object that lives now.
    reborn = bool(deletions) or (before is not None and before.is_deleted)
    return _settle_alive(alive, None if reborn else before, following, kind)


def _settle_single(only: Fact, before: Settled | None, kind: str) -> Settled:
    """A second with one fact ends as that says; what it found otherwise than known is a gap."""
    if only.deletes or not only.previous or before is None or before.is_deleted:
        return Settled(only, only.deletes, "clear")
    (snapshot, previous), (earlier, _) = one_rendering([only, before.winner])
    is_gap = any(
        value_at(earlier, leaf) != old
        for leaf, old, _ in changes(previous, snapshot)
        if not is_silent(leaf, kind)
    )
    return Settled(only, False, "gap" if is_gap else "clear")


def _settle_deleted(deletions: list[Fact], kind: str) -> Settled:
    winner = deletions[-1]
    doubtful: set[Leaf] = set()
    for other in deletions[:-1]:
        doubtful |= differing(winner.snapshot, other.snapshot, kind)
    return Settled(winner, True, "assumed" if doubtful else "clear", _names(doubtful))


@dataclass(slots=True)
class Trail:
    """The steps an attribute took inside the second, and the values it was seen with."""

    steps: list[tuple[Value, Value]] = field(default_factory=list)
    seen: set[Value] = field(default_factory=set)


class Ending(msgspec.Struct, frozen=True):
    """The values an attribute may have had last (one: it is known) and the steps missing."""

    values: frozenset[Value]
    missing: int


def _settle_alive(
    facts: list[Fact], before: Settled | None, following: Sequence[Fact], kind: str
) -> Settled:
    pre_image = _value_before(following)
    earlier = before.winner if before else None
    rendered = one_rendering([*facts, *([earlier] if earlier else []), *pre_image])
    snapshots = [snapshot for snapshot, _ in rendered[: len(facts)]]
    known = rendered[len(facts)][0] if earlier else None
    created = next((s for f, s in zip(facts, snapshots, strict=True) if f.creates), None)
    after = _Undone(*rendered[-1]) if pre_image else None

    trails, values = _trails(facts, rendered)
    endings: dict[Leaf, Ending] = {}
    for leaf, trail in trails.items():
        ending = last_values(trail, value_at(known, leaf) if known else None, known is None)
        if len(ending.values) > 1:
            evidence = [value_at(created, leaf)] if created is not None else []
            evidence += [after.value_at(leaf)] if after is not None else []
            ending = _without_ties(leaf, ending, evidence, kind)
        endings[leaf] = ending

    likeliest = _least_contradicting(len(facts), values, endings)
    if len(likeliest) > 1:
        ranks = [
            (progress_of(kind, facts[index].snapshot), not facts[index].creates)
            for index in likeliest
        ]
        furthest = max(ranks)
        likeliest = [
            index for index, rank in zip(likeliest, ranks, strict=True) if rank == furthest
        ]
    best = likeliest[-1]  # the facts are in the order of their ids: among equals the greatest
    doubtful = {leaf for leaf, ending in endings.items() if len(ending.values) > 1}
    doubtful |= {
        leaf
        for leaf, ending in endings.items()
        if len(ending.values) == 1 and values[leaf][best] not in ending.values
    }
    for index in likeliest[:-1]:
        doubtful |= differing(snapshots[best], snapshots[index], kind)
    mark: Mark = "clear"
    if any(ending.missing for ending in endings.values()):
        mark = "gap"
    if doubtful:
        mark = "assumed"
    return Settled(facts[best], False, mark, _names(doubtful))


def _value_before(following: Sequence[Fact]) -> list[Fact]:
    """Return the next second's fact if there is just one and it tells what was before it."""
    changing = [fact for fact in following if fact.previous]
    return list(following) if len(following) == 1 and changing else []


class _Undone:
    """An object as it was before one fact about it."""

    def __init__(self, snapshot: Mapping[str, Any], previous: Mapping[str, Any]) -> None:
        self._snapshot = snapshot
        self._old = {leaf: old for leaf, old, _ in changes(previous, snapshot)}

    def value_at(self, leaf: Leaf) -> Value:
        return self._old[leaf] if leaf in self._old else value_at(self._snapshot, leaf)


def _trails(
    facts: list[Fact], rendered: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]
) -> tuple[dict[Leaf, Trail], dict[Leaf, list[Value]]]:
    """Return the trail of every leaf that a fact names, and its value in every snapshot."""
    trails: dict[Leaf, Trail] = {}
    naming: dict[Leaf, set[int]] = {}
    snapshots = [snapshot for snapshot, _ in rendered[: len(facts)]]
    for index, (snapshot, previous) in enumerate(rendered[: len(facts)]):
        for leaf, old, new in changes(previous, snapshot) if previous else ():
            if leaf not in trails:
                trails[leaf], naming[leaf] = Trail(), set()
            trails[leaf].steps.append((old, new))
            naming[leaf].add(index)
    creating = {index for index, fact in enumerate(facts) if fact.creates}
    values: dict[Leaf, list[Value]] = {}
    for leaf, trail in trails.items():
        found = values[leaf] = [value_at(snapshot, leaf) for snapshot in snapshots]
        silent = naming[leaf] | creating
        trail.seen.update(value for index, value in enumerate(found) if index not in silent)
    return trails, values


def _least_contradicting(
    count: int, values: Mapping[Leaf, Sequence[Value]], endings: Mapping[Leaf, Ending]
) -> list[int]:
    """Return which of the facts differ least from the last values: the known, then the open."""
    against = [(0, 0)] * count
    for leaf, ending in endings.items():
        is_known = len(ending.values) == 1
        for index, value in enumerate(values[leaf]):
            if value not in ending.values:
                known, open_ = against[index]
                against[index] = (known + is_known, open_ + (not is_known))
    least = min(against)
    return [index for index, one in enumerate(against) if one == least]


def last_values(trail: Trail, before: Value, start_unknown: bool) -> Ending:
    """Return the ends of a walk over all steps, and past all values seen, with fewest missing.

    The steps are the edges of a directed multigraph. A walk from `before` to an end that uses
    every edge exists iff, with one more edge end → before, every value is left as often as it
    is reached and all hang together; each step missing for that is counted. With parts that do
    not hang together each needs at least one step to be left by.
    """
    if (end := _only_way(trail, before, start_unknown)) is not None:
        return end
    balance: dict[Value, int] = dict.fromkeys(trail.seen, 0)
    if not start_unknown:
        balance.setdefault(before, 0)
    parts = _Parts(balance)
    for old, new in trail.steps:
        balance[old] = balance.get(old, 0) + 1
        balance[new] = balance.get(new, 0) - 1
        parts.join(old, new)
    values = list(balance)
    lack: dict[Value, int] = defaultdict(int)
    for value in values:
        lack[parts.root(value)] += max(0, balance[value])
    total = sum(max(1, part) for part in lack.values())

    def missing(start: Value, end: Value) -> int:
        a, b = parts.root(start), parts.root(end)
        touched = {a: lack[a], b: lack[b]}
        if start != end:
            # the closing edge end → start leaves `end` once more and reaches `start` once more
            touched[a] += max(0, balance[start] - 1) - max(0, balance[start])
            touched[b] += max(0, balance[end] + 1) - max(0, balance[end])
        joined = sum(touched.values())
        if len(lack) - (a != b) == 1:
            return joined
        rest = total - sum(max(1, lack[part]) for part in touched)
        return rest + max(1, joined)

    starts = values if start_unknown else [before]
    costs = {end: min(missing(start, end) for start in starts) for end in values}
    fewest = min(costs.values())
    return Ending(frozenset(end for end, cost in costs.items() if cost == fewest), fewest)


def _only_way(trail: Trail, before: Value, start_unknown: bool) -> Ending | None:
    """Return the end of a walk that misses nothing, if no value is left twice: for speed only.

    Where a walk over all edges exists, its end is the same for all such walks; one whose start
    is unknown must start at the only value that is never reached.
    """
    steps = dict(trail.steps)
    if len(steps) < len(trail.steps):
        return None
    if start_unknown:
        unreached = steps.keys() - steps.values()
        if len(unreached) != 1:
            return None
        (before,) = unreached
    visited, at = {before}, before
    while at in steps:
        at = steps.pop(at)
        visited.add(at)
    return None if steps or not trail.seen <= visited else Ending(frozenset([at]), 0)


class _Parts:
    """Which values hang together (disjoint sets)."""

    def __init__(self, values: Iterable[Value]) -> None:
        self._parent: dict[Value, Value] = {value: value for value in values}

    def root(self, value: Value) -> Value:
        parent = self._parent.setdefault(value, value)
        while parent != value:
            self._parent[value] = self._parent[parent]
            value, parent = parent, self._parent[parent]
        return value

    def join(self, a: Value, b: Value) -> None:
        self._parent[self.root(a)] = self.root(b)


def _without_ties(
    leaf: Leaf,
    ending: Ending,
    evidence: Sequence[Value],
    kind: str,
) -> Ending:
    if len(ending.values) == 1:
        return ending
    for value in evidence:  # what it was created with, else what it was before the next fact
        if value in ending.values:
            return Ending(frozenset([value]), ending.missing)
    furthest = _furthest(leaf, ending.values, kind)
    return Ending(furthest, ending.missing)


def _furthest(leaf: Leaf, values: frozenset[Value], kind: str) -> frozenset[Value]:
    if leaf == ("status",):
        ranks = RANKS.get(kind, {})
        if all(value in ranks for value in values):
            top = max(ranks[str(value)] for value in values)
            return frozenset(value for value in values if ranks[str(value)] == top)
    if ".".join(leaf) in COUNTERS.get(kind, ()):
        numbers = [v for v in values if isinstance(v, (int, float)) and not isinstance(v, bool)]
        if numbers and len(numbers) + (None in values) == len(values):
            return frozenset([max(numbers)])
        if None in values and len(values) == 2:
            return values - {None}
    return values


def _names(doubtful: Iterable[Leaf]) -> tuple[str, ...]:
    return tuple(sorted({".".join(part for part in leaf if part) for leaf in doubtful}))
