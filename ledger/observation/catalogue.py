"""Terms that no event tells are fetched from Stripe once, and recorded: tiers, older coupons.

A price's tiers are in no webhook; a coupon from before the ledger began was told of in none that
arrived. What costs by them is left out of every number until then, and counted beside it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from ledger.aggregates import Account
from ledger.aggregates.base import CATALOGUE_STREAM
from ledger.log import Log, NewEvent
from ledger.privacy.classify import classify
from ledger.stripe_api import StripeApi, StripeLacks
from ledger.stripe_objects.references import named_by, terms_key

if TYPE_CHECKING:
    from ledger.application import Ledger

WANTED_MAX = 200  # of one round; the next goes on
_DELIVERY = "terms of "
_encode = msgspec.json.Encoder().encode

# What was asked for is not asked again: what Stripe has no more stays unknown.
_WANTED = """
SELECT DISTINCT key FROM catalogue_uses AS u
WHERE NOT EXISTS (SELECT FROM catalogue_terms AS t WHERE t.key = u.key)
    AND NOT EXISTS (
        SELECT FROM events AS e
        WHERE e.data ->> 'delivery_key' = %s || u.key AND e.stripe_event_id IS NULL
    )
ORDER BY key LIMIT %s
"""


def observe_catalogue(ledger: Ledger, api: StripeApi) -> list[str]:
    """Record the terms that are wanted and not known; return the keys of those that Stripe has.

    What Stripe has no more is recorded as deleted. Raises StripeUnavailable, StripeRefused.
    """
    with ledger.pool.connection() as connection:
        rows = connection.execute(_WANTED, [_DELIVERY, WANTED_MAX]).fetchall()
    observed = []
    for (key,) in rows:
        kind, object_id = named_by(key)
        try:
            found = api.coupon(object_id) if kind == "coupon" else api.price(object_id)
            observed.append(key)
        except StripeLacks:
            found = {"id": object_id, "object": kind, "deleted": True}
        note_terms(ledger, kind, object_id, found)
    if rows:
        ledger.announce()
    return observed


def note_terms(ledger: Ledger, kind: str, object_id: str, found: dict[str, Any]) -> None:
    """Record a coupon or a price as Stripe shows it, once."""
    body = {"data": {"object": found}}
    classify(body)  # what is personal is of no use here, and is left out
    delivery_key = _DELIVERY + terms_key(kind, object_id)
    event = NewEvent(
        stream=CATALOGUE_STREAM,
        topic=Account.CatalogueObserved.TOPIC,
        occurred_at=ledger.clock.now(),
        data=_encode({"type": "catalogue.observed", "delivery_key": delivery_key, **body}),
        delivery_key=delivery_key,
    )
    with ledger.pool.connection() as connection:
        Log(connection).append([event])
