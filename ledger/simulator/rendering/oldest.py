"""From acacia back to 2020-08-27: no advice codes, charges and refunds listed inside."""

from __future__ import annotations

from typing import Any

from ledger.simulator.rendering.steps import (
    Convert,
    Json,
    Step,
    in_list,
    list_of,
    then,
    without,
    without_inner,
)

_ADVICE = ("advice_code", "network_advice_code", "network_decline_code")


def _inner(member: str, convert: Convert) -> Convert:
    def converted(obj: Json) -> Json:
        value = obj[member]
        return obj if value is None else {**obj, member: convert(value)}

    return converted


_CARD = _inner("card", without("regulated_status"))
_METHOD = then(without("allow_redisplay"), without_inner("billing_details", "tax_id"), _CARD)
_CHARGED_CARD = without("authorization_code", "network_transaction_id", "regulated_status")

_CHARGE = then(
    without_inner("outcome", *_ADVICE),
    without_inner("billing_details", "tax_id"),
    _inner("payment_method_details", _inner("card", _CHARGED_CARD)),
)

_LINE = without("parent", "pretax_credit_amounts", "pricing", "taxes")


def _error(intent: Json) -> Json:
    error = intent["last_payment_error"]
    if error is None:
        return intent
    kept = {key: value for key, value in error.items() if key not in _ADVICE}
    method = error["payment_method"]
    return {**intent, "last_payment_error": {**kept, "payment_method": _METHOD(method)}}


def _charge_inside(intent: Json) -> Json:
    charge = intent["_"]["charge"]
    if charge is None:
        return intent
    return {**intent, "_": {**intent["_"], "charge": _CHARGE(charge)}}


def _rendering(invoice: Json) -> Json:
    """Return the invoice with the two members that told how its PDF looks."""
    size = "auto" if invoice["status"] == "draft" else "letter"
    rendering: Any = {"amount_tax_display": None, "pdf": {"page_size": size}}
    return {**invoice, "rendering": rendering, "rendering_options": None}


FROM_ACACIA: Step = {
    "invoice": then(
        without(
            "amount_overpaid",
            "automatically_finalizes_at",
            "parent",
            "total_pretax_credit_amounts",
            "total_taxes",
        ),
        without_inner("automatic_tax", "disabled_reason"),
        lambda invoice: in_list(invoice, "lines", _LINE),
        _rendering,
    ),
    "subscription": then(
        without_inner("automatic_tax", "disabled_reason"),
        lambda subscription: in_list(subscription, "items", without("discounts")),
    ),
    "charge": _CHARGE,
    "payment_intent": then(
        without("payment_details", "excluded_payment_method_types"), _error, _charge_inside
    ),
    "setup_intent": without("excluded_payment_method_types"),
    "payment_method": _METHOD,
    "payout": without("payout_method", "trace_id"),
    "dispute": then(
        without("enhanced_eligibility_types"),
        without_inner("evidence", "enhanced_evidence"),
        without_inner("evidence_details", "enhanced_eligibility", "submission_method"),
    ),
    "tax_rate": without("flat_amount", "rate_type"),
}


def _with_charges(intent: Json) -> Json:
    charge = intent["_"]["charge"]
    charges = [_public(_with_refunds(charge))] if charge else []
    return {**intent, "charges": list_of(charges, f"/v1/charges?payment_intent={intent['id']}")}


def _with_refunds(charge: Json) -> Json:
    refunds = [_REFUND(refund) for refund in reversed(charge["_"]["refunds"])]
    return {**charge, "refunds": list_of(refunds, f"/v1/charges/{charge['id']}/refunds")}


_REFUND = without("customer", "customer_account", "payment_method", "destination_details")
_public = without("_")

FROM_2022: Step = {
    "payment_intent": _with_charges,
    "charge": _with_refunds,
    "customer": lambda customer: {**customer, "default_currency": customer["currency"]},
    "refund": without("destination_details"),
}

STEPS: tuple[tuple[str, Step], ...] = (
    ("2024-12-18", FROM_ACACIA),
    ("2022-11-15", FROM_2022),
)
