"""Cards that expire soon: asked of Stripe once a month, told as a fact without the date.

The date of expiry is never stored (PCI): it is looked at here, in memory, and what is recorded is
that this card expires soon. Stripe's own `customer.source.expiring` is for old sources only.
"""

from __future__ import annotations

from calendar import monthrange
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from ledger.aggregates import Account, Customer
from ledger.aggregates.base import ACCOUNT_STREAM
from ledger.log import Log, NewEvent
from ledger.periods import months_later
from ledger.stripe_api import StripeApi, StripeLacks
from ledger.stripe_objects.fields import nested, text, whole

if TYPE_CHECKING:
    from ledger.application import Ledger

_ASKED = """
SELECT FROM events WHERE stripe_event_id IS NULL AND data ->> 'delivery_key' = %s LIMIT 1
"""
# Whoever is charged by card for a subscription that goes on, with the method that is charged.
_CHARGED = """
SELECT s.customer_id, s.id, coalesce(
    s.canonical ->> 'default_payment_method', c.canonical ->> 'default_payment_method'
)
FROM subscriptions AS s
LEFT JOIN current_objects AS c ON c.id = s.customer_id AND c.kind = 'customer'
WHERE s.status IN ('active', 'trialing', 'past_due') AND NOT s.is_deleted
    AND s.canonical ->> 'collection_method' = 'charge_automatically'
    AND (s.canonical ->> 'cancel_at_period_end')::boolean IS NOT TRUE
    AND coalesce(
        s.canonical ->> 'default_payment_method', c.canonical ->> 'default_payment_method'
    ) IS NOT NULL
ORDER BY s.customer_id, s.id
"""
_encode = msgspec.json.Encoder().encode


def observe_cards(ledger: Ledger, api: StripeApi) -> int:
    """Ask once a month which cards expire by the end of the next one; return how many do.

    Raises StripeUnavailable, StripeRefused; then it is asked again, and what was found stays.
    """
    now = ledger.clock.now()
    month = f"{now:%Y-%m}"
    with ledger.pool.connection() as connection:
        if connection.execute(_ASKED, [f"cards_asked:{month}"]).fetchone() is not None:
            return 0
        charged = connection.execute(_CHARGED).fetchall()
    found, known = 0, dict[str, dict[str, Any] | None]()
    for customer, subscription, method in charged:
        if method not in known:
            known[method] = _expiring(api, method, now.date())
        card = known[method]
        if card is not None:
            about = {"payment_method": method, "subscription": subscription, "month": month, **card}
            found += _record(ledger, customer, method, month, about)
    _record_asked(ledger, month, len(known), now)
    if found:
        ledger.announce()
    return found


def _expiring(api: StripeApi, method: str, today: date) -> dict[str, Any] | None:
    """Return what may be kept of a card that expires soon, None of any other."""
    try:
        card = nested(api.payment_method(method), "card")
    except StripeLacks:
        return None
    month, year = whole(card, "exp_month"), whole(card, "exp_year")
    if month is None or year is None or not 1 <= month <= 12 or not 1 <= year <= 9999:
        return None
    last_day = date(year, month, monthrange(year, month)[1])
    if not today <= last_day < months_later(today, 2):
        return None  # one that has expired is told of by its bank
    return {"last4": text(card, "last4"), "brand": text(card, "brand")}


def _record(ledger: Ledger, customer: str, method: str, month: str, about: dict[str, Any]) -> bool:
    key = f"card_expiring:{method}:{month}"
    data = {
        "type": "card.expiring",
        "delivery_key": key,
        "data": {"object": {"object": "expiring_card", **about}},
    }
    event = NewEvent(
        customer,
        Customer.CardExpiring.TOPIC,
        ledger.clock.now(),
        _encode(data),
        customer_id=customer,
        delivery_key=key,
    )
    with ledger.pool.connection() as connection:
        return Log(connection).append([event])[0] > 0


def _record_asked(ledger: Ledger, month: str, cards: int, now: datetime) -> None:
    key = f"cards_asked:{month}"
    data = {"type": "cards.asked", "delivery_key": key, "month": month, "cards": cards}
    event = NewEvent(ACCOUNT_STREAM, Account.CardsAsked.TOPIC, now, _encode(data), delivery_key=key)
    with ledger.pool.connection() as connection:
        Log(connection).append([event])
