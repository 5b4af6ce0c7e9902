"""Effects as rows: everything that was asked for, and how far it is."""

from __future__ import annotations

from ledger.aggregates.effect import OPEN_STATES
from ledger.aggregates.outbox import Outbox
from ledger.projections.projection import Connection
from ledger.projections.reactions.agenda import write_agenda

_FORGET = "DELETE FROM effects WHERE stream = %s"
_WRITE = """
INSERT INTO effects (
    stream, key, customer_id, kind, what, purpose, campaign, language, state, because, attempts,
    asked_at, due_at, sent_at, reference, actor
) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""


def write_effects(connection: Connection, outbox: Outbox) -> None:
    """Write what an outbox holds."""
    connection.execute(_FORGET, [outbox.id])
    with connection.cursor() as cursor:
        cursor.executemany(
            _WRITE,
            [
                (
                    outbox.id,
                    key,
                    outbox.customer_id,
                    effect.request.kind,
                    effect.request.what,
                    effect.request.purpose,
                    effect.request.campaign,
                    effect.request.language,
                    effect.state,
                    effect.because,
                    effect.attempts,
                    effect.asked_at,
                    effect.due_at,
                    effect.sent_at,
                    effect.reference,
                    effect.request.actor,
                )
                for key, effect in outbox.effects.items()
            ],
        )
    write_agenda(
        connection,
        outbox.id,
        "effect",
        (
            (key, effect.due_at)
            for key, effect in outbox.effects.items()
            if effect.state in OPEN_STATES and effect.due_at is not None
        ),
    )
