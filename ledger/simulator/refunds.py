"""Refunds: money given back, wholly or in part, and sometimes sent back by the bank."""

from __future__ import annotations

from typing import Any, TypedDict, Unpack

from ledger.simulator.catalogue import Metadata
from ledger.simulator.engine import Json
from ledger.simulator.family import Family, merged_metadata
from ledger.simulator.moments import DAY
from ledger.simulator.refusals import Refused, needs

REFERENCE_AFTER_DAYS = 1
FAILS_AFTER_DAYS = 4


class RefundParams(TypedDict, total=False):
    """What may change about a refund."""

    metadata: Metadata


class RefundCreate(RefundParams, total=False):
    """Parameters of a refund; amount in minor units, all that is left if not given."""

    charge: str
    payment_intent: str
    amount: int
    reason: str
    instructions_email: str
    refund_application_fee: bool
    reverse_transfer: bool


class Refunds(Family):
    """Refunds."""

    kind = "refund"

    def create(self, **params: Unpack[RefundCreate]) -> Json:
        """Give money of a charge back."""
        charge = self._charge(params)
        if not charge["paid"]:
            raise Refused(
                f"This Charge ({charge['id']}) was not paid.", code="charge_not_refundable"
            )
        left = charge["amount"] - charge["amount_refunded"]
        if left <= 0:
            raise Refused(
                f"Charge {charge['id']} has already been refunded.",
                code="charge_already_refunded",
                param="charge",
            )
        if charge["disputed"] and not self.sim.disputes.is_refundable(charge):
            raise Refused(
                f"Charge {charge['id']} has been charged back; cannot issue a refund.",
                code="charge_disputed",
            )
        amount = params.get("amount", left)
        if not 0 < amount <= left:
            raise Refused(
                f"Refund amount ({amount}) is greater than unrefunded amount on charge ({left}).",
                param="amount",
            )
        with self.engine.call(charge):
            return self.give_back(
                charge, amount, reason=params.get("reason"), metadata=params.get("metadata", {})
            )

    def give_back(
        self, charge: Json, amount: int, *, reason: str | None = None, metadata: Metadata
    ) -> Json:
        """Make the refund of an amount (minor units) and tell of it."""
        refund = self.engine.save(
            {
                "id": self.engine.new_id("re"),
                "object": "refund",
                "amount": amount,
                "balance_transaction": None,
                "charge": charge["id"],
                "created": self.engine.now,
                "currency": charge["currency"],
                "customer": charge["customer"],
                "customer_account": None,
                "destination_details": _destination("pending"),
                "metadata": metadata,
                "payment_intent": charge["payment_intent"],
                "payment_method": charge["payment_method"],
                "reason": reason,
                "receipt_number": None,
                "source_transfer_reversal": None,
                "status": "succeeded",
                "transfer_reversal": None,
            }
        )
        movement = self.sim.balance_transactions.post(refund, -amount, "refund")
        refund = self.engine.change(refund, balance_transaction=movement["id"])
        refunded = charge["amount_refunded"] + amount
        charge = self.engine.change(
            charge,
            amount_refunded=refunded,
            refunded=refunded == charge["amount"],
            _={**charge["_"], "refunds": [*charge["_"]["refunds"], refund]},
        )
        self.engine.tell("charge.refunded", charge)
        self.engine.tell("refund.created", refund)
        fails = self.sim.payment_methods.behaviour_of(charge["payment_method"]).refund_fails
        if fails:
            self.engine.later(self.engine.now + FAILS_AFTER_DAYS * DAY, self.fail, refund["id"])
        else:
            at = self.engine.now + REFERENCE_AFTER_DAYS * DAY
            self.engine.later(at, self._refer, refund["id"])
        return refund

    def fail(self, refund: str, failure_reason: str = "lost_or_stolen_card") -> None:
        """Let the bank send a refund back: the money is the account's again."""
        known = self.retrieve(refund)
        if known["status"] != "succeeded":
            return
        with self.engine.automation():
            movement = self.sim.balance_transactions.post(known, known["amount"], "refund_failure")
            failed = self.engine.change(
                known,
                status="failed",
                failure_balance_transaction=movement["id"],
                failure_reason=failure_reason,
            )
            charge = self.engine.get("charge", known["charge"])
            charge = self.engine.change(
                charge,
                amount_refunded=charge["amount_refunded"] - known["amount"],
                refunded=False,
                _={**charge["_"], "refunds": _replaced(charge["_"]["refunds"], failed)},
            )
            self._tell_updated(failed)
            self.engine.tell("refund.failed", failed)
            self.engine.tell("charge.updated", charge)

    def update(self, refund: str, **changes: Unpack[RefundParams]) -> Json:
        """Change a refund's metadata."""
        known = self.retrieve(refund)
        with self.engine.call(self.engine.find("charge", known["charge"])):
            metadata = merged_metadata(known, changes.get("metadata"))
            changed = self.engine.change(known, metadata=metadata)
            self._tell_updated(changed)
            return changed

    def of_charge(self, charge: str) -> list[Json]:
        """Return a charge's refunds, oldest first."""
        found: list[Json] = self.sim.charges.retrieve(charge)["_"]["refunds"]
        return found

    def cancel(self, refund: str) -> Json:
        """Stop a refund that waits for the customer; a card's refund never does."""
        known = self.retrieve(refund)
        raise Refused(f"Refund {known['id']} can no longer be canceled.")

    def _refer(self, refund_id: str) -> None:
        refund = self.retrieve(refund_id)
        if refund["status"] == "succeeded":
            details = _destination("available", self.engine.ids.letters(23))
            self._tell_updated(self.engine.change(refund, destination_details=details))

    def _tell_updated(self, refund: Json) -> None:
        self.engine.tell("refund.updated", refund, also="charge.refund.updated")

    def _charge(self, params: Any) -> Json:
        if intent_id := params.get("payment_intent"):
            intent = self.sim.payment_intents.named(intent_id, "payment_intent")
            if not intent["latest_charge"]:
                raise Refused(
                    f"This PaymentIntent ({intent_id}) does not have a successful charge to refund."
                )
            return self.engine.get("charge", intent["latest_charge"])
        if "charge" not in params:
            raise needs("charge")
        return self.sim.charges.named(params["charge"], "charge")


def _replaced(refunds: list[Json], newer: Json) -> list[Json]:
    return [newer if one["id"] == newer["id"] else one for one in refunds]


def _destination(status: str, reference: str | None = None) -> Json:
    card = {
        "reference_status": status,
        "reference_type": "acquirer_reference_number",
        "type": "refund",
    }
    if reference:
        card = {"reference": reference, **card}
    return {"card": card, "type": "card"}
