"""What the business sees: customers and how they stand, their money, their stories."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from werkzeug.test import Client, TestResponse

from ledger.aggregates import FACTS
from ledger.application import Ledger
from ledger.bootstrap import Installation
from ledger.people import tokens
from ledger.projections.crm.sentences import sentence_for
from tests.conftest import empty_views, new_ledger
from tests.facts import (
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
    subscription,
)

DAY = 86_400
PAID = 10_000_000
Ask = Callable[..., TestResponse]
Tell = Callable[..., Json]


def token_for(ledger: Ledger, *scopes: str) -> str:
    with ledger.pool.connection() as connection:
        return tokens.create(connection, ledger.name, "test", list(scopes))[1]


def asking(client: Client, ledger: Ledger, *scopes: str) -> Ask:
    """Return a function that gets a path of `/v1` with a token of these scopes."""
    secret = token_for(ledger, *(scopes or ("personal",)))

    def ask(path: str, **parameters: Any) -> TestResponse:
        return client.get(
            f"/v1/{path}",
            query_string=parameters,
            headers={"Authorization": f"Bearer {secret}"},
        )

    return ask


def telling(ask: Ask) -> Tell:
    """Return a function that gets a path and returns its JSON; anything but 200 fails."""

    def tell(path: str, **parameters: Any) -> Json:
        answer = ask(path, **parameters)
        assert answer.status_code == 200, f"{path} {parameters}: {answer.text}"
        return dict(answer.json or {})

    return tell


def every(tell: Tell, path: str, *, limit: int = 100, **filters: Any) -> list[Json]:
    """Return all of a list, page by page; nothing in it may come twice."""
    found: list[Json] = []
    cursor: Json = {}
    while True:
        page = tell(path, limit=limit, **filters, **cursor)
        found += page["data"]
        if not page["has_more"]:
            assert len({one["id"] for one in found}) == len(found)
            return found
        cursor = {"starting_after": page["data"][-1]["id"]}


def problem_of(answer: TestResponse) -> tuple[int, str]:
    """Return status and code of an answer that has to be an RFC 9457 problem."""
    assert answer.content_type == "application/problem+json"
    problem = json.loads(answer.text)
    assert {"type", "title", "status", "code", "detail"} <= problem.keys()
    assert problem["status"] == answer.status_code
    return problem["status"], problem["code"]


@pytest.fixture
def ask(client: Client, ledger: Ledger) -> Ask:
    return asking(client, ledger)


@pytest.fixture
def tell(ask: Ask) -> Tell:
    return telling(ask)


def checkout(**changes: Any) -> Json:
    return {
        "id": "cs_test_andi", "object": "checkout.session", "customer": "cus_andi",
        "subscription": "sub_andi", "invoice": "in_andi", "mode": "subscription", "created": T0,
        "status": "complete", "payment_status": "paid", "amount_total": PAID, "currency": "idr",
        "customer_details": {"email": "andi@example.test", "name": "Andi Wijaya"}, **changes,
    }  # fmt: skip


def invoice_payment(id_: str = "inpay_andi", **changes: Any) -> Json:
    return {
        "id": id_, "object": "invoice_payment", "invoice": "in_andi", "status": "paid",
        "amount_paid": PAID, "currency": "idr", "created": T0, "livemode": False,
        "payment": {"type": "payment_intent", "payment_intent": "pi_andi"}, **changes,
    }  # fmt: skip


def andis_purchase() -> list[Json]:
    """Return what Stripe sends when somebody subscribes in Checkout and pays at once."""
    drafted = invoice()
    opened = {**drafted, "status": "open", "number": "A-1"}
    settled = {
        **opened, "status": "paid", "amount_paid": PAID, "amount_remaining": 0,
        "attempted": True, "attempt_count": 1,
    }  # fmt: skip
    return [
        event("customer.created", customer()),
        event("customer.subscription.created", subscription(status="incomplete")),
        event("invoice.created", drafted),
        event("invoice.finalized", opened),
        event("charge.succeeded", charge(), at=T0 + 1),
        event("payment_intent.succeeded", payment_intent(latest_charge="ch_andi"), at=T0 + 1),
        event("invoice.updated", settled, at=T0 + 1,
              previous={name: opened[name] for name in opened if opened[name] != settled[name]}),
        event("invoice.paid", settled, at=T0 + 1),
        event("invoice.payment_succeeded", settled, at=T0 + 1),
        event("invoice_payment.paid", invoice_payment(), at=T0 + 1),
        event("customer.subscription.updated", subscription(), at=T0 + 1,
              previous={"status": "incomplete"}),
        event("checkout.session.completed", checkout(), at=T0 + 2),
    ]  # fmt: skip


# --- who they are and how they stand ---------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_andi_who_subscribed_and_paid_is_an_active_customer_in_any_order(
    ledger: Ledger, tell: Tell, seed: int
) -> None:
    facts = andis_purchase()
    for fact in random.Random(seed).sample(facts, len(facts)) if seed else facts:
        record(ledger, fact)
        project(ledger)

    andi = tell("customers/cus_andi")

    known = {name: andi[name] for name in ("name", "email", "status", "country", "currency")}
    assert known == {
        "name": "Andi Wijaya", "email": "andi@example.test", "status": "active",
        "country": "ID", "currency": "idr",
    }  # fmt: skip
    (subscribed,) = andi["subscriptions"]
    (item,) = subscribed["items"]
    assert (item["price"], item["unit_amount"], item["interval"]) == (
        "price_monthly", PAID, "month",
    )  # fmt: skip
    assert item["current_period_end"] == subscribed["current_period_end"] == T0 + 31 * DAY
    (billed,) = tell("invoices", customer="cus_andi")["data"]
    assert (billed["status"], billed["amount_paid"], billed["number"]) == ("paid", PAID, "A-1")
    (paid,) = tell("payments", invoice="in_andi")["data"]
    assert (paid["id"], paid["status"], paid["last4"]) == ("pi_andi", "succeeded", "4242")


def test_a_customer_of_whom_only_a_subscription_was_ever_told_is_there(
    ledger: Ledger, tell: Tell
) -> None:
    told = {
        "customer.subscription.updated": "active",
        "customer.subscription.deleted": "canceled",
        "customer.subscription.trial_will_end": "trialing",
    }
    for n, (type_, status) in enumerate(told.items()):
        changed = subscription(f"sub_{n}", of=f"cus_{n}", status=status)
        record(ledger, event(type_, changed, at=T0 + n))
    project(ledger)

    known = [(one["id"], one["status"], one["created"]) for one in tell("customers")["data"]]

    assert known == [
        ("cus_2", "trialing", T0 + 2),
        ("cus_1", "inactive", T0 + 1),
        ("cus_0", "active", T0),
    ]


@pytest.mark.parametrize(
    ("type_", "obj"),
    [
        ("checkout.session.completed", checkout()),
        ("invoice.finalized", invoice()),
        ("charge.succeeded", charge()),
    ],
)
def test_who_a_customer_is_may_be_known_before_stripe_tells_of_them(
    ledger: Ledger, tell: Tell, type_: str, obj: Json
) -> None:
    record(ledger, event(type_, obj))
    project(ledger)

    (found,) = tell("customers", email="andi@example.test")["data"]

    assert (found["id"], found["name"], found["status"]) == ("cus_andi", "Andi Wijaya", "lead")


PAUSED = {"status": "active", "pause_collection": {"behavior": "void", "resumes_at": None}}
# From the best to the worst: (what a subscription is, what that makes of its customer).
LADDER: list[tuple[Json, str]] = [
    ({"status": "active"}, "active"),
    ({"status": "trialing"}, "trialing"),
    ({"status": "past_due"}, "past_due"),
    ({"status": "paused"}, "paused"),
    ({"status": "incomplete"}, "pending"),
    ({"status": "canceled"}, "inactive"),
    ({"status": "incomplete_expired"}, "expired"),
]
STANDINGS: list[tuple[str, list[Json]]] = [
    ("lead", []),
    *((said, [subscribed]) for subscribed, said in LADDER),
    *((said, [worse, better]) for (better, said), (worse, _) in itertools.combinations(LADDER, 2)),
    ("active", [changes for changes, _ in LADDER]),
    ("paused", [PAUSED]),
    ("paused", [{**PAUSED, "status": "past_due"}]),
    ("paused", [PAUSED, {"status": "incomplete"}]),
    ("past_due", [PAUSED, {"status": "past_due"}]),
    ("active", [PAUSED, {"status": "active"}]),
    ("inactive", [{"status": "unpaid"}]),
    ("inactive", [{**PAUSED, "status": "canceled"}]),
    ("inactive", [{"status": "a_future_status"}]),
]


def test_the_best_of_several_subscriptions_says_how_a_customer_stands(
    ledger: Ledger, tell: Tell
) -> None:
    for number, (_, subscribed) in enumerate(STANDINGS):
        who = f"cus_{number}"
        record(ledger, event("customer.created", customer(who)))
        for n, changes in enumerate(subscribed):
            told = subscription(f"sub_{number}x{n}", of=who, **changes)
            record(ledger, event("customer.subscription.updated", told))
    project(ledger)

    found = {one["id"]: one["status"] for one in every(tell, "customers")}

    assert found == {f"cus_{number}": said for number, (said, _) in enumerate(STANDINGS)}


def test_customers_are_filtered_by_how_they_stand(ledger: Ledger, tell: Tell) -> None:
    record(
        ledger,
        event("customer.created", customer("cus_lead")),
        event("customer.updated", customer("cus_late", delinquent=True)),
        event("customer.subscription.updated", subscription(of="cus_late", status="past_due")),
    )
    project(ledger)

    def ids(**filters: Any) -> list[str]:
        return [one["id"] for one in tell("customers", **filters)["data"]]

    assert ids(status="past_due") == ids(delinquent="true") == ["cus_late"]
    assert ids(status="lead") == ids(delinquent="false") == ["cus_lead"]


def test_a_deleted_customer_stays_and_says_so(ledger: Ledger, tell: Tell) -> None:
    record(
        ledger,
        event("customer.created", customer()),
        event("customer.deleted", customer(), at=T0 + 1),
    )
    project(ledger)

    assert tell("customers/cus_andi")["deleted"] is True


def test_a_fact_that_comes_late_does_not_overwrite_a_newer_one(ledger: Ledger, tell: Tell) -> None:
    new, old = T0 + 100, T0 + 50
    later = [
        event("customer.updated", customer(email="new@example.test", delinquent=True), at=new),
        event("customer.subscription.updated", subscription(status="past_due"), at=new),
        event("invoice.paid", invoice(status="paid", amount_paid=PAID), at=new),
        event("payment_intent.succeeded", payment_intent(), at=new),
    ]
    earlier = [
        event("customer.updated", customer(email="old@example.test"), at=old),
        event("customer.subscription.updated", subscription(), at=old),
        event("invoice.finalized", invoice(status="open"), at=old),
        event("payment_intent.created", payment_intent(status="processing", amount_received=0),
              at=old),
    ]  # fmt: skip
    for fact in [*later, *earlier]:
        record(ledger, fact)
        project(ledger)

    andi = tell("customers/cus_andi")

    assert (andi["email"], andi["delinquent"], andi["status"]) == (
        "new@example.test", True, "past_due",
    )  # fmt: skip
    assert tell("invoices/in_andi")["status"] == "paid"
    assert [one["status"] for one in tell("payments")["data"]] == ["succeeded"]
    assert tell("customers", email="old@example.test")["data"] == []


SEARCHES: list[tuple[Json, list[str]]] = [
    ({"email": "andi@example.test"}, ["cus_andi"]),
    ({"email": " ANDI@Example.test"}, ["cus_andi"]),
    ({"query": "wijaya"}, ["cus_andi"]),
    ({"query": "José"}, ["cus_jose"]),
    ({"query": "jose"}, ["cus_jose"]),
    ({"query": "@example.test"}, ["cus_jose", "cus_andi"]),
    ({"query": "jose@example.test"}, ["cus_jose"]),
    ({"query": "wij"}, []),
]


def test_customers_are_found_by_mail_domain_and_whole_words(ledger: Ledger, tell: Tell) -> None:
    jose = customer("cus_jose", name="José Núñez", email="jose@example.test", created=T0 + 1)
    record(ledger, event("customer.created", customer()), event("customer.created", jose))
    project(ledger)

    found = [[one["id"] for one in tell("customers", **asked)["data"]] for asked, _ in SEARCHES]

    assert found == [ids for _, ids in SEARCHES]


@pytest.mark.parametrize("asked", ["andi wijaya", "...", " "])
def test_a_search_for_anything_but_one_word_is_refused(ask: Ask, asked: str) -> None:
    assert problem_of(ask("customers", query=asked))[0] == 400


# --- payments ---------------------------------------------------------------------------------

DECLINED = {"type": "issuer_declined", "reason": "insufficient_funds", "advice_code": "try_again"}


def long_id(number: int, tail: str = "Ab") -> str:
    """Return an invoice id of 27 characters, as Stripe's are."""
    return f"in_{number:022d}{tail}"


def failed_charge(n: int, **changes: Any) -> Json:
    return event(
        "charge.failed",
        charge(
            f"ch_{n}", of=f"cus_{n}", status="failed", failure_code="card_declined",
            outcome=DECLINED, captured=False, amount_captured=0,
            **{"payment_intent": None, **changes},
        ),
    )  # fmt: skip


def failed_intent(n: int, **changes: Any) -> Json:
    error = {"code": "card_declined", "decline_code": "insufficient_funds"}
    told = payment_intent(
        f"pi_{n}", of=f"cus_{n}", status="requires_payment_method", amount_received=0,
        last_payment_error=error, **changes,
    )  # fmt: skip
    return event("payment_intent.payment_failed", told)


def failed_invoice(n: int, tail: str = "Ab", **changes: Any) -> Json:
    told = invoice(long_id(n, tail), of=f"cus_{n}", status="open", attempt_count=1, **changes)
    return event("invoice.payment_failed", told)


def cut(n: int) -> Json:
    return {"order_reference": long_id(n)[:25]}


# What ties a failure to its invoice → the facts of one customer, by number.
JOINS: dict[str, Callable[[int], list[Json]]] = {
    "the invoice names the charge": lambda n: [failed_invoice(n, charge=f"ch_{n}"),
                                               failed_charge(n)],
    "the charge names the invoice": lambda n: [failed_invoice(n),
                                               failed_charge(n, invoice=long_id(n))],
    "the intent names the invoice": lambda n: [failed_invoice(n),
                                               failed_intent(n, invoice=long_id(n))],
    "the invoice names the intent": lambda n: [failed_invoice(n, payment_intent=f"pi_{n}"),
                                               failed_charge(n, payment_intent=f"pi_{n}"),
                                               failed_intent(n)],
    "an invoice payment names both": lambda n: [
        failed_invoice(n), failed_intent(n),
        event("invoice_payment.paid", invoice_payment(
            f"inpay_{n}", invoice=long_id(n),
            payment={"type": "payment_intent", "payment_intent": f"pi_{n}"})),
    ],
    "an invoice payment names a charge": lambda n: [
        failed_invoice(n), failed_charge(n),
        event("invoice_payment.paid", invoice_payment(
            f"inpay_{n}", invoice=long_id(n), payment={"type": "charge", "charge": f"ch_{n}"})),
    ],
    "the invoice expands its payments": lambda n: [
        failed_intent(n),
        failed_invoice(n, payments={"object": "list", "data": [
            invoice_payment(f"inpay_{n}", invoice=long_id(n), status="open", payment={
                "type": "payment_intent", "payment_intent": f"pi_{n}"})]}),
    ],
    "a reference cut to 25": lambda n: [failed_invoice(n),
                                        failed_intent(n, payment_details=cut(n)),
                                        failed_charge(n, payment_intent=f"pi_{n}")],
    "a whole reference": lambda n: [
        failed_invoice(n), failed_intent(n, payment_details={"order_reference": long_id(n)}),
    ],
}  # fmt: skip
NO_JOINS: dict[str, Callable[[int], list[Json]]] = {
    "nothing names anything": lambda n: [failed_invoice(n), failed_intent(n), failed_charge(n + 1)],
    "two invoices begin alike": lambda n: [failed_invoice(n), failed_invoice(n, "Cd"),
                                           failed_intent(n, payment_details=cut(n))],
    "the amount differs": lambda n: [failed_invoice(n, amount_due=5, total=5),
                                     failed_intent(n, payment_details=cut(n))],
    "the customer differs": lambda n: [failed_invoice(n),
                                       failed_intent(n + 1, payment_details=cut(n))],
    "the order is no invoice": lambda n: [
        failed_invoice(n), failed_intent(n, payment_details={"order_reference": "order 17"}),
    ],
}  # fmt: skip


def in_every_order(ledger: Ledger, story: Callable[[int], list[Json]]) -> int:
    """Let a story arrive in each possible order, projecting after each fact; return in how many.

    Each order is the story of a customer of its own, and these go side by side.
    """
    orders = list(itertools.permutations(range(len(story(0)))))
    stories = [story(number * 10) for number in range(len(orders))]
    for step in range(len(orders[0])):
        record(ledger, *(facts[order[step]] for facts, order in zip(stories, orders, strict=True)))
        project(ledger)
    return len(orders)


@pytest.mark.parametrize("tie", JOINS)
def test_a_failure_is_joined_to_its_invoice_in_any_order(
    ledger: Ledger, tell: Tell, tie: str
) -> None:
    orders = in_every_order(ledger, JOINS[tie])

    payments, invoices = every(tell, "payments"), every(tell, "invoices")

    assert len(payments) == len(invoices) == orders
    by_reference = "reference" in tie
    found_by = {"order_reference" if by_reference else "link"}
    assert {payment["invoice_found_by"] for payment in payments} == found_by
    assert {payment["invoice"] for payment in payments} == {one["id"] for one in invoices}
    for one in invoices:
        failure = one["last_failure"]
        assert failure["payment"].split("_")[1] == one["customer"].split("_")[1]
        assert (failure["decline_code"], failure["failed_at"]) == ("insufficient_funds", T0)


@pytest.mark.parametrize("why", NO_JOINS)
def test_a_failure_that_may_be_of_another_invoice_is_joined_to_none(
    ledger: Ledger, tell: Tell, why: str
) -> None:
    in_every_order(ledger, NO_JOINS[why])

    payments, invoices = every(tell, "payments"), every(tell, "invoices")

    assert {(one["invoice"], one["invoice_found_by"]) for one in payments} == {(None, "unknown")}
    assert {one["decline_code"] for one in payments} == {"insufficient_funds"}
    assert {json.dumps(one["last_failure"]) for one in invoices} == {"null"}


def test_of_two_invoices_that_begin_alike_the_amount_tells_which(
    ledger: Ledger, tell: Tell
) -> None:
    def story(n: int) -> list[Json]:
        other = failed_invoice(n, "Cd", amount_due=5, total=5)
        return [failed_invoice(n), other, failed_intent(n, payment_details=cut(n))]

    in_every_order(ledger, story)

    payments = every(tell, "payments")

    assert {one["invoice_found_by"] for one in payments} == {"order_reference"}
    assert {one["invoice"][-2:] for one in payments} == {"Ab"}


def test_a_retry_that_succeeds_keeps_what_failed_before_in_any_order(
    ledger: Ledger, tell: Tell
) -> None:
    def story(n: int) -> list[Json]:
        mine: Json = {"of": f"cus_{n}", "created": T0}
        again = charge(f"ch_{n}b", payment_intent=f"pi_{n}", **mine)
        done = payment_intent(f"pi_{n}", invoice=long_id(n), latest_charge=f"ch_{n}b", **mine)
        return [
            failed_charge(n, payment_intent=f"pi_{n}"),
            failed_intent(n, invoice=long_id(n)),
            event("charge.succeeded", again, at=T0 + DAY),
            event("payment_intent.succeeded", done, at=T0 + DAY),
        ]

    orders = in_every_order(ledger, story)

    payments = every(tell, "payments")

    assert len(payments) == orders
    for paid in payments:
        assert (paid["status"], paid["attempt"], paid["amount_received"]) == ("succeeded", 2, PAID)
        assert (paid["decline_code"], paid["failed_at"]) == ("insufficient_funds", T0)


def test_money_told_of_by_five_events_is_counted_once_in_any_order(
    ledger: Ledger, tell: Tell
) -> None:
    def story(n: int) -> list[Json]:
        mine = {"of": f"cus_{n}"}
        paid = invoice(f"in_{n}", status="paid", amount_paid=PAID, parent=None, **mine)
        tie = {"type": "payment_intent", "payment_intent": f"pi_{n}"}
        through = invoice_payment(f"inpay_{n}", invoice=f"in_{n}", payment=tie)
        return [
            event("invoice.paid", paid),
            event("invoice.payment_succeeded", paid),
            event("invoice_payment.paid", through),
            event("charge.succeeded", charge(f"ch_{n}", payment_intent=f"pi_{n}", **mine)),
            event("payment_intent.succeeded", payment_intent(f"pi_{n}", **mine)),
        ]

    orders = in_every_order(ledger, story)

    payments = every(tell, "payments")

    assert len(payments) == orders
    assert {one["id"].split("_")[0] for one in payments} == {"pi"}
    assert {one["amount_received"] for one in payments} == {PAID}
    assert {one["invoice"] for one in payments} == {f"in_{n * 10}" for n in range(orders)}


def test_a_charge_that_learns_of_its_intent_later_is_still_one_payment(
    ledger: Ledger, tell: Tell
) -> None:
    record(ledger, event("charge.pending", charge(payment_intent=None, status="pending")))
    project(ledger)
    record(ledger, event("charge.succeeded", charge(), at=T0 + 1))
    project(ledger)

    assert [one["id"] for one in every(tell, "payments")] == ["pi_andi"]


def test_a_charge_without_an_intent_is_a_payment_of_its_own(ledger: Ledger, tell: Tell) -> None:
    record(
        ledger,
        event("charge.succeeded", charge("ch_old", payment_intent=None)),
        event("charge.succeeded", charge("py_bank", payment_intent=None, of=None)),
    )
    project(ledger)

    assert {one["id"]: one["customer"] for one in every(tell, "payments")} == {
        "ch_old": "cus_andi", "py_bank": None,
    }  # fmt: skip


def test_a_payment_that_found_its_customer_by_its_invoice_keeps_them(
    ledger: Ledger, tell: Tell
) -> None:
    record(
        ledger,
        event("charge.succeeded", charge(of=None, payment_intent=None, invoice="in_andi")),
        event("invoice.paid", invoice(status="paid", charge="ch_andi")),
    )
    project(ledger)
    record(ledger, event("invoice.updated", invoice(status="paid", charge="ch_andi"), at=T0 + 9))
    project(ledger)

    (paid,) = every(tell, "payments")

    assert (paid["customer"], paid["invoice"]) == ("cus_andi", "in_andi")


def test_a_refund_is_the_charges_cumulative_amount(ledger: Ledger, tell: Tell) -> None:
    for at, amount in enumerate((3_000_000, 5_000_000)):
        told = charge(amount_refunded=amount, refunded=False)
        record(ledger, event("charge.refunded", told, at=T0 + at))
    project(ledger)

    (paid,) = every(tell, "payments")

    assert (paid["amount_received"], paid["amount_refunded"]) == (PAID, 5_000_000)


@pytest.mark.parametrize(
    ("captured", "refunded", "given_back"),
    [
        (0, PAID, 0),  # an authorization that expired
        (7_000_000, 3_000_000, 0),  # the rest of a partial capture
        (7_000_000, 5_000_000, 2_000_000),
        (PAID, PAID, PAID),
    ],
)
def test_what_was_authorized_and_never_taken_is_not_given_back(
    ledger: Ledger, tell: Tell, captured: int, refunded: int, given_back: int
) -> None:
    told = charge(amount_captured=captured, captured=captured > 0, amount_refunded=refunded)
    record(ledger, event("charge.updated", told))
    project(ledger)

    (paid,) = every(tell, "payments")

    assert (paid["amount_received"], paid["amount_refunded"]) == (captured, given_back)


def test_a_refund_and_a_dispute_count_without_any_news_of_the_charge_in_any_order(
    ledger: Ledger, tell: Tell
) -> None:
    def story(n: int) -> list[Json]:
        return [
            event("charge.succeeded", charge(f"ch_{n}", payment_intent=f"pi_{n}")),
            dispute(n, f"ch_{n}"),
            refund(n, f"ch_{n}"),
            event("refund.failed", {**refund(f"{n}x", f"ch_{n}")["data"]["object"],
                                    "status": "failed", "amount": 1}, at=T0 + 3 * DAY),
        ]  # fmt: skip

    in_every_order(ledger, story)

    paid = every(tell, "payments")
    assert len(paid) == 24
    assert {(one["disputed"], one["amount_refunded"]) for one in paid} == {(True, 5_000_000)}


def test_a_refund_that_failed_after_its_charge_counted_it_counts_no_more(
    ledger: Ledger, tell: Tell
) -> None:
    record(
        ledger,
        event("charge.refunded", charge(amount_refunded=5_000_000)),
        refund("x", "ch_andi"),
        event("refund.failed", {**refund("x", "ch_andi")["data"]["object"], "status": "failed"},
              at=T0 + 3 * DAY),
    )  # fmt: skip
    project(ledger)

    assert every(tell, "payments")[0]["amount_refunded"] == 0


def test_what_went_back_is_unknown_where_neither_charge_nor_refund_was_told_of(
    ledger: Ledger, tell: Tell
) -> None:
    record(ledger, event("payment_intent.succeeded", payment_intent()))
    project(ledger)

    assert every(tell, "payments")[0]["amount_refunded"] is None


def test_each_failure_of_an_intent_is_an_attempt_though_no_charge_was_told_of(
    ledger: Ledger, tell: Tell
) -> None:
    failing = payment_intent(status="requires_payment_method", amount_received=0)
    record(
        ledger,
        *(event("payment_intent.payment_failed", failing, at=T0 + n * DAY) for n in range(3)),
    )
    project(ledger)
    assert every(tell, "payments")[0]["attempt"] == 3

    record(ledger, event("payment_intent.succeeded", payment_intent(), at=T0 + 3 * DAY))
    project(ledger)
    assert every(tell, "payments")[0]["attempt"] == 4


def test_a_charge_of_2014_without_a_status_is_not_unknown(ledger: Ledger, tell: Tell) -> None:
    for id_, paid in (("ch_good", True), ("ch_bad", False)):
        old = charge(id_, payment_intent=None, paid=paid)
        del old["status"], old["amount_captured"]
        record(ledger, event("charge.updated", old))
    project(ledger)

    assert {(one["id"], one["status"]) for one in every(tell, "payments")} == {
        ("ch_good", "succeeded"), ("ch_bad", "failed"),
    }  # fmt: skip


@pytest.mark.parametrize("batch_events", [1, 1000])
def test_a_change_that_was_never_told_of_is_a_gap_however_events_are_batched(
    ledger: Ledger, batch_events: int
) -> None:
    told = [
        event("customer.subscription.created", subscription(status="trialing")),
        event(
            "customer.subscription.updated", subscription(quantity=3),
            previous={"quantity": 2}, at=T0 + DAY,
        ),
        event("customer.created", customer()),
        event("customer.updated", customer(delinquent=True), previous={"delinquent": False},
              at=T0 + DAY),
    ]  # fmt: skip
    record(ledger, *reversed(told))
    project(ledger, batch_events)

    with ledger.pool.connection() as connection:
        marks = connection.execute(
            "SELECT object_id, mark FROM objects JOIN facts USING (object_id, position) ORDER BY 1"
        ).fetchall()
    assert marks == [("cus_andi", "clear"), ("sub_andi", "gap")]


@pytest.mark.parametrize("batch_events", [1, 1000])
def test_a_tie_is_settled_again_when_what_follows_decides_it(
    ledger: Ledger, batch_events: int
) -> None:
    pause = {"behavior": "void", "resumes_at": None}
    paused = event(
        "customer.subscription.updated", subscription(pause_collection=pause),
        previous={"pause_collection": None},
    )  # fmt: skip
    resumed = event(
        "customer.subscription.updated", subscription(), previous={"pause_collection": pause}
    )
    next_second = event(
        "customer.subscription.updated", subscription(pause_collection=pause, status="past_due"),
        previous={"status": "active"}, at=T0 + 1,
    )  # fmt: skip
    record(ledger, paused, resumed, next_second)
    project(ledger, batch_events)

    with ledger.pool.connection() as connection:
        rows = connection.execute("SELECT position, mark FROM facts ORDER BY 1").fetchall()
    assert rows == [(1, "clear"), (2, "overtaken"), (3, "clear")]


def test_a_customer_whose_pause_is_only_assumed_is_provisional(ledger: Ledger, tell: Tell) -> None:
    pause = {"behavior": "void", "resumes_at": None}
    record(
        ledger,
        event(
            "customer.subscription.updated", subscription(pause_collection=pause),
            previous={"pause_collection": None},
        ),
        event(
            "customer.subscription.updated", subscription(), previous={"pause_collection": pause}
        ),
    )  # fmt: skip
    project(ledger)

    assert "subscriptions.status" in tell("customers/cus_andi")["provisional"]


def test_whoever_an_object_no_longer_belongs_to_is_derived_again(
    ledger: Ledger, tell: Tell
) -> None:
    guest = charge(of=None, payment_intent="pi_z", payment_method="pm_z")
    told = [
        event("charge.succeeded", guest),
        event("payment_method.attached", {"id": "pm_z", "object": "payment_method",
                                          "customer": "cus_zoe", "created": T0}, at=T0 + DAY),
        event("payment_intent.succeeded", payment_intent("pi_z", of="cus_andi"), at=T0 + DAY),
    ]  # fmt: skip
    for batch in (told[:2], told[2:]):
        record(ledger, *batch)
        project(ledger)
    live = every(tell, "customers")
    empty_views(ledger)
    project(ledger)

    assert every(tell, "customers") == live


# --- stories ----------------------------------------------------------------------------------


def dispute(n: int | str, charge_id: str) -> Json:
    told = {
        "id": f"dp_{n}", "object": "dispute", "charge": charge_id, "amount": PAID, "created": T0,
        "currency": "idr", "status": "needs_response", "reason": "fraudulent",
    }  # fmt: skip
    return event("charge.dispute.created", told, at=T0 + DAY)


def refund(n: int | str, charge_id: str) -> Json:
    told = {
        "id": f"re_{n}", "object": "refund", "charge": charge_id, "amount": 5_000_000,
        "currency": "idr", "status": "succeeded", "created": T0,
    }  # fmt: skip
    return event("refund.created", told, at=T0 + 2 * DAY)


@pytest.mark.parametrize("names_customer", ["the charge", "its intent"])
def test_a_dispute_and_a_refund_that_name_a_charge_find_its_customer_in_any_order(
    ledger: Ledger, tell: Tell, names_customer: str
) -> None:
    def story(n: int) -> list[Json]:
        own = f"cus_{n}" if names_customer == "the charge" else None
        return [
            event("charge.succeeded", charge(f"ch_{n}", of=own, payment_intent=f"pi_{n}")),
            event("payment_intent.succeeded", payment_intent(f"pi_{n}", of=f"cus_{n}")),
            dispute(n, f"ch_{n}"),
            refund(n, f"ch_{n}"),
        ]

    orders = in_every_order(ledger, story)

    for n in range(orders):
        lines = every(tell, f"customers/cus_{n * 10}/timeline")
        assert [line["type"] for line in lines][:2] == ["refund.created", "charge.dispute.created"]
        assert len(lines) == 4
        ours = tell("events", customer=f"cus_{n * 10}", type="charge.dispute.created")["data"]
        assert [one["object_id"] for one in ours] == [f"dp_{n * 10}"]


def test_a_customer_never_told_of_is_as_old_as_their_story(ledger: Ledger, tell: Tell) -> None:
    told = charge(amount_refunded=5_000_000)
    record(ledger, event("charge.refunded", told, at=T0 + 3 * DAY), refund("x", "ch_andi"))
    project(ledger)
    earlier = {**refund("x", "ch_andi"), "id": "evt_late", "type": "refund.updated", "created": T0}
    record(ledger, earlier)
    project(ledger)

    lines = every(tell, "customers/cus_andi/timeline")

    assert tell("customers/cus_andi")["created"] == min(line["created"] for line in lines) == T0


def test_a_guests_dispute_is_in_nobodys_story(ledger: Ledger, tell: Tell) -> None:
    record(
        ledger,
        event("customer.created", customer()),
        event("charge.succeeded", charge(of=None, payment_intent=None)),
        dispute("guest", "ch_andi"),
    )
    project(ledger)

    lines = every(tell, "customers/cus_andi/timeline")

    assert [line["type"] for line in lines] == ["customer.created"]


NEXT_TRY = T0 + 3 * DAY
TOLD: list[tuple[str, Json, Json | None, str]] = [
    ("customer.created", customer(), None, "Became a customer."),
    ("customer.subscription.created", subscription(), None,
     "Subscribed to Bulanan (100,000.00 IDR per month): active."),
    ("customer.subscription.trial_will_end", subscription(trial_end=NEXT_TRY), None,
     "Trial ends on 04 Jan 2026."),
    ("invoice.finalized", invoice(status="open", number="A-1"), None,
     "Invoice A-1 for 100,000.00 IDR was issued."),
    ("charge.failed",
     charge(status="failed", failure_code="card_declined", outcome=DECLINED), None,
     "Payment of 100,000.00 IDR with Visa …4242 failed (insufficient funds)."),
    ("invoice.payment_failed",
     invoice(number="A-1", attempt_count=2, next_payment_attempt=NEXT_TRY), None,
     "Payment of 100,000.00 IDR for invoice A-1 failed, attempt 2; Stripe tries again on 04 Jan"
     " 2026."),
    ("invoice.payment_failed", invoice(number="A-1", attempt_count=3), None,
     "Payment of 100,000.00 IDR for invoice A-1 failed, attempt 3; Stripe will not try again by"
     " itself."),
    ("customer.updated", customer(delinquent=True), {"delinquent": False},
     "Behind with payments: Stripe marked the customer delinquent."),
    ("customer.updated", customer(), {"delinquent": True}, "No longer behind with payments."),
    ("customer.subscription.updated", subscription(status="past_due"), {"status": "active"},
     "Subscription went from active to past_due."),
    ("customer.subscription.updated", subscription(cancel_at_period_end=True),
     {"cancel_at_period_end": False}, "Subscription will end on 01 Feb 2026."),
    ("customer.subscription.updated", subscription(), {"cancel_at_period_end": True},
     "Subscription will go on: its cancellation was withdrawn."),
    ("customer.subscription.updated",
     subscription(pause_collection={"behavior": "void", "resumes_at": None}),
     {"pause_collection": None}, "Subscription stopped collecting."),
    ("charge.refunded", charge(amount_refunded=5_000_000), None,
     "50,000.00 IDR refunded in all on this payment."),
    ("customer.subscription.deleted",
     subscription(status="canceled",
                  cancellation_details={"reason": "payment_failed", "feedback": None}), None,
     "Subscription ended: payment failed."),
    ("galaxy.collided", {"id": "gx_1", "object": "galaxy", "customer": "cus_andi"}, None,
     "Stripe reported galaxy.collided."),
]  # fmt: skip


def test_a_story_is_told_in_sentences_from_the_newest_on(ledger: Ledger, tell: Tell) -> None:
    for at, (type_, obj, previous, _) in enumerate(TOLD):
        record(ledger, event(type_, obj, at=T0 + at, previous=previous))
    project(ledger)

    lines = every(tell, "customers/cus_andi/timeline", limit=4)

    assert [line["sentence"] for line in reversed(lines)] == [told for *_, told in TOLD]
    assert [line["created"] for line in reversed(lines)] == [T0 + at for at in range(len(TOLD))]
    first = tell(lines[-1]["event"]["url"].removeprefix("/v1/"))
    assert first["stripe_event_id"] == lines[-1]["event"]["stripe_event_id"]
    assert first["stripe_type"] == "customer.created"


def test_a_change_of_price_is_told_with_both_prices(ledger: Ledger, tell: Tell) -> None:
    before = subscription()
    after = subscription()
    after["items"]["data"][0]["price"] = price(
        "price_yearly", unit_amount=90_000_000, nickname=None
    )
    after["items"]["data"][0]["price"]["recurring"]["interval"] = "year"
    changed = event("customer.subscription.updated", after, previous={"items": before["items"]})
    record(ledger, changed)
    project(ledger)

    (line,) = every(tell, "customers/cus_andi/timeline")

    assert line["sentence"] == (
        "Subscription changed from Bulanan (100,000.00 IDR per month) "
        "to price_yearly (900,000.00 IDR per year)."
    )


@pytest.mark.parametrize("obj", [{}, {"object": "galaxy", "customer": 3, "amount": "x"}])
def test_every_event_has_a_sentence_even_if_its_object_is_odd(obj: Json) -> None:
    for fact in FACTS:
        told = sentence_for(fact.TOPIC, event(fact.stripe_type or "a.future_type", obj))

        assert told.endswith(".")
        assert "`" not in told


# --- odd facts --------------------------------------------------------------------------------

FAR = 10**12  # the year 33658
ODD_FACTS: dict[str, Json] = {
    "a number beyond bigint": event("invoice.created", invoice("in_odd", created=10**30)),
    "an amount beyond bigint": event("charge.succeeded", charge("ch_odd", amount=10**40)),
    "a float beyond any integer": event("invoice.created", invoice("in_odd", total=1e300)),
    "a customer made in the far future": event(
        "customer.created", customer("cus_odd", created=10**17)
    ),
    "a charge made in the far future": event("charge.succeeded", charge("ch_odd", created=FAR)),
    "a charge made before the Romans": event("charge.failed", charge("ch_odd", created=-FAR)),
    "a discount beyond all measure": event(
        "coupon.created", {"id": "HALF", "object": "coupon", "percent_off": 10**400}
    ),
    "a very long id": event(
        "charge.dispute.created",
        {"id": "dp_odd", "object": "dispute",
         "charge": "ch_" + "".join(random.Random(1).choices("0123456789abcdefghijkl", k=9_000))},
    ),
    "a trial that never ends": event(
        "customer.subscription.trial_will_end", subscription(trial_end=FAR)
    ),
    "a retry in no calendar": event("invoice.payment_failed", invoice(next_payment_attempt=FAR)),
    "leaves of other kinds": event(
        "customer.subscription.updated",
        subscription(status=3, items="none", current_period_end="soon", discounts={}),
        previous={"items": [], "status": {}, "plan": 3, "cancel_at_period_end": "x"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("odd", ODD_FACTS)
def test_an_odd_fact_neither_stops_the_views_nor_spoils_a_story(
    ledger: Ledger, tell: Tell, odd: str
) -> None:
    record(ledger, event("customer.created", customer()), ODD_FACTS[odd])
    record(ledger, event("customer.subscription.created", subscription("sub_next"), at=T0 + DAY))
    project(ledger)

    assert tell("status")["lag_events"] == 0
    assert tell("customers/cus_andi")["status"] == "active"
    assert every(tell, "customers/cus_andi/timeline")
    for path in LISTS:
        every(tell, path)


# --- lists ------------------------------------------------------------------------------------

LISTS = ("customers", "subscriptions", "invoices", "payments", "events")
SEVEN = range(7)
THINGS = ("customers/{}", "customers/{}/timeline", "subscriptions/{}", "invoices/{}")
PREFIXES = {"customers": "cus", "subscriptions": "sub", "invoices": "in", "payments": "ch"}
PLACES = {"cus_1": 1, "cus_2": 2}


@pytest.fixture
def seven(ledger: Ledger) -> Ledger:
    """A ledger with seven of each thing; two of each come from one second."""
    for n in SEVEN:
        who, at = f"cus_{n}", T0 + n // 2
        record(
            ledger,
            event("customer.created", customer(who, created=at)),
            event("customer.subscription.created", subscription(f"sub_{n}", of=who, created=at)),
            event("invoice.created", invoice(f"in_{n}", of=who, created=at)),
            event("charge.succeeded", charge(f"ch_{n}", of=who, created=at, payment_intent=None)),
        )
    project(ledger)
    return ledger


def test_a_list_is_read_page_by_page_in_both_directions(seven: Ledger, tell: Tell) -> None:
    whole = [str(n) for n in reversed(SEVEN)]
    for path, prefix in PREFIXES.items():

        def page(path: str = path, **asked: Any) -> tuple[list[str], bool]:
            told = tell(path, **{"limit": 3, **asked})
            assert (told["object"], told["url"]) == ("list", f"/v1/{path}")
            return [one["id"].rpartition("_")[2] for one in told["data"]], told["has_more"]

        assert page(limit=100) == (whole, False)
        assert page() == (whole[:3], True)
        assert page(starting_after=f"{prefix}_4") == (whole[3:6], True)
        assert page(starting_after=f"{prefix}_0") == ([], False)
        assert page(ending_before=f"{prefix}_2") == (whole[1:4], True)
        assert page(ending_before=f"{prefix}_4") == (whole[:2], False)
        assert page(ending_before=f"{prefix}_6") == ([], False)


def test_a_page_that_just_fits_has_no_more(seven: Ledger, tell: Tell) -> None:
    pages = [tell("invoices", limit=limit) for limit in (6, 7, 8)]

    assert [len(page["data"]) for page in pages] == [6, 7, 7]
    assert [page["has_more"] for page in pages] == [True, False, False]


def test_without_a_limit_a_page_has_ten(ledger: Ledger, tell: Tell) -> None:
    for n in range(11):
        record(ledger, event("customer.created", customer(f"cus_{n}")))
    project(ledger)

    page = tell("customers")

    assert (len(page["data"]), page["has_more"]) == (10, True)


def test_events_are_paged_by_position(seven: Ledger, client: Client) -> None:
    tell = telling(asking(client, seven, "read"))  # who reads what is personal adds to the log

    def positions(**cursors: Any) -> list[int]:
        return [one["id"] for one in tell("events", **cursors)["data"]]

    assert positions(limit=3) == [28, 27, 26]
    assert positions(limit=3, starting_after=26) == [25, 24, 23]
    assert positions(limit=3, ending_before=26) == [28, 27]
    assert positions(limit=3, ending_before=20) == [23, 22, 21]
    assert positions(limit=3, starting_after=1) == []


def test_filters_choose_whose_and_which(seven: Ledger, tell: Tell) -> None:
    paid = invoice("in_paid", of="cus_3", status="paid", created=T0 + 9, parent=None)
    record(seven, event("invoice.paid", paid))
    project(seven)

    def ids(path: str, **filters: str) -> list[str]:
        return [one["id"] for one in every(tell, path, limit=2, **filters)]

    assert ids("invoices", customer="cus_3") == ["in_paid", "in_3"]
    assert ids("invoices", status="paid") == ["in_paid"]
    assert len(ids("invoices", subscription="sub_andi")) == 7
    assert ids("payments", customer="cus_3", status="succeeded") == ["ch_3"]
    assert ids("payments", invoice="in_nowhere") == []
    assert ids("subscriptions", customer="cus_3", status="active") == ["sub_3"]


BAD_REQUESTS: list[Json] = [
    {"limit": 0}, {"limit": 101}, {"limit": -1}, {"limit": "ten"}, {"limit": ""},
    {"limit": "9" * 40}, {"starting_after": "x_unknown"}, {"ending_before": "x_unknown"},
    {"starting_after": ""}, {"starting_after": "cus_1", "ending_before": "cus_2"},
    {"colour": "blue"}, {"Limit": 3}, {"starting_after": "cus_1\x00"}, {"ending_before": "\x00"},
]  # fmt: skip


def test_what_a_list_cannot_understand_is_refused(seven: Ledger, ask: Ask) -> None:
    by_position = [
        {name: PLACES.get(value, value) for name, value in asked.items()} for asked in BAD_REQUESTS
    ]
    for path in (*LISTS, "customers/cus_1/timeline"):
        requests = BAD_REQUESTS if path in PREFIXES else by_position
        for asked in requests:
            assert problem_of(ask(path, **asked))[0] == 400, (path, asked)


def test_a_story_cannot_be_read_on_from_a_line_that_is_not_in_it(seven: Ledger, ask: Ask) -> None:
    of_another, of_nobody = 1, 999

    answers = [ask("customers/cus_1/timeline", starting_after=at) for at in (of_another, of_nobody)]

    assert [answer.status_code for answer in answers] == [400, 400]


FILTERS = (
    "customers?email", "customers?query", "customers?status", "customers?delinquent",
    "subscriptions?customer", "subscriptions?status", "invoices?customer",
    "invoices?subscription", "invoices?status", "payments?customer", "payments?invoice",
    "payments?status", "events?stream", "events?customer", "events?type",
    "events?stripe_event_id",
)  # fmt: skip


def test_a_filter_with_a_nul_is_refused(ledger: Ledger, ask: Ask) -> None:
    answers = {}
    for one in FILTERS:
        path, _, name = one.partition("?")
        answers[one] = problem_of(ask(path, **{name: "a\x00b"}))[0]

    assert answers == dict.fromkeys(FILTERS, 400)


def test_a_position_beyond_all_positions_is_refused(seven: Ledger, ask: Ask) -> None:
    answers = [
        ask(path, starting_after=position)
        for path in ("events", "customers/cus_1/timeline")
        for position in (2**63, 10**40)
    ]

    assert [answer.status_code for answer in answers] == [400] * 4


def test_a_thing_never_seen_is_not_found(ledger: Ledger, ask: Ask) -> None:
    for id_ in ("cus_nobody", "%ED%A0%80", "é", "x" * 3_000):
        for path in THINGS:
            assert problem_of(ask(path.format(id_))) == (404, "not_found")


def test_a_thing_with_a_nul_in_its_id_is_not_found(ledger: Ledger, ask: Ask) -> None:
    answers = [ask(path.format("x%00y")) for path in THINGS]

    assert [problem_of(answer) for answer in answers] == [(404, "not_found")] * len(THINGS)


def test_an_event_never_recorded_is_not_found(ledger: Ledger, ask: Ask) -> None:
    for position in ("7", "0", str(2**63), "9" * 40, "-1", "x"):
        assert problem_of(ask(f"events/{position}"))[0] == 404


# --- who may ask ------------------------------------------------------------------------------

PATHS = (*LISTS, "status", "customers/cus_andi", "customers/cus_andi/timeline", "events/1",
         "subscriptions/sub_andi", "invoices/in_andi")  # fmt: skip


NO_TOKENS = (
    None, "", "Bearer", "Bearer ", "Basic YTpi", "Bearer lgt_default_0", "Bearer lgt_nowhere_0",
    "Bearer é", "Bearer lgt_", "lgt_default_0",
)  # fmt: skip


def test_without_a_valid_token_nothing_is_told(ledger: Ledger, client: Client) -> None:
    for header in NO_TOKENS:
        headers = {} if header is None else {"Authorization": header}

        answers = [client.get(f"/v1/{path}", headers=headers) for path in PATHS]

        assert {problem_of(answer)[0] for answer in answers} == {401}
        assert {answer.headers.get("WWW-Authenticate") for answer in answers} == {"Bearer"}


def test_a_revoked_token_is_worth_nothing_at_once(ledger: Ledger, client: Client) -> None:
    with ledger.pool.connection() as connection:
        token, secret = tokens.create(connection, ledger.name, "mine", ["read"])
    headers = {"Authorization": f"Bearer {secret}"}
    assert client.get("/v1/status", headers=headers).status_code == 200

    with ledger.pool.connection() as connection:
        tokens.revoke(connection, token.id)

    assert problem_of(client.get("/v1/status", headers=headers)) == (401, "token_invalid")


@pytest.fixture
def other_ledger(installation: Installation) -> Iterator[Ledger]:
    yield from new_ledger(installation)


def test_a_token_opens_its_own_ledger_only(
    ledger: Ledger, other_ledger: Ledger, client: Client
) -> None:
    record(ledger, event("customer.created", customer("cus_ours")))
    record(other_ledger, event("customer.created", customer("cus_theirs")))
    project(ledger)
    project(other_ledger)
    ours, theirs = asking(client, ledger), asking(client, other_ledger)
    stolen = token_for(ledger, "read").replace(ledger.name, other_ledger.name)

    forged = client.get("/v1/customers", headers={"Authorization": f"Bearer {stolen}"})

    assert [one["id"] for one in telling(ours)("customers")["data"]] == ["cus_ours"]
    assert [one["id"] for one in telling(theirs)("customers")["data"]] == ["cus_theirs"]
    assert problem_of(ours("customers/cus_theirs"))[0] == 404
    assert problem_of(forged)[0] == 401


PERSONAL = ("Andi", "Wijaya", "andi@example.test", "+62 811", "Somba", "lead 17")


def test_without_the_scope_nothing_personal_is_told(ledger: Ledger, client: Client) -> None:
    record(ledger, *andis_purchase())
    project(ledger)
    for scopes in (["read"], ["write"], ["admin"], ["read", "write", "admin"]):
        ask = asking(client, ledger, *scopes)

        told = "".join(ask(path).text for path in PATHS)

        assert "cus_andi" in told
        assert [word for word in PERSONAL if word in told] == []


def test_with_the_scope_personal_fields_are_told(ledger: Ledger, ask: Ask) -> None:
    record(ledger, *andis_purchase())
    project(ledger)

    assert {"name": "Andi Wijaya", "phone": "+62 811 0000 001"}.items() <= (
        ask("customers").json or {}
    )["data"][0].items()
    assert all(word in ask("events/1").text for word in PERSONAL)


@pytest.mark.parametrize("asked", [{"email": "andi@example.test"}, {"query": "wijaya"}])
def test_searching_for_a_person_needs_the_scope(
    ledger: Ledger, client: Client, asked: Json
) -> None:
    ask = asking(client, ledger, "admin")

    assert problem_of(ask("customers", **asked)) == (403, "scope_missing")


# --- the rest of the web face -----------------------------------------------------------------


def test_health_is_told_without_a_token(client: Client) -> None:
    live, ready = client.get("/healthz"), client.get("/readyz")

    assert (live.status_code, live.json) == (200, {"status": "ok"})
    assert (ready.status_code, ready.json) == (200, {"status": "ready"})


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/", "/v1/nothing", "/webhooks", "/%00", "/v2/x"])
def test_an_unknown_path_is_a_problem(client: Client, path: str) -> None:
    assert problem_of(client.get(path))[0] == 404


WRONG_METHODS = (
    ("POST", "/v1/customers", "GET"),
    ("DELETE", "/v1/customers/cus_andi", "GET"),
    ("PUT", "/v1/events", "GET"),
    ("POST", "/healthz", "GET"),
    ("GET", "/webhooks/stripe", "POST"),
    ("PUT", "/webhooks/stripe/default", "POST"),
)


def test_a_wrong_method_is_a_problem(client: Client) -> None:
    for method, path, _ in WRONG_METHODS:
        assert problem_of(client.open(path, method=method)) == (405, "method_not_allowed")


def test_a_wrong_method_is_told_the_right_one(client: Client) -> None:
    for method, path, right in WRONG_METHODS:
        assert right in client.open(path, method=method).headers.get("Allow", "")
