"""What people may demand about their data and is done at Stripe, whose events then tell the ledger.

To correct (GDPR Art. 16): what was recorded before stays in the log, under the person's key; what
is shown is the newest. To be forgotten (Art. 17): here see erasure.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ledger.aggregates.decision import DecisionRefused
from ledger.aggregates.effect import EffectRequest, EffectState
from ledger.effects.stripe_actions import DELETE_CUSTOMER, RECTIFIABLE, UPDATE_CUSTOMER
from ledger.errors import NotFound, RequestInvalid
from ledger.policies.desk import Desk


def rectify(desk: Desk, customer_id: str, changes: Mapping[str, str], *, actor: str) -> EffectState:
    """Let these fields be corrected at Stripe; return how far that is.

    Raises NotFound, RequestInvalid for nothing to correct, DecisionRefused where nothing may be
    changed at Stripe.
    """
    desk.require_customer(customer_id)
    unknown = sorted(set(changes) - set(RECTIFIABLE))
    if unknown or not changes:
        wrong = f"{', '.join(unknown)} cannot be corrected. " if unknown else ""
        raise RequestInvalid(f"{wrong}Say which is to be what: {', '.join(RECTIFIABLE)}.")
    return _ask(desk, customer_id, UPDATE_CUSTOMER, actor, dict(changes))


def delete_at_stripe(desk: Desk, customer_id: str, *, actor: str) -> EffectState:
    """Let a customer be deleted at Stripe, which ends their subscriptions; raises like `rectify`.

    Ask before the erasure: whatever comes after it finds nobody of that name.
    """
    if not desk.standing(customer_id, None).facts:
        raise NotFound(f"There is no customer {customer_id!r} in this ledger.")
    return _ask(desk, customer_id, DELETE_CUSTOMER, actor, None)


def _ask(
    desk: Desk, customer_id: str, what: str, actor: str, text: dict[str, Any] | None
) -> EffectState:
    if (obstacle := desk.obstacle("stripe")) is not None:
        raise DecisionRefused(
            f"Nothing may be changed at Stripe ({obstacle}): do it in Stripe's dashboard, or let"
            " it by `ledger effects on stripe`, `ledger effects claim` and STRIPE_API_KEY."
        )
    request = EffectRequest(
        f"{what}:{desk.read_until}",
        "stripe",
        what,
        "action",
        {"customer": customer_id},
        actor=actor,
        text=text,
    )
    return desk.ask(customer_id, request)
