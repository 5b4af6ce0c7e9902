"""Terms of coupons and tiered prices, kept where they were told first: at Stripe they never change.

A coupon tells its terms in every event about it. The tiers of a price are in no event; they, and
coupons from before the ledger began, are fetched once (`Account.CatalogueObserved`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from ledger.aggregates import Account
from ledger.aggregates.base import CATALOGUE_STREAM, is_set_aside
from ledger.log import Log, RecordedEvent
from ledger.projections.projection import Connection
from ledger.stripe_objects.fields import nested
from ledger.stripe_objects.readers import view_of
from ledger.stripe_objects.references import kind_of, terms_key
from ledger.stripe_objects.views import CatalogueItem

_encode = msgspec.json.Encoder().encode

_INSERT = """
INSERT INTO catalogue_terms (key, position, terms) VALUES (%s, %s, %s)
ON CONFLICT DO NOTHING RETURNING key
"""
_COUPONS = """
SELECT o.object_id, (SELECT array_agg(f.position ORDER BY f.position) FROM facts AS f
    WHERE f.object_id = o.object_id AND f.position <= %(until)s)
FROM objects AS o WHERE o.kind = 'coupon'
"""
LOOKED_AT = 3  # of a coupon's facts at once; the first nearly always tells the terms


def learn(connection: Connection, events: Iterable[RecordedEvent]) -> set[str]:
    """Keep the terms that these events are the first to tell; return whose numbers they change."""
    new = [key for event in events for key in _keep(connection, event)]
    if not new:
        return set()
    rows = connection.execute(
        "SELECT customer_id FROM catalogue_uses WHERE key = ANY (%s)", [new]
    ).fetchall()
    return {row[0] for row in rows}


def load(connection: Connection, until: int) -> None:
    """Keep all terms that were told up to a position."""
    log = Log(connection)
    observed = [event for event in log.stream(CATALOGUE_STREAM) if event.position <= until]
    by_key: dict[str, list[int]] = {
        key: positions or [] for key, positions in connection.execute(_COUPONS, {"until": until})
    }
    first: dict[str, RecordedEvent] = {}
    while by_key:
        asked = {key: positions[:LOOKED_AT] for key, positions in by_key.items()}
        found = log.at([position for positions in asked.values() for position in positions])
        for key, positions in asked.items():
            for position in positions:
                if key not in first and any(True for _ in _told(found[position])):
                    first[key] = found[position]
        by_key = {
            key: rest
            for key, positions in by_key.items()
            if key not in first and (rest := positions[LOOKED_AT:])
        }
    for event in sorted([*first.values(), *observed], key=lambda event: event.position):
        for _ in _keep(connection, event):
            pass


def _keep(connection: Connection, event: RecordedEvent) -> Iterator[str]:
    for key, item in _told(event):
        row = connection.execute(_INSERT, [key, event.position, _encode(item).decode()]).fetchone()
        if row is not None:
            yield key


def _told(event: RecordedEvent) -> Iterator[tuple[str, CatalogueItem]]:
    """Yield the key and the terms that an event tells, if it does."""
    obj: dict[str, Any] = nested(event.data, "data", "object")
    kind = kind_of(obj)
    if kind not in ("coupon", "price", "plan") or is_set_aside(event.data):
        return
    item = view_of(obj)
    if not isinstance(item, CatalogueItem) or item.id is None:
        return
    if kind == "coupon" and (item.percent_off is not None or item.amount_off is not None):
        yield terms_key(kind, item.id), item
    elif item.tiers and event.topic == Account.CatalogueObserved.TOPIC:
        yield terms_key("price", item.id), item
