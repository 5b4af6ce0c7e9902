"""One account of the simulated Stripe: every family of operations on one engine."""

from __future__ import annotations

from ledger.simulator.balance import BalanceTransactions, Payouts
from ledger.simulator.beginnings import Beginnings
from ledger.simulator.billing import Billing
from ledger.simulator.catalogue import Prices, Products
from ledger.simulator.changes import Changes
from ledger.simulator.charges import Charges
from ledger.simulator.clocks import TestClocks
from ledger.simulator.credit_notes import CreditNotes
from ledger.simulator.customers import Customers
from ledger.simulator.discounts import Coupons, PromotionCodes, TaxRates
from ledger.simulator.disputes import Disputes
from ledger.simulator.dunning import Dunning
from ledger.simulator.engine import Engine, Event, Json
from ledger.simulator.events import Events
from ledger.simulator.features import Features
from ledger.simulator.invoice_items import InvoiceItems
from ledger.simulator.invoice_payments import InvoicePayments
from ledger.simulator.invoices import Invoices
from ledger.simulator.meters import Meters
from ledger.simulator.payment_intents import PaymentIntents
from ledger.simulator.payment_methods import PaymentMethods
from ledger.simulator.previews import Previews
from ledger.simulator.refunds import Refunds
from ledger.simulator.sessions import CheckoutSessions, PortalSessions
from ledger.simulator.settings import AccountSettings
from ledger.simulator.setup_intents import SetupIntents
from ledger.simulator.subscription_items import SubscriptionItems
from ledger.simulator.subscription_schedules import SubscriptionSchedules
from ledger.simulator.subscriptions import Subscriptions
from ledger.simulator.truth import Truth
from ledger.simulator.webhook_endpoints import WebhookEndpoints


class Simulator:
    """A deterministic Stripe: the same seed and the same calls give the same bytes.

    `start` is where its clock begins (unix seconds, UTC). Each family holds the operations
    that Stripe's API has on one kind of object; `advance` lets time pass; `events` is what the
    account tells of itself; `truth` is what it knows without its events.
    """

    def __init__(self, seed: int, start: int, settings: AccountSettings | None = None) -> None:
        self.engine = Engine(seed, start, settings or AccountSettings())
        self.truth = Truth(self.engine)
        self.engine.observers.append(self.truth.observe)
        self.event_list = Events(self.engine)
        self.products = Products(self)
        self.prices = Prices(self)
        self.meters = Meters(self)
        self.coupons = Coupons(self)
        self.promotion_codes = PromotionCodes(self)
        self.tax_rates = TaxRates(self)
        self.features = Features(self)
        self.customers = Customers(self)
        self.payment_methods = PaymentMethods(self)
        self.setup_intents = SetupIntents(self)
        self.payment_intents = PaymentIntents(self)
        self.charges = Charges(self)
        self.refunds = Refunds(self)
        self.disputes = Disputes(self)
        self.balance_transactions = BalanceTransactions(self)
        self.payouts = Payouts(self)
        self.invoice_items = InvoiceItems(self)
        self.invoices = Invoices(self)
        self.invoice_payments = InvoicePayments(self)
        self.previews = Previews(self)
        self.credit_notes = CreditNotes(self)
        self.dunning = Dunning(self)
        self.billing = Billing(self)
        self.beginnings = Beginnings(self)
        self.changes = Changes(self)
        self.subscriptions = Subscriptions(self)
        self.subscription_items = SubscriptionItems(self)
        self.subscription_schedules = SubscriptionSchedules(self)
        self.checkout_sessions = CheckoutSessions(self)
        self.portal_sessions = PortalSessions(self)
        self.test_clocks = TestClocks(self)
        self.webhook_endpoints = WebhookEndpoints(self)

    @property
    def now(self) -> int:
        """The present second (unix, UTC)."""
        return self.engine.now

    @property
    def events(self) -> list[Event]:
        """Every event made so far, oldest first."""
        return self.engine.events

    def advance(self, to: int) -> None:
        """Let time pass until `to` (unix seconds); all that falls due happens, in order."""
        self.engine.advance(to)

    def final_objects(self) -> dict[str, Json]:
        """Return what each object is now, by id, in the newest rendering.

        Of a deleted one that is `{"id", "object", "deleted": True}`.
        """
        return self.engine.deleted | {
            object_id: shown
            for kind in self.engine.kinds()
            for object_id, shown in self.engine.shown(kind)
        }
