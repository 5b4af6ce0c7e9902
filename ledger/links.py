"""Links in mails: signed, each for one purpose and one thing, and good for some time only.

A link says what it is for, so that one made for paying cannot cancel; what it leads to (a session
of Stripe's portal, say) is made when somebody follows it, and never stored.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from itsdangerous import BadSignature, SignatureExpired, URLSafeTimedSerializer

from ledger.errors import LedgerError
from ledger.privacy.master import MasterKey

Purpose = Literal[
    "update_payment", "pay", "offer", "cancel", "unsubscribe", "preferences", "confirm"
]
PURPOSES: tuple[Purpose, ...] = get_args(Purpose)
# Stripe's retries last two months at most; nobody unsubscribes from a mail too late.
DAYS: dict[Purpose, int] = {
    "update_payment": 45,
    "pay": 45,
    "offer": 30,
    "cancel": 7,
    "unsubscribe": 3650,
    "preferences": 3650,
    "confirm": 7,
}


class LinkInvalid(LedgerError):
    """A link that was not made here, or was changed, or is for something else."""


class LinkExpired(LedgerError):
    """A link that was good once."""


@dataclass(frozen=True)
class Link:
    """What a link is about: a customer, and the invoice, subscription or offer."""

    ledger: str
    customer_id: str
    about: str


class Links:
    """Makes and reads the links of one ledger."""

    def __init__(self, master: MasterKey, ledger: str) -> None:
        self._key = master.derive("links")
        self.ledger = ledger

    def _serializer(self, purpose: Purpose) -> URLSafeTimedSerializer:
        return URLSafeTimedSerializer(self._key, salt=f"{self.ledger}:{purpose}")

    def make(self, public_url: str, purpose: Purpose, customer_id: str, about: str) -> str:
        """Return an address for one purpose; `about` is an invoice, subscription or offer."""
        token = self._serializer(purpose).dumps([customer_id, about])
        text = token if isinstance(token, str) else token.decode()
        return f"{public_url}/l/{self.ledger}/{purpose}/{text}"

    def read(self, purpose: Purpose, token: str) -> Link:
        """Return what a link is about; raise LinkInvalid or LinkExpired."""
        try:
            customer_id, about = self._serializer(purpose).loads(
                token, max_age=DAYS[purpose] * 86_400
            )
        except SignatureExpired as error:
            raise LinkExpired("This link is not good any more.") from error
        except (BadSignature, ValueError, TypeError) as error:
            raise LinkInvalid("This link was not made here.") from error
        return Link(self.ledger, customer_id, about)
