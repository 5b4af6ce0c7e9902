"""Facts that contradict what was said of Stripe's settings when a campaign was switched on.

No API tells how Stripe is set; what it does shows. Each contradiction is told to the team once.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from ledger.aggregates.dunning_case import DunningCase
from ledger.policies.desk import Desk
from ledger.policies.dunning.campaign import DunningCampaign
from ledger.standing import Standing

TOLERANCE = timedelta(days=1)
_AFTER_THE_LAST_RETRY = {"cancel": "canceled", "unpaid": "unpaid", "pause": "paused"}


def tell(desk: Desk, case: DunningCase, campaign: DunningCampaign, standing: Standing) -> None:
    """Alert the team of each contradiction between the answers and this case."""
    answers = desk.sending.answers.get(campaign.name) or {}
    for setting, said, seen in _found(case, standing, answers):
        desk.alert(
            None,
            f"contradiction:{campaign.name}:{setting}:{said}",
            "facts_contradict",
            {"campaign": campaign.name, "setting": setting, "said": said, "seen": seen,
             "invoice": case.terms.invoice},
            campaign=campaign.name,
            mode=case.terms.mode,
        )  # fmt: skip


def _found(
    case: DunningCase, standing: Standing, answers: dict[str, Any]
) -> Iterator[tuple[str, Any, Any]]:
    window = answers.get("retry_window_days")
    following = case.failure.next_attempt_at
    if isinstance(window, int) and following is not None:
        span = following - case.terms.first_failed_at
        if span > timedelta(days=window) + TOLERANCE:
            yield "retry_window_days", window, span.days
    final = answers.get("final_action")
    subscription = standing.subscription
    if final is None or subscription is None or following is not None:
        return
    seen = next(
        (name for name, status in _AFTER_THE_LAST_RETRY.items() if subscription.status == status),
        None,
    )
    by_failure = seen != "cancel" or subscription.cancellation_reason == "payment_failed"
    if seen is not None and by_failure and seen != final:
        yield "final_action", final, seen
