"""What may be stored in the clear: names of leaves, and the shape that each one's values have.

The lists that P8 and P9 rest on; `classify` walks a body by them.
"""

from __future__ import annotations

import re
from typing import Any

from ledger.ids import is_id
from ledger.privacy.cards import satisfies_luhn

# P9: never stored, not even encrypted.
DROPPED = frozenset({
    "client_secret", "secret", "cvc", "cvv", "exp_month", "exp_year", "expiry", "exp",
    "fingerprint", "card_number", "pan", "iban_fingerprint", "ephemeral_key", "track_data",
})  # fmt: skip
SECRET = re.compile(r"_secret_[A-Za-z0-9]|^(?:sk|rk|whsec|ek)_[A-Za-z0-9]").search

# Hashes whose leaves all describe a person, whatever they are called (`country` stays clear).
PERSONAL_HASHES = frozenset({
    "address", "billing_details", "business_profile", "collected_information", "company",
    "custom_fields", "customer_address", "customer_details", "customer_shipping", "dob",
    "individual", "ip_address_location", "legal_entity", "metadata", "owner", "person",
    "registered_address", "relationship", "settings", "shipping", "shipping_details",
    "support_address", "tos_acceptance", "verification",
})  # fmt: skip

_PREFIXES = frozenset(
    "acct ba bps btok ca card cbtxn ch clock cn cnli cs cs_test cs_live cus di dp du evt evt_test "
    "fee file frt ii il in inpay inrtem iop issfr link mandate mtr or order pi plan plink pm po "
    "price prod promo prv pst py pyr qt re req seti setatt shr si sli src sub sub_sched ta tmtr "
    "tok tr trr txcd txi txn txr upcoming_in we".split()
)


RANDOM_PART_MIN = 14  # the shortest that Stripe makes has fourteen letters and digits


def has_stripe_prefix(value: str) -> bool:
    """Return whether this may be an id of Stripe's where an id is expected."""
    prefix, _, rest = value.rpartition("_")
    return prefix in _PREFIXES and rest.isalnum() and rest.isascii() and not _is_card(rest)


def _is_card(rest: str) -> bool:
    is_run = rest.isdigit() and 13 <= len(rest) <= 19 and rest.strip("0") != ""
    return is_run and satisfies_luhn(rest)


def is_stripe_id(value: str) -> bool:
    """Return whether this is an id of Stripe's wherever it stands: a prefix, letters *and* digits.

    A name behind such a prefix (`card_Johnson`) has no digit, a card number no letter.
    """
    prefix, _, rest = value.rpartition("_")
    return (
        prefix in _PREFIXES
        and len(rest) >= RANDOM_PART_MIN
        and rest.isalnum()
        and rest.isascii()
        and not rest.isdigit()
        and not rest.isalpha()
    )


ID = is_id
REFERENCE = re.compile(r"[a-z]{1,20}(?:_[A-Za-z0-9]{1,120}){1,3}").fullmatch
TOKEN = re.compile(r"[a-z][a-z0-9_.\-]{0,79}").fullmatch
_CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,79}").fullmatch
LABEL = re.compile(r"[A-Za-z][A-Za-z0-9_.\-]{0,79}|American Express|Diners Club").fullmatch
_SHORT_CODE = re.compile(r"[A-Za-z0-9]{1,4}").fullmatch
CURRENCY = re.compile(r"[A-Za-z]{3}").fullmatch
COUNTRY = re.compile(r"[A-Za-z]{2}").fullmatch
LOCALE = re.compile(r"[A-Za-z]{2,4}(?:[-_][A-Za-z0-9]{2,4}){0,2}|auto").fullmatch
VERSION = re.compile(r"\d{4}-\d{2}-\d{2}(?:\.[a-z_]+)?(?:; [a-z_=0-9]+)*").fullmatch
_NUMBER = re.compile(r"[A-Za-z0-9][A-Za-z0-9\-_/#. ]{0,63}").fullmatch
_LAST4 = re.compile(r"\d{4}").fullmatch
DECIMAL = re.compile(r"-?\d{1,40}(?:\.\d{1,20})?").fullmatch
_INSTANT = re.compile(r"\d{4}-\d{2}-\d{2}T[\d:.]{5,20}(?:Z|[+-]\d\d:\d\d)").fullmatch
_LIST_URL = re.compile(r"/v[12]/[A-Za-z0-9_/?=&]{1,300}").fullmatch
NAME = re.compile(r"[^\x00-\x1f\x7f@\ud800-\udfff]{1,500}").fullmatch
MEMBER_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_\-.]{0,79}").fullmatch

Shape = Any  # a bound `fullmatch`

CLEAR: dict[str, Shape] = {
    **dict.fromkeys(("id", "plan", "price", "coupon", "product", "promotion_code", "sku"), ID),
    **dict.fromkeys(("lookup_key", "related_plan"), ID),
    # A business may choose the ids of its customers and of its catalogue.
    **dict.fromkeys("customer customer_account related_customer products prices".split(), ID),
    **dict.fromkeys(
        "account balance_transaction charge charges coupons credit_note "
        "customer_balance_transaction customers "
        "default_payment_method default_source destination_payment discount dispute "
        "failure_balance_transaction from_invoice invoice invoice_item "
        "invoice_line_item invoiceitem latest_charge "
        "latest_invoice latest_revision mandate on_behalf_of order order_reference "
        "original_payment parent_id "
        "payment_intent payment_link payment_method payout pending_setup_intent "
        "payment_intents payment_methods previous_subscription promotion_codes refund refunds "
        "released_subscription review schedule sources subscriptions tax_rates discounts invoices "
        "setup_attempt setup_intent source_transaction source_transfer subscription "
        "subscription_item subscription_schedule tax_rate test_clock topup transfer".split(),
        REFERENCE,
    ),
    **dict.fromkeys(
        "object status reason billing_reason collection_method decline_code code advice_code "
        "failure_code usage_type billing_scheme tiers_mode aggregate_usage tax_behavior "
        "duration feedback feedback_option behavior cancellation_reason payment_status mode "
        "ui_mode funding network network_status risk_level capture_method confirmation_method "
        "setup_future_usage usage tax_exempt billing interval proration_behavior "
        "missing_payment_method end_behavior payment_method_types method source_type "
        "reporting_category balance_type disabled_reason provider category cvc_check "
        "address_line1_check address_postal_code_check address_zip_check "
        "save_default_payment_method request_three_d_secure proration_discounts "
        "customer_tax_exempt verification_method page_size account_holder_type "
        "billing_cycle_anchor networks available result authentication_flow round "
        "trial_end_behavior proration_date billing_cycle_anchor_type unit_label_type "
        "allow_redirects overcapture incremental_authorization multicapture captured_by "
        "invoice_now scheme jurisdiction_level tax_type taxability_reason origination "
        "flow_directions purpose preferred card_type regulated_status flow applies_to "
        "refund_application_fee pending_reason destination_type recurring_type "
        "payment_method_collection customer_creation submit_type billing_address_collection "
        "rate_type statement_descriptor_type direction charge_type meter_type subtype "
        "collection_type".split(),
        TOKEN,
    ),
    **dict.fromkeys(("network_decline_code", "network_advice_code"), _SHORT_CODE),
    **dict.fromkeys(("error_code", "reason_code", "network_reason_code"), _CODE),
    **dict.fromkeys(
        ("currency", "default_currency", "presentment_currency", "settlement_currency"), CURRENCY
    ),
    **dict.fromkeys(("country", "account_country"), COUNTRY),
    **dict.fromkeys(("locale", "preferred_locales"), LOCALE),
    **dict.fromkeys(("brand", "display_brand", "type"), LABEL),
    "api_version": VERSION,
    **dict.fromkeys(("number", "receipt_number", "invoice_prefix"), _NUMBER),
    "last4": _LAST4,
    "created": _INSTANT,
    "url": _LIST_URL,
}
# What a catalogue object is called, and where a tax is due, is the business's, not a person's.
NAMED_KINDS = frozenset({"product", "price", "plan", "coupon", "tax_rate", "sku"})
NAMES = frozenset({"name", "nickname", "display_name", "unit_label", "state", "jurisdiction"})
MONEY_OR_TIME = re.compile(
    r"(?:^|_)(?:amount|total|subtotal|balance|fee|net|tax|price|due|paid|remaining|quantity"
    r"|sequence|created|date|until|at|by|to|start|end)$|^(?:amount|total)_"
).search
# Whose `number` is that of a paper of the business, not of a person's passport or telephone.
NUMBERED_KINDS = frozenset({"invoice", "credit_note", "quote"})
