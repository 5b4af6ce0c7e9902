"""Stripe's objects read alike in every API version, and facts of one second put in order."""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.stripe_objects import facts, terms
from ledger.stripe_objects.order import Fact, Settled, Trail, last_values, settle
from ledger.stripe_objects.readers import READERS, view_of
from ledger.stripe_objects.views import Invoice, Payment
from tests.facts import API_VERSION, Json

# --- one function per fact -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("obj", "customer"),
    [
        ({"object": "customer", "id": "cus_1"}, "cus_1"),
        ({"object": "customer", "id": "cus_1", "deleted": True}, "cus_1"),
        ({"object": "charge", "customer": "cus_1"}, "cus_1"),
        ({"object": "charge", "customer": {"id": "cus_1", "object": "customer"}}, "cus_1"),
        ({"object": "charge", "customer": None, "customer_account": "acct_1"}, "acct_1"),
        ({"object": "payout"}, None),
        ({"object": "charge", "customer": ""}, None),
        ({"object": "charge", "customer": 7}, None),
    ],
)
def test_the_customer_is_named_expanded_or_the_object_itself(
    obj: Json, customer: str | None
) -> None:
    assert facts.customer_of(obj) == customer


def invoice_of(**members: Any) -> Json:
    return {"object": "invoice", **members}


@pytest.mark.parametrize(
    ("obj", "subscription"),
    [
        ({"object": "subscription", "id": "sub_1"}, "sub_1"),
        (invoice_of(subscription="sub_1"), "sub_1"),
        (invoice_of(subscription={"id": "sub_1", "object": "subscription"}), "sub_1"),
        (invoice_of(parent={"subscription_details": {"subscription": "sub_1"}}), "sub_1"),
        (invoice_of(parent={"subscription_details": {"subscription": {"id": "sub_1"}}}), "sub_1"),
        (invoice_of(lines={"data": [{}, {"subscription": "sub_1"}]}), "sub_1"),
        (
            invoice_of(
                billing_reason="manual",
                parent=None,
                lines={
                    "data": [{"parent": {"subscription_item_details": {"subscription": "sub_1"}}}]
                },
            ),
            "sub_1",
        ),
        (invoice_of(parent=None, lines={"data": []}), None),
        (invoice_of(parent="odd", subscription=3, lines="odd"), None),
        ({"object": "checkout.session", "subscription": "sub_1"}, "sub_1"),
        ({"object": "charge", "lines": {"data": [{"subscription": "sub_1"}]}}, None),
    ],
)
def test_the_subscription_is_found_where_each_version_has_it(
    obj: Json, subscription: str | None
) -> None:
    assert facts.subscription_of(obj) == subscription


@pytest.mark.parametrize(
    ("obj", "period"),
    [
        ({"current_period_start": 1, "current_period_end": 2}, (1, 2)),
        ({"items": {"data": [{"current_period_start": 3, "current_period_end": 4}]}}, (3, 4)),
        (
            {
                "items": {
                    "data": [
                        {"current_period_start": 1, "current_period_end": 400},
                        {"current_period_start": 2, "current_period_end": 30},
                        {"current_period_start": 3, "current_period_end": None},
                    ]
                }
            },
            (2, 30),
        ),
        (
            {"current_period_end": 9, "items": {"data": [{"current_period_end": 8}]}},
            (None, 8),
        ),
        ({"items": {"data": [{"plan": {"id": "p"}}]}, "current_period_end": 9}, (None, 9)),
        ({"items": [], "current_period_start": "odd", "current_period_end": True}, (None, None)),
    ],
)
def test_the_period_is_that_of_the_item_billed_next(
    obj: Json, period: tuple[int | None, int | None]
) -> None:
    assert facts.subscription_period(obj) == period


@pytest.mark.parametrize(
    ("obj", "items"),
    [
        ({"items": {"object": "list", "data": [{"id": "si_1"}]}}, [{"id": "si_1"}]),
        (
            {"items": {"data": [{"id": "si_1"}]}, "plan": {"id": "gold"}, "quantity": 2},
            [{"id": "si_1"}],
        ),
        ({"plan": {"id": "gold"}, "quantity": 2}, [{"plan": {"id": "gold"}, "quantity": 2}]),
        ({"plan": {"id": "gold"}}, [{"plan": {"id": "gold"}, "quantity": None}]),
        ({"plan": None, "items": {"data": []}}, []),
        ({"items": {"data": [None, 3, "x", {"id": "si_1"}]}}, [{"id": "si_1"}]),
        ({}, []),
    ],
)
def test_a_subscription_of_2014_has_one_item_made_of_its_plan(obj: Json, items: list[Json]) -> None:
    assert facts.subscription_items(obj) == items


PRICED: list[tuple[Json, str | None, str | None]] = [
    ({"price": {"id": "price_1", "product": "prod_1"}, "plan": {"id": "p"}}, "price_1", "prod_1"),
    ({"price": "price_1"}, "price_1", None),
    ({"price": {"id": "price_1", "product": {"id": "prod_1"}}}, "price_1", "prod_1"),
    ({"plan": {"id": "gold", "product": "prod_1"}}, "gold", "prod_1"),
    ({"plan": {"id": "gold", "name": "Gold", "amount": 500}}, "gold", None),
    ({"plan": "gold"}, "gold", None),
    (
        {"pricing": {"price_details": {"price": "price_1", "product": "prod_1"}}},
        "price_1",
        "prod_1",
    ),
    (
        {"pricing": {"price_details": {"price": {"id": "price_1"}, "product": "prod_1"}}},
        "price_1",
        "prod_1",
    ),
    ({"price": None, "plan": None, "pricing": None}, None, None),
    ({"price": 3, "plan": [], "pricing": "odd"}, None, None),
]


@pytest.mark.parametrize(("item", "price", "product"), PRICED)
def test_the_price_of_an_item_or_line_is_found_in_every_version(
    item: Json, price: str | None, product: str | None
) -> None:
    assert facts.price_of(item) == price


@pytest.mark.parametrize(("item", "price", "product"), PRICED)
def test_the_product_of_an_item_or_line_is_found_in_every_version(
    item: Json, price: str | None, product: str | None
) -> None:
    assert facts.product_of(item) == product


@pytest.mark.parametrize(
    ("item", "amount", "interval"),
    [
        ({"price": {"unit_amount": 500, "recurring": {"interval": "month"}}}, 500, "month"),
        ({"plan": {"amount": 500, "interval": "year"}}, 500, "year"),
        (
            {
                "price": {"unit_amount": 700, "recurring": {"interval": "week"}},
                "plan": {"amount": 500, "interval": "year"},
            },
            700,
            "week",
        ),
        ({"price": {"unit_amount": None, "recurring": None}}, None, None),
        ({"price": "price_1"}, None, None),
        ({}, None, None),
    ],
)
def test_the_terms_of_an_item_have_the_shape_of_a_price(
    item: Json, amount: int | None, interval: str | None
) -> None:
    terms = facts.terms_of(item)

    assert terms.get("unit_amount") == amount
    assert (terms.get("recurring") or {}).get("interval") == interval


@pytest.mark.parametrize(
    ("discount", "coupon"),
    [
        ({"coupon": {"id": "HALF", "percent_off": 50}}, "HALF"),
        ({"coupon": "HALF"}, "HALF"),
        ({"source": {"type": "coupon", "coupon": "HALF"}}, "HALF"),
        ({"source": {"type": "coupon", "coupon": {"id": "HALF"}}}, "HALF"),
        ({"source": {"type": "loyalty", "coupon": None}}, None),
        ({"source": 3, "coupon": []}, None),
        ({}, None),
    ],
)
def test_the_coupon_of_a_discount_is_found_before_and_since_clover(
    discount: Json, coupon: str | None
) -> None:
    assert facts.coupon_of(discount) == coupon


@pytest.mark.parametrize(
    ("obj", "discounts"),
    [
        ({"discount": {"object": "discount", "coupon": {"id": "HALF"}}}, [(None, "HALF")]),
        ({"discount": {"id": "di_1", "coupon": {"id": "HALF"}}}, [("di_1", "HALF")]),
        ({"discounts": ["di_1", "di_2"]}, [("di_1", None), ("di_2", None)]),
        (
            {"discounts": [{"id": "di_1", "source": {"coupon": "HALF"}}, "di_2"]},
            [("di_1", "HALF"), ("di_2", None)],
        ),
        (
            {"discounts": [], "discount": {"id": "di_1", "coupon": {"id": "HALF"}}},
            [("di_1", "HALF")],
        ),
        ({"discounts": [None, 3]}, []),
        ({"discounts": []}, []),
        ({"discounts": "odd", "discount": None}, None),
        ({}, None),
    ],
)
def test_discounts_are_one_or_many_named_or_expanded(
    obj: Json, discounts: list[tuple[str | None, str | None]] | None
) -> None:
    held = terms.held_by(obj)

    assert (None if held is None else [(one.id, one.coupon) for one in held]) == discounts


@pytest.mark.parametrize(
    ("obj", "tax"),
    [
        ({"tax": 100}, 100),
        ({"tax": None}, None),
        ({"total_tax_amounts": [{"amount": 60}, {"amount": 40}], "tax": 100}, 100),
        ({"total_taxes": [{"amount": 7, "type": "tax_rate_details"}, {"amount": None}]}, 7),
        ({"total_taxes": []}, 0),
        ({"total_taxes": None, "tax": 5}, 5),
        ({"total_taxes": ["odd", {"amount": "x"}]}, 0),
        ({}, None),
    ],
)
def test_tax_is_one_sum_in_every_version(obj: Json, tax: int | None) -> None:
    assert facts.tax_minor(obj) == tax


@pytest.mark.parametrize(
    ("obj", "status"),
    [
        ({"status": "open", "paid": False}, "open"),
        ({"status": "some_future_status"}, "some_future_status"),
        ({"paid": True, "closed": True, "attempted": True}, "paid"),
        ({"paid": False, "closed": True, "forgiven": True}, "uncollectible"),
        ({"paid": False, "closed": True, "forgiven": False}, "void"),
        ({"paid": False, "closed": False, "attempted": True}, "open"),
        ({"paid": False, "closed": False, "attempted": False}, "draft"),
        ({}, None),
        ({"status": 3, "paid": "yes"}, None),
    ],
)
def test_the_status_of_an_invoice_was_told_by_three_flags_once(
    obj: Json, status: str | None
) -> None:
    assert facts.invoice_status(obj) == status


@pytest.mark.parametrize(
    ("obj", "finalized_at"),
    [
        ({"status_transitions": {"finalized_at": 5}}, 5),
        ({"finalized_at": 5}, 5),
        ({"status_transitions": "odd", "finalized_at": "odd"}, None),
        ({}, None),
    ],
)
def test_a_transition_of_an_invoice_has_its_time(obj: Json, finalized_at: int | None) -> None:
    view = view_of({"object": "invoice", **obj})

    assert isinstance(view, Invoice)
    assert view.finalized_at == finalized_at


@pytest.mark.parametrize(
    ("obj", "amount"),
    [
        ({"amount_paid": 0, "amount_due": 900}, 0),
        ({"amount_paid": 900}, 900),
        ({"amount_paid": 0, "amount_due": 900, "paid_out_of_band": True}, 900),
        ({"amount_paid": 0, "amount_due": 900, "paid_out_of_band": False}, 0),
        ({"paid": True, "amount_due": 900}, 900),
        ({"paid": False, "amount_due": 900}, 0),
        ({"amount_due": 900}, None),
        ({"amount_paid": "900", "paid": True, "amount_due": None}, None),
    ],
)
def test_what_was_paid_follows_from_the_flag_where_no_amount_is_told(
    obj: Json, amount: int | None
) -> None:
    assert facts.amount_paid_minor(obj) == amount


@pytest.mark.parametrize(
    ("line", "is_proration"),
    [
        ({"proration": True}, True),
        ({"proration": False}, False),
        ({"parent": {"subscription_item_details": {"proration": True}}}, True),
        ({"parent": {"invoice_item_details": {"proration": True}}}, True),
        ({"parent": {"subscription_item_details": {"proration": False}}}, False),
        ({"parent": None, "proration": "odd"}, False),
        ({}, False),
    ],
)
def test_a_proration_is_told_on_the_line_or_its_parent(line: Json, is_proration: bool) -> None:
    assert facts.is_proration(line) is is_proration


DECLINED = {"type": "issuer_declined", "reason": "insufficient_funds"}


@pytest.mark.parametrize(
    ("charge", "code"),
    [
        ({"status": "failed", "failure_code": "card_declined", "outcome": DECLINED},
         "insufficient_funds"),
        ({"status": "failed", "failure_code": "card_declined", "outcome": None}, "card_declined"),
        ({"status": "failed", "failure_code": "expired_card",
          "outcome": {"type": "blocked", "reason": "highest_risk_level"}}, "expired_card"),
        ({"status": "failed", "failure_code": "a_future_code"}, "a_future_code"),
        ({"paid": False, "captured": True, "failure_code": "card_declined"}, "card_declined"),
        ({"status": "succeeded", "failure_code": None, "outcome": {"type": "authorized"}}, None),
        ({"status": "failed", "failure_code": 3, "outcome": []}, None),
        ({}, None),
    ],
)  # fmt: skip
def test_the_decline_code_of_a_charge_is_the_issuers_if_it_gave_one(
    charge: Json, code: str | None
) -> None:
    assert facts.decline_of_charge(charge) == code


@pytest.mark.parametrize(
    ("obj", "card"),
    [
        (
            {
                "payment_method_details": {
                    "type": "card", "card": {"brand": "visa", "last4": "4242"},
                }
            },
            ("card", "visa", "4242"),
        ),
        (
            {
                "payment_method_details": {
                    "type": "card_present", "card_present": {"brand": "mastercard", "last4": "1"},
                }
            },
            ("card_present", "mastercard", "1"),
        ),
        (
            {
                "payment_method_details": {"type": "sepa_debit", "sepa_debit": {"last4": "3000"}},
                "source": None,
            },
            ("sepa_debit", None, "3000"),
        ),
        (
            {"source": {"object": "card", "brand": "Visa", "last4": "4242"}},
            ("card", "visa", "4242"),
        ),
        ({"card": {"object": "card", "brand": "Visa", "last4": "4242"}}, ("card", "visa", "4242")),
        ({"card": {"object": "card", "type": "Visa", "last4": "4242"}}, ("card", "visa", "4242")),
        (
            {
                "last_payment_error": {
                    "payment_method": {"type": "card", "card": {"brand": "amex", "last4": "8431"}}
                }
            },
            ("card", "amex", "8431"),
        ),
        ({"payment_method_details": {"type": "a_future_method"}}, ("a_future_method", None, None)),
        ({"payment_method_details": "odd", "source": "src_1", "card": 3}, (None, None, None)),
        ({}, (None, None, None)),
    ],
)  # fmt: skip
def test_what_paid_is_told_by_method_brand_and_last_four(
    obj: Json, card: tuple[str | None, str | None, str | None]
) -> None:
    assert facts.card_of(obj) == card


@pytest.mark.parametrize(
    ("obj", "reference"),
    [
        ({"payment_details": {"order_reference": "in_0001"}}, "in_0001"),
        ({"payment_details": {"order_reference": "order 17"}}, None),
        ({"payment_details": {"order_reference": None}}, None),
        ({"payment_details": None}, None),
        ({"payment_details": {"order_reference": 7}}, None),
        ({}, None),
    ],
)
def test_an_order_reference_counts_if_it_may_be_an_invoice(
    obj: Json, reference: str | None
) -> None:
    assert facts.order_reference_of(obj) == reference


@pytest.mark.parametrize(
    ("obj", "reason"),
    [
        (
            {"status_details": {"paused": {"subscription": {"type": "pause_requested"}}}},
            "pause_requested",
        ),
        ({"status_details": {"paused": {"subscription": {"type": "a_new_one"}}}}, "a_new_one"),
        ({"status_details": {"paused": None}}, None),
        ({"status_details": []}, None),
        ({"status": "paused"}, None),
    ],
)
def test_endive_says_why_a_subscription_is_paused(obj: Json, reason: str | None) -> None:
    assert facts.paused_reason(obj) == reason


@pytest.mark.parametrize(
    ("item", "quantity"),
    [({"quantity": 3}, 3), ({"quantity": 0}, 0), ({"quantity": None}, None),
     ({"quantity": 3.0}, 3), ({"quantity": 3.5}, None), ({"quantity": "3"}, None),
     ({"quantity": True}, None), ({}, None)],
)  # fmt: skip
def test_a_quantity_is_whole_or_unknown(item: Json, quantity: int | None) -> None:
    assert facts.quantity_of(item) == quantity


@pytest.mark.parametrize(
    ("obj", "is_deleted"),
    [({"id": "cus_1", "deleted": True}, True), ({"deleted": False}, False), ({}, False),
     ({"deleted": "yes"}, False)],
)  # fmt: skip
def test_what_remains_of_a_deleted_object_says_so(obj: Json, is_deleted: bool) -> None:
    assert facts.is_deleted_object(obj) is is_deleted


# --- whole views ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "schedule",
    [
        {"subscription": "sub_1"},
        {"subscription": None, "released_subscription": "sub_1", "status": "released"},
    ],
)
def test_a_schedule_stays_with_the_subscription_it_released(schedule: Json) -> None:
    assert facts.subscription_of({"object": "subscription_schedule", **schedule}) == "sub_1"


def test_a_failed_charge_of_2014_which_has_no_status_collected_nothing() -> None:
    charge = view_of({
        "object": "charge", "id": "ch_1", "amount": 1000, "paid": False, "captured": True,
        "failure_code": "card_declined",
    })  # fmt: skip

    assert isinstance(charge, Payment)
    assert charge.amount_received in {None, 0}


def test_a_succeeded_charge_of_2014_collected_its_amount() -> None:
    charge = view_of({"object": "charge", "amount": 1000, "paid": True, "captured": True})

    assert isinstance(charge, Payment)
    assert charge.amount_received == 1000


@pytest.mark.parametrize("kind", sorted(READERS))
@pytest.mark.parametrize(
    "odd",
    [None, True, 3, 1e300, -(10**400), "x", "", [], [[]], {}, {"a": 1}],
    ids=lambda odd: repr(odd)[:8],
)
def test_a_leaf_of_a_kind_never_seen_there_reads_as_something(kind: str, odd: Any) -> None:
    names = {name for reader in READERS for name in members_read(reader)}

    view = view_of({**dict.fromkeys(names, odd), "object": kind})

    assert view is not None


def members_read(kind: str) -> set[str]:
    """Return the members that a reader asks an object for."""
    asked: set[str] = set()

    class Asked(dict[str, Any]):
        def get(self, key: str, default: Any = None) -> Any:
            asked.add(key)
            return super().get(key, default)

    view_of(Asked(object=kind))
    return asked


WORDS = sorted({name for reader in READERS for name in members_read(reader)} | {
    "id", "data", "price", "plan", "product", "amount", "subscription_details", "recurring",
    "current_period_end", "card", "type", "coupon", "source", "brand", "order_reference",
})  # fmt: skip
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8),
    st.sampled_from(["active", "paid", "failed", "price", "card", "usd", "a_future_status"]),
)  # fmt: skip
ANY_JSON = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=4), inner, max_size=6)
    ),
    max_leaves=12,
)


@pytest.mark.parametrize("kind", [*sorted(READERS), "a.future_object"])
@given(obj=st.dictionaries(st.sampled_from(WORDS), ANY_JSON, max_size=12))
@settings(max_examples=20, deadline=None)
def test_reading_any_object_never_raises(kind: str, obj: Json) -> None:
    view = view_of({**obj, "object": kind})

    assert view == view_of(deepcopy({**obj, "object": kind}))


@given(obj=st.dictionaries(st.text(max_size=12) | st.sampled_from([*WORDS, "object"]), ANY_JSON))
@settings(max_examples=60, deadline=None)
def test_reading_an_object_of_any_kind_never_raises(obj: Json) -> None:
    assert view_of(obj) is not None


# --- the order of facts in one second ------------------------------------------------------


def fact(
    event_id: str,
    snapshot: Json,
    previous: Json | None = None,
    *,
    type_: str = "thing.updated",
    api_version: str = API_VERSION,
) -> Fact:
    return Fact(event_id, type_, snapshot, previous, api_version)


def at_rest(snapshot: Json, **changes: Any) -> Settled:
    return Settled(fact("evt_before", snapshot, **changes), False, "clear")


def settled(facts_: list[Fact], **options: Any) -> Settled:
    """Return how a second is settled, having tried it in every order (up to 120 of them)."""
    orders = itertools.islice(itertools.permutations(facts_), 120)
    results = [settle(list(order), **options) for order in orders]
    assert all(result == results[0] for result in results)
    return results[0]


def test_a_single_fact_is_the_state() -> None:
    only = fact("evt_1", {"a": 1}, {"a": 0})

    assert settled([only]) == Settled(only, False, "clear")


@pytest.mark.parametrize(("known", "mark"), [("draft", "clear"), ("void", "gap")])
def test_a_single_fact_that_found_another_state_than_known_marks_a_gap(
    known: str, mark: str
) -> None:
    opened = fact("evt_1", {"status": "open"}, {"status": "draft"})

    state = settled([opened], before=at_rest({"status": known}), kind="invoice")

    assert (state.winner, state.mark, state.doubtful) == (opened, mark, ())


def test_two_deletions_that_differ_name_the_leaf_in_doubt() -> None:
    gone = [
        fact(f"evt_{reason}", {"reason": reason}, type_="customer.subscription.deleted")
        for reason in ("payment_failed", "requested")
    ]

    state = settled(gone, before=at_rest({"reason": None}))

    assert (state.is_deleted, state.mark, state.doubtful) == (True, "assumed", ("reason",))


def test_each_step_of_a_chain_leads_to_the_next_whatever_the_ids() -> None:
    chain = [fact("evt_9", {"a": 1}, {"a": 0}), fact("evt_5", {"a": 2}, {"a": 1}),
             fact("evt_1", {"a": 3}, {"a": 2})]  # fmt: skip

    state = settled(chain)

    assert (state.winner.event_id, state.mark) == ("evt_1", "clear")


def test_a_trail_that_returns_to_the_state_before_ends_there() -> None:
    toggled = [fact("evt_9", {"on": True}, {"on": False}),
               fact("evt_1", {"on": False}, {"on": True})]  # fmt: skip

    state = settled(toggled, before=at_rest({"on": False}))

    assert (state.winner.event_id, state.mark) == ("evt_1", "clear")


def test_a_closed_trail_from_an_unknown_state_is_assumed_with_its_leaf_named() -> None:
    toggled = [fact("evt_9", {"on": True}, {"on": False}),
               fact("evt_1", {"on": False}, {"on": True})]  # fmt: skip

    state = settled(toggled)

    assert (state.mark, state.doubtful) == ("assumed", ("on",))


def test_the_next_facts_pre_image_settles_a_tie() -> None:
    toggled = [fact("evt_9", {"on": True, "n": 1}, {"on": False}),
               fact("evt_1", {"on": False, "n": 1}, {"on": True})]  # fmt: skip
    following = [fact("evt_x", {"on": True, "n": 2}, {"n": 1})]

    state = settled(toggled, following=following)

    assert (state.winner.event_id, state.mark) == ("evt_9", "clear")


def test_a_missing_fact_leaves_a_gap_and_the_furthest_state_wins() -> None:
    # the fact 1 → 2 never came
    known = [fact("evt_9", {"a": 1}, {"a": 0}), fact("evt_1", {"a": 3}, {"a": 2})]

    state = settled(known, before=at_rest({"a": 0}))

    assert (state.winner.event_id, state.mark) == ("evt_1", "gap")


def test_an_invoice_is_paid_although_the_update_that_says_so_is_missing() -> None:
    opened = fact("evt_9", {"status": "open"}, {"status": "draft"}, type_="invoice.updated")
    paid = fact("evt_1", {"status": "paid"}, type_="invoice.paid")

    state = settled([opened, paid], before=at_rest({"status": "draft"}), kind="invoice")

    assert state.winner.event_id == "evt_1"


@pytest.mark.parametrize("paused_last", [True, False])
def test_null_becomes_a_hash_and_a_hash_null(paused_last: bool) -> None:
    pause = {"behavior": "void", "resumes_at": None}
    stop = fact("evt_5", {"pause_collection": pause}, {"pause_collection": None})
    resume = fact("evt_6", {"pause_collection": None}, {"pause_collection": pause})
    before = at_rest({"pause_collection": None if not paused_last else pause})

    state = settled([stop, resume], before=before)

    assert (state.winner, state.mark) == (stop if paused_last else resume, "clear")


def test_deleted_and_created_again_in_one_second_is_alive() -> None:
    gone = fact("evt_9", {"id": "di_1"}, type_="customer.discount.deleted")
    back = fact("evt_1", {"id": "di_1"}, type_="customer.discount.created")

    state = settled([gone, back], before=at_rest({"id": "di_1"}))

    assert (state.winner, state.is_deleted) == (back, False)


@pytest.mark.parametrize("before", [None, Settled(fact("evt_0", {}), True, "clear")])
def test_created_and_deleted_in_one_second_is_gone(before: Settled | None) -> None:
    made = fact("evt_9", {"id": "sub_1"}, type_="customer.subscription.created")
    changed = fact("evt_5", {"id": "sub_1", "a": 1}, {"a": 0})
    gone = fact("evt_1", {"id": "sub_1"}, type_="customer.subscription.deleted")

    state = settled([made, changed, gone], before=before)

    assert (state.winner, state.is_deleted) == (gone, True)


def test_up_to_2017_04_06_an_array_tells_only_what_changed_in_it() -> None:
    def items(quantity: int) -> Json:
        return {"lines": [{"id": "a", "quantity": 1}, {"id": "b", "quantity": quantity}]}

    def changed(old: int) -> Json:
        return {"lines": [{"id": "b", "quantity": old}]}

    version = "2017-04-06"
    first = fact("evt_9", items(2), changed(1), api_version=version)
    second = fact("evt_1", items(3), changed(2), api_version=version)

    state = settled([first, second], before=at_rest(items(1), api_version=version))

    assert (state.winner, state.mark) == (second, "clear")


def test_up_to_2017_04_06_an_array_without_ids_goes_by_its_places() -> None:
    version = "2015-01-01"
    first = fact("evt_9", {"days": [1, 5]}, {"days": [1, 4]}, api_version=version)
    second = fact("evt_1", {"days": [1, 6]}, {"days": [1, 5]}, api_version=version)

    state = settled([first, second], before=at_rest({"days": [1, 4]}, api_version=version))

    assert (state.winner, state.mark) == (second, "clear")


def test_two_api_versions_in_one_second_are_compared_by_what_both_have() -> None:
    old = fact(
        "evt_9",
        {"status": "active", "plan": {"id": "gold"}, "customer": {"id": "cus_1"}},
        {"status": "incomplete"},
        api_version="2018-01-23",
    )
    new = fact(
        "evt_1",
        {"status": "past_due", "items": [], "customer": "cus_1"},
        {"status": "active"},
        api_version="2026-10-28.endive",
    )

    state = settled([old, new], before=at_rest({"status": "incomplete"}), kind="subscription")

    assert (state.winner, state.mark) == (new, "clear")


@pytest.mark.parametrize(
    ("kind", "earlier", "later"),
    [
        ("invoice", {"status": "open"}, {"status": "paid"}),
        ("invoice", {"status": "uncollectible"}, {"status": "paid"}),
        ("invoice", {"status": "open", "attempt_count": 1}, {"status": "open", "attempt_count": 2}),
        ("payment_intent", {"status": "requires_payment_method"}, {"status": "processing"}),
        (
            "payment_intent",
            {"status": "processing"},
            {"status": "requires_payment_method", "last_payment_error": {"code": "x"}},
        ),
        ("payment_intent", {"status": "requires_capture"}, {"status": "succeeded"}),
        ("charge", {"status": "pending"}, {"status": "succeeded"}),
        ("charge", {"status": "succeeded"}, {"status": "succeeded", "amount_refunded": 5}),
        ("refund", {"status": "pending"}, {"status": "succeeded"}),
        ("payout", {"status": "in_transit"}, {"status": "paid"}),
        ("dispute", {"status": "needs_response"}, {"status": "won"}),
        ("subscription", {"status": "incomplete"}, {"status": "active"}),
        ("subscription", {"status": "past_due"}, {"status": "canceled"}),
        ("subscription_schedule", {"status": "active"}, {"status": "released"}),
        ("checkout.session", {"status": "open"}, {"status": "complete"}),
        ("credit_note", {"status": "issued"}, {"status": "void"}),
        ("quote", {"status": "draft"}, {"status": "open"}),
        ("invoice_payment", {"status": "open"}, {"status": "paid"}),
        ("customer", {"next_invoice_sequence": 1}, {"next_invoice_sequence": 2}),
    ],
)
def test_without_trails_the_state_further_along_wins(kind: str, earlier: Json, later: Json) -> None:
    both = [fact("evt_9", earlier, type_="a.happened"), fact("evt_1", later, type_="b.happened")]

    state = settled(both, kind=kind)

    assert state.winner.event_id == "evt_1"


def test_two_snapshots_that_differ_without_evidence_are_assumed_with_their_leaf() -> None:
    both = [fact("evt_1", {"name": "a", "url": "u1"}), fact("evt_2", {"name": "b", "url": "u2"})]

    state = settled(both)

    assert (state.mark, state.doubtful) == ("assumed", ("name",))


def test_signed_urls_never_put_a_second_in_doubt() -> None:
    both = [fact("evt_1", {"id": "in_1", "invoice_pdf": "u1"}),
            fact("evt_2", {"id": "in_1", "invoice_pdf": "u2"})]  # fmt: skip

    assert settled(both, kind="invoice").mark == "clear"


# --- random walks ---------------------------------------------------------------------------

NAMES = ("a", "b", "list", "hash", "maybe")
VALUES: Mapping[str, st.SearchStrategy[Any]] = {
    "a": st.integers(0, 2),
    "b": st.sampled_from([None, "x", "y", True, 1]),
    "list": st.lists(st.integers(0, 1), max_size=2),
    "hash": st.fixed_dictionaries({"p": st.integers(0, 1), "q": st.sampled_from([None, "z"])}),
    "maybe": st.none()
    | st.fixed_dictionaries({"behavior": st.sampled_from(["void", "keep"]), "at": st.just(None)}),
}


@st.composite
def walks(draw: st.DrawFn, *, max_steps: int = 7) -> tuple[Json, list[Fact]]:
    """Return an object's state and the facts of one second that follow, in the true order."""
    start = {name: draw(VALUES[name]) for name in NAMES}
    ids = draw(st.permutations([f"evt_{number}" for number in range(max_steps)]))
    state, steps = start, []
    for event_id in ids[: draw(st.integers(1, max_steps))]:
        changing = draw(st.sets(st.sampled_from(NAMES), min_size=1, max_size=3))
        following = {**state, **{name: draw(VALUES[name]) for name in changing}}
        previous = pre_image(state, following)
        steps.append(fact(event_id, following, previous or None))
        state = following
    return start, steps


def pre_image(old: Json, new: Json) -> Json:
    """Return `previous_attributes` as Stripe makes it: hashes member by member."""
    changed: Json = {}
    for name, before in old.items():
        after = new[name]
        if isinstance(before, dict) and isinstance(after, dict):
            if inner := pre_image(before, after):
                changed[name] = inner
        elif before != after or type(before) is not type(after):
            changed[name] = before
    return changed


@given(walk=walks(), seed=st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None)
def test_complete_facts_from_a_known_state_settle_on_the_true_last_one(
    walk: tuple[Json, list[Fact]], seed: random.Random
) -> None:
    start, steps = walk
    shuffled = seed.sample(steps, len(steps))

    state = settle(shuffled, at_rest(start))

    assert (state.winner.snapshot, state.mark) == (steps[-1].snapshot, "clear")


@given(walk=walks(), seed=st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_from_an_unknown_state_what_is_not_marked_as_assumed_is_true(
    walk: tuple[Json, list[Fact]], seed: random.Random
) -> None:
    _, steps = walk

    state = settle(seed.sample(steps, len(steps)))

    assert state.winner.snapshot == steps[-1].snapshot or state.mark == "assumed"


@st.composite
def growing(draw: st.DrawFn) -> tuple[Json, list[Fact]]:
    """Return a walk on which no attribute ever has the same value twice."""
    start: Json = {"a": 0, "b": "v0", "hash": {"p": 0, "q": 0}, "list": [0]}
    state, steps = start, []
    ids = draw(st.permutations([f"evt_{number}" for number in range(6)]))
    for number, event_id in enumerate(ids[: draw(st.integers(2, 6))], 1):
        fresh = {"a": number, "b": f"v{number}", "hash": {"p": number, "q": 0}, "list": [number]}
        changing = draw(st.sets(st.sampled_from(sorted(fresh)), min_size=1, max_size=3))
        following = {**state, **{name: fresh[name] for name in changing}}
        steps.append(fact(event_id, following, pre_image(state, following)))
        state = following
    return start, steps


@given(walk=growing(), lost=st.integers(0, 4), seed=st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_with_a_fact_missing_the_last_one_is_still_found(
    walk: tuple[Json, list[Fact]], lost: int, seed: random.Random
) -> None:
    start, steps = walk
    kept = [step for index, step in enumerate(steps) if index != lost or step is steps[-1]]

    state = settle(seed.sample(kept, len(kept)), at_rest(start))

    assert state.winner == steps[-1]


@given(walk=walks(), seed=st.randoms(use_true_random=False), known=st.booleans())
@settings(max_examples=60, deadline=None)
def test_any_permutation_gives_the_identical_result(
    walk: tuple[Json, list[Fact]], seed: random.Random, known: bool
) -> None:
    start, steps = walk
    before = at_rest(start) if known else None
    expected = settle(steps, before)

    for _ in range(5):
        assert settle(seed.sample(steps, len(steps)), before) == expected


@given(walk=walks(max_steps=4), seed=st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_an_object_created_in_this_very_second_needs_no_state_before(
    walk: tuple[Json, list[Fact]], seed: random.Random
) -> None:
    start, steps = walk
    facts_ = [fact("evt_made", start, type_="thing.created"), *steps]

    state = settle(seed.sample(facts_, len(facts_)))

    assert state.winner.snapshot == steps[-1].snapshot or state.mark == "assumed"


@settings(max_examples=500, deadline=None)
@given(
    steps=st.lists(
        st.tuples(st.integers(0, 4), st.integers(0, 4)).filter(lambda step: step[0] != step[1]),
        min_size=1, max_size=5,
    ),
    seen=st.sets(st.integers(0, 4)),
)  # fmt: skip
def test_where_the_start_is_unknown_the_best_of_all_starts_counts(
    steps: list[tuple[int, int]], seen: set[int]
) -> None:
    trail = Trail([*steps], {*seen})
    starts = {value for step in steps for value in step} | seen
    ends = [last_values(trail, start, start_unknown=False) for start in starts]
    fewest = min(end.missing for end in ends)

    found = last_values(trail, None, start_unknown=True)

    assert found.missing == fewest
    assert found.values == {value for end in ends if end.missing == fewest for value in end.values}
