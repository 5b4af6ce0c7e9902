"""Payment methods: made from test cards, attached to customers, asked to pay."""

from __future__ import annotations

from collections import Counter
from typing import Any, TypedDict, Unpack

from ledger.simulator.catalogue import Metadata
from ledger.simulator.declines import PAYS, Behaviour, Decline, test_card
from ledger.simulator.engine import Json
from ledger.simulator.family import Family
from ledger.simulator.refusals import Refused, needs

EMPTY_ADDRESS: Json = dict.fromkeys(("city", "country", "line1", "line2", "postal_code", "state"))


class CardParams(TypedDict, total=False):
    """A card by number, or by one of Stripe's test tokens."""

    number: str
    token: str
    exp_month: int
    exp_year: int
    cvc: str


class PaymentMethodParams(TypedDict, total=False):
    """What may change about a payment method."""

    billing_details: dict[str, Any]
    metadata: Metadata
    allow_redisplay: str


class PaymentMethodCreate(PaymentMethodParams, total=False):
    """Parameters of a new payment method."""

    type: str
    card: CardParams


class PaymentMethods(Family):
    """Payment methods; how each behaves is known to the engine only."""

    kind = "payment_method"

    def __init__(self, simulator: Any) -> None:
        super().__init__(simulator)
        self._charged: Counter[str] = Counter()
        self._behaviours: dict[str, Behaviour] = {}
        self._tokens: dict[str, CardParams] = {}

    def create(self, **params: Unpack[PaymentMethodCreate]) -> Json:
        """Make a payment method that belongs to nobody yet."""
        card = params.get("card")
        if card is None:
            raise needs("card")
        with self.engine.call():
            return self._new(card, params)

    def _new(self, card: CardParams, params: PaymentMethodCreate, prefix: str = "pm") -> Json:
        number, brand, behaviour = test_card(card.get("token") or card.get("number", "")) or (
            card.get("number", "4242424242424242"),
            "visa",
            PAYS,
        )
        country = "ID" if self.engine.settings.country == "ID" else "US"
        method: Json = {
            "id": self.engine.new_id(prefix),
            "object": "payment_method",
            "allow_redisplay": params.get("allow_redisplay", "unspecified"),
            "billing_details": {
                "address": EMPTY_ADDRESS,
                "email": None,
                "name": None,
                "phone": None,
                "tax_id": None,
                **params.get("billing_details", {}),
            },
            "card": {
                "brand": brand,
                "checks": {
                    "address_line1_check": None,
                    "address_postal_code_check": None,
                    "cvc_check": "pass" if card.get("cvc", "123") else None,
                },
                "country": country,
                "display_brand": brand,
                "exp_month": card.get("exp_month", 12),
                "exp_year": card.get("exp_year", 2034),
                "fingerprint": self.engine.ids.letters(16),
                "funding": "credit",
                "generated_from": None,
                "last4": number[-4:],
                "networks": {"available": [brand], "preferred": None},
                "regulated_status": "unregulated",
                "three_d_secure_usage": {"supported": True},
                "wallet": None,
            },
            "created": self.engine.now,
            "customer": None,
            "customer_account": None,
            "livemode": False,
            "metadata": params.get("metadata", {}),
            "type": "card",
        }
        self._behaviours[method["id"]] = behaviour
        return self.engine.save(method)

    def of_customer(self, customer: str) -> list[Json]:
        """Return a customer's payment methods, oldest first."""
        return [one for one in self.all() if one["customer"] == customer]

    def resolve(self, payment_method: str, param: str = "payment_method") -> Json:
        """Return a payment method by id; a test token makes a new one."""
        if payment_method in self._tokens:
            return self._new(self._tokens[payment_method], {}, "card")
        if payment_method.startswith(("pm_card_", "tok_")):
            prefix = "card" if payment_method.startswith("tok_") else "pm"
            return self._new({"token": payment_method}, {}, prefix)
        return self.named(payment_method, param)

    def create_token(self, *, card: CardParams) -> Json:
        """Make a token that stands for a card until it is used."""
        with self.engine.call():
            token = self.engine.new_id("tok")
            self._tokens[token] = card
            return {
                "id": token,
                "object": "token",
                "card": {"object": "card", "last4": card.get("number", "4242")[-4:]},
                "created": self.engine.now,
                "livemode": False,
                "type": "card",
                "used": False,
            }

    def behave(self, payment_method: str, behaviour: Behaviour) -> None:
        """Let a payment method behave in another way, counting its charges anew."""
        self._behaviours[payment_method] = behaviour
        self._charged[payment_method] = 0

    def behaviour_of(self, payment_method: str) -> Behaviour:
        """Return how a payment method behaves."""
        return self._behaviours.get(payment_method, PAYS)

    def ask(self, payment_method: str) -> Decline | None:
        """Ask for one more charge: None if the bank pays."""
        self._charged[payment_method] += 1
        return self.behaviour_of(payment_method).answer(self._charged[payment_method])

    def would_decline(self, payment_method: str) -> Decline | None:
        """Return what the bank would answer to the next charge."""
        return self.behaviour_of(payment_method).answer(self._charged[payment_method] + 1)

    def attach(self, payment_method: str, *, customer: str) -> Json:
        """Attach a payment method to a customer; the bank is asked whether the card is good."""
        owner = self.sim.customers.named(customer, "customer")
        with self.engine.call(owner):
            method = self.resolve(payment_method)
            if method["customer"] not in (None, customer):
                raise Refused(
                    "The payment method you provided has already been attached to a customer.",
                    code="payment_method_unexpected_state",
                )
            behaviour = self.behaviour_of(method["id"])
            if behaviour.declines_attachment and (decline := behaviour.answer(1)):
                raise declined(decline)
            attached = self.engine.change(method, customer=customer)
            self.engine.tell("payment_method.attached", attached)
            return attached

    def detach(self, payment_method: str) -> Json:
        """Detach a payment method from its customer, for good."""
        method = self.retrieve(payment_method)
        if method["customer"] is None:
            raise Refused("The payment method you provided is not attached to a customer.")
        owner = self.engine.find("customer", method["customer"])
        with self.engine.call(owner):
            detached = self.engine.change(method, customer=None)
            self.engine.tell("payment_method.detached", detached)
            if owner and owner["invoice_settings"]["default_payment_method"] == payment_method:
                settings = {**owner["invoice_settings"], "default_payment_method": None}
                owner = self.engine.change(owner, invoice_settings=settings)
                self.engine.tell("customer.updated", owner)
            return detached

    def update(self, payment_method: str, **changes: Unpack[PaymentMethodParams]) -> Json:
        """Change billing details or metadata."""
        known = self.retrieve(payment_method)
        leaves: dict[str, Any] = dict(changes)
        if "billing_details" in leaves:
            leaves["billing_details"] = {**known["billing_details"], **leaves["billing_details"]}
        return self.amend(payment_method, leaves)

    def renew(self, payment_method: str, *, exp_month: int, exp_year: int) -> None:
        """Let the network replace a card that expires, unasked."""
        method = self.retrieve(payment_method)
        with self.engine.automation():
            card = {**method["card"], "exp_month": exp_month, "exp_year": exp_year}
            renewed = self.engine.change(method, card=card)
            self.engine.tell("payment_method.automatically_updated", renewed)
            self.behave(payment_method, PAYS)


def declined(decline: Decline, **more: Any) -> Refused:
    """Return the refusal of a call that needed a card to pay at once."""
    return Refused(
        decline.message,
        code=decline.code,
        status=402,
        kind="card_error",
        decline_code=decline.decline_code,
        **more,
    )
