"""Payment intents: one amount to collect, by as many charges as it takes."""

from __future__ import annotations

from typing import Any, Literal, TypedDict, Unpack

from ledger.simulator.catalogue import Metadata
from ledger.simulator.declines import DECLINES, Decline
from ledger.simulator.engine import Json
from ledger.simulator.family import Family
from ledger.simulator.intent_shape import new_intent
from ledger.simulator.moments import DAY
from ledger.simulator.payment_methods import declined
from ledger.simulator.refusals import Refused, needs, not_now

Outcome = Literal["succeeded", "failed", "requires_action", "requires_capture"]
HELD_DAYS = 7
_OPEN = ("requires_payment_method", "requires_confirmation", "requires_action")


class IntentParams(TypedDict, total=False):
    """What may change about a payment intent; amount in minor units."""

    amount: int
    currency: str
    customer: str
    description: str | None
    metadata: Metadata
    payment_method: str
    payment_method_data: dict[str, Any]
    payment_method_options: dict[str, Any]
    payment_method_types: list[str]
    receipt_email: str | None
    setup_future_usage: str | None
    shipping: dict[str, Any]
    statement_descriptor: str
    statement_descriptor_suffix: str
    transfer_group: str


class AutomaticMethods(TypedDict, total=False):
    """Whether the kinds of payment method follow from the account's settings."""

    enabled: bool
    allow_redirects: str


class IntentCreate(IntentParams, total=False):
    """Parameters of a new payment intent."""

    automatic_payment_methods: AutomaticMethods
    capture_method: str
    confirm: bool
    confirmation_method: str
    error_on_requires_action: bool
    mandate_data: dict[str, Any]
    off_session: bool
    return_url: str


class ConfirmParams(TypedDict, total=False):
    """How a payment intent is confirmed."""

    payment_method: str
    payment_method_data: dict[str, Any]
    off_session: bool
    return_url: str
    receipt_email: str
    setup_future_usage: str
    shipping: dict[str, Any]


class PaymentIntents(Family):
    """Payment intents."""

    kind = "payment_intent"

    def create(self, **params: Unpack[IntentCreate]) -> Json:
        """Make a payment intent, and confirm it if asked to."""
        for name in ("amount", "currency"):
            if name not in params:
                raise needs(name)
        if params["amount"] <= 0:
            raise Refused(
                "This value must be greater than or equal to 1.",
                code="parameter_invalid_integer",
                param="amount",
            )
        owner = self.engine.find("customer", params.get("customer"))
        with self.engine.call(owner):
            method = self._given_method(params)
            intent = self.new(
                params["amount"],
                params["currency"].lower(),
                customer=params.get("customer"),
                payment_method=method,
                description=params.get("description"),
                metadata=params.get("metadata", {}),
                capture_method=params.get("capture_method", "automatic_async"),
                receipt_email=params.get("receipt_email"),
                setup_future_usage=params.get("setup_future_usage"),
                shipping=params.get("shipping"),
                automatic_payment_methods=params.get("automatic_payment_methods"),
                confirmation_method=params.get("confirmation_method", "automatic"),
            )
            if params.get("confirm"):
                return self.confirm(intent["id"], off_session=params.get("off_session", False))
            return intent

    def new(self, amount: int, currency: str, *, invoice: str | None = None, **leaves: Any) -> Json:
        """Make a payment intent and tell of it; `invoice` is what it pays."""
        intent = self.engine.save(
            new_intent(
                self.engine.new_id("pi"),
                amount,
                currency,
                now=self.engine.now,
                secret=self.engine.ids.letters(25),
                invoice=invoice,
                leaves=leaves,
            )
        )
        self.engine.tell("payment_intent.created", intent)
        return intent

    def update(self, payment_intent: str, **changes: Unpack[IntentParams]) -> Json:
        """Change an intent that has not been paid."""
        known = self.retrieve(payment_intent)
        if known["status"] not in _OPEN:
            raise self._unexpected(known)
        leaves: dict[str, Any] = dict(changes)
        leaves.pop("payment_method_data", None)
        if method := self._given_method(changes):
            leaves["payment_method"] = method
            leaves["status"] = "requires_confirmation"
        with self.engine.call(known):
            metadata = {**known["metadata"], **leaves.get("metadata", {})}
            return self.engine.change(known, **{**leaves, "metadata": metadata})

    def confirm(self, payment_intent: str, **params: Unpack[ConfirmParams]) -> Json:
        """Try to collect; raises the card's error if it is declined."""
        known = self.retrieve(payment_intent)
        if known["status"] not in _OPEN:
            raise self._unexpected(known)
        with self.engine.call(known):
            method = self._given_method(params) or known["payment_method"]
            if not method:
                raise not_now(
                    "You cannot confirm this PaymentIntent because it's missing a payment method.",
                    "payment_intent_unexpected_state",
                )
            off_session = params.get("off_session", False)
            outcome = self.attempt(known, method, off_session=off_session)
            intent = self.retrieve(payment_intent)
            if intent["_"]["invoice"] and outcome == "succeeded":
                self.sim.invoices.collected(intent["_"]["invoice"], by=intent)
            elif intent["_"]["invoice"] and outcome == "failed":
                self.sim.dunning.failed_by_hand(intent["_"]["invoice"])
            if outcome == "failed":
                raise self.error_of(intent)
            return intent

    def attempt(self, intent: Json, method_id: str, *, off_session: bool) -> Outcome:
        """Ask the bank once, and tell what came of it."""
        method = self.sim.payment_methods.retrieve(method_id)
        behaviour = self.sim.payment_methods.behaviour_of(method_id)
        if behaviour.authenticates:
            if off_session and not intent["_"]["invoice"]:
                self._declined(intent, method, DECLINES["authentication_required"])
                return "failed"
            return self._ask_to_authenticate(intent, method)
        return self._charge(intent, method)

    def authenticate(self, payment_intent: str, *, succeeds: bool = True) -> Json:
        """Let the customer pass, or fail, what the bank asks of them."""
        intent = self.retrieve(payment_intent)
        if intent["status"] != "requires_action":
            raise self._unexpected(intent)
        with self.engine.call(intent):
            method = self.sim.payment_methods.retrieve(intent["payment_method"])
            invoice = intent["_"]["invoice"]
            if succeeds:
                outcome = self._charge(self.engine.change(intent, next_action=None), method)
                if invoice and outcome == "succeeded":
                    self.sim.invoices.collected(invoice, by=self.retrieve(payment_intent))
            else:
                self._declined(intent, method, DECLINES["authentication_required"])
                if invoice:
                    self.sim.dunning.failed_by_hand(invoice)
            return self.retrieve(payment_intent)

    def capture(self, payment_intent: str, *, amount_to_capture: int | None = None) -> Json:
        """Take what was reserved."""
        intent = self.retrieve(payment_intent)
        if intent["status"] != "requires_capture":
            raise self._unexpected(intent)
        with self.engine.call(intent):
            amount = amount_to_capture or intent["amount_capturable"]
            charge = self.engine.get("charge", intent["latest_charge"])
            charge = self.sim.charges.captured(charge, amount)
            return self._succeeded(self.engine.change(intent, amount_capturable=0), charge, amount)

    def cancel(self, payment_intent: str, *, cancellation_reason: str | None = None) -> Json:
        """Give an intent up; one that an invoice made is given up with the invoice."""
        intent = self.retrieve(payment_intent)
        if intent["_"]["invoice"] or intent["status"] not in (*_OPEN, "requires_capture"):
            raise self._unexpected(intent)
        with self.engine.call(intent):
            return self.give_up(intent, cancellation_reason)

    def give_up(self, intent: Json, reason: str | None, told: str = "charge.refunded") -> Json:
        """Cancel an intent, and let go of what it has reserved."""
        if intent["status"] == "requires_capture":
            self.sim.charges.release(self.engine.get("charge", intent["latest_charge"]), told)
        canceled = self.engine.change(
            intent,
            status="canceled",
            canceled_at=self.engine.now,
            cancellation_reason=reason,
            amount_capturable=0,
            next_action=None,
        )
        self.engine.tell("payment_intent.canceled", canceled)
        return canceled

    def error_of(self, intent: Json) -> Refused:
        """Return the refusal that tells of an intent's last payment error."""
        error = intent["last_payment_error"]
        decline = DECLINES[error["decline_code"] or error["code"]]
        return declined(decline, charge=error["charge"], payment_intent=intent)

    # ----- the steps of one attempt

    def _charge(self, intent: Json, method: Json) -> Outcome:
        decline = self.sim.payment_methods.ask(method["id"])
        if decline:
            self._declined(intent, method, decline)
            return "failed"
        reserves = intent["capture_method"] == "manual"
        charge = self.sim.charges.take(
            intent["amount"],
            intent["currency"],
            method,
            None,
            captured=not reserves,
            intent=intent,
            customer=intent["customer"],
            description=intent["description"],
            metadata=intent["metadata"],
        )
        intent = self.engine.change(intent, payment_method=method["id"], last_payment_error=None)
        if reserves:
            intent = self.engine.change(
                intent,
                status="requires_capture",
                amount_capturable=intent["amount"],
                latest_charge=charge["id"],
                _={**intent["_"], "charge": charge},
            )
            self.engine.tell("payment_intent.amount_capturable_updated", intent)
            at = self.engine.now + HELD_DAYS * DAY
            self.engine.later(at, self._let_go, intent["id"])
            return "requires_capture"
        self._succeeded(intent, charge, intent["amount"])
        return "succeeded"

    def _let_go(self, intent_id: str) -> None:
        """Let a reservation that nobody has captured expire."""
        intent = self.retrieve(intent_id)
        if intent["status"] == "requires_capture":
            self.give_up(intent, "automatic", "charge.expired")

    def _succeeded(self, intent: Json, charge: Json, amount: int) -> Json:
        paid = self.engine.change(
            intent,
            status="succeeded",
            amount_received=amount,
            latest_charge=charge["id"],
            next_action=None,
            _={**intent["_"], "charge": charge},
        )
        self.engine.tell("payment_intent.succeeded", paid)
        if intent["setup_future_usage"] and intent["customer"]:
            method = self.engine.get("payment_method", charge["payment_method"])
            if method["customer"] is None:
                method = self.engine.change(method, customer=intent["customer"])
                self.engine.tell("payment_method.attached", method)
        reason = self.sim.payment_methods.behaviour_of(charge["payment_method"]).dispute
        if reason:
            self.sim.disputes.open(charge["id"], reason=reason)
        return paid

    def _declined(self, intent: Json, method: Json, decline: Decline) -> None:
        charge = self.sim.charges.take(
            intent["amount"],
            intent["currency"],
            method,
            decline,
            intent=intent,
            customer=intent["customer"],
            description=intent["description"],
            metadata=intent["metadata"],
        )
        has_code = decline.code in ("card_declined", "authentication_required")
        error = {
            "advice_code": decline.advice_code,
            "charge": charge["id"],
            "code": decline.code,
            "decline_code": decline.decline_code if has_code else None,
            "doc_url": f"https://docs.stripe.com/error-codes/{decline.code.replace('_', '-')}",
            "message": decline.message,
            "network_advice_code": decline.network_advice_code,
            "network_decline_code": decline.network_decline_code,
            "payment_method": method,
            "type": "card_error",
        }
        failed = self.engine.change(
            intent,
            status="requires_payment_method",
            last_payment_error=error,
            latest_charge=charge["id"],
            payment_method=None,
            next_action=None,
            _={**intent["_"], "charge": charge},
        )
        self.engine.tell("payment_intent.payment_failed", failed)

    def _ask_to_authenticate(self, intent: Json, method: Json) -> Outcome:
        url = f"https://hooks.stripe.com/3d_secure_2/hosted?payment_intent={intent['id']}"
        asked = self.engine.change(
            intent,
            status="requires_action",
            payment_method=method["id"],
            next_action={
                "type": "use_stripe_sdk" if intent["_"]["invoice"] else "redirect_to_url",
                "redirect_to_url": {"return_url": None, "url": url},
            },
        )
        self.engine.tell("payment_intent.requires_action", asked)
        return "requires_action"

    def _given_method(self, params: Any) -> str | None:
        if data := params.get("payment_method_data"):
            created: str = self.sim.payment_methods.create(**data)["id"]
            return created
        method = params.get("payment_method")
        if not method:
            return None
        found: str = self.sim.payment_methods.resolve(method)["id"]
        return found

    def _unexpected(self, intent: Json) -> Refused:
        return not_now(
            "This PaymentIntent's status does not allow this: " + intent["status"] + ".",
            "payment_intent_unexpected_state",
        )
