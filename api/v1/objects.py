"""Stripe's objects as `/v1` tells them, alone, in lists, or in each other's place (`expand[]`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from api.errors import ApiError
from api.v1 import shapes
from api.v1.access import Caller
from api.v1.schema import Shape
from ledger.moments import Moment
from ledger.projections.crm import past, queries
from ledger.stripe_objects.contacts import Contact

Json = dict[str, Any]
COPIED = (
    "created", "status", "number", "subscription", "billing_reason", "collection_method",
    "currency", "amount_due", "amount_paid", "amount_remaining", "subtotal", "total", "tax",
    "attempt_count", "attempted", "auto_advance", "next_payment_attempt", "due_date",
    "receipt_number", "livemode",
)  # fmt: skip
TRANSITIONS = ("finalized_at", "paid_at", "voided_at", "marked_uncollectible_at")


def customer_json(row: queries.Row, contact: Contact | None, caller: Caller) -> Json:
    """Return a customer; contact details only to those who may see them."""
    shown: dict[str, Any] = {
        "id": row["id"],
        "object": "customer",
        "created": int(row["created"].timestamp()),
        "status": row["status"],
        "delinquent": row["delinquent"],
        "currency": row["currency"],
        "country": row["country"],
        "subscription_count": row["subscriptions"],
        "livemode": caller.ledger.settings.mode == "live",
        "deleted": row["deleted"],
        "erased": row["erased"],
        "provisional": row["provisional"],
    }
    if caller.sees_personal:
        contact = contact or Contact()
        shown.update(name=contact.name, email=contact.email, phone=contact.phone)
    return shown


def contacts_told(caller: Caller, rows: list[queries.Row]) -> dict[str, Contact]:
    """Return who these customers are, if the caller may know; it is noted that they do."""
    if not caller.sees_personal:
        return {}
    found = queries.contacts(caller.connection, caller.ledger.keys, rows)
    caller.tell(found)
    return found


def subscription_json(row: queries.Row) -> Json:
    """Return a subscription; `current_period_*` are those of its earliest item."""
    view = row["canonical"]
    return {
        "id": row["id"],
        "object": "subscription",
        "created": view.get("created"),
        "customer": row["customer_id"],
        "status": view.get("status"),
        "cancel_at_period_end": view.get("cancel_at_period_end"),
        "cancel_at": view.get("cancel_at"),
        "canceled_at": view.get("canceled_at"),
        "ended_at": view.get("ended_at"),
        "current_period_start": view.get("current_period_start"),
        "current_period_end": view.get("current_period_end"),
        "trial_start": view.get("trial_start"),
        "trial_end": view.get("trial_end"),
        "collection_method": view.get("collection_method"),
        "pause_collection": {
            "behavior": view["pause_behavior"],
            "resumes_at": view.get("pause_resumes_at"),
        }
        if view.get("pause_behavior")
        else None,
        "currency": view.get("currency"),
        "items": [
            {
                "id": item.get("id"),
                "price": item.get("price"),
                "product": item.get("product"),
                "quantity": item.get("quantity"),
                "unit_amount": item.get("unit_amount"),
                "unit_amount_decimal": item.get("unit_amount_decimal"),
                "currency": item.get("currency"),
                "interval": item.get("interval"),
                "interval_count": item.get("interval_count"),
                "usage_type": item.get("usage_type"),
                "current_period_start": item.get("current_period_start"),
                "current_period_end": item.get("current_period_end"),
            }
            for item in view.get("items", [])
        ],
        "discounts": [
            {"id": one.get("id"), "coupon": one.get("coupon")}
            for one in view.get("discounts") or []
        ],
        "cancellation_details": {
            "reason": view.get("cancellation_reason"),
            "feedback": view.get("feedback"),
        },
        "latest_invoice": view.get("latest_invoice"),
        "default_payment_method": view.get("default_payment_method"),
        "schedule": view.get("schedule"),
        "livemode": view.get("livemode"),
        "test_clock": view.get("test_clock"),
        "provisional": row["provisional"],
        "event": row["position"],
    }


def invoices_json(caller: Caller, rows: list[queries.Row], moment: Moment) -> list[Json]:
    """Return invoices with `last_failure`, joined from their payments, which have no past."""
    if moment.is_past:
        return [_invoice(row) for row in rows]
    failures = queries.last_failures(caller.connection, [row["id"] for row in rows])
    return [
        {**_invoice(row), "last_failure": (one := failures.get(row["id"])) and _failure(one)}
        for row in rows
    ]


def _failure(failure: queries.Row) -> Json:
    return {
        "payment": failure["id"],
        "failed_at": int(failure["failed_at"].timestamp()),
        "failure_code": failure["failure_code"],
        "decline_code": failure["decline_code"],
        "advice_code": failure["advice_code"],
        "network_decline_code": failure["network_decline_code"],
    }


def _invoice(row: queries.Row) -> Json:
    """Return an invoice, amounts in minor units."""
    view = row["canonical"]
    return {
        "id": row["id"],
        "object": "invoice",
        "customer": row["customer_id"],
        **{name: view.get(name) for name in COPIED},
        "prices": view.get("prices", []),
        "status_transitions": {name: view.get(name) for name in TRANSITIONS},
        "deleted": row["is_deleted"],
        "provisional": row["provisional"],
        "event": row["position"],
    }


def payment_json(row: queries.Row) -> Json:
    """Return a payment, amounts in minor units."""
    return {
        "id": row["id"],
        "object": "payment",
        "created": _unix(row["created"]),
        "customer": row["customer_id"],
        "invoice": row["invoice_id"],
        "invoice_found_by": row["invoice_join"],
        "status": row["status"],
        "currency": row["currency"],
        "amount": _whole(row["amount_minor"]),
        "amount_received": _whole(row["amount_received_minor"]),
        "amount_refunded": _whole(row["amount_refunded_minor"]),
        "disputed": row["disputed"],
        "attempt": row["attempt"],
        "failed_at": _unix(row["failed_at"]),
        "failure_code": row["failure_code"],
        "decline_code": row["decline_code"],
        "advice_code": row["advice_code"],
        "network_decline_code": row["network_decline_code"],
        "method_type": row["method_type"],
        "brand": row["brand"],
        "last4": row["last4"],
        "provisional": row["provisional"],
    }


def _unix(instant: datetime | None) -> int | None:
    return int(instant.timestamp()) if instant else None


def _whole(amount: Any) -> int | None:
    return int(amount) if amount is not None else None


@dataclass(frozen=True)
class Kind:
    """A kind of object that can stand in the place of its id."""

    listing: queries.Listing
    shape: Shape
    tell: Callable[[Caller, list[queries.Row], Moment], Iterable[Json]]


def _customers(caller: Caller, rows: list[queries.Row], _: Moment) -> list[Json]:
    known = contacts_told(caller, rows)
    return [customer_json(row, known.get(row["id"]), caller) for row in rows]


_INVOICE = Kind(queries.INVOICES, shapes.INVOICE, invoices_json)
# Which members name an object that can be asked for instead, as with Stripe.
EXPANDABLE: Mapping[str, Kind] = {
    "customer": Kind(queries.CUSTOMERS, shapes.CUSTOMER, _customers),
    "subscription": Kind(
        queries.SUBSCRIPTIONS, shapes.SUBSCRIPTION, lambda _, rows, __: map(subscription_json, rows)
    ),
    "invoice": _INVOICE,
    "latest_invoice": _INVOICE,
}


def expandable(shape: Shape) -> list[str]:
    """Return which members of an answer can be asked for as objects: those of a list by `data.`."""
    members = shape["properties"]
    if "has_more" in members:
        return [f"data.{name}" for name in expandable(members["data"]["items"])]
    return [name for name in EXPANDABLE if name in members]


def with_expansions(shape: Shape, names: Iterable[str]) -> Shape:
    """Return an answer's shape in which these members may be objects."""
    members = dict(shape["properties"])
    for name in names:
        if name.startswith("data."):
            items = members["data"]["items"]
            expanded = with_expansions(items, [name.removeprefix("data.")])
            members["data"] = {**members["data"], "items": expanded}
        else:
            members[name] = {"anyOf": [members[name], EXPANDABLE[name].shape]}
    return {**shape, "properties": members}


def expand(caller: Caller, answer: Json, wanted: Iterable[str], moment: Moment) -> Json:
    """Put objects in the place of the ids that name them; what is not known here stays an id."""
    for path in wanted:
        name = path.removeprefix("data.")
        holders = answer["data"] if path.startswith("data.") else [answer]
        kind = EXPANDABLE[name]
        ids = sorted({one[name] for one in holders if isinstance(one[name], str)})
        rows = past.many(caller.connection, kind.listing, ids, moment)
        told = {one["id"]: one for one in kind.tell(caller, rows, moment)}
        for one in holders:
            one[name] = told.get(one[name], one[name])
    return answer


def require_expandable(wanted: Iterable[str], allowed: Iterable[str]) -> None:
    """Raise ApiError 400 for what cannot be expanded here."""
    for path in wanted:
        if path not in allowed:
            there = ", ".join(f"`{one}`" for one in allowed) or "nothing"
            told = f"`expand[]`: {path!r} cannot be expanded here; {there} can."
            raise ApiError(400, "parameter_invalid", told)
