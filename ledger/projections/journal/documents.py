"""What follows from what is known of one document: balanced postings, and when revenue is earned.

Every function here is one of a set of notes: their order, and whether one was told twice, make no
difference. Debits are positive. Each group of postings of one document and moment adds up to 0.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ledger.projections.journal.accounts import UNTOLD_RATE, Account, tax_account
from ledger.projections.journal.invoices import invoice
from ledger.projections.journal.notes import (
    Arrived,
    Captured,
    Credit,
    Disputed,
    Moved,
    Note,
    PaidOut,
    Refunded,
    RefundFailed,
    Returned,
    SentBack,
    SoldAtOnce,
)
from ledger.projections.journal.postings import Statement, of_kind

# https://docs.stripe.com/reports/balance-transaction-types
_OF_PAYOUTS = frozenset({"payout", "payout_failure", "payout_cancel"})
_OF_PAYMENTS = frozenset(
    {"charge", "payment", "refund", "payment_refund", "refund_failure",
     "payment_failure_refund", "payment_reversal"}
)  # fmt: skip
_FEES = frozenset({"stripe_fee", "stripe_fx_fee", "tax_fee", "network_cost"})


def statement_of(document: str, notes: Sequence[Note]) -> Statement:
    """Return everything that follows from what is known of a document."""
    made = Statement(document)
    for make in _MAKERS:
        make(made, notes)
    return made


def charge(made: Statement, notes: Sequence[Note]) -> None:
    """A charge brings money to Stripe, refunds take it back.

    A refund that only its charge tells of counts as given back when the charge first said so.
    """
    captured = of_kind(notes, Captured)
    if captured:
        best = min(captured, key=lambda one: (not one.exact, one.at, one.amount))
        made.post(
            best.at, "captured", best.currency,
            {Account.STRIPE_UNOBSERVED: best.amount, Account.CLEARING_PAYMENTS: -best.amount},
        )  # fmt: skip
    failed = {
        refund: min(one.at for one in of_kind(notes, RefundFailed) if one.refund == refund)
        for refund in {one.refund for one in of_kind(notes, RefundFailed)}
    }
    refunds = {one.refund: one for one in of_kind(notes, Refunded)}
    for refund, one in sorted(refunds.items()):
        gave = {Account.REFUNDS: one.amount, Account.STRIPE_UNOBSERVED: -one.amount}
        made.post(one.at, "refunded", one.currency, gave, source=refund)
        if refund in failed:
            made.take_back(max(failed[refund], one.at), "refund_failed", one.currency, gave, refund)
    if returned := of_kind(notes, Returned):
        most = max(returned, key=lambda one: (one.amount, -one.at))
        untold = most.amount - sum(one.amount for one in refunds.values())
        if untold > 0:
            made.post(
                most.at, "refunded", most.currency,
                {Account.REFUNDS: untold, Account.STRIPE_UNOBSERVED: -untold},
            )  # fmt: skip


def dispute(made: Statement, notes: Sequence[Note]) -> None:
    """A dispute takes money with a fee, and may bring the money back."""
    moved = {one.transaction: one for one in of_kind(notes, Disputed)}
    for transaction, one in sorted(moved.items()):
        made.post(
            one.at, "reinstated" if one.amount > 0 else "withdrawn", one.currency,
            {
                Account.DISPUTES: -one.amount,
                Account.FEES: one.fee,
                Account.STRIPE_BALANCE: one.amount - one.fee,
            },
            source=transaction,
        )  # fmt: skip


def payout(made: Statement, notes: Sequence[Note]) -> None:
    """A payout is on its way, then in the bank; it may come back from either."""
    sent = of_kind(notes, PaidOut)
    if not sent:
        return
    amount, currency = sent[0].amount, sent[0].currency
    left = min(one.at for one in sent)
    arrived = min((one.at for one in of_kind(notes, Arrived)), default=None)
    back = min((one.at for one in of_kind(notes, SentBack)), default=None)
    made.post(left, "sent", currency, {Account.IN_TRANSIT: amount, Account.STRIPE_BALANCE: -amount})
    was_there = arrived is not None and (back is None or arrived <= back)
    if was_there and arrived is not None:
        made.post(arrived, "arrived", currency, {Account.BANK: amount, Account.IN_TRANSIT: -amount})
    if back is not None:
        where = Account.BANK if was_there else Account.IN_TRANSIT
        made.post(back, "sent_back", currency, {Account.STRIPE_BALANCE: amount, where: -amount})


def session(made: Statement, notes: Sequence[Note]) -> None:
    """A checkout without an invoice sells at once."""
    sold = of_kind(notes, SoldAtOnce)
    if not sold:
        return
    first = min(sold, key=lambda one: one.at)
    net = first.amount - first.tax
    amounts: dict[str, int] = {
        Account.CLEARING_PAYMENTS: first.amount,
        tax_account(UNTOLD_RATE): -first.tax,
        Account.DEFERRED_REVENUE: -net,
    }
    made.post(first.at, "sold", first.currency, amounts)
    made.earn("", first.currency, net, since=first.at, start=first.at, end=first.at)


def customer(made: Statement, notes: Sequence[Note]) -> None:
    """A customer's credit balance is what they say; invoices and credit notes explain it."""
    told = of_kind(notes, Credit)
    before = 0
    for at in sorted({one.at for one in told}):
        ended = _ended([one for one in told if one.at == at], before)
        change, before = ended.balance - before, ended.balance
        made.post(
            at, "credit_balance", ended.currency,
            {Account.CUSTOMER_CREDIT: change, Account.CLEARING_CREDIT: -change},
        )  # fmt: skip


def _ended(second: Sequence[Credit], before: int) -> Credit:
    """Return what a second ended with: where the trail of its changes, from `before` on, ends."""
    ends = Counter({before: 1})
    for one in second:
        if one.before is not None:
            ends[one.balance] += 1
            ends[one.before] -= 1
    last = [one for one in second if ends[one.balance] > 0 and one.before is not None]
    return max(last or second, key=lambda one: one.event)


def balance_transaction(made: Statement, notes: Sequence[Note]) -> None:
    """What was observed says what Stripe kept; the rest is in the balance."""
    moved = of_kind(notes, Moved)
    if not moved:
        return
    one = moved[0]
    kept: dict[str, int] = {Account.FEES: one.fee}
    if one.type in _OF_PAYOUTS:
        made.post(one.at, one.type, one.currency, {**kept, Account.STRIPE_BALANCE: -one.fee})
        return
    if (one.source or "").startswith(("dp_", "du_")):
        return  # the dispute tells of it, with its fee
    kept[Account.STRIPE_BALANCE] = one.amount - one.fee
    if one.type in _FEES:
        made.post(one.at, one.type, one.currency, {**kept, Account.FEES: one.fee - one.amount})
    elif one.type not in _OF_PAYMENTS:
        made.post(one.at, one.type, one.currency, {**kept, Account.CLEARING_STRIPE: -one.amount})
    elif one.source_currency in (None, one.currency) or one.source_amount is None:
        made.post(one.at, one.type, one.currency, {**kept, Account.STRIPE_UNOBSERVED: -one.amount})
    else:
        source = one.source_amount if one.amount >= 0 else -one.source_amount
        made.post(one.at, one.type, one.currency, {**kept, Account.CONVERSION: -one.amount})
        made.post(
            one.at, one.type, one.source_currency,
            {Account.CONVERSION: source, Account.STRIPE_UNOBSERVED: -source},
        )  # fmt: skip


_MAKERS = (invoice, charge, dispute, payout, session, customer, balance_transaction)
