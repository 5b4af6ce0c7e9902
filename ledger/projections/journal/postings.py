"""Postings, and schedules of what is earned: what a document's statement consists of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

import msgspec

from ledger.projections.journal.accounts import Account
from ledger.projections.journal.notes import Note

N = TypeVar("N")
_encode = msgspec.json.Encoder().encode
Amounts = Mapping[Account, int] | Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Posting:
    """An amount on an account: debit positive, minor units; `at` in unix seconds UTC."""

    at: int
    reason: str
    source: str
    account: str
    currency: str
    amount_minor: int

    def reversed(self) -> Posting:
        """Return what takes this back."""
        return replace(self, amount_minor=-self.amount_minor)


@dataclass(frozen=True, slots=True)
class Schedule:
    """An amount that is earned evenly over [start, end), counted from `since` on.

    What of the period is over by `since` is earned then. Unix seconds UTC, minor units.
    """

    source: str
    line: str
    currency: str
    amount_minor: int
    since: int
    start: int
    end: int
    price: str | None
    product: str | None

    def reversed(self) -> Schedule:
        """Return what takes this back."""
        return replace(self, amount_minor=-self.amount_minor)


@dataclass(slots=True)
class Statement:
    """Everything that follows from one document."""

    document: str
    postings: list[Posting] = field(default_factory=list)
    schedules: list[Schedule] = field(default_factory=list)

    def post(
        self,
        at: int,
        reason: str,
        currency: str,
        amounts: Amounts,
        source: str | None = None,
    ) -> None:
        """Post amounts that add up to 0; `source`: the object, where not the document itself."""
        self.postings += (
            Posting(at, reason, source or self.document, str(account), currency, amount)
            for account, amount in amounts.items()
            if amount
        )

    def take_back(self, at: int, reason: str, currency: str, amounts: Amounts, source: str) -> None:
        """Post the contrary of amounts that were posted."""
        contrary = {account: -amount for account, amount in amounts.items()}
        self.post(at, reason, currency, contrary, source)

    def earn(
        self,
        line: str,
        currency: str,
        amount: int,
        *,
        since: int,
        start: int,
        end: int,
        price: str | None = None,
        product: str | None = None,
        source: str | None = None,
    ) -> None:
        """Let an amount be earned over a period."""
        if amount:
            source = source or self.document
            self.schedules.append(
                Schedule(source, line, currency, amount, since, start, end, price, product)
            )


def of_kind(notes: Iterable[Note], kind: type[N]) -> list[N]:
    """Return the notes of one kind."""
    return [note for note in notes if isinstance(note, kind)]


def settled(notes: Iterable[N]) -> list[N]:
    """Return notes in an order that follows from what they say, not from who told them first.

    Where API versions tell the same thing differently, whoever takes the last takes the same.
    """
    return sorted(notes, key=_encode)
