"""Customers, their balance and their discount."""

from __future__ import annotations

from typing import Any, TypedDict, Unpack

from ledger.simulator.catalogue import Metadata
from ledger.simulator.engine import Json
from ledger.simulator.family import Family, merged_metadata
from ledger.simulator.refusals import Refused, needs

Address = dict[str, str | None]


class CustomerParams(TypedDict, total=False):
    """Parameters of a customer; `balance` in minor units, negative is credit."""

    address: Address | None
    balance: int
    coupon: str | None
    default_source: str
    description: str | None
    email: str | None
    invoice_prefix: str
    invoice_settings: dict[str, Any]
    metadata: Metadata
    name: str | None
    phone: str | None
    preferred_locales: list[str]
    shipping: dict[str, Any] | None
    source: str
    tax_exempt: str


class CustomerCreate(CustomerParams, total=False):
    """Parameters of a new customer."""

    payment_method: str
    test_clock: str


class BalanceParams(TypedDict, total=False):
    """A change of a customer's balance, in minor units; negative is credit."""

    amount: int
    currency: str
    description: str
    metadata: Metadata


class Customers(Family):
    """Customers."""

    kind = "customer"

    def create(self, **params: Unpack[CustomerCreate]) -> Json:
        """Make a customer."""
        clock = params.get("test_clock")
        with self.engine.call({"test_clock": clock}):
            if clock:
                self.sim.test_clocks.named(clock, "test_clock")
            method = params.get("payment_method")
            settings = _invoice_settings(params.get("invoice_settings", {}))
            customer = self.engine.save(
                {
                    "id": self.engine.new_id("cus"),
                    "object": "customer",
                    "address": params.get("address"),
                    "balance": params.get("balance", 0),
                    "created": self.engine.now,
                    "currency": None,
                    "customer_account": None,
                    "default_source": None,
                    "delinquent": False,
                    "description": params.get("description"),
                    "discount": None,
                    "email": params.get("email"),
                    "invoice_prefix": params.get("invoice_prefix")
                    or self.engine.ids.letters(8).upper(),
                    "invoice_settings": settings,
                    "livemode": False,
                    "metadata": params.get("metadata", {}),
                    "name": params.get("name"),
                    "next_invoice_sequence": 1,
                    "phone": params.get("phone"),
                    "preferred_locales": params.get("preferred_locales", []),
                    "shipping": params.get("shipping"),
                    "tax_exempt": params.get("tax_exempt", "none"),
                    "test_clock": clock,
                }
            )
            self.engine.tell("customer.created", customer)
            for given in filter(None, dict.fromkeys([method, settings["default_payment_method"]])):
                attached = self.sim.payment_methods.attach(given, customer=customer["id"])
                if given == settings["default_payment_method"]:
                    settings = {**settings, "default_payment_method": attached["id"]}
                    customer = self.engine.change(customer, invoice_settings=settings)
            customer = self._with_source(customer, params.get("source"))
            if coupon := params.get("coupon"):
                customer = self._with_coupon(customer, coupon)
            self.engine.tell("customer.updated", customer)
            return customer

    def update(self, customer: str, **changes: Unpack[CustomerParams]) -> Json:
        """Change a customer."""
        known = self.retrieve(customer)
        leaves: dict[str, Any] = dict(changes)
        coupon = leaves.pop("coupon", "")
        source = leaves.pop("source", None)
        if "invoice_settings" in leaves:
            leaves["invoice_settings"] = {**known["invoice_settings"], **leaves["invoice_settings"]}
            method = leaves["invoice_settings"].get("default_payment_method")
            if method:
                self._check_owns(customer, method)
        if "metadata" in leaves:
            leaves["metadata"] = merged_metadata(known, leaves["metadata"])
        with self.engine.call(known):
            changed = self._with_source(self.engine.change(known, **leaves), source)
            if coupon:
                changed = self._with_coupon(changed, coupon)
            elif coupon is None:
                changed = self._without_discount(changed)
            self.engine.tell("customer.updated", changed)
            return changed

    def delete(self, customer: str) -> Json:
        """Delete a customer for good; subscriptions end at once, in either order of events."""
        known = self.retrieve(customer)
        with self.engine.call(known):
            customer_first = self.engine.chance.random() < 0.5
            if customer_first:
                self.engine.tell("customer.deleted", known)
            for subscription in self.sim.subscriptions.of_customer(customer):
                self.sim.subscriptions.end(subscription, reason="cancellation_requested")
            if not customer_first:
                self.engine.tell("customer.deleted", self.retrieve(customer))
            self.engine.save({**self.retrieve(customer), "deleted": True})
            self.engine.remove("customer", customer)
        return {"id": customer, "object": "customer", "deleted": True}

    def create_balance_transaction(self, customer: str, **params: Unpack[BalanceParams]) -> Json:
        """Change a customer's balance by hand."""
        known = self.retrieve(customer)
        for name in ("amount", "currency"):
            if name not in params:
                raise needs(name)
        if known["currency"] not in (None, params["currency"]):
            raise Refused("The customer has another currency.", param="currency")
        with self.engine.call(known):
            known = self.use_currency(known, params["currency"])
            made = self.post(known, params["amount"], "adjustment", params.get("description"))
            self.engine.tell("customer.updated", self.retrieve(customer))
            return made

    def create_source(self, customer: str, *, source: str) -> Json:
        """Give a customer another card by token; the first one is the default."""
        known = self.retrieve(customer)
        with self.engine.call(known):
            method = self.attach_source(known, source)
            if known["default_source"] is None:
                changed = self.engine.change(known, default_source=method["id"])
                self.engine.tell("customer.updated", changed)
            return method

    def update_source(self, customer: str, source: str, *, metadata: Metadata) -> Json:
        """Change a card's metadata."""
        known = self.retrieve(customer)
        method = self.sim.payment_methods.retrieve(source)
        with self.engine.call(known):
            changed = self.engine.change(method, metadata=merged_metadata(method, metadata))
            self.engine.tell("customer.source.updated", changed)
            return changed

    def delete_discount(self, customer: str) -> Json:
        """Take the customer's discount away."""
        known = self.retrieve(customer)
        if known["discount"] is None:
            raise Refused("No active discount for customer: " + customer, code="resource_missing")
        with self.engine.call(known):
            self.engine.tell("customer.updated", self._without_discount(known))
        return {"object": "discount", "customer": customer, "deleted": True}

    def balance_transactions(self, customer: str) -> list[Json]:
        """Return the movements of a customer's balance, oldest first."""
        found = self.engine.all("customer_balance_transaction")
        return [one for one in found if one["customer"] == customer]

    # ----- what other families need

    def post(
        self,
        customer: Json,
        amount: int,
        reason: str,
        description: str | None = None,
        **about: str | None,
    ) -> Json:
        """Book an amount (minor units, negative is credit) on the customer's balance."""
        balance = customer["balance"] + amount
        self.engine.change(customer, balance=balance)
        return self.engine.save(
            {
                "id": self.engine.new_id("cbtxn"),
                "object": "customer_balance_transaction",
                "amount": amount,
                "checkout_session": None,
                "created": self.engine.now,
                "credit_note": about.get("credit_note"),
                "currency": customer["currency"],
                "customer": customer["id"],
                "customer_account": None,
                "description": description,
                "ending_balance": balance,
                "invoice": about.get("invoice"),
                "livemode": False,
                "metadata": {},
                "type": reason,
            }
        )

    def use_currency(self, customer: Json, currency: str) -> Json:
        """Bind a customer to the currency of its first invoice or balance."""
        if customer["currency"] is not None:
            return customer
        return self.engine.change(customer, currency=currency)

    def set_delinquent(self, customer: str, is_delinquent: bool) -> None:
        """Say whether a customer owes money that could not be collected."""
        known = self.engine.find("customer", customer)
        if known and known["delinquent"] != is_delinquent:
            changed = self.engine.change(known, delinquent=is_delinquent)
            self.engine.tell("customer.updated", changed)

    def _with_source(self, customer: Json, token: str | None) -> Json:
        if not token:
            return customer
        method = self.attach_source(customer, token)
        return self.engine.change(customer, default_source=method["id"])

    def attach_source(self, customer: Json, token: str) -> Json:
        """Make the card that a token stands for the customer's."""
        method = self.sim.payment_methods.resolve(token, "source")
        method = self.engine.change(method, customer=customer["id"])
        self.engine.tell("payment_method.attached", method)
        self.engine.tell("customer.source.created", method)
        return method

    def _with_coupon(self, customer: Json, coupon: str) -> Json:
        customer = self._without_discount(customer)
        found = self.sim.coupons.named(coupon, "coupon")
        discount = self.sim.coupons.redeem(found, customer=customer["id"], subscription=None)
        return self.engine.change(customer, discount=discount)

    def _without_discount(self, customer: Json) -> Json:
        if customer["discount"] is None:
            return customer
        if discount := self.engine.find("discount", customer["discount"]["id"]):
            self.sim.coupons.end(discount)
        return self.engine.change(customer, discount=None)

    def _check_owns(self, customer: str, payment_method: str) -> None:
        method = self.sim.payment_methods.named(payment_method, "payment_method")
        if method["customer"] != customer:
            raise Refused(
                "The customer does not have a payment method with the ID " + payment_method,
                code="resource_missing",
                param="invoice_settings[default_payment_method]",
            )


def _invoice_settings(given: dict[str, Any]) -> Json:
    return {
        "custom_fields": None,
        "default_payment_method": None,
        "footer": None,
        "rendering_options": None,
        **given,
    }
