"""What whoever performs effects of a kind is given, answers, and raises."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from ledger.aggregates.effect import EffectRequest
from ledger.aggregates.outbox import Outbox
from ledger.aggregates.sending import Brand
from ledger.errors import LedgerError
from ledger.stripe_objects.contacts import Contact


class EffectFailed(LedgerError):
    """An attempt that did not succeed; `is_final` if another would not either."""

    def __init__(self, because: str, *, is_final: bool = False) -> None:
        super().__init__(because)
        self.because = because
        self.is_final = is_final


class EffectPointless(LedgerError):
    """There is nobody to reach, or nothing to do any more."""


class AddressRefused(LedgerError):
    """A mail server knows that there is no such address."""

    def __init__(self, address: str) -> None:
        super().__init__("address refused")
        self.address = address


@dataclass(frozen=True)
class Task:
    """An effect to perform. `key` never changes for it; `attempt` counts from 1.

    `contact` is who the customer is, opened for the occasion; None where the team is meant.
    """

    key: str
    attempt: int
    request: EffectRequest
    outbox: Outbox
    contact: Contact | None
    product: str | None
    brand: Brand
    public_url: str


@dataclass(frozen=True)
class Receipt:
    """What the outside answered: what it calls the effect, and what else is worth keeping."""

    reference: str | None
    answer: dict[str, Any] = field(default_factory=dict)


class Performer(Protocol):
    """Performs the effects of one kind."""

    def perform(self, task: Task) -> Receipt:
        """Do it once; raise EffectFailed or EffectPointless."""
