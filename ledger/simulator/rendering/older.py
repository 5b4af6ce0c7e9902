"""From basil back to acacia: invoices that name their subscription, charge and tax themselves."""

from __future__ import annotations

from ledger.simulator.rendering.recent import expanded
from ledger.simulator.rendering.steps import Json, Step, in_list, then, without, without_inner


def _priced(price: Json | None) -> Json | None:
    """Return a price as it was while usage could be aggregated in several ways."""
    if price is None or price["recurring"] is None:
        return price
    return {**price, "recurring": {**price["recurring"], "aggregate_usage": None}}


def _planned(plan: Json | None) -> Json | None:
    return plan and {**plan, "aggregate_usage": None}


def _first_discount(obj: Json) -> Json | None:
    discounts = obj["_"]["discounts"]
    return expanded(discounts[0]) if discounts else None


def _subscription(subscription: Json) -> Json:
    first = min(subscription["items"]["data"], key=lambda item: item["current_period_end"])
    older = in_list(subscription, "items", _item)
    return {
        **older,
        "current_period_end": first["current_period_end"],
        "current_period_start": first["current_period_start"],
        "discount": _first_discount(subscription),
        "plan": _planned(subscription["plan"]),
    }


def _item(item: Json) -> Json:
    gone = ("current_period_end", "current_period_start")
    kept = {key: value for key, value in item.items() if key not in gone}
    return {**kept, "plan": _planned(item["plan"]), "price": _priced(item["price"])}


def _invoice(invoice: Json) -> Json:
    inner = invoice["_"]
    parent = invoice["parent"]
    details = parent and parent["subscription_details"]
    taxes = invoice["total_taxes"]
    paid = invoice["status"] == "paid"
    elsewhere = inner["paid_out_of_band"]
    return {
        **in_list(invoice, "lines", _line),
        "amount_paid": 0 if elsewhere else invoice["amount_paid"],
        "application_fee_amount": None,
        "charge": inner["charge"],
        "discount": _first_discount(invoice),
        "paid": paid,
        "paid_out_of_band": elsewhere,
        "payment_intent": inner["payment_intent"],
        "quote": None,
        "subscription": details and details["subscription"],
        "subscription_details": {"metadata": details and details["metadata"]},
        "tax": sum(tax["amount"] for tax in taxes) if taxes else None,
        "total_tax_amounts": [_tax_amount(tax) for tax in taxes],
        "transfer_data": None,
    }


def _tax_amount(tax: Json) -> Json:
    return {
        "amount": tax["amount"],
        "inclusive": tax["tax_behavior"] == "inclusive",
        "tax_rate": tax["tax_rate_details"]["tax_rate"],
        "taxability_reason": tax["taxability_reason"],
        "taxable_amount": tax["taxable_amount"],
    }


def _line(line: Json) -> Json:
    parent = line["parent"]
    of_item = parent["subscription_item_details"]
    details = of_item or parent["invoice_item_details"]
    price = line["_"]["price"]
    contained = sum(t["amount"] for t in line["taxes"] if t["tax_behavior"] == "inclusive")
    net = line["amount"] - contained
    plan = None
    if price and price["recurring"]:
        plan = _planned(_plan_of(price))
    older = {
        **line,
        "amount_excluding_tax": net,
        "invoice_item": details["invoice_item"],
        "plan": plan,
        "price": _priced(price),
        "proration": details["proration"],
        "proration_details": details["proration_details"],
        "subscription": details["subscription"],
        "tax_amounts": [_tax_amount(tax) for tax in line["taxes"]],
        "tax_rates": line["_"]["tax_rates"],
        "type": "subscription" if of_item and not details["proration"] else "invoiceitem",
        "unit_amount_excluding_tax": str(net // line["quantity"]) if line["quantity"] else None,
    }
    if of_item:
        older["subscription_item"] = of_item["subscription_item"]
    return older


def _plan_of(price: Json) -> Json:
    recurring = price["recurring"]
    same = (
        "active billing_scheme created currency id livemode metadata nickname product tiers_mode"
    ).split()
    return {
        **{key: price[key] for key in same},
        "object": "plan",
        "amount": price["unit_amount"],
        "amount_decimal": price["unit_amount_decimal"],
        "interval": recurring["interval"],
        "interval_count": recurring["interval_count"],
        "meter": recurring["meter"],
        "transform_usage": price["transform_quantity"],
        "trial_period_days": recurring["trial_period_days"],
        "usage_type": recurring["usage_type"],
    }


def _invoice_item(item: Json) -> Json:
    price = item["_"]["price"]
    parent = item["parent"]
    details = parent and parent["subscription_details"]
    kept = {key: value for key, value in item.items() if key not in ("parent", "pricing")}
    return {
        **kept,
        "plan": _planned(_plan_of(price)) if price and price["recurring"] else None,
        "price": _priced(price),
        "subscription": details and details["subscription"],
        "unit_amount": price and price["unit_amount"],
        "unit_amount_decimal": price and price["unit_amount_decimal"],
        **({"subscription_item": details["subscription_item"]} if details else {}),
    }


def _with_invoice(obj: Json) -> Json:
    return {**obj, "invoice": obj["_"]["invoice"]}


def _intent(intent: Json) -> Json:
    charge = intent["_"]["charge"]
    older = _with_invoice(intent)
    if charge:
        older["_"] = {**intent["_"], "charge": _with_invoice(charge)}
    return older


def _credit_note(note: Json) -> Json:
    gone = ("refunds", "total_taxes", "post_payment_amount", "pre_payment_amount")
    kept = {key: value for key, value in note.items() if key not in gone}
    refunds = note["refunds"]
    return {
        **kept,
        "refund": refunds[0]["refund"] if refunds else None,
        "tax_amounts": [_tax_amount(tax) for tax in note["total_taxes"]],
    }


def _upcoming(invoice: Json) -> Json:
    """Return an invoice; a preview was named by no id."""
    if not invoice["id"].startswith("upcoming_in"):
        return invoice
    return {key: value for key, value in invoice.items() if key != "id"}


FROM_BASIL: Step = {
    "subscription": _subscription,
    "invoice": then(without_inner("automatic_tax", "provider"), _invoice, _upcoming),
    "invoiceitem": _invoice_item,
    "charge": _with_invoice,
    "payment_intent": _intent,
    "credit_note": _credit_note,
    "price": lambda price: _priced(price) or price,
    "plan": lambda plan: _planned(plan) or plan,
    "checkout.session": without("branding_settings", "wallet_options"),
}

STEPS: tuple[tuple[str, Step], ...] = (("2025-03-31", FROM_BASIL),)
