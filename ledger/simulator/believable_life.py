"""What the customers of the believable business do, month by month."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from typing import Any

from ledger.simulator.believable_catalogue import (
    CURRENCIES,
    DECLINE_MIX,
    PLAN_SHARES,
    PLANS,
    stock,
)
from ledger.simulator.declines import PAYS, Behaviour
from ledger.simulator.engine import Event, Json
from ledger.simulator.ids import random_from
from ledger.simulator.moments import DAY, HOUR
from ledger.simulator.people import Person, reason_to_leave, somebody
from ledger.simulator.refusals import Refused
from ledger.simulator.sessions import SubscriptionData
from ledger.simulator.simulator import Simulator
from ledger.simulator.subscription_shape import ENDED, PauseCollection

_NUMBERS = {"visa": "4242424242424242", "mastercard": "5555555555554444"}


class Life:
    """The people and their agenda."""

    def __init__(self, simulator: Simulator, seed: int) -> None:
        self.sim = simulator
        self.chance = random_from(f"life:{seed}")
        self.catalogue = stock(simulator)
        self._agenda: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._order = count()
        self._people: dict[str, Person] = {}
        simulator.engine.listeners.append(self._notice)

    def later(self, at: int, action: Callable[..., None], *arguments: Any) -> None:
        """Note something that somebody is going to do at `at` (unix seconds)."""
        heappush(self._agenda, (at, next(self._order), action, arguments))

    def live(self, until: int) -> None:
        """Let people and Stripe act, in order of time."""
        while self._agenda and self._agenda[0][0] <= until:
            at, _, action, arguments = heappop(self._agenda)
            self.sim.advance(max(at, self.sim.now))
            try:
                action(*arguments)
            except Refused:  # things have changed since it was noted
                continue
        self.sim.advance(until)

    def _soon(self, days: float, action: Callable[..., None], *arguments: Any) -> None:
        spread = self.chance.uniform(0.5, 1.5)
        self.later(self.sim.now + int(days * spread * DAY), action, *arguments)

    def _happens(self, percent: float) -> bool:
        return self.chance.random() * 100 < percent

    def _drawn(self, shares: dict[str, int]) -> str:
        return self.chance.choices(list(shares), list(shares.values()))[0]

    # ----- coming

    def arrive(self) -> None:
        """Let somebody become a customer."""
        currency = self._drawn(CURRENCIES)
        indonesian = currency == "idr" or self._happens(10)
        person = somebody(self.chance, len(self._people) + 1, is_indonesian=indonesian)
        address: Any = {"country": person.country, "city": person.city, "line1": None}
        details: Any = {"phone": person.phone} if person.phone else {}
        customer = self.sim.customers.create(
            name=person.name,
            email=person.email,
            address=address,
            preferred_locales=[person.locale],
            metadata={"source": self.chance.choice(["web", "web", "ads", "referral"])},
            **details,
        )["id"]
        self._people[customer] = person
        plan = self._drawn(PLAN_SHARES)
        interval = "year" if self._happens(26) else "month"
        self._subscribe(customer, self.catalogue.prices[currency, plan, interval])
        self._soon(30, self._month_passes, customer)

    def _subscribe(self, customer: str, price: str, **offer: Any) -> None:
        currency, plan, interval = self.catalogue.by_price[price]
        quantity = self.chance.randrange(2, 12) if plan == "Bisnis" else 1
        params: Any = {"customer": customer, "items": [{"price": price, "quantity": quantity}]}
        params |= offer
        if currency == "idr" and self._happens(30):
            params["default_tax_rates"] = [self.catalogue.vat]
        if not offer:
            if interval == "month" and self._happens(40):
                params["trial_period_days"] = 14
            if self._happens(18):
                coupon = self.chance.choice(
                    [self.catalogue.launch_coupon, self.catalogue.first_month_coupon]
                )
                params["discounts"] = [{"coupon": coupon}]
        if plan == "Bisnis" and interval == "year" and self._happens(40):
            params |= {"collection_method": "send_invoice", "days_until_due": 14}
            subscription = self.sim.subscriptions.create(**params)
            self._soon(10, self._pay_by_transfer, subscription["id"])
            return
        if self._happens(25) and "trial_period_days" not in params and not offer:
            self._check_out(customer, params)
            return
        if "trial_period_days" not in params or self._happens(80):
            self._leave_card(customer)
        self.sim.subscriptions.create(**params)

    def _check_out(self, customer: str, params: Any) -> None:
        data: SubscriptionData = {"metadata": {"channel": "checkout"}}
        session = self.sim.checkout_sessions.create(
            mode="subscription",
            customer=customer,
            line_items=params["items"],
            subscription_data=data,
            success_url="https://warung.example.test/thanks",
        )["id"]
        if self._happens(85):
            card = self._card(customer)
            self.sim.checkout_sessions.complete(session, payment_method=card)
            self._make_default(customer, card)

    def _pay_by_transfer(self, subscription: str) -> None:
        for invoice in self.sim.invoices.of_subscription(subscription):
            if invoice["status"] == "open" and self._happens(85):
                self.sim.invoices.pay(invoice["id"], paid_out_of_band=True)

    # ----- cards

    def _card(self, customer: str) -> str:
        number = _NUMBERS[self.chance.choice(["visa", "visa", "mastercard"])]
        person = self._people[customer]
        details = {"name": person.name, "email": person.email}
        method: str = self.sim.payment_methods.create(
            card={
                "number": number,
                "exp_month": self.chance.randrange(1, 13),
                "exp_year": 2026 + self.chance.randrange(6),
            },
            billing_details=details,
        )["id"]
        if self._happens(4):  # some first payments fail
            self.sim.payment_methods.behave(method, Behaviour(decline="generic_decline"))
        return method

    def _leave_card(self, customer: str) -> None:
        self._make_default(customer, self._card(customer))

    def _make_default(self, customer: str, card: str) -> None:
        self.sim.payment_methods.attach(card, customer=customer)
        self.sim.customers.update(customer, invoice_settings={"default_payment_method": card})

    def _trouble(self, customer: str) -> None:
        """Let the customer's card stop working, for the reasons cards do."""
        owner = self.sim.customers.retrieve(customer)
        card = owner["invoice_settings"]["default_payment_method"]
        if card is None:
            return
        why = self._drawn({name: share for name, (share, _) in DECLINE_MIX.items()})
        code = self.chance.choice(DECLINE_MIX[why][1])
        passes = why in ("insufficient_funds", "no_reason", "other") and self._happens(55)
        if why == "authentication":
            behaviour = Behaviour(authenticates=True)
        else:
            failures = self.chance.choice([1, 1, 2, 3]) if passes else None
            behaviour = Behaviour(decline=code, failures=failures)
        self.sim.payment_methods.behave(card, behaviour)

    def _mend(self, customer: str) -> None:
        """Let the customer see to a failed payment: authenticate, or leave another card."""
        owner = self.sim.customers.retrieve(customer)
        card = owner["invoice_settings"]["default_payment_method"]
        if card and self.sim.payment_methods.behaviour_of(card).authenticates:
            self.sim.payment_methods.behave(card, PAYS)
            for intent in self.sim.payment_intents.all()[-400:]:
                if intent["customer"] == customer and intent["status"] == "requires_action":
                    self.sim.payment_intents.authenticate(intent["id"])
            return
        self.sim.portal_sessions.create(customer=customer)
        method = self.sim.payment_methods.create(card={"number": _NUMBERS["visa"]})["id"]
        self.sim.portal_sessions.change_card(customer, method)
        if self._happens(50):
            for subscription in self.sim.subscriptions.of_customer(customer):
                for invoice in self.sim.invoices.of_subscription(subscription["id"]):
                    if invoice["status"] == "open" and invoice["attempted"]:
                        self.sim.invoices.pay(invoice["id"])

    # ----- staying and leaving

    def _month_passes(self, customer: str) -> None:
        """Let a customer do what customers do now and then."""
        self._soon(30, self._month_passes, customer)
        for subscription in self.sim.subscriptions.of_customer(customer):
            if subscription["status"] in ("active", "past_due"):
                self._consider(customer, subscription)

    def _consider(self, customer: str, subscription: Json) -> None:
        item = subscription["items"]["data"][0]
        currency, plan, interval = self.catalogue.by_price[item["price"]["id"]]
        yearly = interval == "year"
        if self._happens(1.0 if yearly else 7.5):
            self._trouble(customer)
        if self._happens(1.5 if yearly else 4.8):
            self._leave(customer, subscription)
        elif self._happens(2.5) and plan != "Bisnis":
            self._change(subscription, (currency, PLANS[PLANS.index(plan) + 1], interval))
        elif self._happens(1.2) and plan != "Dasar":
            self._change(subscription, (currency, PLANS[PLANS.index(plan) - 1], interval))
        elif self._happens(1.0) and not yearly:
            self._change(subscription, (currency, plan, "year"))
        elif plan == "Bisnis" and self._happens(9):
            seats = max(1, item["quantity"] + self.chance.choice([-1, 1, 1, 2, 3]))
            self._set_seats(subscription, item, seats)
        elif self._happens(0.6):
            until = self.sim.now + self.chance.choice([30, 60]) * DAY
            pause: PauseCollection = {"behavior": "void", "resumes_at": until}
            self.sim.subscriptions.update(subscription["id"], pause_collection=pause)
        elif self._happens(0.3):
            self.sim.subscriptions.pause(subscription["id"])
            self._soon(40, self._resume, subscription["id"])
        elif self._happens(0.5):
            loyal = [{"coupon": self.catalogue.loyal_coupon}]
            self.sim.subscriptions.update(subscription["id"], discounts=loyal)
        elif self._happens(0.08):
            self.sim.customers.delete(customer)

    def _change(self, subscription: Json, wanted: tuple[str, str, str]) -> None:
        item = subscription["items"]["data"][0]
        seats = 3 if wanted[1] == "Bisnis" else 1
        price = self.catalogue.prices[wanted]
        self.sim.subscriptions.update(
            subscription["id"],
            items=[{"id": item["id"], "price": price, "quantity": max(seats, 1)}],
            proration_behavior=self.chance.choice(["create_prorations", "always_invoice"]),
        )

    def _set_seats(self, subscription: Json, item: Json, seats: int) -> None:
        changes: Any = [{"id": item["id"], "quantity": seats}]
        self.sim.subscriptions.update(subscription["id"], items=changes)

    def _resume(self, subscription: str) -> None:
        self.sim.subscriptions.resume(subscription)

    def _leave(self, customer: str, subscription: Json) -> None:
        person = self._people[customer]
        feedback, comment = reason_to_leave(self.chance, person.locale)
        if self._happens(18):
            details = {"feedback": feedback, "comment": comment}
            self.sim.subscriptions.cancel(subscription["id"], cancellation_details=details)
        else:
            self.sim.portal_sessions.create(customer=customer)
            self.sim.portal_sessions.cancel(subscription["id"], feedback=feedback, comment=comment)
            if self._happens(14):
                self._soon(4, self._stay_after_all, subscription["id"])
                return
        if self._happens(16):
            price = subscription["items"]["data"][0]["price"]["id"]
            self._soon(75, self._come_back, customer, price)

    def _stay_after_all(self, subscription: str) -> None:
        known = self.sim.subscriptions.retrieve(subscription)
        if known["cancel_at_period_end"] and known["status"] not in ENDED:
            self.sim.subscriptions.update(subscription, cancel_at_period_end=False)

    def _come_back(self, customer: str, price: str) -> None:
        if not self.sim.subscriptions.of_customer(customer):
            code = self.catalogue.win_back_code
            self._subscribe(customer, price, discounts=[{"promotion_code": code}])

    # ----- what follows payments

    def _notice(self, event: Event) -> None:
        if event.type == "charge.succeeded":
            if self._happens(1.3):
                self._soon(6, self._refund, event.object_id)
            elif self._happens(0.6):
                self._soon(20, self._dispute, event.object_id)
        elif event.type == "invoice.payment_failed":
            invoice = self.sim.engine.get("invoice", event.object_id)
            if invoice["attempt_count"] <= 1 and self._happens(48):
                self._soon(5, self._mend, invoice["customer"])

    def _refund(self, charge: str) -> None:
        known = self.sim.charges.retrieve(charge)
        params: Any = {"charge": charge, "reason": "requested_by_customer"}
        if self._happens(35):
            params["amount"] = max(1, known["amount"] // 2)
        if self._happens(3):
            bank = Behaviour(refund_fails=True)
            self.sim.payment_methods.behave(known["payment_method"], bank)
        self.sim.refunds.create(**params)

    def _dispute(self, charge: str) -> None:
        known = self.sim.charges.retrieve(charge)
        if known["disputed"] or known["amount_refunded"]:
            return
        reason = self.chance.choice(["fraudulent", "subscription_canceled", "product_not_received"])
        dispute = self.sim.disputes.open(charge, reason=reason, inquiry=self._happens(25))
        if self._happens(70):
            self._soon(3, self._answer, dispute["id"])

    def _answer(self, dispute: str) -> None:
        evidence = {"product_description": "A subscription to an online service."}
        self.sim.disputes.update(dispute, evidence=evidence)
        self.later(self.sim.now + 30 * DAY + HOUR, self._decide, dispute)

    def _decide(self, dispute: str) -> None:
        self.sim.disputes.decide(dispute, won=self._happens(40))
