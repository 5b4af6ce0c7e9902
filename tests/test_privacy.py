"""Nothing personal reaches PostgreSQL in plain, nothing of a card is kept, only one key opens."""

from __future__ import annotations

import base64
import copy
import io
import json
import logging
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from threading import Barrier
from typing import Any

import psycopg
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import example, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from psycopg import sql
from werkzeug.test import Client

from ledger.application import Ledger, open_ledger
from ledger.bootstrap import installation
from ledger.database import Database
from ledger.errors import LedgerError, MasterKeyMismatch, MasterKeyMissing, SettingsInvalid
from ledger.log.seals import seal
from ledger.people import tokens
from ledger.privacy.box import BoxUnreadable, open_box, seal_box
from ledger.privacy.cards import mask_card_numbers
from ledger.privacy.classify import PersonalLeaf, classify, restore
from ledger.privacy.clear import DROPPED
from ledger.privacy.key_sources import key_file
from ledger.privacy.master import MasterKey, load_master_key
from ledger.settings import Settings
from tests.client import front_client
from tests.facts import (
    SECRET,
    T0,
    Json,
    charge,
    customer,
    event,
    invoice,
    payment_intent,
    price,
    project,
    record,
    signed,
    subscription,
)

CARDS = ("4242424242424242", "378282246310005", "4222222222222", "6759649826438453")
STRIPE_ID = re.compile(r"[a-z]{2,8}(?:_test|_live|_sched)?_[A-Za-z0-9]+")
MONEY_OR_TIME = re.compile(r"amount|total|balance|_at$|created|period|date")
SECRETIVE = re.compile(r"_secret_[A-Za-z0-9]|^(?:sk|rk|whsec|ek)_[A-Za-z0-9]")


# --- what stays clear, what is personal, what is dropped -----------------------------------------


def sorted_out(body: Json) -> tuple[Json, list[PersonalLeaf]]:
    """Return the clear part and the personal leaves as they come out of their box."""
    clear = copy.deepcopy(body)
    personal = classify(clear).personal
    cipher = AESGCM(bytes(32))
    box = seal_box(cipher, "cus_1", "evt_1", b"", personal)
    return clear, open_box(cipher, "cus_1", "evt_1", box)[1]


def written(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def satisfies_luhn(digits: str) -> bool:
    doubled = [sum(divmod(int(digit) * 2, 10)) for digit in digits[-2::-2]]
    return (sum(int(digit) for digit in digits[-1::-2]) + sum(doubled)) % 10 == 0


def card_numbers_in(text: str) -> list[str]:
    """Return every card number: digits in one run, or in groups parted by one blank, dash, dot."""
    found = []
    for run in re.findall(r"\d+(?:[ \-.]\d+)*", text):
        groups = re.findall(r"\d+", run)
        for first in range(len(groups)):
            for last in range(first, len(groups)):
                digits = "".join(groups[first : last + 1])
                if 13 <= len(digits) <= 19 and satisfies_luhn(digits):
                    found.append(digits)
    return found


def leaves_of(node: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every leaf under the name of the hash member it is in, and every name as a leaf."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield "a name", key
            yield from leaves_of(value, key)
    elif isinstance(node, list | tuple):
        for value in node:
            yield from leaves_of(value, name)
    else:
        yield name, node


def card_numbers_kept(node: Any) -> list[tuple[str, Any]]:
    """Scan names, text and integers; ids of Stripe's, amounts and times are none."""
    return [
        (name, leaf)
        for name, leaf in leaves_of(node)
        if is_number_or_text(leaf)
        and not (isinstance(leaf, str) and STRIPE_ID.fullmatch(leaf))
        and not MONEY_OR_TIME.search(name)
        and card_numbers_in(digits_of(leaf))
    ]


def is_number_or_text(leaf: Any) -> bool:
    return isinstance(leaf, str | int | float) and not isinstance(leaf, bool)


def digits_of(leaf: str | float) -> str:
    return leaf if isinstance(leaf, str) else str(int(leaf))


def assert_came_back(sent: Any, kept: Any) -> None:
    """Every leaf is as it was sent, but for dropped names, secrets and masked card numbers."""
    if isinstance(sent, dict):
        assert isinstance(kept, dict)
        expected = [key for key in sent if key not in DROPPED]
        absent = {key for key in expected if is_secret(sent[key])}
        assert {masked(key) for key in expected if key not in absent} <= kept.keys()
        assert kept.keys() <= {masked(key) for key in expected}
        for key in expected:
            assert_came_back(sent[key], kept.get(masked(key)))
    elif isinstance(sent, list):
        assert len(kept) == len(sent)
        for one, other in zip(sent, kept, strict=True):
            assert_came_back(one, other)
    elif is_secret(sent):
        assert kept in {None, sent}
    elif is_number_or_text(sent) and card_numbers_in(digits_of(sent)):
        assert kept == sent or ("****" in kept and not card_numbers_in(kept))
    else:
        assert (type(kept), kept) == (type(sent), sent)


def is_secret(leaf: Any) -> bool:
    return isinstance(leaf, str) and SECRETIVE.search(leaf) is not None


def masked(key: str) -> str:
    return mask_card_numbers(key) if card_numbers_in(key) else key


texts = st.text(max_size=12) | st.sampled_from([
    "cus_4fdAW5ftNQow1a", "active", "idr", "ID", "id-ID", "2026-0001", "4242", "visa", *CARDS,
    "4242 4242 4242 4242", "pi_1_secret_abc", "sk_test_abc", "a@b.test", "\ud83d", "nul \x00",
])  # fmt: skip
names = st.text(max_size=8) | st.sampled_from([
    "id", "status", "number", "email", "address", "metadata", "card", "exp_month", "cvc",
    "client_secret", "previous_attributes", "country", "unknown", "lines", "data", "a@b.test",
    "amount", "object", "owner", "networks", "created", "customer",
])  # fmt: skip
numbers = (
    st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([*map(int, CARDS), float(CARDS[0]), T0])
)
trees = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=5),
    max_leaves=30,
)
bodies = st.dictionaries(names, trees, max_size=6)


@examples(max_examples=60, deadline=None)
@given(bodies)
def test_what_is_not_dropped_or_masked_comes_back_where_it_was(body: Json) -> None:
    clear, personal = sorted_out(body)

    assert_came_back(body, restore(clear, personal))


PERSONAL_NAMES = (
    "email", "name", "phone", "description", "line1", "city", "postal_code", "first_name",
    "customer_email", "receipt_email", "ip_address", "user_agent", "statement_descriptor",
    "comment", "client_reference_id", "account_number", "tax_id", "cardholder_name", "address_zip",
    "hosted_invoice_url", "leaf_that_stripe_adds_next_year", "Ünïcødé", "two words", "",
)  # fmt: skip
PERSONAL_HASHES = (
    "address", "shipping", "billing_details", "customer_details", "metadata", "owner",
    "custom_fields", "individual", "dob", "verification", "collected_information",
)  # fmt: skip
MARKS = ("qx7zz", "62811770077")
values = st.sampled_from([
    "qx7zz", "qx7zz@example.test", "Qx7zz Wijaya", "qx7zz_b.c-d", "62811770077", "+62811770077",
    "QX7ZZ2026", "/v1/qx7zz", "2026-01-01 qx7zz", "sub_ qx7zz", "qx7zz\x00", "\ud83dqx7zz",
])  # fmt: skip
places: st.SearchStrategy[Callable[[str], Any]] = st.sampled_from(
    [
        lambda value: value,
        lambda value: [value],
        lambda value: [None, [7, value]],
        lambda value: {"leaf": value},
        lambda value: {"a b": [{"deeper": {"": value}}]},
    ]
)
mundane = st.dictionaries(
    st.sampled_from(
        ["data", "object", "previous_attributes", "items", "networks", "card", "x", "é"]
    ),
    st.recursive(
        st.none() | st.integers() | st.sampled_from(["active", "customer", "invoice", "a b"]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["data", "lines", "status", "y"]), inner, max_size=3)
        ),
        max_leaves=12,
    ),
    min_size=1,
    max_size=5,
)


def containers(node: Any) -> Iterator[Json | list[Any]]:
    if isinstance(node, dict | list):
        yield node
        for inner in node.values() if isinstance(node, dict) else node:
            yield from containers(inner)


def tells(node: Any, marks: tuple[str, ...] = MARKS) -> bool:
    return any(mark in written(node).casefold() for mark in marks)


@examples(max_examples=80, deadline=None)
@given(mundane, st.sampled_from(PERSONAL_NAMES), values, places, st.data())
def test_a_personal_value_is_never_clear_wherever_it_stands(
    body: Json, name: str, value: str, place: Callable[[str], Any], data: st.DataObject
) -> None:
    container = data.draw(st.sampled_from(list(containers(body))))
    if isinstance(container, dict):
        container[name] = place(value)
    else:
        container.append({name: place(value)})

    clear, personal = sorted_out(body)

    assert not tells(clear)
    assert tells(personal)
    assert_came_back(body, restore(clear, personal))


@examples(max_examples=40, deadline=None)
@given(
    mundane, st.sampled_from(PERSONAL_HASHES), st.sampled_from(["status", "id", "qx7zz"]), values
)
def test_in_a_hash_about_a_person_no_name_is_clear(
    body: Json, name: str, leaf: str, value: str
) -> None:
    body[name] = {leaf: value, value: leaf, "country": "ID", "qx7zz": {"number": value}}

    clear, personal = sorted_out(body)

    assert not tells(clear)
    assert clear.get(name) == (None if name == "metadata" else {"country": "ID"})
    assert_came_back(body, restore(clear, personal))


OLD_CARD = {
    "id": "card_1Nv0FGQ9RKHgCVdK", "object": "card", "brand": "American Express", "last4": "0005",
    "name": "Qx7zz Wijaya", "address_line1": "Jalan qx7zz 1", "address_city": "qx7zz",
    "address_zip": "qx7zz", "address_country": "qx7zz", "customer": "cus_4fdAW5ftNQow1a",
    "owner": {"email": "qx7zz@example.test", "verified_name": "qx7zz"}, "exp_month": 8,
    "exp_year": 2031, "fingerprint": "dropped7", "cvc_check": "pass", "country": "US",
    "metadata": {"qx7zz": "qx7zz"},
}  # fmt: skip


@pytest.mark.parametrize(
    "obj",
    [
        customer(email="qx7zz@example.test", name="qx7zz", phone="62811770077",
                 address={"line1": "qx7zz", "country": "ID"}, metadata={"qx7zz": "a", "b": "qx7zz"},
                 description="qx7zz", shipping={"name": "qx7zz", "phone": "62811770077"},
                 invoice_settings={"custom_fields": [{"name": "qx7zz", "value": "qx7zz"}],
                                   "footer": "qx7zz"},
                 tax_ids={"object": "list", "data": [{"type": "id_npwp", "value": "qx7zz"}]}),
        customer(sources={"object": "list", "data": [OLD_CARD]}, default_source=OLD_CARD,
                 cards={"data": [OLD_CARD]}, active_card=OLD_CARD),
        invoice(customer_name="qx7zz", customer_address={"city": "qx7zz"}, account_name="qx7zz",
                customer_tax_ids=[{"type": "id_npwp", "value": "qx7zz"}], footer="qx7zz",
                lines={"data": [{"description": "qx7zz", "metadata": {"qx7zz": 1}}]}),
        charge(source=OLD_CARD, receipt_email="qx7zz@example.test",
               fraud_details={"user_report": "qx7zz said so"}),
        {"object": "checkout.session", "custom_fields": [{"key": "k", "text": {"value": "qx7zz"}}],
         "customer_details": {"email": "qx7zz@b.test", "individual_name": "qx7zz"},
         "client_reference_id": "62811770077", "success_url": "https://qx7zz.test/"},
        {"object": "mandate", "customer_acceptance": {"online": {"ip_address": "qx7zz"}}},
        {"object": "subscription", "cancellation_details": {"comment": "qx7zz", "reason": None}},
        {"object": "galaxy", "stars": [{"owner_of": {"deep": ["qx7zz", {"": "qx7zz"}]}}]},
    ],
    ids=["customer", "old sources", "invoice", "charge", "checkout", "mandate", "subscription",
         "unknown"],
)  # fmt: skip
@pytest.mark.parametrize("where", ["object", "previous_attributes"])
def test_what_stripe_tells_of_a_person_is_encrypted(obj: Json, where: str) -> None:
    body = event("a.b", obj if where == "object" else {"object": obj["object"]}, previous=obj)

    clear, personal = sorted_out(body)

    assert not tells(clear)
    assert tells(personal)
    assert "dropped7" not in written([clear, personal])


@pytest.mark.parametrize(
    "told",
    ["order_4242424242424242", "card_Johnson", "link_MarySmithOfPine", "file_4242424242424242ab"],
)
def test_text_behind_the_prefix_of_an_id_is_not_clear(told: str) -> None:
    body = {"object": "charge", "description": told}

    leaves = classify(body)

    assert body == {"object": "charge"}
    assert [path for path, _ in leaves.personal] == [("description",)]


def test_the_country_stays_clear_however_deep_in_what_is_personal() -> None:
    body = {
        "object": "charge",
        "billing_details": {"name": "Andi", "address": {"country": "ID", "city": "Makassar"}},
    }

    leaves = classify(body)

    assert body["billing_details"] == {"address": {"country": "ID"}}
    ((path, kept),) = leaves.personal
    assert (path, kept["address"]["city"]) == (("billing_details",), "Makassar")


def test_where_an_ip_address_is_on_the_map_is_encrypted() -> None:
    review = {"object": "review", "ip_address_location": {"latitude": -5.1477, "longitude": 119.4}}

    clear, personal = sorted_out(event("review.opened", review))

    assert "5.1477" not in written(clear)
    assert "5.1477" in written(personal)


@pytest.mark.parametrize(
    "obj",
    [
        {"object": "identity.verification_report", "document": {"number": "3173051234560001"}},
        {"object": "customer", "contact": {"number": "3173051234560001"}},
    ],
    ids=["passport", "phone"],
)
def test_a_number_is_clear_only_where_it_is_that_of_a_paper_of_the_business(obj: Json) -> None:
    clear, _ = sorted_out(event("a.b", obj))

    assert "3173051234560001" not in written(clear)


# --- what must never be kept ---------------------------------------------------------------------


def everywhere(value: Any) -> Json:
    """Return an event body that bears a value in many places."""
    held = {
        "number": value, "description": value, "metadata": {"a": value, "b": [value]},
        "billing_details": {"name": value}, "unknown": {"deep": [{"x": value}, [value]]},
        "id": value, "lookup_key": value, "plan": value, "reason": value, "receipt_number": value,
        "last_payment_error": {"message": value, "code": value}, "payment_method_types": [value],
        "statement_descriptor": value, "two words": {"y": value}, "url": value, "status": value,
    }  # fmt: skip
    return event("a.b", {"object": "invoice", **held}, previous={"card": held, **held})


@pytest.mark.parametrize(
    "text",
    [
        *CARDS, "4242 4242 4242 4242", "4242-4242-4242-4242", "4242.4242.4242.4242",
        "3782 822463 10005", "my card is 4242424242424242, please", "(4242-4242-4242-4242)",
        "no 17: 4242 4242 4242 4242 08 31 123", "12 4242424242424242 1234567",
        "4242424242424242 4242424242424242", "4242424242424242/378282246310005",
        "x4242424242424242y", "%B4242424242424242^WIJAYA/ANDI^3108", ";4242424242424242=3108",
    ],
)  # fmt: skip
def test_a_card_number_in_text_is_masked_wherever_it_stands(text: str) -> None:
    clear, personal = sorted_out(everywhere(text))

    assert card_numbers_kept(clear) == []
    assert card_numbers_kept(personal) == []
    assert "****" in written(personal)


@pytest.mark.parametrize(
    "gap", ["\u00a0", "  ", "\u2013"], ids=["no-break space", "two blanks", "dash"]
)
def test_a_card_number_is_masked_however_its_groups_are_parted(gap: str) -> None:
    text = gap.join(["4242", "4242", "4242", "4242"])

    kept = mask_card_numbers(f"my card: {text} thanks")

    assert len(re.findall(r"\d", kept)) == 4


digit_groups = st.sampled_from([*CARDS, "4242 4242 4242 4242", "3782-822463-10005"]) | st.text(
    "0123456789", min_size=1, max_size=10
)


@examples(max_examples=100, deadline=None)
@example(f"{CARDS[0]} 123456786")
@given(
    st.lists(st.tuples(digit_groups, st.sampled_from([" ", "-", ".", ", ", "x"])), max_size=7).map(
        lambda groups: "".join(digits + gap for digits, gap in groups)
    )
)
def test_what_was_masked_holds_no_card_number_any_more(text: str) -> None:
    kept = mask_card_numbers(text)

    assert card_numbers_in(kept) == []
    assert mask_card_numbers(kept) == kept
    assert kept == text or card_numbers_in(text)


@pytest.mark.parametrize("name", [
    "number", "card", "unknown", "network_token", "tax_id", "feedback", "updated",
])  # fmt: skip
def test_a_card_number_as_a_number_is_masked_whatever_its_name(name: str) -> None:
    for number in (4242424242424242, -378282246310005, 4222222222222.0):
        held = {name: number, "list": [{name: [number]}], "metadata": {name: number}}

        clear, personal = sorted_out(event("a.b", held, previous=held))

        digits = f"{abs(number):.0f}"
        assert digits not in written([clear, personal])
        assert digits[-4:] in written(personal)


def test_an_amount_that_looks_like_a_card_number_stays_what_it_is() -> None:
    held = {"amount": 4242424242424242, "amount_due": 378282246310005, "created": 4222222222222}

    clear, personal = sorted_out(held)

    assert (clear, personal) == (held, [])


@pytest.mark.parametrize("decimal", ["0.000000000018", "12.000000000006", "12.5"])
def test_a_price_with_twelve_decimals_stays_exact(decimal: str) -> None:
    body = event("price.updated", price(unit_amount_decimal=decimal))

    clear, _ = sorted_out(body)

    assert clear["data"]["object"]["unit_amount_decimal"] == decimal


@pytest.mark.parametrize("key", ["4242424242424242", "4242-4242-4242-4242", "4242 4242 4242 4242"])
@pytest.mark.parametrize("hash_", ["metadata", "unknown"])
def test_a_card_number_as_the_name_of_a_member_is_masked(hash_: str, key: str) -> None:
    for value in (1, "a", None, {"x": "a"}, ["a"]):
        clear, personal = sorted_out(event("a.b", {hash_: {key: value, "z": {key: value}}}))

        assert key not in written([clear, personal])


@pytest.mark.parametrize("name", sorted(DROPPED))
def test_what_may_never_be_kept_is_in_neither_part(name: str) -> None:
    held = {name: "qx7zz"}
    obj = {
        "object": "charge", **held, "card": held, "sources": {"data": [held, {"card": held}]},
        "payment_method_details": {"card": held, "type": "card"}, "metadata": held,
        "billing_details": {"address": held}, "owner": [held], "two words": {"a b": [[held]]},
        "unknown": {name: {"x": "qx7zz"}}, "list": [{name: ["qx7zz"]}],
    }  # fmt: skip

    clear, personal = sorted_out(event("a.b", obj, previous=obj))

    assert not tells([clear, personal])


@pytest.mark.parametrize(
    "secret",
    [
        "pi_1_secret_qx7zz", "seti_1_secret_qx7zz", "src_client_secret_qx7zz", "sk_live_qx7zz",
        "rk_test_qx7zz", "whsec_qx7zz", "ek_live_qx7zz", "cs_test_a1_secret_qx7zz",
        "https://hooks.stripe.com/x/src_1?client_secret=src_client_secret_qx7zz",
        "see pi_1_secret_qx7zz, please",
    ],
)  # fmt: skip
def test_a_secret_is_in_neither_part_whatever_its_name(secret: str) -> None:
    clear, personal = sorted_out(everywhere(secret))

    assert not tells([clear, personal])


def test_neither_a_card_number_nor_a_secret_hides_in_the_name_of_a_product() -> None:
    for name in ("qx7zz 4242424242424242", "pi_1_secret_qx7zz"):
        clear, personal = sorted_out(event("a.b", {"object": "product", "name": name}))

        assert "4242424242424242" not in written([clear, personal])
        assert "_secret_" not in written([clear, personal])


# --- what must stay clear ------------------------------------------------------------------------

CLEAR_LEAVES: Json = {
    "id": "in_1Nv0FGQ9RKHgCVdK", "object": "invoice", "amount_due": 10_000_000, "amount": 0,
    "created": T0, "currency": "idr", "status": "open", "billing_reason": "subscription_cycle",
    "number": "ABCD-0001", "receipt_number": "2026-0001", "customer": "cus_4fdAW5ftNQow1a",
    "subscription": "sub_1Nv0FGQ9RKHgCVdK", "livemode": False, "attempted": True, "tax": None,
    "payment_method_types": ["card", "sepa_debit"], "preferred_locales": ["id-ID", "en"],
    "default_tax_rates": [], "metadata": {}, "percent_off": 12.5, "quantity": 3,
    "last_payment_error": {"code": "card_declined", "decline_code": "insufficient_funds",
                           "advice_code": "try_again_later", "network_decline_code": "51"},
    "outcome": {"type": "issuer_declined", "reason": "do_not_honor", "risk_level": "normal"},
    "card": {"brand": "visa", "last4": "4242", "country": "ID", "funding": "credit"},
    "product": {"object": "product", "name": "Kelas Premium, 1 bulan"},
    "price": {"object": "price", "nickname": "Bulanan 100.000", "lookup_key": "monthly-1",
              "unit_amount_decimal": "10000.5", "recurring": {"interval": "month"}},
    "plan": {"object": "plan", "name": "Old plan", "amount": 1},
    "discount": {"object": "discount", "coupon": {"object": "coupon", "name": "Untuk semua"}},
    "total_tax_amounts": [{"tax_rate": {"object": "tax_rate", "display_name": "PPN 11 %"}}],
    "lines": {"object": "list", "url": "/v1/invoices/in_1/lines", "has_more": False, "data": [
        {"id": "il_1", "amount": 5, "period": {"start": T0, "end": T0 + 1}}]},
    "cancellation_details": {"reason": "payment_failed", "feedback": "too_expensive"},
}  # fmt: skip


def test_what_the_views_and_the_money_need_stays_clear() -> None:
    clear, personal = sorted_out(event("invoice.updated", CLEAR_LEAVES))

    assert clear["data"]["object"] == CLEAR_LEAVES
    assert personal == []


@pytest.mark.parametrize(
    ("obj", "previous"),
    [
        ({"object": "product", "id": "prod_1", "name": "New"}, {"name": "Old"}),
        ({"object": "price", "id": "price_1", "nickname": "New"}, {"nickname": "Old"}),
        ({"object": "plan", "id": "plan_1", "name": "New"}, {"name": "Old"}),
        ({"object": "coupon", "id": "co", "name": "New"}, {"name": "Old"}),
        ({"object": "tax_rate", "id": "txr_1", "display_name": "New"}, {"display_name": "Old"}),
        (CLEAR_LEAVES, {**CLEAR_LEAVES, "status": "draft"}),
    ],
    ids=["product", "price", "plan", "coupon", "tax_rate", "invoice"],
)
def test_what_is_clear_of_an_object_is_clear_of_what_it_was_before(
    obj: Json, previous: Json
) -> None:
    clear, personal = sorted_out(event("a.updated", obj, previous=previous))

    assert clear["data"] == {"object": obj, "previous_attributes": previous}
    assert personal == []


def test_a_customers_former_name_is_not_clear_for_being_called_name() -> None:
    clear, _ = sorted_out(event("customer.updated", customer(), previous={"name": "qx7zz"}))

    assert not tells(clear)


def test_whole_real_payloads_keep_their_promise(shared: Path) -> None:
    told = re.compile(r"@|\+\d{6}")
    names_told = {"email", "phone", "line1", "postal_code", "receipt_email", "description"}
    bodies_read = 0
    for file in sorted((shared / "data" / "stripe-events").rglob("*.json")):
        for body in real_bodies(file):
            clear, personal = sorted_out(body)
            bodies_read += 1

            assert_came_back(body, restore(copy.deepcopy(clear), personal))
            assert not DROPPED & {leaf for name, leaf in leaves_of(clear) if name == "a name"}
            assert not DROPPED & {leaf for name, leaf in leaves_of(personal) if name == "a name"}
            assert card_numbers_kept(clear) == card_numbers_kept(personal) == []
            for name, leaf in leaves_of(clear):
                assert not (isinstance(leaf, str) and told.search(leaf)), (file, name)
                assert leaf is None or name not in names_told, (file, name)
    assert bodies_read > 100


def real_bodies(file: Path) -> Iterator[Json]:
    try:
        content = json.loads(file.read_text())
    except ValueError:
        return
    for one in content if isinstance(content, list) else [content]:
        if isinstance(one, dict):
            yield one


def test_a_box_opens_only_for_its_subject_and_its_event() -> None:
    cipher = AESGCM(bytes(32))
    box = seal_box(cipher, "cus_1", "evt_1", b"\x01", [(("a", 0), "x")])

    assert open_box(cipher, "cus_1", "evt_1", box) == (b"\x01", [(("a", 0), "x")])
    for other in (("cus_2", "evt_1"), ("cus_1", "evt_2"), ("cus_1|evt", "1")):
        with pytest.raises(BoxUnreadable):
            open_box(cipher, *other, box)
    with pytest.raises(BoxUnreadable):
        open_box(cipher, "cus_1", "evt_1", box[:-1] + bytes([box[-1] ^ 1]))


# --- nothing personal in PostgreSQL --------------------------------------------------------------

MARK = "qz7kv"  # in everything personal that is planted
CARD = "4000056655665556"
CARD_TEXTS = (CARD, "4000 0566 5566 5556", "4000-0566-5566-5556")
NEVER = "nv8wq"  # in what must not even be kept encrypted
CLEAR = "clear9qj"  # in a price's name: it must be found, or the search finds nothing
ASKED = "ask4tr"  # in what is typed into a filter that is not for it
WHY = "why6mb"  # in the reason given for an erasure
NOISE = {
    "log_statement": "all",
    "log_min_duration_statement": "0",
    "log_parameter_max_length": "-1",
    "log_parameter_max_length_on_error": "-1",
    "log_min_messages": "debug1",
    "log_min_error_statement": "debug1",
    "log_error_verbosity": "verbose",
    "log_connections": "on",
}
_marks = count(1)


def mark() -> str:
    """Return a value that occurs nowhere else."""
    return f"{MARK}{next(_marks):04d}x"


def marks_in(told: Any) -> set[str]:
    return set(re.findall(rf"{MARK}\d+x", told if isinstance(told, str) else written(told)))


def person(id_: str = "cus_planted") -> Json:
    return customer(
        id_,
        email=f"{mark()}@{mark()}.test",
        name=f"{mark()} {mark()}",
        phone=f"+62 811 {mark()}",
        description=f"{mark()} paid with {CARD_TEXTS[1]}",
        address={"line1": mark(), "city": mark(), "postal_code": mark(), "country": "ID"},
        shipping={"name": mark(), "address": {"line1": mark()}},
        metadata={mark(): mark(), "card": CARD, CARD_TEXTS[2]: mark(), "cvc": NEVER},
        invoice_settings={"custom_fields": [{"name": mark(), "value": mark()}], "footer": mark()},
        tax_ids={"object": "list", "data": [{"type": "id_npwp", "value": mark()}]},
        **{"an unknown leaf": mark(), f"{mark()}@key.test": {"deep": [mark()]}, "leaf": mark()},
    )


def card_of_a_person() -> Json:
    return {
        "brand": "visa", "last4": "5556", "number": CARD, "exp_month": NEVER, "exp_year": NEVER,
        "cvc": NEVER, "fingerprint": NEVER, "country": "ID", "cardholder_name": mark(),
    }  # fmt: skip


def planted() -> list[Json]:
    """Return events of many kinds with a mark in everything personal."""
    first = person()
    billing = {"email": f"{mark()}@b.test", "name": mark(), "address": {"city": mark()}}
    details = {"type": "card", "card": card_of_a_person()}
    old_card = {"object": "card", "id": "card_old1", "name": mark(), "address_line1": mark(),
                "owner": {"email": f"{mark()}@b.test"}, **card_of_a_person()}  # fmt: skip
    conflicting = event("customer.updated", person("cus_conflict"))
    noted = {"object": "galaxy", "id": "gx_1", "leaf": mark(), "stars": [{"who": [mark()]}],
             "a b": mark(), "list": [mark(), {"x": {"y": mark()}}]}  # fmt: skip
    return [
        event("customer.created", first, request={"id": "req_1", "idempotency_key": mark()}),
        event("customer.updated", first, at=T0 + 1,
              previous={"email": f"{mark()}@old.test", "metadata": {mark(): mark()},
                        "name": mark(), "address": {"line1": mark()}, "shipping": mark()}),
        event("customer.updated", customer("cus_old", sources={"data": [old_card]}),
              api_version="2017-04-06", previous={"sources": {"data": [{"name": mark()}]}}),
        event("price.created", price(nickname=f"Bulanan {CLEAR}", metadata={"for": mark()})),
        event("customer.subscription.created", subscription(
            of="cus_planted", cancellation_details={"comment": mark(), "reason": None})),
        event("invoice.created", invoice(
            of="cus_planted", customer_email=f"{mark()}@i.test", customer_name=mark(),
            customer_address={"line1": mark()}, account_name=mark(), footer=mark(),
            description=mark(), custom_fields=[{"name": mark(), "value": mark()}],
            hosted_invoice_url=f"https://invoice.stripe.com/{mark()}",
            lines={"object": "list", "data": [{"description": mark(), "price": price(
                nickname=CLEAR)}]})),
        event("charge.failed", charge(
            of="cus_planted", billing_details=billing, payment_method_details=details,
            receipt_email=f"{mark()}@c.test", description=mark(), status="failed",
            failure_message=f"{mark()} {CARD_TEXTS[0]}", source=old_card)),
        event("charge.succeeded", charge("ch_guest", of=None, payment_intent=None,
                                         billing_details=billing, description=mark())),
        event("payment_intent.payment_failed", payment_intent(
            of="cus_planted", client_secret=f"pi_andi_secret_{NEVER}", description=mark(),
            receipt_email=f"{mark()}@p.test", next_action={"redirect_to_url": {
                "url": f"https://x.test/?client_secret=src_client_secret_{NEVER}"}},
            last_payment_error={"message": f"{CARD_TEXTS[2]} {mark()}", "code": "card_declined",
                                "payment_method": {"id": "pm_1", "billing_details": billing}})),
        event("payment_method.attached", {
            "id": "pm_1", "object": "payment_method", "customer": "cus_planted", "type": "card",
            "billing_details": billing, "card": card_of_a_person(), "created": T0}),
        event("checkout.session.completed", {
            "id": "cs_test_a1", "object": "checkout.session", "customer": None, "created": T0,
            "customer_details": {"email": f"{mark()}@s.test", "name": mark()}, "status": "complete",
            "custom_fields": [{"key": "k", "text": {"value": mark()}}], "success_url": mark(),
            "collected_information": {"shipping_details": {"name": mark()}},
            "client_reference_id": mark()}),
        event("galaxy.collided", noted, previous=noted),
        event("charge.refunded", {"id": "re_1", "object": "refund", "charge": "ch_guest",
                                  "metadata": {"why": mark()}, "created": T0}),
        event("customer.created", person("cus_live"), livemode=True),
        event("customer.created", person("cus_foreign"), account="acct_foreign"),
        event("customer.created", customer("cus_nul", name=f"{mark()}\x00", phone=f"\ud83d{mark()}",
                                           description=f"{mark()} " * 9_000)),
        conflicting,
        {**conflicting, "data": {"object": person("cus_conflict")}},
        {**conflicting, "api_version": "2020-08-27", "data": {"object": person("cus_conflict")}},
        conflicting,
    ]  # fmt: skip


def unreadable() -> list[bytes]:
    return [
        f"{mark()} is no JSON".encode(),
        b"\xff\xfe" + mark().encode(),
        json.dumps({"id": 7, "email": f"{mark()}@u.test", "n": int(CARD), "cvc": NEVER}).encode(),
        f'{{"id":"evt_deep","type":"a.b","x":{"[" * 400}"{mark()}"{"]" * 400}}}'.encode(),
        json.dumps({"id": "evt_nan", "type": "a.b", "who": mark(), "x": float("nan")}).encode(),
    ]  # fmt: skip


@dataclass(frozen=True)
class Searched:
    """Everything there is to search after a ledger was filled and its server stopped."""

    places: dict[str, bytes]
    told: dict[str, str]  # scope → all that the API told
    kept_marks: set[str]
    tokens: tuple[str, str]
    master_key: bytes

    def where(self, value: str | bytes) -> list[str]:
        """Return the places that hold a value: as it is, in hexadecimal, in base64."""
        raw = value if isinstance(value, bytes) else value.encode()
        in_base64 = (
            base64.b64encode(bytes(n) + raw)[(0, 2, 3)[n] : (n + len(raw)) * 8 // 6]
            for n in range(3)
        )
        needles = [raw, raw.hex().encode(), *in_base64]
        return [
            place
            for place, content in self.places.items()
            if any(needle in content for needle in needles)
        ]


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Searched:
    """Fill a ledger of its own whose server logs all it can, then collect every byte it left."""
    home = tmp_path_factory.mktemp("searched")
    settings = Settings.from_env(
        {
            "LEDGER_HOME": str(home),
            "STRIPE_WEBHOOK_SECRET": SECRET,
            "STRIPE_ACCOUNT": "acct_ours",
        }
    )
    said = io.StringIO()
    handler = logging.StreamHandler(said)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        with installation(settings) as opened, front_client(opened) as client:
            make_noise(opened.database)
            ledger = opened.ledger()
            events, strange = planted(), unreadable()
            take_in(ledger, client, events, strange)
            project(ledger)
            with ledger.pool.connection() as connection:
                seal(connection)
                secrets = (
                    tokens.create(connection, ledger.name, "all", ["personal"])[1],
                    tokens.create(connection, ledger.name, "clear", ["admin"])[1],
                )
            told = {
                "personal": read_everything(client, secrets[0], events[0]["data"]["object"]),
                "clear": read_everything(client, secrets[1], events[0]["data"]["object"]),
            }
            ask_in_the_wrong_place(client, secrets[0])
            with suppress(LedgerError):  # to refuse such a reason is as good as to encrypt it
                ledger.erase_customer("cus_old", reason=f"{WHY}@example.test asked by mail")
            project(ledger)
            dump = dump_of(opened.database)
    finally:
        root.setLevel(level)
        root.removeHandler(handler)
    places = {
        str(file.relative_to(home)): file.read_bytes()
        for file in sorted(home.rglob("*"))
        if file.is_file()
    }
    key = base64.b64decode(places.pop("master.key"))
    kept = [one["data"] for one in events if one is not another_rendering(events)]
    return Searched(
        {**places, "dump": dump, "our own log": said.getvalue().encode()},
        told,
        marks_in(kept) | marks_in(b"".join(strange).decode("latin-1")),
        secrets,
        key,
    )


def another_rendering(events: list[Json]) -> Json:
    """Return the one planted event of which nothing is kept."""
    return next(one for one in events if one["api_version"] == "2020-08-27")


def make_noise(database: Database) -> None:
    """Let the server log all it can, and store large values as they are, uncompressed."""
    with database.connect_as_owner() as connection:
        for name, value in NOISE.items():
            connection.execute(
                sql.SQL("ALTER SYSTEM SET {} = {}").format(sql.Identifier(name), sql.Literal(value))
            )
        columns = connection.execute(
            "SELECT attrelid::regclass::text, attname FROM pg_attribute JOIN pg_class"
            " ON pg_class.oid = attrelid WHERE attstorage = 'x' AND relkind = 'r' AND attnum > 0"
            " AND relnamespace::regnamespace::text LIKE 'ledger%'"
        ).fetchall()
        for table, column in columns:
            connection.execute(
                sql.SQL("ALTER TABLE {} ALTER COLUMN {} SET STORAGE EXTERNAL").format(
                    sql.SQL(table), sql.Identifier(column)
                )
            )
        connection.execute("SELECT pg_reload_conf()")
        deadline = time.monotonic() + 10
        while connection.execute("SHOW log_statement").fetchone() != ("all",):
            assert time.monotonic() < deadline


def take_in(ledger: Ledger, client: Client, events: list[Json], strange: list[bytes]) -> None:
    """Deliver all that is planted, every other delivery over HTTP, and one that is refused."""
    for number, body in enumerate([*(json.dumps(one).encode() for one in events), *strange]):
        if number % 2 and body.isascii():
            client.post("/webhooks/stripe", data=body, headers=signed(body))
        else:
            ledger.intake.receive(body)
    refused = json.dumps(event("customer.created", person("cus_refused"))).encode()
    client.post("/webhooks/stripe", data=refused, headers={"Stripe-Signature": f"t=1,v1={MARK}"})
    ledger.intake.flush_counts()


def read_everything(client: Client, secret: str, wanted: Json) -> str:
    """Return all that the API tells the bearer of a token, who also searches for a customer."""
    headers = {"Authorization": f"Bearer {secret}"}
    told = []
    for path in (
        "customers?limit=100", "customers/cus_planted", "customers/cus_planted/timeline?limit=100",
        "subscriptions", "invoices", "payments", "status", "events?limit=100",
        "events?customer=cus_planted", "events/1",
    ):  # fmt: skip
        answer = client.get(f"/v1/{path}", headers=headers)
        assert answer.status_code == 200, path
        told.append(answer.text)
    for name, value in (
        ("email", wanted["email"].upper()),
        ("query", wanted["email"]),
        ("query", wanted["name"].split()[0]),
        ("query", f"@{wanted['email'].partition('@')[2]}"),
        ("query", wanted["name"]),
    ):
        answer = client.get("/v1/customers", query_string={name: value}, headers=headers)
        told.append(f"found {[one['id'] for one in (answer.json or {}).get('data', [])]}")
    return "\n".join(told)


def ask_in_the_wrong_place(client: Client, secret: str) -> None:
    """Type an e-mail address wherever the API takes text that is not for it."""
    headers = {"Authorization": f"Bearer {secret}"}
    asked = f"{ASKED}@example.test"
    for path in (
        f"customers/{asked}", f"customers/{asked}/timeline", f"invoices/{asked}",
        f"subscriptions/{asked}", f"customers?starting_after={asked}", f"events?customer={asked}",
        f"customers?ending_before={asked}", f"events?stream={asked}", f"events?type={asked}",
        f"events?stripe_event_id={asked}", f"invoices?customer={asked}", f"{asked}?{asked}={asked}",
        f"payments?customer={asked}", f"payments?invoice={asked}", f"customers?status={asked}",
        f"subscriptions?status={asked}",
    ):  # fmt: skip
        assert client.get(f"/v1/{path}", headers=headers).status_code < 500
    client.get("/v1/customers", headers={"Authorization": f"Bearer lgt_{asked}_1"})


def dump_of(database: Database) -> bytes:
    """Return every row of every table of ours as text, after forcing all of it to disk."""
    dumped = b""
    with database.connect_as_owner() as connection:
        tables = connection.execute(
            "SELECT oid::regclass::text FROM pg_class WHERE relkind IN ('r', 'm', 'p')"
            " AND relnamespace::regnamespace::text NOT IN ('pg_catalog', 'information_schema')"
        ).fetchall()
        assert ("ledger_of_default.events",) in tables
        with connection.cursor() as cursor:
            for (table,) in tables:
                with cursor.copy(sql.SQL("COPY {} TO STDOUT").format(sql.SQL(table))) as rows:
                    dumped += b"".join(map(bytes, rows))
        connection.execute("CHECKPOINT")
        connection.execute("SELECT pg_switch_wal()")
    return dumped


def test_the_search_finds_what_is_there(searched: Searched) -> None:
    found = searched.where(CLEAR)

    assert {"dump", "postgres/server.log"} <= set(found)
    assert any(place.startswith("postgres/data/base/") for place in found)
    assert any(place.startswith("postgres/data/pg_wal/") for place in found)
    assert b"DeliveryUnreadable" in searched.places["dump"]
    assert b"other_mode" in searched.places["dump"]
    assert b"foreign_account" in searched.places["dump"]
    assert b"conflicts_with" in searched.places["dump"]
    assert b"delivery refused" in searched.places["our own log"]


def test_no_personal_value_is_in_any_table_file_or_log(searched: Searched) -> None:
    assert searched.where(MARK) == []


def test_nothing_of_a_card_and_no_secret_is_in_any_table_file_or_log(searched: Searched) -> None:
    assert searched.where(NEVER) == []
    assert [place for text in CARD_TEXTS for place in searched.where(text)] == []
    for name in DROPPED:
        assert f'"{name}"'.encode() not in searched.places["dump"]


def test_with_the_scope_personal_all_that_was_kept_can_be_read(searched: Searched) -> None:
    told = searched.told["personal"]
    for raw in re.findall(r'"raw_base64":"([^"]+)"', told):
        told += base64.b64decode(raw).decode()

    assert searched.kept_marks - marks_in(told) == set()
    assert len(searched.kept_marks) > 150
    assert NEVER not in told
    assert not any(text in told for text in CARD_TEXTS)
    assert "****5556" in told


def test_without_the_scope_personal_nothing_personal_can_be_read(searched: Searched) -> None:
    assert MARK not in searched.told["clear"]
    assert "cus_planted" in searched.told["clear"]
    assert CLEAR in searched.told["clear"]


def test_a_customer_is_found_by_whole_address_domain_and_word_with_the_scope_only(
    searched: Searched,
) -> None:
    found = "found ['cus_planted']"

    assert searched.told["personal"].count(found) == 4
    assert searched.told["clear"].count("found []") == 5


def test_an_address_asked_for_in_the_wrong_place_does_not_reach_postgresql(
    searched: Searched,
) -> None:
    assert searched.where(ASKED) == []


def test_the_reason_for_an_erasure_tells_nothing_personal(searched: Searched) -> None:
    assert searched.where(WHY) == []


def test_neither_the_master_key_nor_a_token_nor_a_signing_secret_is_in_the_database(
    searched: Searched,
) -> None:
    for secret in (*searched.tokens, SECRET, searched.master_key):
        assert searched.where(secret) == []


# --- the master key ------------------------------------------------------------------------------


@pytest.fixture
def unproven(ledger: Ledger) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    """A connection to a ledger that no master key has been proven against."""
    with ledger.database.connect(ledger.schema) as connection:
        connection.execute("DELETE FROM settings")
        yield connection


def with_key(home: Path, key: bytes | None = None) -> Settings:
    return Settings(home=home, master_keys=(key,) if key else ())


def contents(ledger: Ledger) -> list[Any]:
    with ledger.pool.connection() as connection:
        return [
            connection.execute("SELECT * FROM settings ORDER BY key").fetchall(),
            connection.execute("SELECT * FROM subject_keys ORDER BY subject").fetchall(),
            connection.execute("SELECT * FROM events ORDER BY position").fetchall(),
        ]


def test_another_master_key_is_refused_and_nothing_is_changed(
    ledger: Ledger, tmp_path: Path
) -> None:
    record(ledger, event("customer.created", customer()))
    before = contents(ledger)

    with pytest.raises(MasterKeyMismatch) as refused:
        open_ledger(with_key(tmp_path, b"k" * 32), ledger.database, ledger.name)

    assert contents(ledger) == before
    assert base64.b64encode(b"k" * 32).decode() not in str(refused.value)
    assert not key_file(with_key(tmp_path)).exists()


def test_a_key_made_for_another_ledger_is_refused(
    ledger: Ledger, unproven: psycopg.Connection[tuple[Any, ...]], tmp_path: Path
) -> None:
    made = load_master_key(with_key(tmp_path / "a"), unproven, embedded=True)
    key_file(with_key(tmp_path / "b")).parent.mkdir()
    key_file(with_key(tmp_path / "b")).write_text(base64.b64encode(b"b" * 32).decode())

    with pytest.raises(MasterKeyMismatch):
        load_master_key(with_key(tmp_path / "b"), unproven, embedded=True)
    again = load_master_key(with_key(tmp_path / "a"), unproven, embedded=True)
    assert again.derive("x") == made.derive("x")


@pytest.mark.parametrize("embedded", [True, False])
def test_a_ledger_whose_key_is_gone_is_not_opened_under_a_new_one(
    ledger: Ledger, tmp_path: Path, embedded: bool
) -> None:
    database = ledger.database if embedded else remote(ledger.database)

    with pytest.raises(MasterKeyMissing):
        open_ledger(with_key(tmp_path), database, ledger.name)

    assert list(tmp_path.iterdir()) == []


def remote(database: Database) -> Database:
    """Return the same database as if somebody else ran it."""
    return Database(database.owner, database.runtime)


@pytest.mark.usefixtures("unproven")
def test_on_a_remote_database_no_key_is_made(ledger: Ledger, tmp_path: Path) -> None:
    with pytest.raises(MasterKeyMissing, match="LEDGER_MASTER_KEY"):
        open_ledger(with_key(tmp_path), remote(ledger.database), ledger.name)

    assert list(tmp_path.iterdir()) == []
    key = b"test-master-key-of-32-bytes-long"  # that of the installation, see conftest
    opened = open_ledger(with_key(tmp_path, key), remote(ledger.database), ledger.name)
    assert opened.master.derive("x") == MasterKey(key).derive("x")


def test_a_key_file_left_by_an_embedded_start_is_not_taken_for_a_remote_database(
    ledger: Ledger, tmp_path: Path
) -> None:
    key_file(Settings(home=tmp_path)).write_bytes(base64.b64encode(bytes(32)))

    with ledger.pool.connection() as connection, pytest.raises(MasterKeyMissing):
        load_master_key(Settings(home=tmp_path), connection, embedded=False)


def test_a_made_key_is_for_its_owner_only_and_nothing_else_is_left(
    unproven: psycopg.Connection[tuple[Any, ...]], tmp_path: Path
) -> None:
    settings = with_key(tmp_path / "new home")

    made = load_master_key(settings, unproven, embedded=True)

    assert key_file(settings).stat().st_mode & 0o777 == 0o600
    assert settings.home.stat().st_mode & 0o777 == 0o700
    assert [file.name for file in settings.home.iterdir()] == ["master.key"]
    kept = base64.b64decode(key_file(settings).read_text())
    assert made.derive("x") == MasterKey(kept).derive("x")


def test_threads_that_make_the_key_at_once_all_get_the_one_that_is_kept(
    ledger: Ledger, unproven: psycopg.Connection[tuple[Any, ...]], tmp_path: Path
) -> None:
    several = 4
    for number in range(30):
        unproven.execute("DELETE FROM settings")
        settings = with_key(tmp_path / str(number))
        start = Barrier(several)

        def load(settings: Settings = settings, start: Barrier = start) -> bytes:
            with ledger.database.connect(ledger.schema) as connection:
                start.wait()
                return load_master_key(settings, connection, embedded=True).derive("x")

        with ThreadPoolExecutor(several) as threads:
            made = [threads.submit(load) for _ in range(several)]
        derived = {one.result() for one in made}

        kept = base64.b64decode(key_file(settings).read_text())
        assert derived == {MasterKey(kept).derive("x")}
        assert [file.name for file in settings.home.iterdir()] == ["master.key"]


def test_of_two_different_keys_at_once_only_one_opens_a_new_ledger(
    ledger: Ledger, unproven: psycopg.Connection[tuple[Any, ...]], tmp_path: Path
) -> None:
    start = Barrier(2)

    def load(key: bytes) -> str:
        with ledger.database.connect(ledger.schema) as connection:
            start.wait()
            try:
                load_master_key(with_key(tmp_path, key), connection, embedded=False)
            except MasterKeyMismatch:
                return "refused"
            return "opened"

    with ThreadPoolExecutor(2) as threads:
        outcomes = list(threads.map(load, [b"a" * 32, b"b" * 32]))

    assert sorted(outcomes) == ["opened", "refused"]
    assert unproven.execute("SELECT count(*) FROM settings").fetchone() == (1,)


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b"not base64!", b"c2hvcnQ=", b"A" * 43, b"\xff\xfe\x00binary", "ключ".encode()],
    ids=repr,
)
def test_a_damaged_key_file_is_named_and_left_alone(
    ledger: Ledger, tmp_path: Path, content: bytes
) -> None:
    file = key_file(with_key(tmp_path))
    file.write_bytes(content)

    with pytest.raises(SettingsInvalid, match=re.escape(str(file))):
        open_ledger(with_key(tmp_path), ledger.database, ledger.name)

    assert file.read_bytes() == content


@pytest.mark.parametrize("text", ["not base64!", "c2hvcnQ=", "ключ", "A" * 44])
def test_a_damaged_key_in_the_environment_is_refused_without_being_told(text: str) -> None:
    with pytest.raises(SettingsInvalid, match="LEDGER_MASTER_KEY") as refused:
        Settings.from_env({"LEDGER_HOME": "/nowhere", "LEDGER_MASTER_KEY": text})

    assert text not in str(refused.value)


def test_the_settings_do_not_tell_the_key_or_the_secrets() -> None:
    settings = Settings(
        Path("/nowhere"),
        master_keys=(b"verysecretkeyverysecretkey123456",),
        webhook_secrets=("whsec_verysecret",),
        bootstrap_token="lgt_verysecret",
    )

    assert "verysecret" not in repr(settings)
