"""What a customer wants to be sent: offers or none; notices about what they pay for always come.

Who wants offers says so twice: on a page, and by the link in a mail that only they can read.
"""

from __future__ import annotations

from ledger.aggregates.effect import EffectRequest, EffectState
from ledger.effects.mail import CONFIRM_OFFERS
from ledger.policies.desk import Desk


def ask_to_confirm(desk: Desk, customer_id: str, actor: str | None = None) -> EffectState:
    """Let a customer be asked by mail whether they really want offers: once a day at most."""
    request = EffectRequest(
        f"{CONFIRM_OFFERS}:{desk.now:%Y-%m-%d}",
        "mail",
        CONFIRM_OFFERS,
        "confirmation",
        language=desk.addressing(desk.standing(customer_id, None)).language,
        actor=actor,
    )
    return desk.ask(customer_id, request)
