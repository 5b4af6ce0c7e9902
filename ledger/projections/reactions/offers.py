"""Cancellations as rows: what was offered, and what came of it."""

from __future__ import annotations

from ledger.aggregates.retention_offer import RetentionOffer
from ledger.projections.projection import Connection
from ledger.projections.reactions.agenda import write_agenda

_FORGET = "DELETE FROM retention_offers WHERE id = %s"
_WRITE = """
INSERT INTO retention_offers (
    id, subscription_id, customer_id, campaign, campaign_version, mode, status, source, reason,
    currency, monthly_minor, tenure_months, in_holdout, offer, offer_kind, cost_minor,
    no_offer_because, assignee, opened_at, ends_at, shown_at, accepted_at, declined_at,
    withdrawn_at, ended_at, next_step, next_step_at, outcome, closed_at, language
) VALUES (
    %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s,
    %s, %s, %s, %s, %s, %s
)
"""


def status_of(offer: RetentionOffer) -> str:
    """Return how a cancellation stands: its outcome, else the last turn it took."""
    if offer.outcome is not None:
        return offer.outcome
    turns = (
        ("ended", offer.ended_at),
        ("accepted", offer.accepted_at),
        ("withdrawn", offer.withdrawn_at),
        ("declined", offer.declined_at),
        ("offered", offer.shown_at),
    )
    return next((name for name, at in turns if at is not None), "canceling")


def write_offer(connection: Connection, offer: RetentionOffer) -> None:
    """Write how a cancellation stands and what of it is due."""
    terms, chosen, pending = offer.terms, offer.offer, offer.all_pending
    following = min(pending, key=lambda step: step.due_at, default=None)
    connection.execute(_FORGET, [offer.id])
    connection.execute(
        _WRITE,
        [
            offer.id,
            terms.subscription,
            terms.customer_id,
            terms.campaign,
            terms.campaign_version,
            terms.mode,
            status_of(offer),
            terms.source,
            offer.reason,
            terms.currency,
            terms.monthly_minor,
            terms.tenure_months,
            terms.in_holdout,
            chosen.name if chosen else None,
            chosen.kind if chosen else None,
            chosen.cost_minor if chosen else None,
            offer.no_offer_because,
            terms.assignee,
            offer.created_on,
            offer.ends_at,
            offer.shown_at,
            offer.accepted_at,
            offer.declined_at,
            offer.withdrawn_at,
            offer.ended_at,
            following.name if following else None,
            following.due_at if following else None,
            offer.outcome,
            offer.closed_at,
            terms.language,
        ],
    )
    write_agenda(connection, offer.id, "step", [(step.name, step.due_at) for step in pending])
