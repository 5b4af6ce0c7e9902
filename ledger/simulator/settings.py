"""What an account can set in Stripe's dashboard and the simulator follows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

NEWEST = "2026-10-28.endive"

FinalAction = Literal["cancel", "unpaid", "past_due", "pause"]


@dataclass(frozen=True, slots=True)
class AccountSettings:
    """How the account bills; days and seconds count on the virtual clock.

    `final_action` is what becomes of a subscription when the last retry has failed,
    `invoice_final_action` what becomes of its invoice.
    """

    api_version: str = NEWEST
    country: str = "US"
    display_name: str = "Warung Digital"
    timezone: str = "Asia/Makassar"
    retry_after_days: tuple[int, ...] = (3, 5, 7, 7)
    final_action: FinalAction = "cancel"
    invoice_final_action: Literal["open", "uncollectible"] = "open"
    unpaid_after_due_days: int = 30
    draft_seconds: int = 3_600
    upcoming_days: int | None = 7
    payout_every_days: int | None = 7
    cancels_on_dispute: bool = False
