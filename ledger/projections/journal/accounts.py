"""The accounts of the journal. Debits are positive, credits negative, everywhere."""

from __future__ import annotations

from enum import StrEnum


class Account(StrEnum):
    """Where amounts stand.

    The clearing accounts hold what two documents must still agree on, or what no webhook tells;
    what is left on one names what is not explained yet.
    """

    RECEIVABLE = "receivable"
    STRIPE_UNOBSERVED = "stripe_unobserved"  # gross, until the balance transaction is observed
    STRIPE_BALANCE = "stripe_balance"
    IN_TRANSIT = "in_transit"
    BANK = "bank"
    PAID_OUTSIDE = "paid_outside"
    CUSTOMER_CREDIT = "customer_credit"
    DEFERRED_REVENUE = "deferred_revenue"
    TAX = "tax"
    REVENUE = "revenue"
    REFUNDS = "refunds"
    FEES = "fees"
    DISPUTES = "disputes"
    BAD_DEBT = "bad_debt"
    CONVERSION = "conversion"
    CLEARING_PAYMENTS = "clearing_payments"
    CLEARING_CREDIT = "clearing_credit"
    CLEARING_LINES = "clearing_lines"
    CLEARING_NOTES = "clearing_notes"
    CLEARING_STRIPE = "clearing_stripe"


# Type and name as beancount spells them: https://beancount.github.io/docs/beancount_language_syntax
NAMES: dict[Account, str] = {
    Account.RECEIVABLE: "Assets:Receivable",
    Account.STRIPE_UNOBSERVED: "Assets:Stripe:Unobserved",
    Account.STRIPE_BALANCE: "Assets:Stripe:Balance",
    Account.IN_TRANSIT: "Assets:Stripe:InTransit",
    Account.BANK: "Assets:Bank",
    Account.PAID_OUTSIDE: "Assets:PaidOutsideStripe",
    Account.CUSTOMER_CREDIT: "Liabilities:CustomerCredit",
    Account.DEFERRED_REVENUE: "Liabilities:DeferredRevenue",
    Account.TAX: "Liabilities:Tax",
    Account.REVENUE: "Income:Revenue",
    Account.REFUNDS: "Income:Refunds",
    Account.FEES: "Expenses:StripeFees",
    Account.DISPUTES: "Expenses:Disputes",
    Account.BAD_DEBT: "Expenses:BadDebt",
    Account.CONVERSION: "Equity:Conversion",
    Account.CLEARING_PAYMENTS: "Liabilities:Clearing:Payments",
    Account.CLEARING_CREDIT: "Liabilities:Clearing:CustomerCredit",
    Account.CLEARING_LINES: "Liabilities:Clearing:InvoiceLines",
    Account.CLEARING_NOTES: "Liabilities:Clearing:CreditNotes",
    Account.CLEARING_STRIPE: "Liabilities:Clearing:Stripe",
}

UNTOLD_RATE = "unknown"  # tax of which no rate is named


def tax_account(rate: str) -> str:
    """Return the account of the tax of one rate: each rate is of one jurisdiction."""
    return f"{Account.TAX}:{rate}"


def name_of(account: str) -> str:
    """Return an account's name with its type first, as beancount spells it."""
    head, _, rate = account.partition(":")
    name = NAMES[Account(head)]
    return f"{name}:{_component(rate)}" if rate else name


def _component(word: str) -> str:
    """Return a word as a component of a name: a capital or digit, then letters and digits."""
    kept = "".join(one if one.isalnum() and one.isascii() else "-" for one in word)
    return kept[:1].upper() + kept[1:]
