"""From notes to entries: what each position changed in what is known of a document."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

import msgspec
from psycopg.rows import class_row

from ledger.clock import utc
from ledger.database import wire
from ledger.projections.difference import difference
from ledger.projections.journal.documents import statement_of
from ledger.projections.journal.notes import Note, Told
from ledger.projections.journal.postings import Posting, Schedule
from ledger.projections.projection import Connection

_decode = msgspec.json.Decoder(Note).decode

_NOTES = """
SELECT document, position, recorded_at, customer_id,
    convert_to(content::text, 'UTF8') AS content
FROM journal_notes
WHERE document = ANY (%s) ORDER BY document, position, digest
"""
_INSERT = """
INSERT INTO journal_notes (document, position, recorded_at, customer_id, digest, content)
SELECT * FROM unnest(
    %s::text[], %s::bigint[], %s::timestamptz[], %s::text[], %s::bytea[], %s::jsonb[]
)
ON CONFLICT DO NOTHING RETURNING document
"""
_NOTES_IN = (
    b"COPY journal_notes (document, position, recorded_at, customer_id, digest, content)"
    b" FROM STDIN (FORMAT binary)"
)
_ENTRIES = (
    b"COPY journal_entries (position, recorded_at, valid_at, booked_at, document, source,"
    b" customer_id, reason, account, currency, amount_minor) FROM STDIN"
)
_SCHEDULES = (
    b"COPY journal_schedules (position, valid_at, since, document, source, line, customer_id,"
    b" currency, amount_minor, starts_at, ends_at, price, product) FROM STDIN"
)


class _Kept(msgspec.Struct, frozen=True):
    """A row of `journal_notes`."""

    document: str
    position: int
    recorded_at: datetime
    customer_id: str | None
    content: bytes


@dataclass(frozen=True, slots=True)
class Learnt:
    """What one position changed in one document."""

    document: str
    position: int
    recorded_at: datetime
    customer: str | None
    postings: list[Posting]
    schedules: list[Schedule]


@dataclass(frozen=True)
class Closings:
    """Which months were closed, and after which position what is learnt comes too late."""

    positions: Sequence[int]  # the last ones that the closed months hold, rising
    ends: Sequence[datetime]

    def open_at(self, position: int) -> datetime | None:
        """Return since when the books were open for an event of this position; None: always."""
        index = bisect_left(self.positions, position)
        return self.ends[index - 1] if index else None


def keep_notes(connection: Connection, told: Iterable[Told]) -> set[str]:
    """Keep notes that nobody told before; return whose they are.

    They must come in the order of positions, at least for each document.
    """
    first = _first(told)
    if not first:
        return set()
    rows = connection.execute(
        _INSERT,
        [
            [one.document for one in first.values()],
            [one.position for one in first.values()],
            [one.recorded_at for one in first.values()],
            [one.customer for one in first.values()],
            [digest for _, digest in first],
            [one.content.decode() for one in first.values()],
        ],
    ).fetchall()
    return {row[0] for row in rows}


def load_notes(connection: Connection, told: Iterable[Told]) -> None:
    """Keep notes of objects of which none are kept yet: all that is told of one comes at once."""
    rows = (
        (
            one.document.encode(),
            wire.bigint(one.position),
            wire.instant(one.recorded_at),
            wire.text(one.customer),
            digest,
            b"\x01" + one.content,
        )
        for (_, digest), one in _first(told).items()
    )
    wire.copy_in(connection, _NOTES_IN, rows)


def _first(told: Iterable[Told]) -> dict[tuple[str, bytes], Told]:
    """Return of each content the note that told it first."""
    first: dict[tuple[str, bytes], Told] = {}
    for one in told:
        first.setdefault((one.document, one.digest), one)
    return first


def learnt(connection: Connection, documents: Sequence[str], after: int) -> Iterator[Learnt]:
    """Yield what each position after one changed in these documents, document by document."""
    with connection.cursor(binary=True, row_factory=class_row(_Kept)) as cursor:
        rows = cursor.execute(_NOTES, [list(documents)]).fetchall()
    for document, notes in groupby(rows, key=lambda row: row.document):
        yield from _of_document(document, list(notes), after)


def _of_document(document: str, rows: Sequence[_Kept], after: int) -> Iterator[Learnt]:
    earlier = [row for row in rows if row.position <= after]
    known = [_decode(row.content) for row in earlier]
    customer = next((row.customer_id for row in earlier if row.customer_id), None)
    before = statement_of(document, known)
    later = (row for row in rows if row.position > after)
    for position, told in groupby(later, key=lambda row: row.position):
        for row in told:
            known.append(_decode(row.content))
            customer = customer or row.customer_id
            recorded_at = row.recorded_at
        now = statement_of(document, known)
        yield Learnt(
            document,
            position,
            recorded_at,
            customer,
            difference(before.postings, now.postings),
            difference(before.schedules, now.schedules),
        )
        before = now


def write(connection: Connection, changes: Iterable[Learnt], closings: Closings) -> None:
    """Write what was learnt, each in the month that was open then."""
    made = list(changes)
    with connection.cursor() as cursor, cursor.copy(_ENTRIES) as copy:
        for one in made:
            opened = closings.open_at(one.position)
            for posting in one.postings:
                at = utc(posting.at)
                copy.write_row(
                    (
                        one.position, one.recorded_at, at, _not_before(at, opened),
                        one.document, posting.source, one.customer, posting.reason,
                        posting.account, posting.currency, posting.amount_minor,
                    )
                )  # fmt: skip
    with connection.cursor() as cursor, cursor.copy(_SCHEDULES) as copy:
        for one in made:
            opened = closings.open_at(one.position)
            for each in one.schedules:
                since = utc(each.since)
                copy.write_row(
                    (
                        one.position, since, _not_before(since, opened), one.document,
                        each.source, each.line, one.customer, each.currency, each.amount_minor,
                        utc(each.start), utc(each.end), each.price, each.product,
                    )
                )  # fmt: skip


def _not_before(at: datetime, opened: datetime | None) -> datetime:
    return at if opened is None else max(at, opened)
