"""Who customers are and what prices are called: what those who write to them ask of the views."""

from __future__ import annotations

from collections.abc import Sequence

from ledger.privacy.keys import KeyRing
from ledger.projections.crm.queries import contacts
from ledger.projections.projection import Connection
from ledger.stripe_objects.contacts import Contact

_CUSTOMER = "SELECT id, contact_position FROM customers WHERE id = %s AND NOT erased"
_SUBSCRIBED = """
SELECT FROM subscriptions WHERE customer_id = %s AND NOT is_deleted
    AND status IN ('active', 'trialing', 'past_due') LIMIT 1
"""
_PRODUCTS = """
SELECT coalesce(product.canonical ->> 'name', price.canonical ->> 'name')
FROM unnest(%s::text[]) WITH ORDINALITY AS asked (id, place)
JOIN catalogue AS price ON price.id = asked.id
LEFT JOIN catalogue AS product ON product.id = price.canonical ->> 'product'
ORDER BY asked.place
"""


class CrmDirectory:
    """The directory of one ledger."""

    def __init__(self, keys: KeyRing) -> None:
        self._keys = keys

    def contact(self, connection: Connection, customer_id: str) -> Contact | None:
        """Return how to reach a customer; None if nothing of them can be read (any more)."""
        row = connection.execute(_CUSTOMER, [customer_id]).fetchone()
        if row is None:
            return None
        found = contacts(connection, self._keys, [{"id": row[0], "contact_position": row[1]}])
        return found.get(customer_id)

    def is_subscribed(self, connection: Connection, customer_id: str) -> bool:
        """Return whether a customer has a subscription that goes on."""
        return connection.execute(_SUBSCRIBED, [customer_id]).fetchone() is not None

    def product_of(self, connection: Connection, prices: Sequence[str]) -> str | None:
        """Return the name of what is sold at the first of these prices that has one."""
        rows = connection.execute(_PRODUCTS, [list(prices)]).fetchall() if prices else []
        return next((row[0] for row in rows if row[0]), None)
