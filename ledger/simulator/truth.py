"""What is true of the account, recorded from its own state at each change, never from events.

Times are unix seconds in UTC; amounts are minor units, per currency, never converted. Whatever
is asked "at" a moment is answered as of the end of that second.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from ledger.simulator.moments import DAY, day_of
from ledger.simulator.mrr import discount_ends, recurring_revenue

if TYPE_CHECKING:
    from ledger.simulator.engine import Engine, Json


T = TypeVar("T")


@dataclass(slots=True)
class Cash:
    """Money of one day in one currency, in minor units.

    collected: charges captured. refunded: refunds made less refunds sent back by the bank.
    disputed: money withdrawn by disputes less money reinstated. fees: all that Stripe kept.
    Payouts move money that is the account's already and count nowhere.
    """

    collected: int = 0
    refunded: int = 0
    disputed: int = 0
    fees: int = 0

    @property
    def net(self) -> int:
        """What the day added to the balance."""
        return self.collected - self.refunded - self.disputed - self.fees


@dataclass(frozen=True, slots=True)
class InvoiceState:
    """How an invoice stood: status, and amounts in minor units."""

    status: str
    amount_paid: int
    amount_remaining: int


class _Series(Generic[T]):
    """The values of something over time; of one second the last one counts."""

    def __init__(self) -> None:
        self.times: list[int] = []
        self.values: list[T] = []

    def add(self, at: int, value: T) -> None:
        if self.times and self.times[-1] == at:
            self.values[-1] = value
        elif not self.values or self.values[-1] != value:
            self.times.append(at)
            self.values.append(value)

    def at(self, moment: int) -> T | None:
        position = bisect_right(self.times, moment)
        return self.values[position - 1] if position else None


class Truth:
    """The record of one account."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._statuses: defaultdict[str, _Series[str]] = defaultdict(_Series)
        self._invoices: defaultdict[str, _Series[InvoiceState]] = defaultdict(_Series)
        self._subscriptions: defaultdict[str, _Series[Json]] = defaultdict(_Series)
        self._customers: defaultdict[str, _Series[Json]] = defaultdict(_Series)
        self._first_paid: dict[str, int] = {}
        self._cash: defaultdict[tuple[str, str], Cash] = defaultdict(Cash)

    # ----- recording

    def observe(self, before: Json | None, after: Json, now: int) -> None:
        """Take notice of a change of state at `now`."""
        kind = after["object"]
        status = _standing(after) if kind == "customer" else after.get("status")
        if after.get("deleted") and status is not None:
            status = "deleted"
        if status is not None:
            self._statuses[after["id"]].add(now, status)
        if kind == "subscription":
            self._subscriptions[after["id"]].add(now, after)
        elif kind == "customer":
            self._customers[after["id"]].add(now, after)
        elif kind == "invoice":
            self._observe_invoice(after, now)
        elif kind == "balance_transaction" and before is None:
            self._observe_movement(after, now)

    def _observe_invoice(self, invoice: Json, now: int) -> None:
        state = InvoiceState(invoice["status"], invoice["amount_paid"], invoice["amount_remaining"])
        self._invoices[invoice["id"]].add(now, state)
        parent = invoice["parent"]
        if parent and state.status == "paid" and state.amount_paid > 0:
            subscription = parent["subscription_details"]["subscription"]
            self._first_paid.setdefault(subscription, now)

    def _observe_movement(self, movement: Json, now: int) -> None:
        cash = self._cash[movement["currency"], day_of(now)]
        cash.fees += movement["fee"]
        if movement["type"] == "charge":
            cash.collected += movement["amount"]
        elif movement["type"] in ("refund", "refund_failure"):
            cash.refunded -= movement["amount"]
        elif movement["type"] == "adjustment":
            cash.disputed -= movement["amount"]

    # ----- status and invoices

    def status_of(self, object_id: str, at: int) -> str | None:
        """Return an object's status, None before it was.

        A customer, whom Stripe gives none, is `ok`, `delinquent` or `deleted`.
        """
        known = self._statuses.get(object_id)
        return known.at(at) if known else None

    def statuses_of(self, object_id: str) -> list[tuple[int, str]]:
        """Return (since, status) for each status an object has had at the end of a second."""
        known = self._statuses.get(object_id)
        return list(zip(known.times, known.values, strict=True)) if known else []

    def subscription_at(self, subscription: str, at: int) -> Json | None:
        """Return a whole subscription as it was."""
        known = self._subscriptions.get(subscription)
        return known.at(at) if known else None

    def customer_at(self, customer: str, at: int) -> Json | None:
        """Return a whole customer as it was; a deleted one bears `deleted`."""
        known = self._customers.get(customer)
        return known.at(at) if known else None

    def invoice_at(self, invoice: str, at: int) -> InvoiceState | None:
        """Return how an invoice stood."""
        known = self._invoices.get(invoice)
        return known.at(at) if known else None

    def is_paid(self, invoice: str, at: int) -> bool:
        """Return whether an invoice was paid."""
        state = self.invoice_at(invoice, at)
        return state is not None and state.status == "paid"

    def subscriptions(self) -> list[str]:
        """Return the ids of all subscriptions there have been."""
        return list(self._subscriptions)

    def invoices(self) -> list[str]:
        """Return the ids of all invoices there have been."""
        return list(self._invoices)

    def customers(self) -> list[str]:
        """Return the ids of all customers there have been, deleted ones too."""
        return list(self._customers)

    # ----- cash

    def cash(self) -> dict[tuple[str, str], Cash]:
        """Return the money of each (currency, UTC day `YYYY-MM-DD`) on which any moved."""
        return dict(self._cash)

    def cash_total(self, currency: str) -> Cash:
        """Return the money of all days in one currency."""
        total = Cash()
        for (code, _), day in self._cash.items():
            if code == currency:
                total.collected += day.collected
                total.refunded += day.refunded
                total.disputed += day.disputed
                total.fees += day.fees
        return total

    # ----- monthly recurring revenue

    def mrr_of(self, subscription: str, at: int) -> int:
        """Return a subscription's monthly recurring revenue, in minor units of its currency.

        Per licensed item: list amount at its quantity, less tax contained in it, less
        discounts, times months per period, rounded half up once; then summed. Months per
        period: month 1/n, year 1/(12 n), week 52/(12 n), day 365/(12 n). Discounts: the item's
        own, then the subscription's; those that last (forever) and repeating ones while their
        window is open, in their order;
        percentages of what is left, fixed amounts split over the items by largest remainder;
        the customer's where it has none of its own; `once` never. Counts while active or past
        due; 0 while trialing (unless it has paid before, as a free month does not lower it),
        incomplete, unpaid, paused or under pause_collection. Metered items count 0.
        """
        state = self.subscription_at(subscription, at)
        if state is None:
            return 0
        paid_before = self._first_paid.get(subscription, at + 1) <= at
        counted = state["status"] in ("active", "past_due") or (
            state["status"] == "trialing" and paid_before
        )
        if not counted or state["pause_collection"]:
            return 0
        return recurring_revenue(self._engine, state, self._discounts(state, at), at)

    def mrr(self, at: int) -> dict[tuple[str, str], int]:
        """Return monthly recurring revenue by (customer, currency), where it is not 0."""
        found: defaultdict[tuple[str, str], int] = defaultdict(int)
        for subscription in self._subscriptions:
            if amount := self.mrr_of(subscription, at):
                state = self._subscriptions[subscription].values[0]
                found[state["customer"], state["currency"]] += amount
        return dict(found)

    def mrr_steps(self, subscription: str) -> list[tuple[int, int]]:
        """Return (since, amount in minor units) for each change of a subscription's MRR."""
        steps: list[tuple[int, int]] = []
        for moment in self._moments(subscription):
            amount = self.mrr_of(subscription, moment)
            if amount != (steps[-1][1] if steps else 0):
                steps.append((moment, amount))
        return steps

    def mrr_per_day(self, start: int, end: int) -> dict[tuple[str, str, str], int]:
        """Return MRR at the end of each UTC day from `start` until before `end`.

        By (day, customer, currency), where it is not 0. A coupon's window that closes is a
        change on that day although no event tells of it.
        """
        found: defaultdict[tuple[str, str, str], int] = defaultdict(int)
        days = range(start // DAY * DAY, end, DAY)
        for subscription in self._subscriptions:
            state = self._subscriptions[subscription].values[0]
            steps = self.mrr_steps(subscription)
            times = [since for since, _ in steps]
            for day in days:
                position = bisect_right(times, day + DAY - 1)
                if position and (amount := steps[position - 1][1]):
                    found[day_of(day), state["customer"], state["currency"]] += amount
        return dict(found)

    def _moments(self, subscription: str) -> list[int]:
        """Return every moment at which a subscription's MRR may change."""
        series = self._subscriptions[subscription]
        moments = set(series.times)
        customer = self._customers[series.values[0]["customer"]]
        moments.update(customer.times)
        if first_paid := self._first_paid.get(subscription):
            moments.add(first_paid)
        for state in series.values:
            moments.update(discount_ends(state["_"]["discounts"]))
            for item in state["items"]["data"]:
                moments.update(discount_ends(item["_"]["discounts"]))
        for owner in customer.values:
            moments.update(discount_ends([owner["discount"]] if owner["discount"] else []))
        return sorted(moments)

    def _discounts(self, state: Json, at: int) -> list[Json]:
        """Return the subscription's own discounts, or else those of its customer then."""
        own: list[Json] = state["_"]["discounts"]
        if not own:
            customer = self.customer_at(state["customer"], at)
            own = [customer["discount"]] if customer and customer["discount"] else []
        return own


def _standing(customer: Json) -> str:
    if customer.get("deleted"):
        return "deleted"
    return "delinquent" if customer["delinquent"] else "ok"
