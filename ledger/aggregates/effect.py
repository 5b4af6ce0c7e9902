"""Effects: what is asked for that is to reach the outside, and how far it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from ledger.aggregates.decision import DecisionEvent

Purpose = Literal["notice", "marketing", "confirmation", "action", "alert"]
EffectState = Literal[
    "requested", "attempted", "failed", "sent", "dead", "suppressed", "shadowed", "withdrawn",
    "dropped",
]  # fmt: skip
OPEN_STATES = frozenset({"requested", "attempted", "failed"})
# What is done at Stripe about whether a subscription goes on: of two the one asked for last counts.
LEAVING = frozenset({"schedule_cancellation"})
STAYING = frozenset(
    {"withdraw_cancellation", "discount", "pause_for", "change_plan", "extend_trial"}
)


@dataclass(frozen=True)
class EffectRequest:
    """Something that is to be done outside; `params` hold nothing personal.

    `key` is unique for the customer and decides what is the same. `what`: the template, or the
    action at Stripe. `unless` names what makes it pointless, looked at again right before it goes
    out. `text` is what a person wrote, encrypted.
    """

    key: str
    kind: str
    what: str
    purpose: Purpose
    params: dict[str, Any] = field(default_factory=dict)
    language: str | None = None
    campaign: str | None = None
    unless: dict[str, str] = field(default_factory=dict)
    expires_at: datetime | None = None
    actor: str | None = None
    text: dict[str, str] | None = None


@dataclass
class Effect:
    """How far something is that was asked for."""

    request: EffectRequest
    state: EffectState
    asked_at: datetime
    attempts: int = 0  # since it was asked for, or a person let it be tried again
    tries: int = 0  # all of them
    due_at: datetime | None = None
    sent_at: datetime | None = None
    reference: str | None = None  # what the outside calls it
    because: str | None = None  # why it is not sent

    def disturbs_after(self, since: datetime) -> bool:
        """Return whether it is a message, that went out since or will, and not one asked for."""
        return (
            self.request.kind in ("mail", "sms")
            and self.request.purpose in ("notice", "marketing")
            and (self.state in OPEN_STATES or self.state == "sent")
            and (self.sent_at or self.asked_at) > since
        )


class Asked(DecisionEvent):
    """What every way to ask for an effect records."""

    TOPIC = "Outbox.Asked"
    PERSONAL = frozenset({"text"})

    key: str
    kind: str
    what: str
    purpose: str
    params: dict[str, Any]
    customer_id: str | None
    language: str | None
    campaign: str | None
    unless: dict[str, str]
    expires_at: datetime | None
    actor: str | None
    read_until: int
    text: dict[str, str] | None = None

    @property
    def request(self) -> EffectRequest:
        """Return what was asked for."""
        return EffectRequest(
            self.key,
            self.kind,
            self.what,
            self.purpose,  # type: ignore[arg-type]  # as it was stored
            self.params,
            self.language,
            self.campaign,
            self.unless,
            self.expires_at,
            self.actor,
            self.text,
        )
