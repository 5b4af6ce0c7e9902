"""What customers do at random."""

from __future__ import annotations

from ledger.simulator.random_choices import Choices


class CustomerSteps(Choices):
    """Steps about customers and their cards."""

    def new_customer(self) -> None:
        """A customer comes, mostly with a card."""
        number = len(self.customers) + 1
        customer = self.sim.customers.create(
            name=f"Customer {number}",
            email=f"customer{number}@example.test",
            address={"country": self.chance.choice(["ID", "US", "DE"]), "city": None},
            metadata={"number": str(number)},
        )
        self.customers.append(customer["id"])
        if self.chance.random() < 0.85:
            self._use_card(customer["id"])

    def _use_card(self, customer: str) -> None:
        card = self.sim.payment_methods.attach(self.some_card(), customer=customer)["id"]
        self.sim.customers.update(customer, invoice_settings={"default_payment_method": card})

    def change_card(self) -> None:
        """A card is replaced, detached, renewed, or made ready by a setup intent."""
        customer = self.some_customer()
        which = self.chance.randrange(4)
        if which == 0:
            self._use_card(customer)
        elif which == 1:
            self.sim.portal_sessions.create(customer=customer)
            self.sim.portal_sessions.change_card(customer, self.some_card())
        elif which == 2:
            intent = self.sim.setup_intents.create(customer=customer)
            made = self.sim.setup_intents.confirm(intent["id"], payment_method=self.some_card())
            if made["status"] == "requires_action":
                self.sim.setup_intents.authenticate(intent["id"])
        else:
            cards = self.sim.payment_methods.all()
            owned = [one for one in cards if one["customer"] == customer]
            card = self.some(owned)["id"]
            if self.chance.random() < 0.5:
                self.sim.payment_methods.detach(card)
            else:
                self.sim.payment_methods.renew(card, exp_month=1, exp_year=2036)

    def change_customer(self) -> None:
        """A customer moves, gets credit, or a discount."""
        customer = self.some_customer()
        which = self.chance.randrange(5)
        if which == 0:
            self.sim.customers.update(customer, phone=f"+62 811 {self.chance.randrange(10**6)}")
        elif which == 1:
            known = self.sim.customers.retrieve(customer)
            amount = self.chance.randrange(-5_000, 5_000)
            currency = known["currency"] or "usd"
            self.sim.customers.create_balance_transaction(
                customer, amount=amount, currency=currency
            )
        elif which == 2:
            self.sim.customers.update(customer, coupon=self.some(self.shelf.coupons))
        elif which == 3:
            self.sim.customers.delete_discount(customer)
        else:
            self.sim.customers.update(customer, metadata={"note": "", "seen": "yes"})

    def delete_customer(self) -> None:
        """A customer asks to be forgotten."""
        customer = self.some_customer()
        self.customers.remove(customer)
        self.sim.customers.delete(customer)
