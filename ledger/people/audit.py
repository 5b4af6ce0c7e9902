"""Who did what: everything in the log that names somebody who acted."""

from __future__ import annotations

from typing import Any

from ledger.decisions import Connection

# Our own events only; a reader of what is personal is among those who act.
_LOG = """
SELECT position, topic, stream, customer_id, data, occurred_at FROM events
WHERE stripe_event_id IS NULL AND data ? 'actor' AND data ->> 'actor' IS NOT NULL
    AND (%(before)s::bigint IS NULL OR position < %(before)s)
    AND (%(actor)s::text IS NULL OR data ->> 'actor' = %(actor)s)
    AND (%(customer)s::text IS NULL OR customer_id = %(customer)s
        OR data -> 'subjects' ? %(customer)s)
ORDER BY position DESC LIMIT %(limit)s
"""


def access_log(
    connection: Connection,
    *,
    limit: int,
    before: int | None = None,
    actor: str | None = None,
    customer: str | None = None,
) -> tuple[list[dict[str, Any]], bool]:
    """Return what people and programs did, the newest first, and whether there is more.

    `customer` finds also who was told something personal of them.
    """
    given = {"before": before, "actor": actor, "customer": customer, "limit": limit + 1}
    rows = connection.execute(_LOG.encode(), given).fetchall()
    told = [
        {
            "object": "access",
            "id": position,
            "created": int(at.timestamp()),
            "actor": data["actor"],
            "type": topic,
            "stream": stream,
            "customer": customer_id,
            "what": data.get("what"),
            "subjects": data.get("subjects", []),
            "event": {"position": position, "url": f"/v1/events/{position}"},
        }
        for position, topic, stream, customer_id, data, at in rows[:limit]
    ]
    return told, len(rows) > limit
