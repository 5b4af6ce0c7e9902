"""What the tests of the journal share: documents of Stripe's in short, and balances by account."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from ledger.accounting.books import Books, open_books
from ledger.application import Ledger
from ledger.clock import FixedClock, utc
from ledger.moments import Moment
from ledger.observation import observe_balance
from tests.facts import Json, charge, customer, event, project, record
from tests.numbers import at

JAN, FEB = at("2024-01-01", 0), at("2024-02-01", 0)
FAR = datetime(2030, 1, 1, tzinfo=UTC)


def line(amount: int, start: int = JAN, end: int = FEB, **more: Any) -> Json:
    """A line of an invoice, for a month of service."""
    return {
        "id": more.pop("id", f"il_{amount}"), "object": "line_item", "amount": amount,
        "period": {"start": start, "end": end}, "discount_amounts": [], "taxes": [],
        "pricing": {"price_details": {"price": "price_basic", "product": "prod_basic"}}, **more,
    }  # fmt: skip


def tax(amount: int, behavior: str = "exclusive", rate: str = "txr_vat") -> Json:
    return {
        "amount": amount, "tax_behavior": behavior, "tax_rate_details": {"tax_rate": rate},
    }  # fmt: skip


def bill(*lines: Json, name: str = "in_1", **more: Any) -> Json:
    """A finalized invoice of these lines."""
    net = sum(one["amount"] - sum(d["amount"] for d in one["discount_amounts"]) for one in lines)
    taxes = [one for each in lines for one in each["taxes"]]
    total = net + sum(one["amount"] for one in taxes if one["tax_behavior"] == "exclusive")
    moments = more.pop("moments", {})
    return {
        "id": name, "object": "invoice", "customer": "cus_a", "status": "open", "created": JAN,
        "currency": "usd", "total": total, "amount_due": total, "amount_paid": 0,
        "amount_remaining": total, "starting_balance": 0, "ending_balance": 0,
        "lines": {"object": "list", "data": list(lines), "has_more": False},
        "total_taxes": taxes,
        "status_transitions": {
            "finalized_at": JAN, "paid_at": None, "voided_at": None,
            "marked_uncollectible_at": None, **moments,
        },
        **more,
    }  # fmt: skip


def finalized(invoice: Json) -> Json:
    return event("invoice.finalized", invoice, at=JAN)


def paid(invoice: Json, when: int, **more: Any) -> Json:
    moments = {**invoice["status_transitions"], "paid_at": when}
    return event(
        "invoice.paid",
        {
            **invoice, "status": "paid", "amount_paid": invoice["amount_remaining"],
            "amount_remaining": 0, "status_transitions": moments, **more,
        },
        at=when,
    )  # fmt: skip


def voided(invoice: Json, when: int) -> Json:
    moments = {**invoice["status_transitions"], "voided_at": when}
    gone = {**invoice, "status": "void", "status_transitions": moments}
    return event("invoice.voided", gone, at=when)


def given_up(invoice: Json, when: int) -> Json:
    moments = {**invoice["status_transitions"], "marked_uncollectible_at": when}
    gone = {**invoice, "status": "uncollectible", "status_transitions": moments}
    return event("invoice.marked_uncollectible", gone, at=when)


def credited(amount: int, when: int, **more: Any) -> Json:
    note = {
        "id": "cn_1", "object": "credit_note", "invoice": "in_1", "customer": "cus_a",
        "currency": "usd", "created": when, "amount": amount, "total": amount, "status": "issued",
        "pre_payment_amount": 0, "post_payment_amount": 0, "refunds": [], "out_of_band_amount": 0,
        "customer_balance_transaction": None, "total_taxes": [], "type": "post_payment",
        "lines": {"object": "list", "data": []}, **more,
    }  # fmt: skip
    return event("credit_note.created", note, at=when)


def charged(amount: int, when: int = JAN, **more: Any) -> Json:
    took = charge("ch_1", of="cus_a", amount=amount, amount_captured=amount, currency="usd",
                  created=when, **more)  # fmt: skip
    return event("charge.succeeded", took, at=when)


def moved(**changes: Any) -> Json:
    """A balance transaction."""
    return {
        "id": "txn_1", "amount": 1_000, "fee": 40, "currency": "usd", "type": "charge",
        "created": JAN, "source": "ch_1", **changes,
    }  # fmt: skip


class Bookkeeper:
    """Tells a ledger, and asks what stands on its accounts."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger

    def told(self, *events: Json, batch_events: int = 1000) -> None:
        record(self.ledger, *events)
        project(self.ledger, batch_events)

    def heard(self, *bodies: bytes) -> None:
        """Take in deliveries as Stripe renders them."""
        for body in bodies:
            self.ledger.intake.receive(body)
        project(self.ledger)

    def books(self, connection: Any, known_at: int | None = None) -> Books:
        return open_books(connection, Moment(known_at=known_at))

    def balances(
        self, before: datetime = FAR, *, known_at: int | None = None, currency: str = "usd"
    ) -> dict[str, int]:
        """Return what stands on each account, in one currency; debit positive."""
        with self.ledger.pool.connection() as connection:
            found = self.books(connection, known_at).balances(before)
        assert not sum(amount for (_, code), amount in found.items() if code == currency)
        return {account: amount for (account, code), amount in found.items() if code == currency}


def observe(books: Bookkeeper, transaction: Json) -> None:
    """Let a balance transaction be observed, as Stripe lists it."""
    books.told(event("customer.created", customer("cus_a"), at=JAN - 60))
    books.ledger.clock = FixedClock(utc(JAN + 86_400))

    class Lists:
        def balance_transactions(self, since: int, until: int) -> list[list[Json]]:
            return [[transaction]] if since <= JAN < until else []

    observe_balance(books.ledger, Lists())  # type: ignore[arg-type]
    project(books.ledger)
