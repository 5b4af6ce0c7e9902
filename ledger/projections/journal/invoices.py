"""An invoice in the journal: sold, paid, credited, given up, voided.

At finalization all revenue is deferred; each line is earned over its own period of service. A
credit note or voiding takes back what was earned of it by then and stops the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import msgspec

from ledger.money import split
from ledger.projections.journal.accounts import UNTOLD_RATE, Account, tax_account
from ledger.projections.journal.notes import (
    Credited,
    GivenUp,
    Line,
    LinesTold,
    Note,
    NoteVoided,
    Paid,
    Sale,
    Voided,
    fitted,
)
from ledger.projections.journal.postings import Posting, Schedule, Statement, of_kind, settled


def invoice(made: Statement, notes: Sequence[Note]) -> None:
    """Post everything that is known of an invoice, once it is known what it asks."""
    sales = settled(of_kind(notes, Sale))
    if not sales:
        return
    sale = max(sales, key=_tells)  # the most telling, where versions tell it differently
    lines = _lines(sale, of_kind(notes, LinesTold))
    _sold(made, sale, lines)
    voided_notes: dict[str, int] = {}
    for one in of_kind(notes, NoteVoided):
        voided_notes[one.note] = min(one.at, voided_notes.get(one.note, one.at))
    told = sorted(settled(of_kind(notes, Credited)), key=lambda one: -one.untold)
    for credited in sorted({one.note: one for one in told}.values(), key=lambda one: one.at):
        _credited(made, sale, lines, credited, voided_notes.get(credited.note))
    given_up = min((one.at for one in of_kind(notes, GivenUp)), default=None)
    written_off = _paid(made, sale, of_kind(notes, Paid), given_up)
    voided = min((one.at for one in of_kind(notes, Voided)), default=None)
    if voided is not None:
        _voided(made, sale, voided, written_off)


def _tells(sale: Sale) -> tuple[bool, int, int]:
    return sale.all_lines, -sale.taxes.get(UNTOLD_RATE, 0), len(sale.lines)


def _lines(sale: Sale, told: list[LinesTold]) -> list[Line]:
    if sale.all_lines or not told:
        return sale.lines
    known = settled(told)[-1]
    if not known.lines:
        return sale.lines  # Stripe has them no more
    lines = [
        line if line.start < line.end else msgspec.structs.replace(line, start=sale.at, end=sale.at)
        for line in known.lines
    ]
    return fitted(lines, sale.total - sum(sale.taxes.values()), sale.at)


def _sold(made: Statement, sale: Sale, lines: Sequence[Line]) -> None:
    net = sum(line.net for line in lines)
    tax = sum(sale.taxes.values())
    made.post(
        sale.at, "finalized", sale.currency,
        {
            Account.RECEIVABLE: sale.total - sale.applied,
            Account.CLEARING_CREDIT: sale.applied,
            Account.DEFERRED_REVENUE: -net,
            Account.CLEARING_LINES: net + tax - sale.total,
            **{tax_account(rate): -amount for rate, amount in sale.taxes.items()},
        },
    )  # fmt: skip
    for line in lines:
        made.earn(
            line.id, sale.currency, line.net,
            since=sale.at, start=line.start, end=line.end, price=line.price, product=line.product,
        )  # fmt: skip


def _credited(
    made: Statement, sale: Sale, lines: Sequence[Line], note: Credited, voided_at: int | None
) -> None:
    net = note.amount - sum(note.taxes.values())
    amounts: dict[str, int] = {
        Account.DEFERRED_REVENUE: net,
        Account.RECEIVABLE: -note.before,
        Account.REFUNDS: -note.refunded,
        Account.CLEARING_CREDIT: -note.credit,
        Account.PAID_OUTSIDE: -note.elsewhere,
        Account.CLEARING_NOTES: -note.untold,
        **{tax_account(rate): amount for rate, amount in note.taxes.items()},
    }
    made.post(note.at, "credited", sale.currency, amounts, note.note)
    before = len(made.schedules)
    for line, amount in _shares(lines, note, net):
        made.earn(
            line.id, sale.currency, -amount, since=note.at, start=line.start, end=line.end,
            price=line.price, product=line.product, source=note.note,
        )  # fmt: skip
    if voided_at is not None:
        made.take_back(voided_at, "credit_note_voided", sale.currency, amounts, note.note)
        made.schedules += [
            replace(one.reversed(), since=voided_at) for one in made.schedules[before:]
        ]


def _shares(lines: Sequence[Line], note: Credited, net: int) -> list[tuple[Line, int]]:
    """Return how much of each line a note takes back: of those it names, else of all."""
    named = [note.lines.get(line.id, 0) for line in lines]
    weights = named if sum(named) == sum(note.lines.values()) and any(named) else []
    weights = weights or [max(line.net, 0) for line in lines]
    parts = split(net, weights)
    if any(parts):
        return list(zip(lines, parts, strict=True))
    return [(Line("", net, note.at, note.at), net)]


def _paid(made: Statement, sale: Sale, paid: Sequence[Paid], given_up: int | None) -> int:
    """Post payments, and what is written off; return what is still written off at the end."""
    steps = [(0, 0)]
    for one in sorted(paid, key=lambda one: (one.at, one.amount)):
        if one.amount > steps[-1][1]:
            steps.append((one.at, one.amount))
    elsewhere = max((one.elsewhere for one in paid), default=0)
    off = 0
    if given_up is not None:
        before = max(amount for at, amount in steps if at <= given_up or amount == 0)
        owed = sum(
            one.amount_minor
            for one in made.postings
            if one.account == Account.RECEIVABLE and one.at <= given_up
        )
        off = max(owed - before, 0)
        amounts = {Account.BAD_DEBT: off, Account.RECEIVABLE: -off}
        made.post(given_up, "uncollectible", sale.currency, amounts)
        off -= _forgiven(made, sale, given_up, off)
    for (_, before), (at, amount) in pairwise(steps):
        # What was paid elsewhere is taken to have been paid last.
        outside = min(amount - before, max(amount - steps[-1][1] + elsewhere, 0))
        by_stripe = amount - before - outside
        made.post(
            at, "paid", sale.currency,
            {
                Account.PAID_OUTSIDE: outside,
                Account.CLEARING_PAYMENTS: by_stripe,
                Account.RECEIVABLE: -(amount - before),
            },
        )  # fmt: skip
        back = min(off, amount - before) if given_up is not None and at > given_up else 0
        off -= back
        recovered = {Account.RECEIVABLE: back, Account.BAD_DEBT: -back}
        made.post(at, "recovered", sale.currency, recovered)
    return off


def _forgiven(made: Statement, sale: Sale, given_up: int, off: int) -> int:
    """Let what is credited after it was written off be no bad debt; return how much that is."""
    forgiven = 0
    for one in [*made.postings]:
        if one.account == Account.RECEIVABLE and one.reason == "credited" and one.at > given_up:
            back = min(off - forgiven, -one.amount_minor)
            amounts = {Account.RECEIVABLE: back, Account.BAD_DEBT: -back}
            made.post(one.at, "recovered", sale.currency, amounts)
            forgiven += back
    return forgiven


def _voided(made: Statement, sale: Sale, at: int, written_off: int) -> None:
    """Take everything back that the invoice asked and its credit notes did."""
    asked: list[Posting] = [
        one
        for one in made.postings
        if one.reason in ("finalized", "credited", "credit_note_voided")
    ]
    totals: dict[str, int] = {}
    for one in asked:
        totals[one.account] = totals.get(one.account, 0) + one.amount_minor
    back = {Account.RECEIVABLE: written_off, Account.BAD_DEBT: -written_off}
    made.post(at, "recovered", sale.currency, back)
    made.take_back(at, "voided", sale.currency, totals, made.document)
    reversed_: list[Schedule] = [replace(one.reversed(), since=at) for one in made.schedules]
    made.schedules += reversed_
