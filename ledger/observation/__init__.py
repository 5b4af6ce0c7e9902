"""What no webhook tells, fetched from Stripe once and recorded as events of ours.

Terms of tiered prices and of older coupons (`catalogue`), what Stripe kept of each movement of
money (`balance`), and lines of invoices past the tenth (`lines`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ledger.completeness import api_of, require_own_account
from ledger.observation.balance import observe_balance
from ledger.observation.cards import observe_cards
from ledger.observation.catalogue import note_terms, observe_catalogue
from ledger.observation.lines import observe_lines
from ledger.stripe_api import StripeApi

if TYPE_CHECKING:
    from ledger.application import Ledger

__all__ = [
    "keep_balance",
    "keep_cards",
    "keep_observed",
    "note_terms",
    "observe",
    "observe_balance",
    "observe_cards",
    "observe_catalogue",
    "observe_lines",
]


def observe(ledger: Ledger, api: StripeApi) -> dict[str, int]:
    """Fetch everything that is wanted and not known; return how much of each kind that was.

    Raises StripeUnavailable, StripeRefused, AccountMismatch.
    """
    require_own_account(ledger, api)
    return {
        "terms": len(observe_catalogue(ledger, api)),
        "invoices": observe_lines(ledger, api),
        "balance_transactions": observe_balance(ledger, api),
    }


def keep_observed(ledger: Ledger) -> None:
    """Fetch terms and lines that are wanted, if there is a key for Stripe's API."""
    if ledger.settings.api_key is not None:
        api = api_of(ledger)
        require_own_account(ledger, api)
        observe_catalogue(ledger, api)
        observe_lines(ledger, api)


def keep_balance(ledger: Ledger) -> None:
    """Fetch new balance transactions, if there is a key for Stripe's API."""
    if ledger.settings.api_key is not None:
        api = api_of(ledger)
        require_own_account(ledger, api)
        observe_balance(ledger, api)


def keep_cards(ledger: Ledger) -> None:
    """Ask which cards expire soon, once a month, if there is a key for Stripe's API."""
    if ledger.settings.api_key is not None:
        api = api_of(ledger)
        require_own_account(ledger, api)
        observe_cards(ledger, api)
