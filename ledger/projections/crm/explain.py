"""From a row of a read model to the events that it follows from, each with what it gave."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg import sql

from ledger.errors import NotFound, RequestInvalid

Connection = psycopg.Connection[tuple[Any, ...]]
Reasons = list[tuple[int, str]]  # (position, what the event gave)

_OBJECT = """
SELECT f.position, CASE
    WHEN f.position = o.position AND f.mark = 'assumed' THEN
        'shows what it is now; assumed: ' || array_to_string(f.doubtful, ', ')
    WHEN f.position = o.position THEN 'shows what it is now'
    WHEN f.mark = 'overtaken' THEN 'overtaken within its second'
    WHEN f.mark IS NULL THEN 'tells of it, shows no lasting object'
    ELSE 'showed what it was until the next'
END
FROM facts AS f LEFT JOIN objects AS o ON o.object_id = f.object_id
WHERE f.object_id = %(key)s ORDER BY f.occurred_at, f.position
"""

_CUSTOMER = """
(
    SELECT position, 'first told of: created' FROM timeline
    WHERE customer_id = %(key)s AND NOT EXISTS (
        SELECT FROM objects WHERE object_id = %(key)s AND kind = 'customer'
    )
    ORDER BY occurred_at, position LIMIT 1
)
UNION ALL
SELECT o.position, 'the customer itself: currency, country, delinquent, created'
FROM objects AS o WHERE o.object_id = %(key)s AND o.kind = 'customer'
UNION ALL
SELECT s.position, 'subscription ' || s.id || ' is ' || coalesce(s.status, 'unknown') || ': status'
FROM subscriptions AS s WHERE s.customer_id = %(key)s
UNION ALL
SELECT c.contact_position, 'name, e-mail, phone' FROM customers AS c
WHERE c.id = %(key)s AND c.contact_position IS NOT NULL
UNION ALL
SELECT e.position, 'erased' FROM events AS e
WHERE e.stream = %(key)s AND e.topic = 'Customer.CustomerErased'
ORDER BY 1, 2
"""

_PAYMENT = """
WITH members (id) AS (
    SELECT %(key)s
    UNION
    SELECT from_id FROM links WHERE to_id = %(key)s AND relation = 'payment_intent'
        AND from_id ~ '^(ch|py)_'
), row_ AS (
    SELECT * FROM payments WHERE id = %(key)s
)
SELECT f.position, CASE
    WHEN f.type IN ('payment_intent.payment_failed', 'charge.failed') THEN 'a failed attempt'
    ELSE 'status, amount, method: ' || f.kind
END
FROM members AS m JOIN objects AS o ON o.object_id = m.id
JOIN facts AS f ON f.object_id = m.id
    AND (f.position = o.position OR f.type IN ('payment_intent.payment_failed', 'charge.failed'))
UNION
SELECT o.position, CASE WHEN o.kind = 'invoice_payment' THEN 'ties it to its invoice'
    WHEN o.kind = 'invoice' THEN 'names it as its payment' ELSE 'what became of the money' END
FROM members AS m JOIN links AS l ON l.to_id = m.id AND l.relation IN ('payment_intent', 'charge')
JOIN objects AS o ON o.object_id = l.from_id
    AND o.kind IN ('invoice', 'invoice_payment', 'refund', 'dispute')
UNION
SELECT o.position, 'the invoice that its order reference means' FROM row_
JOIN objects AS o ON o.object_id = row_.invoice_id WHERE row_.invoice_join = 'order_reference'
ORDER BY 1, 2
"""

_OWNER = """
WITH RECURSIVE path (id, to_id, relation, steps) AS (
    SELECT from_id, to_id, relation, 1 FROM links WHERE from_id = %(key)s
    UNION
    SELECT l.from_id, l.to_id, l.relation, p.steps + 1 FROM path AS p
    JOIN links AS l ON l.from_id = p.to_id WHERE p.relation <> 'customer' AND p.steps < 6
)
SELECT DISTINCT f.position, 'names ' || p.to_id || ' (' || p.relation || ')'
FROM path AS p JOIN facts AS f ON f.object_id = p.id ORDER BY 1, 2
"""

_SEARCH = "SELECT contact_position, 'name, e-mail' FROM customers WHERE id = %(key)s"
_FACT = "SELECT position, 'is this row' FROM facts WHERE position = %(key)s::bigint"

# By read model: what its rows are named by, and the events that one follows from.
_MODELS: Mapping[str, tuple[str, str]] = {
    "customers": ("id", _CUSTOMER),
    "customer_search": ("customer_id", _SEARCH),
    "subscriptions": ("id", _OBJECT),
    "invoices": ("id", _OBJECT),
    "catalogue": ("id", _OBJECT),
    "objects": ("object_id", _OBJECT),
    "payments": ("id", _PAYMENT),
    "owners": ("object_id", _OWNER),
    "links": ("from_id", _OWNER),
    "facts": ("position", _FACT),
}
MODELS = tuple(_MODELS)


def explain(connection: Connection, model: str, key: str) -> Reasons:
    """Return the events that a row follows from, in the order of the log, and what each gave.

    An event that gave several things is there several times.

    Raises RequestInvalid for what is no read model, NotFound for a row that is not there.
    """
    if model not in _MODELS:
        raise RequestInvalid(f"There is no read model {model!r}; there are: {', '.join(MODELS)}.")
    if model == "facts" and not (key.isdecimal() and len(key) < 19):
        raise RequestInvalid("A row of `facts` is named by its position.")
    named_by, reasons = _MODELS[model]
    there = sql.SQL("SELECT FROM {} WHERE {} = %(key)s LIMIT 1").format(
        sql.Identifier(model), sql.Identifier(named_by)
    )
    if connection.execute(there, {"key": key}).rowcount == 0:
        raise NotFound(f"There is no row {key!r} in {model}.")
    found = connection.execute(reasons.encode(), {"key": key}).fetchall()
    return [(position, why) for position, why in found if position is not None]
