"""What follows from what is known of one document: balanced postings, and when revenue is earned.

Every function here is one of a set of notes: their order, and whether one was told twice, make no
difference. Debits are positive. Each group of postings of one document and moment adds up to 0.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence

from ledger.projections.journal.accounts import UNTOLD_RATE, Account, tax_account
from ledger.projections.journal.invoices import invoice
from ledger.projections.journal.notes import (
    Arrived,
    Captured,
    Credit,
    Credited,
    Disputed,
    GivenUp,
    LinesTold,
    Moved,
    Note,
    NoteVoided,
    Paid,
    PaidOut,
    Refunded,
    RefundFailed,
    Returned,
    Sale,
    SentBack,
    SoldAtOnce,
    Voided,
)
from ledger.projections.journal.postings import Statement, of_kind, settled

# https://docs.stripe.com/reports/balance-transaction-types
_OF_DOCUMENTS = frozenset(
    {"charge", "payment", "refund", "payment_refund", "refund_failure", "payment_failure_refund",
     "payment_reversal", "payout", "payout_failure", "payout_cancel"}
)  # fmt: skip
_FEES = frozenset({"stripe_fee", "stripe_fx_fee", "tax_fee", "network_cost"})


def statement_of(document: str, notes: Sequence[Note]) -> Statement:
    """Return everything that follows from what is known of a document."""
    made = Statement(document)
    for make in {_MAKERS[type(note)]: None for note in notes}:
        make(made, notes)
    return made


def charge(made: Statement, notes: Sequence[Note]) -> None:
    """A charge brings money to Stripe, refunds take it back.

    A refund that only its charge tells of counts as given back when the charge first said so.
    """
    for at, amount, currency in _captures(of_kind(notes, Captured)):
        made.post(
            at, "captured", currency,
            {Account.STRIPE_UNOBSERVED: amount, Account.CLEARING_PAYMENTS: -amount},
        )  # fmt: skip
    failed: dict[str, int] = {}
    for one in of_kind(notes, RefundFailed):
        failed[one.refund] = min(one.at, failed.get(one.refund, one.at))
    refunds = {one.refund: one for one in settled(of_kind(notes, Refunded))}
    for refund, gave in sorted(refunds.items()):
        amounts = {Account.REFUNDS: gave.amount, Account.STRIPE_UNOBSERVED: -gave.amount}
        made.post(gave.at, "refunded", gave.currency, amounts, source=refund)
        if refund in failed:
            made.take_back(failed[refund], "refund_failed", gave.currency, amounts, refund)
    for at, amount, currency in _untold(of_kind(notes, Returned), [*refunds.values()]):
        made.post(
            at, "refunded", currency,
            {Account.REFUNDS: amount, Account.STRIPE_UNOBSERVED: -amount},
        )  # fmt: skip


def _captures(captured: Sequence[Captured]) -> Iterator[tuple[int, int, str]]:
    """Yield when how much was captured: as the events tell that did it, else when it was made."""
    exact = [one for one in captured if one.exact]
    rest = [one for one in captured if not one.exact]
    taken = 0
    for one in (
        sorted(exact, key=lambda one: (one.at, one.amount))
        + sorted(rest, key=lambda one: (one.amount, one.at))[-1:]
    ):
        if one.amount > taken:
            yield one.at, one.amount - taken, one.currency
            taken = one.amount


def _untold(
    returned: Sequence[Returned], refunds: Sequence[Refunded]
) -> Iterator[tuple[int, int, str]]:
    """Yield when how much was given back by refunds that only their charge tells of."""
    if not returned:
        return
    most = max(one.amount for one in returned) - sum(one.amount for one in refunds)
    given = 0
    for one in sorted(returned, key=lambda one: (one.at, one.amount)):
        told = sum(refund.amount for refund in refunds if refund.at <= one.at)
        if (untold := min(one.amount - told, most)) > given:
            yield one.at, untold - given, one.currency
            given = untold


def dispute(made: Statement, notes: Sequence[Note]) -> None:
    """A dispute takes money with a fee, and may bring the money back."""
    moved = {one.transaction: one for one in settled(of_kind(notes, Disputed))}
    for transaction, one in sorted(moved.items()):
        made.post(
            one.at, "reinstated" if one.amount > 0 else "withdrawn", one.currency,
            {
                Account.DISPUTES: -one.amount,
                Account.FEES: one.fee,
                Account.STRIPE_UNOBSERVED: one.amount - one.fee,
            },
            source=transaction,
        )  # fmt: skip


def payout(made: Statement, notes: Sequence[Note]) -> None:
    """A payout is on its way, then in the bank; it may come back from either."""
    sent = settled(of_kind(notes, PaidOut))
    if not sent:
        return
    at, amount, currency = sent[-1].at, sent[-1].amount, sent[-1].currency
    arrived = min((one.at for one in of_kind(notes, Arrived)), default=None)
    back = min((one.at for one in of_kind(notes, SentBack)), default=None)
    stripe = Account.STRIPE_UNOBSERVED
    made.post(at, "sent", currency, {Account.IN_TRANSIT: amount, stripe: -amount})
    was_there = arrived is not None and (back is None or arrived <= back)
    if was_there and arrived is not None:
        made.post(arrived, "arrived", currency, {Account.BANK: amount, Account.IN_TRANSIT: -amount})
    if back is not None:
        where = Account.BANK if was_there else Account.IN_TRANSIT
        made.post(back, "sent_back", currency, {stripe: amount, where: -amount})


def session(made: Statement, notes: Sequence[Note]) -> None:
    """A checkout without an invoice sells at once."""
    sold = of_kind(notes, SoldAtOnce)
    if not sold:
        return
    first = min(sold, key=lambda one: (one.at, one.amount, one.tax, one.currency))
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
    seconds: dict[tuple[int, str], list[Credit]] = defaultdict(list)
    for one in of_kind(notes, Credit):
        seconds[one.at, one.currency].append(one)
    balances: dict[str, int] = defaultdict(int)
    for (at, currency), second in sorted(seconds.items(), key=lambda item: item[0]):
        ended = _ended(second, balances[currency])
        change, balances[currency] = ended.balance - balances[currency], ended.balance
        made.post(
            at, "credit_balance", currency,
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
    """What was observed says what Stripe kept; the rest is in the balance.

    It empties what the document behind it put on the account of what is not observed yet. A
    dispute tells its fee itself.
    """
    moved = settled(of_kind(notes, Moved))
    if not moved:
        return
    one = moved[-1]
    of_dispute = (one.source or "").startswith(("dp_", "du_"))
    gross, fee = (one.amount - one.fee, 0) if of_dispute else (one.amount, one.fee)
    kept: dict[str, int] = {Account.FEES: fee, Account.STRIPE_BALANCE: one.amount - one.fee}
    if one.type in _FEES:
        made.post(one.at, one.type, one.currency, {**kept, Account.FEES: fee - one.amount})
    elif one.type not in _OF_DOCUMENTS and not of_dispute:
        made.post(one.at, one.type, one.currency, {**kept, Account.CLEARING_STRIPE: -one.amount})
    elif one.source_currency in (None, one.currency) or one.source_amount is None:
        made.post(one.at, one.type, one.currency, {**kept, Account.STRIPE_UNOBSERVED: -gross})
    else:
        source = one.source_amount if one.amount >= 0 else -one.source_amount
        made.post(one.at, one.type, one.currency, {**kept, Account.CONVERSION: -gross})
        made.post(
            one.at, one.type, one.source_currency,
            {Account.CONVERSION: source, Account.STRIPE_UNOBSERVED: -source},
        )  # fmt: skip


_MAKERS: Mapping[type[Note], Callable[[Statement, Sequence[Note]], None]] = {
    **dict.fromkeys((Sale, LinesTold, Paid, GivenUp, Voided, Credited, NoteVoided), invoice),
    **dict.fromkeys((Captured, Returned, Refunded, RefundFailed), charge),
    **dict.fromkeys((PaidOut, Arrived, SentBack), payout),
    Disputed: dispute,
    SoldAtOnce: session,
    Credit: customer,
    Moved: balance_transaction,
}
