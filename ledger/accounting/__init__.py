"""Accounting reports from the journal: balances, what is deferred, what is owed, tax, closings.

Debits are positive and credits negative everywhere; amounts are minor units, per currency, never
added across currencies.
"""
