"""Disputes: customers who ask their bank for the money back, and how that ends."""

from __future__ import annotations

from typing import Any, TypedDict, Unpack

from ledger.simulator.balance import dispute_fee
from ledger.simulator.catalogue import Metadata
from ledger.simulator.engine import Json
from ledger.simulator.family import Family, merged_metadata
from ledger.simulator.moments import DAY
from ledger.simulator.refusals import not_now

EVIDENCE_DAYS = 9
INQUIRY_CLOSES_DAYS = 120
DECIDED = frozenset({"won", "lost", "warning_closed", "prevented"})
_NETWORK_CODES = {
    "fraudulent": "10.4",
    "product_not_received": "13.1",
    "subscription_canceled": "13.2",
}
_EVIDENCE: Json = {
    **dict.fromkeys(
        "access_activity_log billing_address cancellation_policy cancellation_policy_disclosure"
        " cancellation_rebuttal customer_communication customer_email_address customer_name"
        " customer_purchase_ip customer_signature duplicate_charge_documentation"
        " duplicate_charge_explanation duplicate_charge_id product_description receipt"
        " refund_policy refund_policy_disclosure refund_refusal_explanation service_date"
        " service_documentation shipping_address shipping_carrier shipping_date"
        " shipping_documentation shipping_tracking_number uncategorized_file"
        " uncategorized_text".split()
    ),
    "enhanced_evidence": {},
}


class DisputeParams(TypedDict, total=False):
    """What the account may say to a dispute."""

    evidence: dict[str, Any]
    metadata: Metadata
    submit: bool


class Disputes(Family):
    """Disputes."""

    kind = "dispute"

    def open(self, charge: str, *, reason: str = "fraudulent", inquiry: bool = False) -> Json:
        """Let a customer's bank dispute a charge; an inquiry moves no money yet."""
        known = self.sim.charges.named(charge, "charge")
        inquiry = inquiry or reason == "warning"
        reason = "general" if reason == "warning" else reason
        now = self.engine.now
        with self.engine.automation():
            dispute = self.engine.save(
                {
                    "id": self.engine.new_id("dp"),
                    "object": "dispute",
                    "amount": known["amount"] - known["amount_refunded"],
                    "balance_transactions": [],
                    "charge": charge,
                    "created": now,
                    "currency": known["currency"],
                    "enhanced_eligibility_types": [],
                    "evidence": _EVIDENCE,
                    "evidence_details": {
                        "due_by": (now // DAY + EVIDENCE_DAYS) * DAY - 1,
                        "enhanced_eligibility": {},
                        "has_evidence": False,
                        "past_due": False,
                        "submission_count": 0,
                        "submission_method": "not_submitted",
                    },
                    "is_charge_refundable": inquiry,
                    "livemode": False,
                    "metadata": {},
                    "payment_intent": known["payment_intent"],
                    "payment_method_details": {
                        "card": {
                            "brand": known["payment_method_details"]["card"]["brand"],
                            "case_type": "inquiry" if inquiry else "chargeback",
                            "network": known["payment_method_details"]["card"]["network"],
                            "network_reason_code": _NETWORK_CODES.get(reason, "10.4"),
                        },
                        "type": "card",
                    },
                    "reason": reason,
                    "status": "warning_needs_response" if inquiry else "needs_response",
                }
            )
            disputed = self.engine.change(known, disputed=True, dispute=dispute["id"])
            self.engine.tell("charge.dispute.created", dispute)
            self.engine.tell("charge.updated", disputed)
            if inquiry:
                at = now + INQUIRY_CLOSES_DAYS * DAY
                self.engine.later(at, self._close_inquiry, dispute["id"])
                return dispute
            return self._take_money(dispute)

    def escalate(self, dispute: str) -> Json:
        """Let an inquiry become a chargeback."""
        known = self.retrieve(dispute)
        if known["status"] not in ("warning_needs_response", "warning_under_review"):
            raise self._unexpected(known)
        with self.engine.automation():
            method = known["payment_method_details"]
            changed = self.engine.change(
                known,
                status="needs_response",
                is_charge_refundable=False,
                payment_method_details={
                    **method,
                    "card": {**method["card"], "case_type": "chargeback"},
                },
            )
            self.engine.tell("charge.dispute.updated", changed)
            return self._take_money(changed)

    def prevent(self, charge: str) -> Json:
        """Let the network resolve a dispute before it is one; no money moves by it."""
        dispute = self.open(charge, reason="fraudulent", inquiry=True)
        with self.engine.automation():
            return self._decide(dispute, "prevented")

    def update(self, dispute: str, **changes: Unpack[DisputeParams]) -> Json:
        """Give evidence, and submit it to the bank."""
        known = self.retrieve(dispute)
        leaves: dict[str, Any] = {}
        if "metadata" in changes:
            leaves["metadata"] = merged_metadata(known, changes["metadata"])
        given = changes.get("evidence", {})
        if given:
            if known["status"] in DECIDED:
                raise self._unexpected(known)
            leaves["evidence"] = {**known["evidence"], **given}
            details = {**known["evidence_details"], "has_evidence": True}
            if changes.get("submit", True):
                warned = known["status"].startswith("warning")
                leaves["status"] = "warning_under_review" if warned else "under_review"
                details["submission_count"] += 1
                details["submission_method"] = "manual"
            leaves["evidence_details"] = details
        owner = self.engine.find("charge", known["charge"])
        with self.engine.call(owner):
            changed = self.engine.change(known, **leaves)
            self.engine.tell("charge.dispute.updated", changed)
            verdict = given.get("uncategorized_text")
            if verdict in ("winning_evidence", "losing_evidence"):
                return self.decide(dispute, won=verdict == "winning_evidence")
            return changed

    def close(self, dispute: str) -> Json:
        """Accept a dispute: it is lost."""
        known = self.retrieve(dispute)
        owner = self.engine.find("charge", known["charge"])
        with self.engine.call(owner):
            return self.decide(dispute, won=False)

    def decide(self, dispute: str, *, won: bool) -> Json:
        """Let the bank decide; what was won comes back."""
        known = self.retrieve(dispute)
        if known["status"] in DECIDED:
            raise self._unexpected(known)
        with self.engine.automation():
            if known["status"].startswith("warning"):
                return self._decide(known, "warning_closed")
            closed = self._decide(known, "won" if won else "lost")
            if won:
                closed = self._give_back(closed)
            return closed

    def appeal(self, dispute: str) -> Json:
        """Appeal against a dispute that was lost."""
        known = self.retrieve(dispute)
        if known["status"] != "lost":
            raise self._unexpected(known)
        with self.engine.call(self.engine.find("charge", known["charge"])):
            changed = self.engine.change(known, status="appeal_under_review")
            self.engine.tell("charge.dispute.updated", changed)
            return changed

    def is_refundable(self, charge: Json) -> bool:
        """Return whether a disputed charge may still be refunded."""
        dispute = self.engine.find(self.kind, charge["dispute"])
        return dispute is None or dispute["is_charge_refundable"] or dispute["status"] == "won"

    # ----- the steps

    def _decide(self, dispute: Json, status: str) -> Json:
        closed = self.engine.change(dispute, status=status)
        self.engine.tell("charge.dispute.closed", closed)
        return closed

    def _take_money(self, dispute: Json) -> Json:
        fee = dispute_fee(dispute["currency"])
        movement = self.sim.balance_transactions.post(
            dispute,
            -dispute["amount"],
            "adjustment",
            fee=fee,
            category="dispute",
            description=f"Chargeback withdrawal for {dispute['charge']}",
        )
        changed = self.engine.change(
            dispute, balance_transactions=[*dispute["balance_transactions"], movement]
        )
        self.engine.tell("charge.dispute.funds_withdrawn", changed)
        due_by = dispute["evidence_details"]["due_by"]
        self.engine.later(due_by, self._lose_by_silence, dispute["id"])
        if self.engine.settings.cancels_on_dispute:
            charge = self.engine.get("charge", dispute["charge"])
            self.sim.subscriptions.end_for_dispute(charge["_"]["invoice"])
        return changed

    def _give_back(self, dispute: Json) -> Json:
        movement = self.sim.balance_transactions.post(
            dispute,
            dispute["amount"],
            "adjustment",
            category="dispute_reversal",
            description=f"Chargeback reversal for {dispute['charge']}",
        )
        changed = self.engine.change(
            dispute, balance_transactions=[*dispute["balance_transactions"], movement]
        )
        self.engine.tell("charge.dispute.funds_reinstated", changed)
        return changed

    def _lose_by_silence(self, dispute_id: str) -> None:
        dispute = self.retrieve(dispute_id)
        if dispute["status"] == "needs_response":
            details = {**dispute["evidence_details"], "past_due": True}
            self._decide(self.engine.change(dispute, evidence_details=details), "lost")

    def _close_inquiry(self, dispute_id: str) -> None:
        dispute = self.retrieve(dispute_id)
        if dispute["status"].startswith("warning_") and dispute["status"] not in DECIDED:
            self._decide(dispute, "warning_closed")

    def _unexpected(self, dispute: Json) -> Exception:
        return not_now(
            f"This dispute is {dispute['status']} and does not allow this.",
            "dispute_unexpected_state",
        )
