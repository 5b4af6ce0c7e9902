"""The account's balance: what each movement of money costs, when it is there, and payouts."""

from __future__ import annotations

from collections import defaultdict
from fractions import Fraction
from typing import Any, Required, TypedDict, Unpack

from ledger.simulator.catalogue import Metadata
from ledger.simulator.engine import Json
from ledger.simulator.family import Family
from ledger.simulator.moments import DAY, half_up
from ledger.simulator.refusals import Refused

AVAILABLE_AFTER_DAYS = 7
PAYOUT_ARRIVES_DAYS = 2
_PERCENT = Fraction(29, 1000)
# The fixed part of a charge's fee, about 30 US cents, in minor units.
_FIXED = {"usd": 30, "eur": 25, "gbp": 20, "idr": 500_000, "jpy": 40, "kwd": 100}
_DISPUTE_FEES = {"usd": 1_500, "eur": 2_000, "gbp": 2_000, "idr": 24_000_000, "jpy": 1_300}


def charge_fee(amount: int, currency: str) -> int:
    """Return what Stripe keeps of a charge (minor units): 2.9 % and a fixed part."""
    return min(amount, half_up(amount * _PERCENT) + _FIXED.get(currency, 30))


def dispute_fee(currency: str) -> int:
    """Return what a dispute costs, in minor units."""
    return _DISPUTE_FEES.get(currency, 1_500)


class BalanceTransactions(Family):
    """Every movement of the account's balance."""

    kind = "balance_transaction"

    def __init__(self, simulator: Any) -> None:
        super().__init__(simulator)
        self._pending: defaultdict[str, int] = defaultdict(int)
        self._available: defaultdict[str, int] = defaultdict(int)
        self._falling_due: defaultdict[tuple[str, int], list[tuple[str, int]]] = defaultdict(list)
        self._last_payout_day = 0

    def post(
        self,
        source: Json,
        amount: int,
        kind: str,
        *,
        fee: int = 0,
        category: str | None = None,
        description: str | None = None,
        at_once: bool = False,
    ) -> Json:
        """Book a movement (minor units, out of the balance is negative); it settles later."""
        now = self.engine.now
        currency = source["currency"]
        at_once = at_once or kind in ("payout", "payout_failure")
        available_on = now if at_once else (now // DAY + AVAILABLE_AFTER_DAYS) * DAY
        fees = fee and [
            {
                "amount": fee,
                "application": None,
                "currency": currency,
                "description": "Stripe processing fees",
                "type": "stripe_fee",
            }
        ]
        family = "3" if source["object"] in ("charge", "refund") else "1"
        transaction = self.engine.save(
            {
                "id": self.engine.ids.of_family("txn", family, now),
                "object": "balance_transaction",
                "amount": amount,
                "available_on": available_on,
                "balance_type": "payments",
                "created": now,
                "currency": currency,
                "description": description or source.get("description"),
                "exchange_rate": None,
                "fee": fee,
                "fee_details": fees or [],
                "net": amount - fee,
                "reporting_category": category or kind,
                "source": source["id"],
                "status": "available" if at_once else "pending",
                "type": kind,
            }
        )
        if at_once:
            self._available[currency] += amount - fee
            if kind == "charge":
                self.engine.tell("balance.available", self.balance())
        else:
            self._pending[currency] += amount - fee
            due = self.engine.clock_id, available_on
            if due not in self._falling_due:
                self.engine.later(available_on, self._settle, *due)
            self._falling_due[due].append((transaction["id"], amount - fee))
        return transaction

    def _settle(self, clock_id: str, day: int) -> None:
        """Let what was pending until this day be available; pay out when it is time."""
        for transaction_id, net in self._falling_due.pop((clock_id, day)):
            transaction = self.engine.get(self.kind, transaction_id)
            self.engine.change(transaction, status="available")
            self._pending[transaction["currency"]] -= net
            self._available[transaction["currency"]] += net
        self.engine.tell("balance.available", self.balance())
        every = self.engine.settings.payout_every_days
        if every and day >= self._last_payout_day + every * DAY:
            self._last_payout_day = day
            for currency, amount in sorted(self._available.items()):
                if amount > 0:
                    self.sim.payouts.pay(amount, currency, is_automatic=True)

    def available(self, currency: str) -> int:
        """Return what can be paid out, in minor units."""
        return self._available[currency]

    def balance(self) -> Json:
        """Return the account's balance, per currency in minor units."""

        def listed(amounts: dict[str, int]) -> list[Json]:
            return [
                {"amount": amount, "currency": currency, "source_types": {"card": amount}}
                for currency, amount in sorted(amounts.items())
            ]

        return {
            "object": "balance",
            "available": listed(self._available),
            "livemode": False,
            "pending": listed(self._pending),
            "refund_and_dispute_prefunding": {"available": [], "pending": []},
        }


class PayoutCreate(TypedDict, total=False):
    """Parameters of a payout by hand, in minor units."""

    amount: Required[int]
    currency: Required[str]
    description: str
    metadata: Metadata
    method: str
    statement_descriptor: str


class Payouts(Family):
    """Payouts to the account's bank."""

    kind = "payout"

    def create(self, **params: Unpack[PayoutCreate]) -> Json:
        """Pay an amount out by hand."""
        currency = params["currency"].lower()
        if params["amount"] > self.sim.balance_transactions.available(currency):
            raise Refused(
                "You have insufficient funds in your Stripe account.", code="balance_insufficient"
            )
        with self.engine.call():
            return self.pay(params["amount"], currency, is_automatic=False)

    def update(self, payout: str, *, metadata: Metadata) -> Json:
        """Change a payout's metadata."""
        return self.amend(payout, {"metadata": metadata})

    def pay(self, amount: int, currency: str, *, is_automatic: bool) -> Json:
        """Send an amount (minor units) on its way; it arrives days later."""
        now = self.engine.now
        arrives = (now // DAY + PAYOUT_ARRIVES_DAYS) * DAY
        payout = self.engine.save(
            {
                "id": self.engine.new_id("po"),
                "object": "payout",
                "amount": amount,
                "application_fee": None,
                "application_fee_amount": None,
                "arrival_date": arrives,
                "automatic": is_automatic,
                "balance_transaction": None,
                "created": now,
                "currency": currency,
                "description": "STRIPE PAYOUT",
                "destination": self.engine.ids.account.replace("acct_", "ba_"),
                "failure_balance_transaction": None,
                "failure_code": None,
                "failure_message": None,
                "livemode": False,
                "metadata": {},
                "method": "standard",
                "original_payout": None,
                "payout_method": None,
                "reconciliation_status": "in_progress" if is_automatic else "not_applicable",
                "reversed_by": None,
                "source_type": "card",
                "statement_descriptor": None,
                "status": "pending",
                "trace_id": None,
                "type": "bank_account",
            }
        )
        movement = self.sim.balance_transactions.post(payout, -amount, "payout")
        payout = self.engine.change(payout, balance_transaction=movement["id"])
        self.engine.tell("payout.created", payout)
        self.engine.later(now + DAY, self._leave, payout["id"])
        self.engine.later(arrives, self._arrive, payout["id"])
        return payout

    def cancel(self, payout: str) -> Json:
        """Stop a payout that has not left yet."""
        known = self.retrieve(payout)
        if known["status"] != "pending":
            raise Refused("Payouts can be canceled only while they are pending.")
        with self.engine.call():
            return self._give_back(known, "canceled", None)

    def fail(self, payout: str, failure_code: str = "account_closed") -> Json:
        """Let the bank send a payout back."""
        known = self.retrieve(payout)
        if known["status"] not in ("pending", "in_transit", "paid"):
            raise Refused("This payout can no longer fail.")
        with self.engine.automation():
            return self._give_back(known, "failed", failure_code)

    def _give_back(self, payout: Json, status: str, code: str | None) -> Json:
        movement = self.sim.balance_transactions.post(payout, payout["amount"], "payout_failure")
        changed = self.engine.change(
            payout,
            status=status,
            failure_code=code,
            failure_message=code and "The bank account has been closed.",
            failure_balance_transaction=movement["id"],
        )
        self.engine.tell(f"payout.{status}", changed)
        return changed

    def _leave(self, payout_id: str) -> None:
        payout = self.retrieve(payout_id)
        if payout["status"] == "pending":
            self.engine.tell("payout.updated", self.engine.change(payout, status="in_transit"))

    def _arrive(self, payout_id: str) -> None:
        payout = self.retrieve(payout_id)
        if payout["status"] in ("pending", "in_transit"):
            status = "completed" if payout["automatic"] else payout["reconciliation_status"]
            paid = self.engine.change(payout, status="paid", reconciliation_status=status)
            self.engine.tell("payout.paid", paid)
            if payout["automatic"]:
                self.engine.tell("payout.reconciliation_completed", paid)
