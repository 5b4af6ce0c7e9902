"""What may be told of documents: the notes that statements follow from."""

from __future__ import annotations

from datetime import datetime
from hashlib import sha256

import msgspec

from ledger.money import split


class _Note(msgspec.Struct, frozen=True, tag=True, tag_field="told", omit_defaults=True):
    """`at`: when it happened, unix seconds UTC. Amounts are minor units of `currency`."""

    at: int


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line of an invoice: what it asks without tax and discounts, for a period of service."""

    id: str
    net: int
    start: int
    end: int
    price: str | None = None
    product: str | None = None


class Sale(_Note, frozen=True, tag=True, tag_field="told"):
    """An invoice was finalized. `applied`: what it took from the customer's credit balance."""

    currency: str
    total: int
    applied: int
    lines: list[Line]
    taxes: dict[str, int]
    due_at: int
    all_lines: bool = True


class LinesTold(_Note, frozen=True, tag=True, tag_field="told"):
    """All lines of an invoice of which an event told only the first."""

    lines: list[Line]


class Paid(_Note, frozen=True, tag=True, tag_field="told"):
    """So much of an invoice is paid by now, of it `elsewhere` not through Stripe."""

    amount: int
    elsewhere: int = 0


class GivenUp(_Note, frozen=True, tag=True, tag_field="told"):
    """An invoice was marked uncollectible."""


class Voided(_Note, frozen=True, tag=True, tag_field="told"):
    """An invoice was voided."""


class Credited(_Note, frozen=True, tag=True, tag_field="told"):
    """A credit note was issued: less is owed (`before`), or paid money goes back.

    `lines`: amounts with tax by invoice line; what names none is the invoice's as a whole.
    `untold`: what is given back in a way that is not told.
    """

    note: str
    amount: int
    taxes: dict[str, int]
    lines: dict[str, int]
    before: int = 0
    refunded: int = 0
    credit: int = 0
    elsewhere: int = 0
    untold: int = 0


class NoteVoided(_Note, frozen=True, tag=True, tag_field="told"):
    """A credit note was voided."""

    note: str


class Captured(_Note, frozen=True, tag=True, tag_field="told"):
    """A charge took money. `exact`: told by the event that did it, so that its time is right."""

    currency: str
    amount: int
    exact: bool = False


class Returned(_Note, frozen=True, tag=True, tag_field="told"):
    """A charge counts so much as refunded."""

    currency: str
    amount: int


class Refunded(_Note, frozen=True, tag=True, tag_field="told"):
    """A refund gave money back."""

    refund: str
    currency: str
    amount: int


class RefundFailed(_Note, frozen=True, tag=True, tag_field="told"):
    """A refund came to nothing: the money is the account's again."""

    refund: str


class Disputed(_Note, frozen=True, tag=True, tag_field="told"):
    """A dispute moved money; what it moved is told with its fee, under a balance transaction."""

    transaction: str
    currency: str
    amount: int
    fee: int


class PaidOut(_Note, frozen=True, tag=True, tag_field="told"):
    """A payout left for the bank."""

    currency: str
    amount: int


class Arrived(_Note, frozen=True, tag=True, tag_field="told"):
    """A payout arrived."""


class SentBack(_Note, frozen=True, tag=True, tag_field="told"):
    """A payout came back or was canceled."""


class SoldAtOnce(_Note, frozen=True, tag=True, tag_field="told"):
    """A checkout without an invoice was paid."""

    currency: str
    amount: int
    tax: int = 0


class Credit(_Note, frozen=True, tag=True, tag_field="told"):
    """A customer's balance: negative is credit. `before`: what it had been, if that is told."""

    event: str
    currency: str
    balance: int
    before: int | None = None


class Moved(_Note, frozen=True, tag=True, tag_field="told"):
    """A balance transaction was observed: gross amount and what Stripe kept of it.

    If the money was converted, `source_amount` is in `source_currency`.
    """

    currency: str
    amount: int
    fee: int
    type: str
    source: str | None = None
    source_amount: int | None = None
    source_currency: str | None = None


_OfInvoice = Sale | LinesTold | Paid | GivenUp | Voided | Credited | NoteVoided
_OfPayment = Captured | Returned | Refunded | RefundFailed | Disputed | SoldAtOnce
Note = _OfInvoice | _OfPayment | PaidOut | Arrived | SentBack | Credit | Moved


class Told(msgspec.Struct, frozen=True):
    """A note about a document, as it is kept: once per content."""

    document: str
    position: int
    recorded_at: datetime
    customer: str | None
    content: bytes

    @property
    def digest(self) -> bytes:
        """What tells one content from another."""
        return sha256(self.content).digest()[:16]


def fitted(lines: list[Line], net: int, at: int) -> list[Line]:
    """Return lines that add up to what the invoice says they do, without tax.

    Versions that do not tell a line's share of a discount leave a difference; it is shared out.
    """
    rest = net - sum(line.net for line in lines)
    if not rest:
        return lines
    parts = split(rest, [max(line.net, 0) for line in lines])
    if not any(parts):
        return [*lines, Line("", rest, at, at)]
    return [
        msgspec.structs.replace(line, net=line.net + part)
        for line, part in zip(lines, parts, strict=True)
    ]
