"""Terms that no event tells are fetched from Stripe once, and recorded: tiers, older coupons.

A price's tiers are in no webhook; a coupon from before the ledger began was told of in none that
arrived. What costs by them is left out of every number until then, and counted beside it.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import msgspec

from ledger.aggregates import Account
from ledger.completeness import api_of
from ledger.log import Log, NewEvent
from ledger.privacy.classify import classify
from ledger.stripe_api import StripeApi, StripeRefused

if TYPE_CHECKING:
    from ledger.application import Ledger

logger = logging.getLogger("ledger.observation")

STREAM = "catalogue"
WANTED_MAX = 200  # of one round; the next goes on
_COUPON = "coupon:"
_encode = msgspec.json.Encoder().encode

_WANTED = """
SELECT DISTINCT key FROM catalogue_uses AS u
WHERE NOT EXISTS (SELECT FROM catalogue_terms AS t WHERE t.key = u.key)
ORDER BY key LIMIT %s
"""


def observe_catalogue(ledger: Ledger, api: StripeApi) -> list[str]:
    """Record the terms that are wanted and not known; return the keys of those recorded.

    What Stripe does not have any more stays unknown. Raises StripeUnavailable.
    """
    with ledger.pool.connection() as connection:
        wanted = [row[0] for row in connection.execute(_WANTED, [WANTED_MAX]).fetchall()]
    observed = []
    for key in wanted:
        try:
            found = _fetched(api, key)
        except StripeRefused as error:
            logger.warning("the terms of %s stay unknown: %s", key, error)
            continue
        note_terms(ledger, key, found)
        observed.append(key)
    if observed:
        ledger.announce()
    return observed


def _fetched(api: StripeApi, key: str) -> dict[str, Any]:
    if key.startswith(_COUPON):
        return api.coupon(key.removeprefix(_COUPON))
    return api.price(key)


def note_terms(ledger: Ledger, key: str, found: dict[str, Any]) -> None:
    """Record a coupon or a price as Stripe shows it, once."""
    body = {"data": {"object": found}}
    classify(body)  # what is personal is of no use here, and is left out
    delivery_key = f"terms of {key}"
    event = NewEvent(
        stream=STREAM,
        topic=Account.CatalogueObserved.TOPIC,
        occurred_at=ledger.clock.now(),
        data=_encode({"type": "catalogue.observed", "delivery_key": delivery_key, **body}),
        delivery_key=delivery_key,
    )
    with ledger.pool.connection() as connection:
        Log(connection).append([event])


def keep_observed(ledger: Ledger) -> None:
    """Fetch what is wanted, if there is a key for Stripe's API."""
    if ledger.settings.api_key is not None:
        observe_catalogue(ledger, api_of(ledger))
