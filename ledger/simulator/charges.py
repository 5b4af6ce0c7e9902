"""Charges: one try to take money from one payment method."""

from __future__ import annotations

from typing import Any, TypedDict, Unpack

from ledger.simulator.balance import charge_fee
from ledger.simulator.catalogue import Metadata
from ledger.simulator.declines import Decline
from ledger.simulator.engine import Json
from ledger.simulator.family import Family
from ledger.simulator.payment_methods import declined
from ledger.simulator.refusals import Refused, needs


class ChargeParams(TypedDict, total=False):
    """What may change about a charge."""

    customer: str
    description: str | None
    fraud_details: dict[str, str]
    metadata: Metadata
    receipt_email: str | None
    shipping: dict[str, Any]
    transfer_group: str


class ChargeCreate(ChargeParams, total=False):
    """Parameters of a charge without a payment intent; amount in minor units."""

    amount: int
    currency: str
    source: str
    capture: bool
    statement_descriptor: str
    statement_descriptor_suffix: str


# What every new one has.
_NEW: Json = {
    "application": None,
    "application_fee": None,
    "application_fee_amount": None,
    "balance_transaction": None,
    "destination": None,
    "dispute": None,
    "disputed": False,
    "failure_balance_transaction": None,
    "livemode": False,
    "on_behalf_of": None,
    "order": None,
    "receipt_email": None,
    "receipt_number": None,
    "refunded": False,
    "review": None,
    "shipping": None,
    "source": None,
    "source_transfer": None,
    "statement_descriptor": None,
    "statement_descriptor_suffix": None,
    "transfer_data": None,
    "transfer_group": None,
}


class Charges(Family):
    """Charges."""

    kind = "charge"

    def create(self, **params: Unpack[ChargeCreate]) -> Json:
        """Charge a test token, or a customer's default source."""
        for name in ("amount", "currency"):
            if name not in params:
                raise needs(name)
        owner = self.engine.find("customer", params.get("customer"))
        source = params.get("source") or (owner and owner["default_source"])
        if not source:
            raise needs("source")
        with self.engine.call(owner):
            method = self.sim.payment_methods.resolve(source, "source")
            decline = self.sim.payment_methods.ask(method["id"])
            charge = self.take(
                params["amount"],
                params["currency"].lower(),
                method,
                decline,
                customer=params.get("customer"),
                description=params.get("description"),
                metadata=params.get("metadata", {}),
                captured=params.get("capture", True),
            )
            if decline:
                raise declined(decline, charge=charge["id"], param="source")
            return charge

    def take(
        self,
        amount: int,
        currency: str,
        method: Json,
        decline: Decline | None,
        *,
        captured: bool = True,
        intent: Json | None = None,
        **about: Any,
    ) -> Json:
        """Make the charge a bank has answered to, book it and tell of it."""
        now = self.engine.now
        paid = decline is None
        card = method["card"]
        invoice = intent and intent["_"]["invoice"]
        charge = self.engine.save(
            {
                **_NEW,
                "id": self.engine.new_id("ch"),
                "object": "charge",
                "amount": amount,
                "amount_captured": amount if paid and captured else 0,
                "amount_refunded": 0,
                "billing_details": method["billing_details"],
                "calculated_statement_descriptor": self.engine.settings.display_name.upper(),
                "captured": paid and captured,
                "created": now,
                "currency": currency,
                "customer": about.get("customer"),
                "description": about.get("description"),
                "failure_code": decline and decline.code,
                "failure_message": decline and decline.message,
                "fraud_details": {},
                "metadata": about.get("metadata", {}),
                "outcome": _outcome(decline),
                "paid": paid,
                "payment_intent": intent and intent["id"],
                "payment_method": method["id"],
                "payment_method_details": {
                    "card": _card_details(card, amount, paid),
                    "type": "card",
                },
                "radar_options": {},
                "receipt_url": f"https://pay.stripe.com/receipts/{self.engine.ids.letters(32)}"
                if paid
                else None,
                "status": "succeeded" if paid else "failed",
                "_": {"invoice": invoice, "refunds": []},
            }
        )
        if paid and captured:
            charge = self._book(charge, amount)
        self.engine.tell("charge.succeeded" if paid else "charge.failed", charge)
        return charge

    def capture(self, charge: str, *, amount: int | None = None) -> Json:
        """Take the money that a charge has only reserved."""
        known = self.retrieve(charge)
        if known["captured"] or not known["paid"]:
            raise Refused(
                f"Charge {charge} has already been captured.", code="charge_already_captured"
            )
        with self.engine.call(known):
            return self.captured(known, amount or known["amount"])

    def captured(self, charge: Json, amount: int) -> Json:
        """Book what is captured of a reserved charge (minor units); the rest is released."""
        charge = self.engine.change(
            charge,
            captured=True,
            amount_captured=amount,
            amount_refunded=charge["amount"] - amount,
        )
        charge = self._book(charge, amount)
        self.engine.tell("charge.captured", charge)
        return charge

    def release(self, charge: Json, told: str) -> None:
        """Let go of money that was reserved and never captured; no money moves."""
        released = self.engine.change(charge, amount_refunded=charge["amount"], refunded=True)
        self.engine.tell(told, released)

    def update(self, charge: str, **changes: Unpack[ChargeParams]) -> Json:
        """Change what may change about a charge."""
        return self.amend(charge, changes)

    def _book(self, charge: Json, amount: int) -> Json:
        fee = charge_fee(amount, charge["currency"])
        behaviour = self.sim.payment_methods.behaviour_of(charge["payment_method"])
        movement = self.sim.balance_transactions.post(
            charge, amount, "charge", fee=fee, at_once=behaviour.is_available_at_once
        )
        return self.engine.change(charge, balance_transaction=movement["id"])


def _outcome(decline: Decline | None) -> Json:
    if decline is None:
        return {
            "advice_code": None,
            "network_advice_code": None,
            "network_decline_code": None,
            "network_status": "approved_by_network",
            "reason": None,
            "risk_level": "normal",
            "risk_score": 13,
            "seller_message": "Payment complete.",
            "type": "authorized",
        }
    blocked = decline.decline_code == "highest_risk_level"
    return {
        "advice_code": decline.advice_code,
        "network_advice_code": decline.network_advice_code,
        "network_decline_code": decline.network_decline_code,
        "network_status": "not_sent_to_network" if blocked else "declined_by_network",
        "reason": decline.decline_code,
        "risk_level": "highest" if blocked else "normal",
        "risk_score": 91 if blocked else 24,
        "seller_message": f"The bank returned the decline code `{decline.decline_code}`.",
        "type": "blocked" if blocked else "issuer_declined",
    }


def _card_details(card: Json, amount: int, paid: bool) -> Json:
    unavailable = {"status": "unavailable"}
    return {
        "amount_authorized": amount if paid else None,
        "authorization_code": "188790" if paid else None,
        "brand": card["brand"],
        "checks": card["checks"],
        "country": card["country"],
        "exp_month": card["exp_month"],
        "exp_year": card["exp_year"],
        "extended_authorization": {"status": "disabled"},
        "fingerprint": card["fingerprint"],
        "funding": card["funding"],
        "incremental_authorization": unavailable,
        "installments": None,
        "last4": card["last4"],
        "mandate": None,
        "multicapture": unavailable,
        "network": card["brand"],
        "network_token": {"used": False},
        "network_transaction_id": "119528868122817" if paid else None,
        "overcapture": {"maximum_amount_capturable": amount, "status": "unavailable"},
        "regulated_status": "unregulated",
        "three_d_secure": None,
        "wallet": None,
    }
