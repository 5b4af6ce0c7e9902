"""Dunning cases as rows: how each stands, in the words the board has for it."""

from __future__ import annotations

from ledger.aggregates.dunning_case import DunningCase
from ledger.aggregates.steps import Step, Stepped
from ledger.projections.projection import Connection
from ledger.projections.reactions.agenda import write_agenda

_FORGET = "DELETE FROM dunning_cases WHERE id = %s"
_WRITE = """
INSERT INTO dunning_cases (
    id, invoice_id, customer_id, subscription_id, invoice_number, currency, amount_minor, campaign,
    campaign_version, mode, status, failures, decline_code, advice_code, decline_class,
    next_attempt_at, first_failed_at, opened_at, last_step, last_step_at, next_step, next_step_at,
    is_revoked, is_inactive, language, zone, outcome, closed_at
) VALUES (
    %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s,
    %s, %s, %s, %s
)
"""


def status_of(case: DunningCase) -> str:
    """Return how a case stands: its outcome, else what was done last."""
    if case.outcome is not None:
        return case.outcome
    if case.is_waiting:
        return "waiting"
    if case.is_paused:
        return "paused"
    if case.is_inactive:
        return "inactive"
    return "notified" if last_step(case, messages_only=True) else "retrying"


def last_step(case: Stepped, *, messages_only: bool = False) -> Step | None:
    """Return the step that was taken last, of those that reach the customer or of all."""
    done = [
        step
        for step in case.steps.values()
        if step.done_at is not None
        and step.outcome != "skipped"
        and not (messages_only and step.name.startswith("_"))
    ]
    return max(done, key=lambda step: (step.done_at, step.due_at), default=None)


def write_case(connection: Connection, case: DunningCase) -> None:
    """Write how a case stands and what of it is due."""
    terms, failure = case.terms, case.failure
    pending = case.all_pending
    following = None if case.rests else min(pending, key=lambda step: step.due_at, default=None)
    last = last_step(case)
    connection.execute(_FORGET, [case.id])
    connection.execute(
        _WRITE,
        [
            case.id,
            terms.invoice,
            terms.customer_id,
            terms.subscription,
            terms.number,
            terms.currency,
            terms.amount_due_minor,
            terms.campaign,
            terms.campaign_version,
            terms.mode,
            status_of(case),
            failure.failures,
            failure.decline_code,
            failure.advice_code,
            failure.decline_class,
            failure.next_attempt_at,
            terms.first_failed_at,
            case.created_on,
            last.name if last else None,
            last.done_at if last else None,
            following.name if following else None,
            following.due_at if following else None,
            case.is_revoked,
            case.is_inactive,
            terms.language,
            terms.zone,
            case.outcome,
            case.closed_at,
        ],
    )
    due = [] if case.rests else [(step.name, step.due_at) for step in pending]
    write_agenda(connection, case.id, "step", due)
