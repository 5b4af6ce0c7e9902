"""The shape of a new checkout session."""

from __future__ import annotations

from typing import Any

from ledger.simulator.engine import Json
from ledger.simulator.moments import DAY

# What every new one has.
_NEW: Json = {
    "after_expiration": None,
    "billing_address_collection": None,
    "client_secret": None,
    "collected_information": None,
    "consent": None,
    "consent_collection": None,
    "currency_conversion": None,
    "custom_fields": [],
    "customer_account": None,
    "discounts": [],
    "integration_identifier": None,
    "invoice": None,
    "invoice_creation": None,
    "livemode": False,
    "locale": None,
    "origin_context": None,
    "payment_intent": None,
    "payment_link": None,
    "payment_method_configuration_details": None,
    "permissions": None,
    "recovered_from": None,
    "saved_payment_method_options": None,
    "setup_intent": None,
    "shipping_address_collection": None,
    "shipping_cost": None,
    "shipping_options": [],
    "submit_type": None,
    "subscription": None,
    "wallet_options": None,
}


def new_checkout_session(session_id: str, params: Any, *, now: int, **more: Any) -> Json:
    """Return an open session; `more` has total (minor units), currency, customer, and name."""
    mode = params.get("mode", "payment")
    customer = more["customer"]
    email = customer["email"] if customer else params.get("customer_email")
    total = more["total"] if mode != "setup" else None
    return {
        **_NEW,
        "id": session_id,
        "object": "checkout.session",
        "adaptive_pricing": {"enabled": False},
        "allow_promotion_codes": params.get("allow_promotion_codes"),
        "amount_subtotal": total,
        "amount_total": total,
        "automatic_tax": {"enabled": False, "liability": None, "provider": None, "status": None},
        "branding_settings": {
            "background_color": "#ffffff",
            "border_style": "rounded",
            "button_color": "#0074d4",
            "display_name": more["name"],
            "font_family": "default",
            "icon": None,
            "logo": None,
        },
        "cancel_url": params.get("cancel_url"),
        "client_reference_id": params.get("client_reference_id"),
        "created": now,
        "currency": more["currency"],
        "custom_text": {
            "after_submit": None,
            "shipping_address": None,
            "submit": None,
            "terms_of_service_acceptance": None,
        },
        "customer": customer and customer["id"],
        "customer_creation": params.get("customer_creation"),
        "customer_details": email
        and {
            "address": None,
            "business_name": None,
            "email": email,
            "individual_name": None,
            "name": customer and customer["name"],
            "phone": None,
            "tax_exempt": "none",
            "tax_ids": None,
        },
        "customer_email": params.get("customer_email"),
        "expires_at": params.get("expires_at") or now + DAY,
        "metadata": params.get("metadata", {}),
        "mode": mode,
        "payment_method_collection": "if_required" if mode == "payment" else "always",
        "payment_method_options": {"card": {"request_three_d_secure": "automatic"}},
        "payment_method_types": ["card"],
        "payment_status": "unpaid",
        "phone_number_collection": {"enabled": False},
        "status": "open",
        "success_url": params.get("success_url"),
        "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
        "ui_mode": params.get("ui_mode", "hosted_page"),
        "url": f"https://checkout.stripe.com/c/pay/{session_id}",
    }
