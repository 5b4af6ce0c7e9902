"""Which request is which operation."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ledger.simulator.engine import Json
from ledger.simulator.http.legacy import Legacy
from ledger.simulator.simulator import Simulator

Operation = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Listing:
    """A list: where its objects come from, oldest first, and what they may be filtered by.

    Objects of `hidden` statuses are in it only if a status is asked for. Parts of one object
    keep their order; all else is listed newest first.
    """

    objects: Callable[..., Iterable[Json]]
    filters: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    keeps_order: bool = False


Target = Operation | Listing


def routes(sim: Simulator) -> list[tuple[str, str, Target]]:
    """Return (method, path, operation or list) of everything that is served."""
    legacy = Legacy(sim)
    return [
        *_catalogue(sim, legacy),
        *_customers(sim),
        *_payments(sim),
        *_invoices(sim),
        *_subscriptions(sim),
        *_account(sim, legacy),
    ]


def _crud(path: str, family: Any, *filters: str) -> list[tuple[str, str, Target]]:
    """Return the routes that most kinds of objects have."""
    made: list[tuple[str, str, Target]] = [
        ("GET", f"/v1/{path}", Listing(family.all, filters)),
        ("GET", f"/v1/{path}/<id>", family.retrieve),
    ]
    for name, method, at in (
        ("create", "POST", ""),
        ("update", "POST", "/<id>"),
        ("delete", "DELETE", "/<id>"),
    ):
        if hasattr(family, name):
            made.append((method, f"/v1/{path}{at}", getattr(family, name)))
    return made


def _posts(path: str, family: Any, **names: str) -> list[tuple[str, str, Target]]:
    """Return the routes of actions on one object: name in the path → method of the family."""
    return [
        ("POST", f"/v1/{path}/<id>/{action}", getattr(family, name))
        for action, name in names.items()
    ]


def _catalogue(sim: Simulator, legacy: Legacy) -> list[tuple[str, str, Target]]:
    return [
        *_crud("products", sim.products, "active", "type"),
        ("POST", "/v1/products/<id>/features", sim.features.attach),
        *_crud("prices", sim.prices, "active", "currency", "product", "type", "lookup_keys"),
        ("GET", "/v1/plans", Listing(legacy.plans, ("active", "product"))),
        ("POST", "/v1/plans", legacy.create_plan),
        ("GET", "/v1/plans/<id>", legacy.retrieve_plan),
        ("POST", "/v1/plans/<id>", legacy.update_plan),
        ("DELETE", "/v1/plans/<id>", sim.prices.delete),
        *_crud("coupons", sim.coupons),
        *_crud("promotion_codes", sim.promotion_codes, "active", "code", "customer"),
        *_crud("tax_rates", sim.tax_rates, "active", "inclusive"),
        *_crud("entitlements/features", sim.features, "lookup_key"),
        (
            "GET",
            "/v1/entitlements/active_entitlements",
            Listing(legacy.entitlements, ("customer",)),
        ),
        *_crud("billing/meters", sim.meters, "status"),
        ("POST", "/v1/billing/meter_events", sim.meters.report),
    ]


def _customers(sim: Simulator) -> list[tuple[str, str, Target]]:
    transactions = "/v1/customers/<id>/balance_transactions"
    return [
        *_crud("customers", sim.customers, "email", "test_clock"),
        ("DELETE", "/v1/customers/<id>/discount", sim.customers.delete_discount),
        ("POST", transactions, sim.customers.create_balance_transaction),
        ("GET", transactions, Listing(sim.customers.balance_transactions)),
        ("POST", "/v1/customers/<id>/sources", sim.customers.create_source),
        ("POST", "/v1/customers/<id>/sources/<id2>", sim.customers.update_source),
        ("GET", "/v1/customers/<id>/payment_methods", Listing(sim.payment_methods.of_customer)),
        ("POST", "/v1/tokens", sim.payment_methods.create_token),
        *_crud("payment_methods", sim.payment_methods, "customer", "type"),
        *_posts("payment_methods", sim.payment_methods, attach="attach", detach="detach"),
        *_crud("setup_intents", sim.setup_intents, "customer", "payment_method"),
        *_posts("setup_intents", sim.setup_intents, confirm="confirm", cancel="cancel"),
        *_crud("billing_portal/sessions", sim.portal_sessions),
        *_crud("checkout/sessions", sim.checkout_sessions, "customer", "status", "subscription"),
        *_posts("checkout/sessions", sim.checkout_sessions, expire="expire"),
        (
            "GET",
            "/v1/checkout/sessions/<id>/line_items",
            Listing(sim.checkout_sessions.line_items, keeps_order=True),
        ),
        ("GET", "/v1/payment_pages/<id>", sim.checkout_sessions.retrieve),
        ("POST", "/v1/payment_pages/<id>/confirm", sim.checkout_sessions.confirm),
    ]


def _payments(sim: Simulator) -> list[tuple[str, str, Target]]:
    intents = sim.payment_intents
    return [
        *_crud("payment_intents", intents, "customer"),
        *_posts("payment_intents", intents, confirm="confirm", capture="capture", cancel="cancel"),
        *_crud("charges", sim.charges, "customer", "payment_intent"),
        *_posts("charges", sim.charges, capture="capture"),
        ("GET", "/v1/charges/<id>/refunds", Listing(sim.refunds.of_charge)),
        *_crud("refunds", sim.refunds, "charge", "payment_intent"),
        *_posts("refunds", sim.refunds, cancel="cancel"),
        *_crud("disputes", sim.disputes, "charge", "payment_intent"),
        *_posts("disputes", sim.disputes, close="close"),
        *_crud("balance_transactions", sim.balance_transactions, "currency", "source", "type"),
        ("GET", "/v1/balance", sim.balance_transactions.balance),
        *_crud("payouts", sim.payouts, "status"),
        *_posts("payouts", sim.payouts, cancel="cancel"),
    ]


def _invoices(sim: Simulator) -> list[tuple[str, str, Target]]:
    subscription = "subscription=parent.subscription_details.subscription"
    return [
        ("POST", "/v1/invoices/create_preview", sim.previews.create_preview),
        ("GET", "/v1/invoices/<id>/lines", Listing(sim.invoices.lines, keeps_order=True)),
        *_crud(
            "invoices",
            sim.invoices,
            "customer",
            "status",
            "collection_method",
            subscription,
        ),
        *_posts(
            "invoices",
            sim.invoices,
            finalize="finalize_invoice",
            pay="pay",
            send="send_invoice",
            void="void_invoice",
            mark_uncollectible="mark_uncollectible",
        ),
        *_crud("invoiceitems", sim.invoice_items, "customer", "invoice"),
        *_crud(
            "invoice_payments",
            sim.invoice_payments,
            "invoice",
            "status",
            "payment.type",
            "payment.payment_intent",
        ),
        *_crud("credit_notes", sim.credit_notes, "customer", "invoice"),
        *_posts("credit_notes", sim.credit_notes, void="void_credit_note"),
        ("GET", "/v1/credit_notes/<id>/lines", Listing(sim.credit_notes.lines, keeps_order=True)),
    ]


def _subscriptions(sim: Simulator) -> list[tuple[str, str, Target]]:
    items = sim.subscription_items
    return [
        (
            "GET",
            "/v1/subscriptions",
            Listing(
                sim.subscriptions.all,
                ("customer", "status", "collection_method", "test_clock"),
                hidden=("canceled",),
            ),
        ),
        ("POST", "/v1/subscriptions", sim.subscriptions.create),
        ("GET", "/v1/subscriptions/<id>", sim.subscriptions.retrieve),
        ("POST", "/v1/subscriptions/<id>", sim.subscriptions.update),
        ("DELETE", "/v1/subscriptions/<id>", sim.subscriptions.cancel),
        ("DELETE", "/v1/subscriptions/<id>/discount", sim.subscriptions.delete_discount),
        *_posts("subscriptions", sim.subscriptions, pause="pause", resume="resume"),
        ("GET", "/v1/subscription_items", Listing(items.all, ("subscription",), keeps_order=True)),
        ("POST", "/v1/subscription_items", items.create),
        ("GET", "/v1/subscription_items/<id>", items.retrieve),
        ("POST", "/v1/subscription_items/<id>", items.update),
        ("DELETE", "/v1/subscription_items/<id>", items.delete),
        *_crud("subscription_schedules", sim.subscription_schedules, "customer"),
        *_posts(
            "subscription_schedules",
            sim.subscription_schedules,
            release="release",
            cancel="cancel",
        ),
    ]


def _account(sim: Simulator, legacy: Legacy) -> list[tuple[str, str, Target]]:
    return [
        ("GET", "/v1/account", legacy.account),
        ("GET", "/v1/accounts/<id>", legacy.account_named),
        ("GET", "/v1/events", sim.event_list.listed),
        ("GET", "/v1/events/<id>", sim.event_list.retrieve),
        *_crud("webhook_endpoints", sim.webhook_endpoints),
        *_crud("test_helpers/test_clocks", sim.test_clocks),
        *_posts("test_helpers/test_clocks", sim.test_clocks, advance="advance"),
    ]
