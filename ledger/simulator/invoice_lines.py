"""Lines of an invoice and what they add up to. All amounts in minor units."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any, NamedTuple

from ledger.simulator.engine import Json
from ledger.simulator.moments import half_away, half_up, split


class Wording(NamedTuple):
    """What a line says: text, amount, how many, the period it is for (unix seconds)."""

    description: str
    amount: int
    quantity: int | None
    start: int
    end: int
    is_discountable: bool = True


def line(
    line_id: str,
    wording: Wording,
    *,
    price: Json | None,
    tax_rates: Sequence[Json],
    parent: Json,
    discounts: Sequence[Json] = (),
) -> Json:
    """Return a line, with discounts of its own, of which nothing has been taken off yet."""
    quantity = wording.quantity
    return {
        "id": line_id,
        "object": "line_item",
        "amount": wording.amount,
        "currency": None,
        "description": wording.description,
        "discount_amounts": [],
        "discountable": wording.is_discountable,
        "discounts": [one["id"] for one in discounts],
        "invoice": None,
        "livemode": False,
        "metadata": {},
        "parent": parent,
        "period": {"end": wording.end, "start": wording.start},
        "pretax_credit_amounts": [],
        "pricing": price and pricing_of(price),
        "quantity": quantity,
        "quantity_decimal": None if quantity is None else str(quantity),
        "subtotal": wording.amount,
        "taxes": [],
        "_": {"price": price, "tax_rates": list(tax_rates), "discounts": list(discounts)},
    }


def pricing_of(price: Json) -> Json:
    """Return how a line or invoice item names its price."""
    return {
        "price_details": {"price": price["id"], "product": price["product"]},
        "type": "price_details",
        "unit_amount_decimal": price["unit_amount_decimal"],
    }


def of_subscription_item(
    subscription: str, item: str, *, invoice_item: str | None = None, credited: Json | None = None
) -> Json:
    """Return the parent of a line that a subscription item brought about."""
    return {
        "invoice_item_details": None,
        "subscription_item_details": {
            "invoice_item": invoice_item,
            "proration": invoice_item is not None,
            "proration_details": {"credited_items": credited},
            "subscription": subscription,
            "subscription_item": item,
        },
        "type": "subscription_item_details",
    }


def of_invoice_item(invoice_item: str, subscription: str | None) -> Json:
    """Return the parent of a line that an invoice item brought about."""
    return {
        "invoice_item_details": {
            "invoice_item": invoice_item,
            "proration": False,
            "proration_details": {"credited_items": None},
            "subscription": subscription,
        },
        "subscription_item_details": None,
        "type": "invoice_item_details",
    }


def with_discounts(lines: list[Json], discounts: Sequence[Json]) -> list[Json]:
    """Return the lines with their own discounts taken off, then those of the whole invoice."""
    left = [max(one["amount"], 0) if one["discountable"] else 0 for one in lines]
    taken: list[list[Json]] = [[] for _ in lines]

    def take(discount: Json, places: Sequence[int]) -> None:
        coupon = discount["_"]["coupon"]
        amounts = [left[i] for i in places]
        if coupon["percent_off"] is not None:
            share = Fraction(str(coupon["percent_off"])) / 100
            parts = [half_up(amount * share) for amount in amounts]
        else:
            parts = split(min(coupon["amount_off"], sum(amounts)), amounts)
        for i, part in zip(places, parts, strict=True):
            left[i] -= part
            taken[i].append({"amount": part, "discount": discount["id"]})

    for i, one in enumerate(lines):
        for discount in one["_"]["discounts"]:
            take(discount, [i])
    for discount in discounts:
        take(discount, [i for i, one in enumerate(lines) if one["discountable"]])
    return [{**one, "discount_amounts": taken[i]} for i, one in enumerate(lines)]


def with_taxes(lines: list[Json]) -> list[Json]:
    """Return the lines with the tax of each of their rates."""
    return [
        {**one, "taxes": [_tax(_taxable(one), rate) for rate in one["_"]["tax_rates"]]}
        for one in lines
    ]


def _taxable(one: Json) -> int:
    amount: int = one["amount"] - sum(part["amount"] for part in one["discount_amounts"])
    return amount


def _tax(amount: int, rate: Json) -> Json:
    share = Fraction(str(rate["percentage"])) / 100
    if rate["inclusive"]:
        tax = amount - half_away(amount / (1 + share))
        taxable = amount - tax
    else:
        tax, taxable = half_away(amount * share), amount
    return {
        "amount": tax,
        "tax_behavior": "inclusive" if rate["inclusive"] else "exclusive",
        "tax_rate_details": {"tax_rate": rate["id"]},
        "taxability_reason": "standard_rated",
        "taxable_amount": taxable,
        "type": "tax_rate_details",
    }


def totals(lines: Sequence[Json], starting_balance: int) -> dict[str, Any]:
    """Return an invoice's totals: what the lines add up to, and what is due of it."""
    subtotal = sum(one["amount"] for one in lines)
    discounts: dict[str, int] = {}
    taxes: dict[tuple[str, str], Json] = {}
    for one in lines:
        for part in one["discount_amounts"]:
            discounts[part["discount"]] = discounts.get(part["discount"], 0) + part["amount"]
        for tax in one["taxes"]:
            key = tax["tax_rate_details"]["tax_rate"], tax["tax_behavior"]
            known = taxes.get(key, {**tax, "amount": 0, "taxable_amount": 0})
            taxes[key] = {
                **known,
                "amount": known["amount"] + tax["amount"],
                "taxable_amount": known["taxable_amount"] + tax["taxable_amount"],
            }
    inclusive = sum(t["amount"] for t in taxes.values() if t["tax_behavior"] == "inclusive")
    exclusive = sum(t["amount"] for t in taxes.values() if t["tax_behavior"] == "exclusive")
    net = subtotal - sum(discounts.values())
    total = net + exclusive
    due = max(total + starting_balance, 0)
    return {
        "subtotal": subtotal,
        "subtotal_excluding_tax": subtotal - inclusive,
        "total": total,
        "total_excluding_tax": net - inclusive,
        "total_discount_amounts": [
            {"amount": amount, "discount": discount} for discount, amount in discounts.items()
        ],
        "total_pretax_credit_amounts": [
            {"amount": amount, "discount": discount, "type": "discount"}
            for discount, amount in discounts.items()
        ],
        "total_taxes": list(taxes.values()),
        "starting_balance": starting_balance,
        "amount_due": due,
        "amount_remaining": due,
    }


def of_invoice(lines: Sequence[Json], invoice: str, currency: str) -> Json:
    """Return the list object that holds an invoice's lines."""
    return {
        "object": "list",
        "data": [{**one, "invoice": invoice, "currency": currency} for one in lines],
        "has_more": False,
        "total_count": len(lines),
        "url": f"/v1/invoices/{invoice}/lines",
    }
