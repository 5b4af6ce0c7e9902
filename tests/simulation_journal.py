"""The journal against what the simulator knows: cash by day, what is owed, credit balances."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from ledger.application import Ledger
from ledger.simulator import Simulator
from ledger.simulator.truth import Cash

_UNBALANCED = """
SELECT document FROM journal_entries GROUP BY position, document, source, valid_at, currency
HAVING sum(amount_minor) <> 0
"""
_CASH = """
SELECT currency, (valid_at AT TIME ZONE 'UTC')::date::text,
    coalesce(sum(amount_minor) FILTER (
        WHERE account = 'stripe_unobserved' AND reason = 'captured'), 0)::bigint,
    coalesce(sum(amount_minor) FILTER (WHERE account = 'refunds' AND document ~ '^(ch|py|re)_'), 0)
        ::bigint,
    coalesce(sum(amount_minor) FILTER (WHERE account = 'disputes'), 0)::bigint
FROM journal_entries GROUP BY 1, 2
"""
_OWED = """
SELECT document, sum(amount_minor)::bigint FROM journal_entries
WHERE account = 'receivable' GROUP BY 1
"""
_UNTOLD = """
SELECT currency, sum(amount_minor)::bigint FROM journal_entries
WHERE account = 'clearing_lines' GROUP BY 1 HAVING sum(amount_minor) <> 0
"""
_EARNED = """
SELECT currency, sum(amount)::bigint FROM (
    SELECT currency, amount_minor AS amount FROM journal_entries WHERE account = 'deferred_revenue'
    UNION ALL SELECT currency, amount_minor FROM journal_schedules
) AS both_sides GROUP BY 1 HAVING sum(amount) <> 0
"""


def journal_faults(ledger: Ledger, simulator: Simulator) -> list[str]:
    """Return where the journal does not balance, or is not the simulator's cash, debts, credit."""
    with ledger.pool.connection() as connection:
        unbalanced = connection.execute(_UNBALANCED).fetchall()
        moved = connection.execute(_CASH).fetchall()
        owed: dict[str, int] = dict(connection.execute(_OWED).fetchall())
        left = connection.execute(_EARNED).fetchall()
        credit: dict[str, int] = dict(
            connection.execute(
                "SELECT document, sum(amount_minor)::bigint FROM journal_entries"
                " WHERE account = 'customer_credit' GROUP BY 1"
            ).fetchall()
        )
        untold = connection.execute(_UNTOLD).fetchall()
        found = _at_stripe(connection, simulator)
    found += [f"{amount} {currency} of lines that nobody told" for currency, amount in untold]
    found += [f"{document} does not balance" for (document,) in unbalanced]
    found += [f"{amount} {currency} is deferred for ever" for currency, amount in left]
    true = simulator.truth.cash()
    told = {(currency, day): sums for currency, day, *sums in moved}
    for key in sorted({*true, *told}):
        cash = true.get(key, Cash())
        if told.get(key, [0, 0, 0]) != [cash.collected, cash.refunded, cash.disputed]:
            found.append(f"cash of {key}: {told.get(key)}, truly {cash}")
    final = simulator.final_objects()
    for invoice in simulator.truth.invoices():
        state = final.get(invoice)
        if state is None or state.get("deleted"):
            continue
        true_owed = state["amount_remaining"] if state["status"] == "open" else 0
        if owed.get(invoice, 0) != true_owed:
            found.append(
                f"{invoice} owes {owed.get(invoice)}, truly {true_owed}: {state['status']}"
            )
    for customer in simulator.truth.customers():
        state = final.get(customer)
        if state is None or state.get("deleted"):
            continue
        if credit.get(customer, 0) != state["balance"]:
            found.append(f"{customer} credit {credit.get(customer)}, truly {state['balance']}")
    return found


_AT_STRIPE = """
SELECT currency,
    coalesce(sum(amount_minor) FILTER (WHERE account = 'stripe_unobserved'), 0)::bigint,
    coalesce(sum(amount_minor) FILTER (WHERE account = 'stripe_balance'), 0)::bigint,
    coalesce(sum(amount_minor) FILTER (WHERE account = 'fees'), 0)::bigint
FROM journal_entries GROUP BY 1
"""


def _at_stripe(connection: Any, simulator: Simulator) -> list[str]:
    """Return where balance and fees are not what they are at Stripe, all being observed."""
    true: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for (currency, _), cash in simulator.truth.cash().items():
        true[currency][2] += cash.fees
    balance = simulator.balance_transactions.balance()
    for part in (*balance["available"], *balance["pending"]):
        true[part["currency"]][1] += part["amount"]
    told = {currency: sums for currency, *sums in connection.execute(_AT_STRIPE).fetchall()}
    return [
        f"{currency} at Stripe: {told.get(currency)}, truly {true[currency]}"
        for currency in sorted({*true, *told})
        if told.get(currency, [0, 0, 0]) != true[currency]
    ]
