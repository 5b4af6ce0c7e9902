"""Checkout and billing portal sessions: pages on which customers act themselves."""

from __future__ import annotations

from typing import Any, Literal, Required, TypedDict, Unpack

from ledger.simulator import pricing
from ledger.simulator.catalogue import Metadata, Priced
from ledger.simulator.engine import Json
from ledger.simulator.family import Family
from ledger.simulator.refusals import Refused, needs, not_now
from ledger.simulator.session_shape import new_checkout_session


class SubscriptionData(TypedDict, total=False):
    """What the subscription that a page brings about shall have."""

    description: str
    metadata: Metadata
    trial_end: int
    trial_period_days: int


class CheckoutCreate(TypedDict, total=False):
    """Parameters of a checkout session."""

    allow_promotion_codes: bool
    cancel_url: str
    client_reference_id: str
    customer: str
    customer_email: str
    customer_creation: str
    discounts: list[dict[str, str]]
    expires_at: int
    line_items: list[Priced]
    metadata: Metadata
    mode: Literal["payment", "setup", "subscription"]
    payment_intent_data: dict[str, Any]
    payment_method_types: list[str]
    return_url: str
    subscription_data: SubscriptionData
    success_url: str
    ui_mode: str


class CheckoutSessions(Family):
    """Checkout sessions."""

    kind = "checkout.session"

    def create(self, **params: Unpack[CheckoutCreate]) -> Json:
        """Open a page on which a customer may pay, subscribe, or leave a card."""
        mode = params.get("mode", "payment")
        if mode != "setup" and not params.get("line_items"):
            raise needs("line_items")
        owner = None
        if "customer" in params:
            owner = self.sim.customers.named(params["customer"], "customer")
        with self.engine.call(owner):
            lines = [self._priced(line) for line in params.get("line_items", [])]
            session = new_checkout_session(
                self.engine.new_id("cs"),
                params,
                now=self.engine.now,
                name=self.engine.settings.display_name,
                total=sum(amount for _, _, amount in lines),
                currency=lines[0][0]["currency"] if lines else None,
                customer=owner,
            )
            session["_"] = {
                "lines": [(price["id"], quantity) for price, quantity, _ in lines],
                "params": dict(params),
            }
            session = self.engine.save(session)
            self.engine.later(session["expires_at"], self._expire_by_itself, session["id"])
            return session

    def complete(self, session: str, *, payment_method: str = "pm_card_visa") -> Json:
        """Let the customer fill the page in and pay with a method or test card."""
        known = self._open(session)
        customer = known["customer"]
        if customer is None and known["mode"] != "payment":
            email = known["customer_email"] or "guest@example.test"
            customer = self.sim.customers.create(email=email)["id"]
            known = self.engine.change(known, customer=customer)
        with self.engine.call(self.engine.find("customer", customer)):
            leaves = {
                "payment": self._pay,
                "subscription": self._subscribe,
                "setup": self._set_up,
            }[known["mode"]](known, payment_method)
            done = self.engine.change(
                known,
                status="complete",
                payment_status="no_payment_required" if known["mode"] == "setup" else "paid",
                url=None,
                **leaves,
            )
            self.engine.tell("checkout.session.completed", done)
            return done

    def confirm(self, session: str, *, payment_method: str, expected_amount: int) -> Json:
        """Complete a page as a browser does: the amount the customer has seen must be right."""
        known = self._open(session)
        if expected_amount != known["amount_total"]:
            raise Refused("The amount has changed.", param="expected_amount")
        return self.complete(session, payment_method=payment_method)

    def expire(self, session: str) -> Json:
        """Close a page that nobody has completed."""
        known = self._open(session)
        with self.engine.call(known):
            expired = self.engine.change(known, status="expired", url=None)
            self.engine.tell("checkout.session.expired", expired)
            return expired

    def line_items(self, session: str) -> list[Json]:
        """Return what the page sells."""
        known = self.retrieve(session)
        items = []
        for price_id, quantity in known["_"]["lines"]:
            price = self.engine.get("price", price_id)
            amount = pricing.amount(price, quantity)
            items.append(
                {
                    "id": f"li_{price_id.removeprefix('price_')}",
                    "object": "item",
                    "amount_discount": 0,
                    "amount_subtotal": amount,
                    "amount_tax": 0,
                    "amount_total": amount,
                    "currency": price["currency"],
                    "description": self.engine.get("product", price["product"])["name"],
                    "price": {k: v for k, v in price.items() if k != "_"},
                    "quantity": quantity,
                }
            )
        return items

    def _expire_by_itself(self, session_id: str) -> None:
        if self.retrieve(session_id)["status"] == "open":
            self.expire(session_id)

    def _pay(self, session: Json, payment_method: str) -> Json:
        data = session["_"]["params"].get("payment_intent_data", {})
        intent = self.sim.payment_intents.create(
            amount=session["amount_total"],
            currency=session["currency"],
            payment_method=payment_method,
            confirm=True,
            metadata=data.get("metadata", {}),
            **({"customer": session["customer"]} if session["customer"] else {}),
        )
        return {"payment_intent": intent["id"]}

    def _subscribe(self, session: Json, payment_method: str) -> Json:
        customer = session["customer"]
        method = self.sim.payment_methods.attach(payment_method, customer=customer)
        data = session["_"]["params"].get("subscription_data", {})
        params: Any = {
            key: data[key]
            for key in ("trial_period_days", "trial_end", "metadata", "description")
            if key in data
        }
        if discounts := session["_"]["params"].get("discounts"):
            params["discounts"] = discounts
        subscription = self.sim.subscriptions.create(
            customer=customer,
            items=[{"price": price, "quantity": n} for price, n in session["_"]["lines"]],
            default_payment_method=method["id"],
            payment_behavior="error_if_incomplete",
            **params,
        )
        return {"subscription": subscription["id"], "invoice": subscription["latest_invoice"]}

    def _set_up(self, session: Json, payment_method: str) -> Json:
        intent = self.sim.setup_intents.create(
            customer=session["customer"], payment_method=payment_method, confirm=True
        )
        return {"setup_intent": intent["id"]}

    def _priced(self, line: Priced) -> tuple[Json, int, int]:
        if "price_data" in line:
            price = self.sim.prices.create(**line["price_data"])
        else:
            price = self.sim.prices.named(line.get("price", ""), "line_items[0][price]")
        quantity = int(line.get("quantity", 1))
        return price, quantity, pricing.amount(price, quantity)

    def _open(self, session: str) -> Json:
        known = self.retrieve(session)
        if known["status"] != "open":
            raise not_now(f"This Session is {known['status']}.", "checkout_session_not_open")
        return known


class PortalCreate(TypedDict, total=False):
    """Parameters of a billing portal session."""

    configuration: str
    customer: Required[str]
    flow_data: dict[str, Any]
    locale: str
    return_url: str


class PortalSessions(Family):
    """Billing portal sessions."""

    kind = "billing_portal.session"

    def create(self, **params: Unpack[PortalCreate]) -> Json:
        """Open a page on which a customer may look after their subscriptions."""
        customer = self.sim.customers.named(params["customer"], "customer")
        with self.engine.call(customer):
            session = self.engine.save(
                {
                    "id": self.engine.new_id("bps"),
                    "object": "billing_portal.session",
                    "configuration": params.get("configuration")
                    or self.engine.ids.account.replace("acct", "bpc"),
                    "created": self.engine.now,
                    "customer": customer["id"],
                    "customer_account": None,
                    "flow": params.get("flow_data"),
                    "livemode": False,
                    "locale": params.get("locale"),
                    "on_behalf_of": None,
                    "return_url": params.get("return_url"),
                    "url": f"https://billing.stripe.com/p/session/test_{self.engine.ids.letters(64)}",
                }
            )
            self.engine.tell("billing_portal.session.created", session)
            return session

    def change_card(self, customer: str, payment_method: str) -> Json:
        """Let a customer leave another card: it becomes the customer's default, nothing more."""
        self.sim.customers.named(customer, "customer")
        method = self.sim.payment_methods.attach(payment_method, customer=customer)
        settings = {"default_payment_method": method["id"]}
        return self.sim.customers.update(customer, invoice_settings=settings)

    def cancel(self, subscription: str, *, feedback: str | None, comment: str | None) -> Json:
        """Let a customer end a subscription with its period, and say why."""
        details = {"feedback": feedback, "comment": comment}
        return self.sim.subscriptions.update(
            subscription, cancel_at_period_end=True, cancellation_details=details
        )
