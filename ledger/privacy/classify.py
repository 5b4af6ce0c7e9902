"""Sorts the leaves of a Stripe event into clear, dropped and personal.

A leaf is clear only if its name is on the list *and* its value has the shape that such values
have: a name on the list is no licence for an e-mail address to be stored in plain.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any, NamedTuple

from ledger.privacy.cards import mask_card_numbers, satisfies_luhn

DEPTH_MAX = 200

Path = tuple[str | int, ...]
PersonalLeaf = tuple[Path, Any]


class TooDeep(ValueError):
    """A body nested deeper than anything Stripe sends."""


# P9: never stored, not even encrypted.
DROPPED = frozenset({
    "client_secret", "secret", "cvc", "cvv", "exp_month", "exp_year", "expiry", "exp",
    "fingerprint", "card_number", "pan", "iban_fingerprint", "ephemeral_key", "track_data",
})  # fmt: skip
_SECRET = re.compile(r"_secret_[A-Za-z0-9]|^(?:sk|rk|whsec|ek)_[A-Za-z0-9]").search

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


def is_stripe_id(value: str) -> bool:
    """Return whether this is an id as Stripe makes them: a known prefix, then letters, digits."""
    prefix, _, rest = value.rpartition("_")
    return prefix in _PREFIXES and rest.isalnum() and rest.isascii()


_ID = re.compile(rf"(?!sk_|whsec_)(?:{_PREFIXES})_[A-Za-z0-9_]{{1,250}}").fullmatch

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_\-.:]{0,254}").fullmatch
_TOKEN = re.compile(r"[a-z][a-z0-9_.\-]{0,79}").fullmatch
_CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,79}").fullmatch
_LABEL = re.compile(r"[A-Za-z][A-Za-z0-9_.\-]{0,79}|American Express|Diners Club").fullmatch
_SHORT_CODE = re.compile(r"[A-Za-z0-9]{1,4}").fullmatch
_CURRENCY = re.compile(r"[A-Za-z]{3}").fullmatch
_COUNTRY = re.compile(r"[A-Za-z]{2}").fullmatch
_LOCALE = re.compile(r"[A-Za-z]{2,4}(?:[-_][A-Za-z0-9]{2,4}){0,2}|auto").fullmatch
_VERSION = re.compile(r"\d{4}-\d{2}-\d{2}(?:\.[a-z_]+)?(?:; [a-z_=0-9]+)*").fullmatch
_NUMBER = re.compile(r"[A-Za-z0-9][A-Za-z0-9\-_/#. ]{0,63}").fullmatch
_LAST4 = re.compile(r"\d{4}").fullmatch
_DECIMAL = re.compile(r"-?\d{1,40}(?:\.\d{1,20})?").fullmatch
_INSTANT = re.compile(r"\d{4}-\d{2}-\d{2}T[\d:.]{5,20}(?:Z|[+-]\d\d:\d\d)").fullmatch
_LIST_URL = re.compile(r"/v[12]/[A-Za-z0-9_/?=&]{1,300}").fullmatch
_NAME = re.compile(r"[^\x00-\x1f\x7f@\ud800-\udfff]{1,500}").fullmatch
_KEY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_\-.]{0,79}").fullmatch

Shape = Any  # a bound `fullmatch`

CLEAR: dict[str, Shape] = {
    **dict.fromkeys(("id", "plan", "price", "coupon", "product", "promotion_code", "sku"), _ID),
    **dict.fromkeys(("lookup_key", "related_plan"), _ID),
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
        _TOKEN,
    ),
    **dict.fromkeys(("network_decline_code", "network_advice_code"), _SHORT_CODE),
    **dict.fromkeys(("error_code", "reason_code", "network_reason_code"), _CODE),
    **dict.fromkeys(
        ("currency", "default_currency", "presentment_currency", "settlement_currency"), _CURRENCY
    ),
    **dict.fromkeys(("country", "account_country"), _COUNTRY),
    **dict.fromkeys(("locale", "preferred_locales"), _LOCALE),
    **dict.fromkeys(("brand", "display_brand", "type"), _LABEL),
    "api_version": _VERSION,
    **dict.fromkeys(("number", "receipt_number", "invoice_prefix"), _NUMBER),
    "last4": _LAST4,
    "created": _INSTANT,
    "url": _LIST_URL,
}
# What a catalogue object is called belongs to the business, not to a person.
NAMED_KINDS = frozenset({"product", "price", "plan", "coupon", "tax_rate", "sku"})
NAMES = frozenset({"name", "nickname", "display_name", "unit_label"})
_MONEY_OR_TIME = re.compile(
    r"(?:^|_)(?:amount|total|subtotal|balance|fee|net|tax|price|due|paid|remaining|quantity"
    r"|sequence|created|date|until|at|by|to|start|end)$|^(?:amount|total)_"
).search
# Whose `number` is that of a paper of the business, not of a person's passport or telephone.
NUMBERED_KINDS = frozenset({"invoice", "credit_note", "quote"})


class Sorted(NamedTuple):
    """A body's personal leaves with their paths, and the dropped ones, for comparing only."""

    personal: list[PersonalLeaf]
    dropped: list[PersonalLeaf]


def classify(body: dict[str, Any]) -> Sorted:
    """Take the personal and the forbidden leaves out of a hash of Stripe's, in place.

    What remains in `body` is clear. A personal element of an array leaves null in its place; a
    personal member of a hash leaves nothing. Raises TooDeep beyond DEPTH_MAX levels.
    """
    found = Sorted([], [])
    _hash(body, [], _kind(body, ""), found)
    return found


def _kind(node: dict[str, Any], inherited: str) -> str:
    kind = node.get("object")
    return kind if isinstance(kind, str) else inherited


def _kind_beside(node: dict[str, Any], inherited: str) -> str:
    """Return what `data.object` is, which `data.previous_attributes` describes too."""
    beside = node.get("object")
    return _kind(beside, inherited) if isinstance(beside, dict) else inherited


# This runs once for each of some hundred leaves of every delivery, so it remembers: keys proven
# to be plain member names (one set operation clears all keys of a hash), and values proven to
# have the shape of enumerations. Both are bounded: a stranger cannot fill memory.
_plain_keys: set[str] = set(CLEAR) | PERSONAL_HASHES
_PLAIN_KEYS_MAX = 20_000
_known_values: dict[str, set[str]] = {
    key: set()
    for key, shape in CLEAR.items()
    if shape in (_TOKEN, _LABEL, _CURRENCY, _COUNTRY, _LOCALE, _VERSION)
}
_KNOWN_VALUES_MAX = 256


def _is_plain(key: str) -> bool:
    if key in DROPPED or not _KEY(key) or mask_card_numbers(key) != key:
        return False
    if len(_plain_keys) < _PLAIN_KEYS_MAX:
        _plain_keys.add(key)
    return True


def _hash(  # noqa: PLR0912 — the hot loop: a call for each leaf would double its cost
    node: dict[str, Any], trail: list[str | int], kind: str, found: Sorted
) -> None:
    if len(trail) > DEPTH_MAX:
        raise TooDeep(f"nested deeper than {DEPTH_MAX} levels")
    changed: list[tuple[str, Any]] | None = None
    if not _plain_keys.issuperset(node):
        changed = [
            (key, _special(key, node.pop(key), (*trail, key), found))
            for key in [key for key in node if key not in _plain_keys and not _is_plain(key)]
        ]
    for key, value in node.items():
        if value is None or value is True or value is False:
            continue
        leaf = value.__class__
        if leaf is str:
            known = _known_values.get(key)
            if known is not None and value in known:
                continue
            remains = _string(key, value, trail, kind, found)
        elif leaf is dict:
            if not value:
                continue
            if key in PERSONAL_HASHES:
                remains = _special(key, value, (*trail, key), found)
            else:
                inner = value.get("object")
                trail.append(key)
                # `previous_attributes` describes the event's object; other hashes are things of
                # their own
                below = _kind_beside(node, kind) if key == "previous_attributes" else key
                _hash(value, trail, inner if inner.__class__ is str else below, found)
                trail.pop()
                continue
        elif leaf is list:
            if not value:
                continue
            if key in PERSONAL_HASHES:
                remains = _special(key, value, (*trail, key), found)
            else:
                trail.append(key)
                _list(value, trail, key, kind, found)
                trail.pop()
                continue
        elif key in PERSONAL_HASHES or (
            (value >= _CARD_MIN or value <= -_CARD_MIN) and _may_be_card(key, value)
        ):
            found.personal.append(((*trail, key), _clean(value)))
            remains = _GONE
        else:
            continue
        if remains is not value:
            if changed is None:
                changed = []
            changed.append((key, remains))
    if changed is not None:
        for key, value in changed:
            if value is _GONE:
                node.pop(key, None)
            else:
                node[key] = value


_GONE = object()
_CARD_MIN = 10**12


def _string(key: str, value: str, trail: list[str | int], kind: str, found: Sorted) -> Any:
    """Return what remains in the clear of a string: itself, masked, or _GONE."""
    prefix, _, rest = value.rpartition("_")
    if prefix in _PREFIXES and rest.isalnum() and rest.isascii():
        return value
    shape = CLEAR.get(key)
    if key == "number" and kind not in NUMBERED_KINDS:
        shape = None
    if shape is not None and shape(value) and not _SECRET(value):
        known = _known_values.get(key)
        if known is not None and len(known) < _KNOWN_VALUES_MAX and len(value) < 13:
            known.add(value)
        return mask_card_numbers(value) if len(value) > 12 else value
    if key.endswith("_decimal") and _DECIMAL(value):
        return value  # money: exact, however many digits
    if _SECRET(value):
        found.dropped.append(((*trail, key), value))
    elif key in NAMES and kind in NAMED_KINDS and _NAME(value):
        return mask_card_numbers(value)
    else:
        found.personal.append(((*trail, key), mask_card_numbers(value)))
    return _GONE


def _special(key: str, value: Any, path: Path, found: Sorted) -> Any:
    """Return what remains in the clear of a member whose name forbids or hides its value."""
    if key in DROPPED:
        found.dropped.append((path, value))
        return _GONE
    found.personal.append(((*path[:-1], mask_card_numbers(key)), _clean(value)))
    if key != "metadata" and isinstance(value, dict) and key in PERSONAL_HASHES:
        country = value.get("country")
        if isinstance(country, str) and _COUNTRY(country):
            return {"country": country}
    return _GONE


def _list(node: list[Any], trail: list[str | int], key: str, kind: str, found: Sorted) -> None:
    if len(trail) > DEPTH_MAX:
        raise TooDeep(f"nested deeper than {DEPTH_MAX} levels")
    for index, value in enumerate(node):
        trail.append(index)
        if isinstance(value, dict):
            _hash(value, trail, _kind(value, kind), found)
        elif isinstance(value, list):
            _list(value, trail, key, kind, found)
        elif value is not None:
            one, inner = {key: value}, Sorted([], [])
            _hash(one, [], kind, inner)
            node[index] = one.get(key)
            found.personal.extend((tuple(trail), leaf) for _, leaf in inner.personal)
            found.dropped.extend((tuple(trail), leaf) for _, leaf in inner.dropped)
        trail.pop()


def _clean(value: Any, depth: int = 0) -> Any:
    """Return a personal value without what may never be stored."""
    if depth > DEPTH_MAX:
        raise TooDeep(f"nested deeper than {DEPTH_MAX} levels")
    if isinstance(value, str):
        return None if _SECRET(value) else mask_card_numbers(value)
    if isinstance(value, dict):
        return {
            mask_card_numbers(key): _clean(inner, depth + 1)
            for key, inner in value.items()
            if key not in DROPPED
        }
    if isinstance(value, list):
        return [_clean(inner, depth + 1) for inner in value]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return mask_card_numbers(str(int(value))) if _may_be_card("", value) else value
    return value


def _may_be_card(key: str, number: float) -> bool:
    if -(10**12) < number < 10**12 or (key and _MONEY_OR_TIME(key)):
        return False
    if isinstance(number, float) and not number.is_integer():
        return False
    if abs(number) >= 10**19:
        return False
    digits = str(abs(int(number)))
    return 13 <= len(digits) <= 19 and satisfies_luhn(digits)


def restore(clear: Any, personal: list[PersonalLeaf]) -> Any:
    """Put opened personal leaves back where they were; changes and returns `clear`."""
    for path, value in personal:
        node = clear
        for step, following in pairwise(path):
            node = _descend(node, step, following)
        last = path[-1]
        assert isinstance(node, dict) or isinstance(last, int)
        node[last] = value
    return clear


def _descend(node: Any, step: str | int, following: str | int) -> Any:
    if isinstance(node, list) and isinstance(step, int):
        return node[step]
    return node.setdefault(step, [] if isinstance(following, int) else {})
