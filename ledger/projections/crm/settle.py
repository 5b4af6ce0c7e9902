"""Step 2: which version of each touched object is its state at the end of each second."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from ledger.aggregates.base import as_order_fact, settle_seconds
from ledger.log import Log
from ledger.projections.crm.rows import Rows
from ledger.stripe_objects.order import Fact, Settled

# Deleted subscriptions and discounts stay what they were, with a status; other things are gone.
OUTLIVES_DELETION = frozenset({"subscription"})

# From the second before the earliest touched one (what follows it may settle a tie there), with
# the state before that to start from.
_FROM_THERE_ON = """
WITH touched (object_id, since) AS (
    SELECT * FROM unnest(%(ids)s::text[], %(since)s::timestamptz[])
), starting AS (
    SELECT object_id, coalesce((
        SELECT max(v.occurred_at) FROM object_versions AS v
        WHERE v.object_id = touched.object_id AND v.occurred_at < touched.since
    ), since) AS start
    FROM touched
)
SELECT v.object_id, v.kind, v.occurred_at, v.position, v.stripe_event_id, v.type, v.mark,
    v.doubtful, v.is_deleted, v.is_current, v.occurred_at < s.start AS is_before
FROM starting AS s
JOIN object_versions AS v ON v.object_id = s.object_id AND v.occurred_at >= coalesce((
    SELECT max(w.occurred_at) FROM object_versions AS w
    WHERE w.object_id = s.object_id AND w.occurred_at < s.start
), s.start)
ORDER BY v.object_id, v.occurred_at, v.stripe_event_id
"""

_NO_LONGER_CURRENT = """
UPDATE object_versions SET is_current = false
WHERE object_id = ANY (%(ids)s) AND is_current AND position <> ALL (%(current)s)
"""

_SETTLED = """
UPDATE object_versions AS v
SET mark = s.mark, doubtful = string_to_array(s.doubtful, E'\\n'), is_deleted = s.is_deleted,
    is_current = s.is_current
FROM unnest(
    %(positions)s::bigint[], %(marks)s::text[], %(doubtful)s::text[], %(deleted)s::boolean[],
    %(currents)s::boolean[]
) AS s (position, mark, doubtful, is_deleted, is_current)
WHERE v.position = s.position
"""


@dataclass(frozen=True, slots=True)
class _Version:
    object_id: str
    kind: str
    occurred_at: datetime
    position: int
    stripe_event_id: str
    type: str
    mark: str | None
    doubtful: list[str]
    is_deleted: bool
    is_current: bool
    is_before: bool

    @property
    def state(self) -> tuple[str | None, list[str], bool, bool]:
        return self.mark, self.doubtful, self.is_deleted, self.is_current


def settle_touched(
    connection: psycopg.Connection[tuple[Any, ...]],
    rows: Rows,
    bodies: Mapping[int, dict[str, Any]],
) -> None:
    """Settle again every second of a touched object from the earliest touched one on."""
    since: dict[str, datetime] = {}
    for row in rows.versions:
        earliest = since.get(row.object_id)
        if earliest is None or row.occurred_at < earliest:
            since[row.object_id] = row.occurred_at
    if not since:
        return
    found = connection.execute(
        _FROM_THERE_ON, {"ids": list(since), "since": list(since.values())}
    ).fetchall()
    histories = _by_object(_Version(*one) for one in found)
    known = _bodies(connection, histories, bodies)
    changed: list[tuple[_Version, str | None, tuple[str, ...], bool, bool]] = []
    current: list[int] = []
    for seconds in histories.values():
        winners = _settle(seconds, known)
        current.append(winners[-1][0].position)
        by_position = {version.position: settled for version, settled in winners}
        for versions in seconds:
            for version in versions:
                if version.is_before:
                    continue
                settled = by_position.get(version.position)
                is_current = version.position == current[-1]
                gone = bool(
                    settled and settled.is_deleted and version.kind not in OUTLIVES_DELETION
                )
                state = (
                    settled.mark if settled else None,
                    settled.doubtful if settled else (),
                    gone,
                    is_current,
                )
                if (state[0], list(state[1]), gone, is_current) != version.state:
                    changed.append((version, *state))
    connection.execute(_NO_LONGER_CURRENT, {"ids": list(since), "current": current})
    if changed:
        connection.execute(
            _SETTLED,
            {
                "positions": [version.position for version, *_ in changed],
                "marks": [mark for _, mark, *_ in changed],
                "doubtful": ["\n".join(doubtful) for _, _, doubtful, *_ in changed],
                "deleted": [deleted for *_, deleted, _ in changed],
                "currents": [is_current for *_, is_current in changed],
            },
        )


def _by_object(versions: Iterable[_Version]) -> dict[str, list[list[_Version]]]:
    histories: dict[str, list[list[_Version]]] = defaultdict(list)
    for version in versions:
        seconds = histories[version.object_id]
        if seconds and seconds[-1][0].occurred_at == version.occurred_at:
            seconds[-1].append(version)
        else:
            seconds.append([version])
    return histories


def _bodies(
    connection: psycopg.Connection[tuple[Any, ...]],
    histories: Mapping[str, list[list[_Version]]],
    known: Mapping[int, dict[str, Any]],
) -> dict[int, dict[str, Any]]:
    """Return the bodies that the order rule must read: all but of objects seen only once."""
    needed = {
        version.position
        for seconds in histories.values()
        if len(seconds) > 1 or len(seconds[0]) > 1
        for versions in seconds
        for version in versions
    }
    missing = needed - known.keys()
    fetched = Log(connection).at(sorted(missing)) if missing else {}
    return {
        position: known[position] if position in known else fetched[position].data
        for position in needed
    }


def _settle(
    seconds: Sequence[list[_Version]], bodies: Mapping[int, dict[str, Any]]
) -> list[tuple[_Version, Settled]]:
    """Return the winning version of each second with how it was settled."""
    before: Settled | None = None
    todo = list(seconds)
    if todo[0][0].is_before:
        before = _as_settled(todo.pop(0), bodies)
    states = settle_seconds(
        [[_fact(version, bodies) for version in versions] for versions in todo],
        seconds[0][0].kind,
        before,
    )
    return [
        (next(v for v in versions if v.stripe_event_id == state.winner.event_id), state)
        for versions, state in zip(todo, states, strict=True)
    ]


def _as_settled(versions: list[_Version], bodies: Mapping[int, dict[str, Any]]) -> Settled | None:
    winner = next((version for version in versions if version.mark is not None), None)
    if winner is None:
        return None
    fact = _fact(winner, bodies)
    return Settled(fact, fact.deletes, "clear")


def _fact(version: _Version, bodies: Mapping[int, dict[str, Any]]) -> Fact:
    body = bodies.get(version.position)
    if body is None:  # all that is known of its object: nothing to compare
        return Fact(version.stripe_event_id, version.type, {})
    return as_order_fact(version.stripe_event_id, body)
