"""Step 1: what each event says — of its object, of whom it names, of whom that is traced to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
import psycopg

from ledger.aggregates import BY_TOPIC, Account, StripeFact
from ledger.aggregates.base import is_set_aside
from ledger.database import wire
from ledger.log import RecordedEvent
from ledger.stripe_objects.fields import nested, text
from ledger.stripe_objects.readers import view_of
from ledger.stripe_objects.references import kind_of, links_of, object_key

_encode = msgspec.json.Encoder().encode

# Recorded, but nothing that happened to anybody.
NOT_PROJECTED = frozenset(
    {
        Account.ConflictingDelivery.TOPIC,
        Account.DeliveryUnreadable.TOPIC,
        Account.GapFilled.TOPIC,
        Account.CatalogueObserved.TOPIC,
        Account.BalanceObserved.TOPIC,
        Account.InvoiceLinesObserved.TOPIC,
        Account.CardsAsked.TOPIC,
        Account.KeysPurged.TOPIC,
        Account.BackupVerified.TOPIC,
        Account.Audited.TOPIC,
        Account.RatesImported.TOPIC,
        Account.PeriodClosed.TOPIC,
        Account.DefinitionsAdded.TOPIC,
        Account.DefinitionsAdopted.TOPIC,
    }
)


# What happened more than once in a second and counts each time.
COUNTED = frozenset({"payment_intent.payment_failed", "charge.failed"})
OVERTAKEN = "overtaken"


class Row(msgspec.Struct):
    """What one event says: a row of `facts` (see tables.sql for what its members mean).

    Settling sets the last five; `created` is the object's, in unix seconds, 0 where it does not
    say.
    """

    position: int
    object_id: str | None
    kind: str
    customer_id: str | None
    occurred_at: datetime
    stripe_event_id: str | None
    type: str
    mark: str | None = None
    doubtful: Sequence[str] = ()
    is_deleted: bool = False
    canonical: bytes | None = None
    created: int = 0

    def show(self, body: Mapping[str, Any]) -> None:
        """Set what this fact shows of its object, if it is to be kept."""
        if self.mark == OVERTAKEN and self.type not in COUNTED:
            self.canonical = None
            return
        view = view_of(nested(body, "data", "object"))
        self.canonical = _encode(view)
        self.created = view.created or 0


class Rows(msgspec.Struct):
    """What a batch of events says."""

    facts: list[Row] = []
    links: dict[tuple[str, str, str], int] = {}  # (from, to, relation): where it is told first

    @property
    def versions(self) -> Iterable[Row]:
        """The facts that show an object which lasts."""
        return (row for row in self.facts if row.mark is not None)


def rows_of(events: Iterable[RecordedEvent]) -> Rows:
    """Return the rows of a batch; needs nothing but the events."""
    rows = Rows()
    for event in events:
        if event.topic in NOT_PROJECTED or is_set_aside(event.data):
            continue
        if fact := BY_TOPIC.get(event.topic):  # others a newer release or a decision wrote
            _add(rows, event, fact)
    return rows


def _add(rows: Rows, event: RecordedEvent, fact: type[StripeFact]) -> None:
    data = nested(event.data, "data")
    obj = nested(data, "object")
    kind = kind_of(obj)
    key = object_key(kind, event.object_id) if event.object_id else None
    row = Row(
        event.position,
        key,
        kind,
        event.customer_id,
        event.occurred_at,
        event.stripe_event_id,
        text(event.data, "type") or event.topic,
    )
    rows.facts.append(row)
    if key is None:
        return
    if fact.has_state:
        row.mark = OVERTAKEN  # until it is settled
    for relation, target in links_of(obj, nested(data, "previous_attributes")):
        rows.links.setdefault((key, target, relation), event.position)


_FACTS = (
    b"COPY facts (position, object_id, kind, customer_id, occurred_at, stripe_event_id, type,"
    b" canonical, mark, doubtful, is_deleted) FROM STDIN (FORMAT binary)"
)


def insert_facts(
    connection: psycopg.Connection[tuple[Any, ...]],
    facts: Sequence[Row],
    links: Mapping[tuple[str, str, str], int],
) -> None:
    """Write settled facts, and links between objects that are not known yet."""
    copy_facts(connection, facts)
    if linked := sorted(links):
        sources, targets, relations = zip(*linked, strict=True)
        connection.execute(
            "INSERT INTO links (from_id, to_id, relation, position)"
            " SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::bigint[])"
            " ON CONFLICT DO NOTHING",
            [list(sources), list(targets), list(relations), [links[link] for link in linked]],
        )


def copy_facts(connection: psycopg.Connection[tuple[Any, ...]], facts: Iterable[Row]) -> None:
    """Write settled facts."""
    rows = (
        (
            wire.bigint(row.position),
            wire.text(row.object_id),
            row.kind.encode(),
            wire.text(row.customer_id),
            wire.instant(row.occurred_at),
            wire.text(row.stripe_event_id),
            row.type.encode(),
            b"\x01" + row.canonical if row.canonical is not None else None,
            wire.text(row.mark),
            wire.texts(row.doubtful),
            b"\x01" if row.is_deleted else b"\x00",
        )
        for row in facts
    )
    wire.copy_in(connection, _FACTS, rows)
