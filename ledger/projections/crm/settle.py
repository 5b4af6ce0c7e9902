"""Step 2: which fact shows each touched object as it was at the end of each second."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
import psycopg
from psycopg.rows import class_row

from ledger.aggregates.base import as_order_fact, settle_seconds
from ledger.log import Log
from ledger.projections.crm.facts import OVERTAKEN, Row
from ledger.stripe_objects.order import Fact, Settled

# Deleted subscriptions and discounts stay what they were, with a status; other things are gone.
OUTLIVES_DELETION = frozenset({"subscription"})

Bodies = Mapping[int, Mapping[str, Any]]
Second = list[Row]
_State = tuple[str | None, tuple[str, ...], bool]

# From the second before the earliest touched one (what follows it may settle a tie there), with
# the state before that to start from.
_KNOWN = """
WITH touched (object_id, since) AS (
    SELECT * FROM unnest(%(ids)s::text[], %(since)s::timestamptz[])
), starting AS (
    SELECT object_id, since, coalesce((
        SELECT max(f.occurred_at) FROM facts AS f
        WHERE f.object_id = touched.object_id AND f.occurred_at < touched.since
            AND f.mark IS NOT NULL
    ), since) AS start
    FROM touched
)
SELECT f.position, f.object_id, f.kind, f.customer_id, f.occurred_at, f.stripe_event_id, f.type,
    f.mark, f.doubtful, f.is_deleted
FROM starting AS s
JOIN facts AS f ON f.object_id = s.object_id AND f.mark IS NOT NULL
    AND f.occurred_at >= coalesce((
        SELECT max(e.occurred_at) FROM facts AS e
        WHERE e.object_id = s.object_id AND e.occurred_at < s.start AND e.mark IS NOT NULL
    ), s.start)
"""

_SETTLED = """
UPDATE facts AS f
SET mark = s.mark, doubtful = string_to_array(s.doubtful, E'\\n'), is_deleted = s.is_deleted,
    canonical = s.canonical
FROM unnest(
    %(positions)s::bigint[], %(marks)s::text[], %(doubtful)s::text[], %(deleted)s::boolean[],
    %(canonical)s::jsonb[]
) AS s (position, mark, doubtful, is_deleted, canonical)
WHERE f.position = s.position
"""

_CURRENT = """
INSERT INTO objects (object_id, kind, customer_id, created, position)
SELECT object_id, kind, customer_id, coalesce((canonical ->> 'created')::bigint, 0), position
FROM facts WHERE position = ANY (%(positions)s)
ON CONFLICT (object_id) DO UPDATE SET
    kind = EXCLUDED.kind, customer_id = EXCLUDED.customer_id, created = EXCLUDED.created,
    position = EXCLUDED.position
WHERE objects.position <> EXCLUDED.position
"""


class Settlement(msgspec.Struct):
    """What settling found: what shows each object now, and which known facts are now told anew."""

    current: list[Row] = []
    changed: list[Row] = []


def by_object(rows: Iterable[Row]) -> dict[str, list[Second]]:
    """Return rows by object and second, in the order of time."""
    grouped: dict[str, dict[datetime, Second]] = defaultdict(dict)
    for row in rows:
        assert row.object_id is not None
        grouped[row.object_id].setdefault(row.occurred_at, []).append(row)
    return {
        object_id: [seconds[at] for at in sorted(seconds)] for object_id, seconds in grouped.items()
    }


def settle_touched(
    connection: psycopg.Connection[tuple[Any, ...]], rows: Iterable[Row], bodies: Bodies
) -> Settlement:
    """Settle the objects of new rows, from the earliest touched second on, with what is known.

    The new rows, which are not in the database yet, get their state; known rows that get
    another one are returned.
    """
    new = by_object(rows)
    found = Settlement()
    if not new:
        return found
    since = {object_id: seconds[0][0].occurred_at for object_id, seconds in new.items()}
    known = _known(connection, since)
    todo: list[tuple[list[Second], Row | None]] = []
    needed: set[int] = set()
    for object_id, seconds in new.items():
        merged, before = _merged(known.get(object_id, []), seconds)
        todo.append((merged, before))
        needed.update(row.position for second in merged for row in second)
        if before is not None and _looks_back(merged[0], bodies):
            needed.add(before.position)
    missing = sorted(needed - bodies.keys())
    fetched = Log(connection).at(missing) if missing else {}
    all_bodies = {**bodies, **{at: event.data for at, event in fetched.items()}}
    was = {
        row.position: _state(row)
        for seconds in known.values()
        for second in seconds
        for row in second
    }
    for seconds, before in todo:
        found.current.append(settle_object(seconds, all_bodies, before))
        found.changed += [
            row
            for second in seconds
            for row in second
            if row.position in was and was[row.position] != _state(row)
        ]
    return found


def settle_object(seconds: Sequence[Second], bodies: Bodies, before: Row | None = None) -> Row:
    """Set the state of every row of one object; return the row that shows what it is at the end.

    `before` is the row that shows it as it was before the first of these seconds.
    """
    kind = seconds[0][0].kind
    earlier = _fact(before, bodies) if before else None
    states = settle_seconds(
        [[_fact(row, bodies) for row in second] for second in seconds],
        kind,
        Settled(earlier, earlier.deletes, "clear") if earlier else None,
    )
    for second, state in zip(seconds, states, strict=True):
        for row in second:
            if row.stripe_event_id == state.winner.event_id:
                winner = row
                row.mark, row.doubtful = state.mark, state.doubtful
                row.is_deleted = state.is_deleted and kind not in OUTLIVES_DELETION
            else:
                row.mark, row.doubtful, row.is_deleted = OVERTAKEN, (), False
            row.show(bodies[row.position])
    return winner


def write_settled(connection: psycopg.Connection[tuple[Any, ...]], settlement: Settlement) -> None:
    """Write what settling changed of known facts, and which fact shows each object now."""
    if changed := settlement.changed:
        connection.execute(
            _SETTLED,
            {
                "positions": [row.position for row in changed],
                "marks": [row.mark for row in changed],
                "doubtful": ["\n".join(row.doubtful) for row in changed],
                "deleted": [row.is_deleted for row in changed],
                "canonical": [row.canonical and row.canonical.decode() for row in changed],
            },
        )
    if settlement.current:
        connection.execute(_CURRENT, {"positions": [row.position for row in settlement.current]})


def _known(
    connection: psycopg.Connection[tuple[Any, ...]], since: Mapping[str, datetime]
) -> dict[str, list[Second]]:
    with connection.cursor(row_factory=class_row(Row)) as cursor:
        cursor.execute(_KNOWN, {"ids": list(since), "since": list(since.values())})
        return by_object(cursor.fetchall())


def _merged(known: list[Second], new: list[Second]) -> tuple[list[Second], Row | None]:
    """Return the seconds to settle, known rows among the new ones, and the row before them.

    Of what is known there are at most two seconds before the first new one. The later of them
    is settled again only if it holds a tie, which the first new second may decide.
    """
    first = new[0][0].occurred_at
    earlier = [second for second in known if second[0].occurred_at < first]
    before: Row | None = None
    if earlier and len(earlier[-1]) == 1:
        before = earlier[-1][0]
        earlier = []
    elif len(earlier) == 2:
        before = next((row for row in earlier[0] if row.mark != OVERTAKEN), None)
        earlier = earlier[1:]
    by_second: dict[datetime, Second] = {second[0].occurred_at: [*second] for second in new}
    for second in known:
        if second[0].occurred_at >= first:
            by_second.setdefault(second[0].occurred_at, []).extend(second)
    return [*earlier, *(by_second[at] for at in sorted(by_second))], before


def _looks_back(second: Second, bodies: Bodies) -> bool:
    """Return whether settling this second asks what the object was before."""
    if len(second) > 1:
        return True
    body = bodies.get(second[0].position)
    return body is None or _fact(second[0], bodies).previous is not None


def _fact(row: Row, bodies: Bodies) -> Fact:
    assert row.stripe_event_id is not None
    body = bodies.get(row.position)
    if body is None:  # nobody asks what it shows, see `_looks_back`
        return Fact(row.stripe_event_id, row.type, {})
    return as_order_fact(row.stripe_event_id, body)


def _state(row: Row) -> _State:
    return row.mark, tuple(row.doubtful), row.is_deleted
