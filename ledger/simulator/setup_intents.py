"""Setup intents: a payment method made ready for later charges."""

from __future__ import annotations

from typing import TypedDict, Unpack

from ledger.simulator.catalogue import Metadata
from ledger.simulator.engine import Json
from ledger.simulator.family import Family
from ledger.simulator.payment_intents import AutomaticMethods
from ledger.simulator.payment_methods import declined
from ledger.simulator.refusals import not_now

_OPEN = ("requires_payment_method", "requires_confirmation", "requires_action")


class SetupParams(TypedDict, total=False):
    """What may change about a setup intent."""

    customer: str
    description: str | None
    metadata: Metadata
    payment_method: str
    payment_method_types: list[str]


class SetupCreate(SetupParams, total=False):
    """Parameters of a new setup intent."""

    automatic_payment_methods: AutomaticMethods
    confirm: bool
    return_url: str
    usage: str


class SetupIntents(Family):
    """Setup intents."""

    kind = "setup_intent"

    def create(self, **params: Unpack[SetupCreate]) -> Json:
        """Make a setup intent, and confirm it if asked to."""
        owner = self.engine.find("customer", params.get("customer"))
        with self.engine.call(owner):
            method = params.get("payment_method")
            resolved = self.sim.payment_methods.resolve(method)["id"] if method else None
            intent_id = self.engine.new_id("seti")
            intent = self.engine.save(
                {
                    "id": intent_id,
                    "object": "setup_intent",
                    "application": None,
                    "automatic_payment_methods": params.get("automatic_payment_methods"),
                    "cancellation_reason": None,
                    "client_secret": f"{intent_id}_secret_{self.engine.ids.letters(25)}",
                    "created": self.engine.now,
                    "customer": params.get("customer"),
                    "customer_account": None,
                    "description": params.get("description"),
                    "excluded_payment_method_types": None,
                    "flow_directions": None,
                    "last_setup_error": None,
                    "latest_attempt": None,
                    "livemode": False,
                    "mandate": None,
                    "metadata": params.get("metadata", {}),
                    "next_action": None,
                    "on_behalf_of": None,
                    "payment_method": resolved,
                    "payment_method_configuration_details": None,
                    "payment_method_options": {
                        "card": {
                            "mandate_options": None,
                            "network": None,
                            "request_three_d_secure": "automatic",
                        }
                    },
                    "payment_method_types": ["card"],
                    "single_use_mandate": None,
                    "status": "requires_confirmation" if resolved else "requires_payment_method",
                    "usage": params.get("usage", "off_session"),
                }
            )
            self.engine.tell("setup_intent.created", intent)
            return self.confirm(intent_id) if params.get("confirm") else intent

    def confirm(self, setup_intent: str, *, payment_method: str | None = None) -> Json:
        """Make the payment method ready, and attach it to the customer."""
        intent = self._open(setup_intent)
        with self.engine.call(intent):
            given = payment_method or intent["payment_method"]
            if not given:
                raise not_now("The payment method is missing.", "setup_intent_unexpected_state")
            method = self.sim.payment_methods.resolve(given)
            behaviour = self.sim.payment_methods.behaviour_of(method["id"])
            if behaviour.authenticates:
                asked = self.engine.change(
                    intent,
                    status="requires_action",
                    payment_method=method["id"],
                    next_action={"type": "use_stripe_sdk"},
                )
                self.engine.tell("setup_intent.requires_action", asked)
                return asked
            decline = behaviour.answer(1) if behaviour.declines_attachment else None
            if decline:
                error = {"code": decline.code, "decline_code": decline.decline_code}
                failed = self.engine.change(
                    intent,
                    status="requires_payment_method",
                    payment_method=None,
                    last_setup_error={**error, "message": decline.message, "type": "card_error"},
                )
                self.engine.tell("setup_intent.setup_failed", failed)
                raise declined(decline, setup_intent=failed)
            return self._succeed(intent, method)

    def authenticate(self, setup_intent: str) -> Json:
        """Let the customer pass what the bank asks of them."""
        intent = self._open(setup_intent)
        with self.engine.call(intent):
            method = self.sim.payment_methods.retrieve(intent["payment_method"])
            return self._succeed(intent, method)

    def cancel(self, setup_intent: str, *, cancellation_reason: str | None = None) -> Json:
        """Give it up."""
        intent = self._open(setup_intent)
        with self.engine.call(intent):
            canceled = self.engine.change(
                intent, status="canceled", cancellation_reason=cancellation_reason, next_action=None
            )
            self.engine.tell("setup_intent.canceled", canceled)
            return canceled

    def update(self, setup_intent: str, **changes: Unpack[SetupParams]) -> Json:
        """Change a setup intent that is still open."""
        known = self._open(setup_intent)
        with self.engine.call(known):
            metadata = {**known["metadata"], **changes.get("metadata", {})}
            return self.engine.change(known, **{**changes, "metadata": metadata})

    def _succeed(self, intent: Json, method: Json) -> Json:
        if intent["customer"] and method["customer"] is None:
            method = self.engine.change(method, customer=intent["customer"])
            self.engine.tell("payment_method.attached", method)
        done = self.engine.change(
            intent,
            status="succeeded",
            payment_method=method["id"],
            next_action=None,
            last_setup_error=None,
            latest_attempt=self.engine.new_id("setatt"),
        )
        self.engine.tell("setup_intent.succeeded", done)
        return done

    def _open(self, setup_intent: str) -> Json:
        intent = self.retrieve(setup_intent)
        if intent["status"] not in _OPEN:
            raise not_now(
                f"This SetupIntent has a status of {intent['status']} and cannot change.",
                "setup_intent_unexpected_state",
            )
        return intent
