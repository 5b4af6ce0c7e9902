"""What personal data was told to whom, as events: one for each request, before it is answered."""

from __future__ import annotations

import secrets
from collections.abc import Iterable

from ledger.aggregates.people import Access
from ledger.application import Ledger
from ledger.decisions import Connection, Decisions
from ledger.people.actors import Actor

SUBJECTS_MAX = 1_000  # of one event


def new_request_id() -> str:
    """Return an id for a request or a command, never used before."""
    return f"req_{secrets.token_hex(8)}"


def note_read(
    ledger: Ledger,
    connection: Connection,
    actor: Actor,
    request_id: str,
    what: str,
    subjects: Iterable[str],
) -> None:
    """Note whose personal data a request tells."""
    decisions = Decisions(connection, ledger.keys)
    decisions.add(
        Access.log(
            request_id,
            actor=actor.name,
            what=what,
            subjects=sorted(subjects),
            now=ledger.clock.now(),
        )
    )
    decisions.save()


def note_command(ledger: Ledger, actor: str, what: str, subjects: Iterable[str]) -> None:
    """Note whose personal data a command hands out."""
    program = Actor(actor, actor, frozenset())
    named = sorted(set(subjects))
    with ledger.pool.connection() as connection:
        for start in range(0, max(len(named), 1), SUBJECTS_MAX):
            chunk = named[start : start + SUBJECTS_MAX]
            note_read(ledger, connection, program, new_request_id(), what, chunk)
