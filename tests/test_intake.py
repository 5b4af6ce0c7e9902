"""What becomes of a delivery: recorded once, never refused for its content, never a 500."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest
from werkzeug.test import Client, TestResponse

from ledger.aggregates import Subscription
from ledger.application import Ledger, change_settings
from ledger.bootstrap import Installation
from ledger.facts import as_fact
from ledger.log import Log, RecordedEvent
from tests.client import front_client
from tests.conftest import new_ledger
from tests.facts import Json, customer, event, invoice, record, signed, subscription


def deliver(client: Client, ledger: Ledger, body: bytes | Json) -> TestResponse:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return client.post(f"/webhooks/stripe/{ledger.name}", data=raw, headers=signed(raw))


def log_of(ledger: Ledger) -> list[RecordedEvent]:
    with ledger.pool.connection() as connection:
        return Log(connection).after(0, 10_000)


def test_a_signed_event_is_recorded_and_answered(client: Client, ledger: Ledger) -> None:
    answer = deliver(client, ledger, event("customer.created", customer()))

    assert answer.status_code == 200
    assert answer.json == {"received": True, "outcome": "recorded", "position": 1}
    (recorded,) = log_of(ledger)
    assert recorded.topic == "Customer.Created"
    assert recorded.stream == recorded.customer_id == recorded.object_id == "cus_andi"


def test_a_redelivery_adds_nothing(ledger: Ledger) -> None:
    first = event("invoice.paid", invoice(status="paid"))
    again = {**first, "pending_webhooks": 0, "request": {"id": None, "idempotency_key": "k"}}

    receipts = record(ledger, first, again)

    assert [receipt.outcome for receipt in receipts] == ["recorded", "duplicate"]
    assert receipts[1].position == 1
    assert len(log_of(ledger)) == 1


def test_another_rendering_of_a_fact_is_counted_and_the_first_stays(ledger: Ledger) -> None:
    first = event("customer.updated", customer())
    other = {**first, "api_version": "2020-08-27"}
    other["data"] = {"object": customer(account_balance=0)}

    outcomes = [receipt.outcome for receipt in record(ledger, first, other)]

    assert outcomes == ["recorded", "other_rendering"]
    assert len(log_of(ledger)) == 1


@pytest.mark.parametrize("first_has_an_id", [True, False])
def test_an_upcoming_invoice_has_an_id_in_one_rendering_only(
    ledger: Ledger, first_has_an_id: bool
) -> None:
    newer = event("invoice.upcoming", invoice("upcoming_in_1"))
    nameless = {name: value for name, value in invoice().items() if name != "id"}
    older = {**newer, "api_version": "2020-08-27", "data": {"object": nameless}}
    told = [newer, older] if first_has_an_id else [older, newer]

    outcomes = [receipt.outcome for receipt in record(ledger, *told)]

    assert outcomes == ["recorded", "other_rendering"]


def test_another_object_under_a_known_id_is_a_conflict_in_any_rendering(ledger: Ledger) -> None:
    first = event("invoice.updated", invoice("in_1"))
    other = {**first, "api_version": "2020-08-27", "data": {"object": invoice("in_2")}}

    outcomes = [receipt.outcome for receipt in record(ledger, first, other)]

    assert outcomes == ["recorded", "conflict"]


@pytest.mark.parametrize(
    "change",
    [{"delinquent": True}, {"email": "other@example.test"}, {"metadata": {"crm": "x"}}],
    ids=["clear leaf", "personal leaf", "metadata"],
)
def test_another_content_under_a_known_id_is_kept_once_as_a_conflict(
    ledger: Ledger, change: Json
) -> None:
    first = event("customer.updated", customer())
    other = {**first, "data": {"object": customer(**change)}}

    outcomes = [receipt.outcome for receipt in record(ledger, first, other, other)]

    assert outcomes == ["recorded", "conflict", "duplicate"]
    recorded, conflict = log_of(ledger)
    assert recorded.data["data"]["object"]["delinquent"] is False
    assert conflict.topic == "Account.ConflictingDelivery"
    assert conflict.data["_ledger"]["conflicts_with"] == first["id"]
    assert conflict.causation_id == first["id"]


@pytest.mark.parametrize(
    ("obj", "stream"),
    [
        (subscription(), "sub_andi"),
        (invoice(), "sub_andi"),
        (invoice(parent=None), "cus_andi"),
        (invoice(parent=None, subscription="sub_old"), "sub_old"),
        (invoice(parent=None, customer=None), "account"),
        (invoice(parent={"subscription_details": {"subscription": {"id": "sub_exp"}}}), "sub_exp"),
    ],
)
def test_an_event_belongs_to_the_subscription_else_the_customer_else_the_account(
    ledger: Ledger, obj: Json, stream: str
) -> None:
    type_ = "invoice.updated" if obj["object"] == "invoice" else "customer.subscription.updated"

    record(ledger, event(type_, obj))

    assert log_of(ledger)[0].stream == stream


@pytest.mark.parametrize(
    ("type_", "obj"),
    [
        ("customer.discount.created", {"id": "di_1", "object": "discount"}),
        ("checkout.session.completed", {"id": "cs_test_1", "object": "checkout.session"}),
    ],
)
def test_what_a_customer_did_for_a_subscription_belongs_to_it(
    ledger: Ledger, type_: str, obj: Json
) -> None:
    named = {**obj, "customer": "cus_andi", "subscription": "sub_andi"}
    record(ledger, event(type_, named), event(type_, {**named, "subscription": None}))

    assert [one.stream for one in log_of(ledger)] == ["sub_andi", "cus_andi"]


def test_a_customer_whose_id_the_business_chose_is_found_by_what_names_them(
    ledger: Ledger,
) -> None:
    record(ledger, event("customer.subscription.created", subscription(of="shop-4711")))

    (recorded,) = log_of(ledger)

    assert recorded.customer_id == "shop-4711"
    assert recorded.data["data"]["object"]["customer"] == "shop-4711"


def test_a_thin_event_says_nothing_of_how_its_object_stands(ledger: Ledger) -> None:
    thin = {
        "id": "evt_test_thin", "object": "v2.core.event", "livemode": False,
        "type": "v1.customer.subscription.updated", "created": "2026-01-01T00:00:00.500Z",
        "related_object": {"id": "sub_andi", "type": "subscription", "url": "/v1/x"},
    }  # fmt: skip
    record(ledger, event("customer.subscription.created", subscription()), thin)

    state = Subscription.fold([as_fact(one) for one in log_of(ledger)])

    assert {one.settled.winner.snapshot["status"] for one in state.values()} == {"active"}


def test_events_of_unknown_type_or_without_version_are_noted(ledger: Ledger) -> None:
    unknown = event("galaxy.collided", {"id": "gx_1", "object": "galaxy"})
    del unknown["api_version"]

    record(ledger, unknown)

    assert log_of(ledger)[0].topic == "Account.StripeEventNoted"


def test_a_thin_event_is_noted_with_the_object_it_names(ledger: Ledger) -> None:
    thin = {
        "id": "evt_test_thin", "object": "v2.core.event", "livemode": False,
        "type": "v1.customer.subscription.active", "created": "2026-01-01T00:00:00.123Z",
        "related_object": {"id": "sub_thin", "type": "subscription", "url": "/v1/x"},
    }  # fmt: skip

    record(ledger, thin)

    (noted,) = log_of(ledger)
    assert (noted.topic, noted.stream) == ("Account.StripeEventNoted", "sub_thin")
    assert noted.occurred_at.microsecond == 123_000


@pytest.mark.parametrize(
    "raw",
    [
        b"[1]", b"null", b"{}", b'"x"', b"", b"NaN", b'{"id":"evt_1","type":"a.b","x":NaN}',
        b'{"id":"evt_1","type":"a.b","x":1e999}', b'{"id":7,"type":"a.b"}', b'{"id":"evt_1"}',
        b"\xff\xfe", b'{"a":' * 20_000, b"[" * 500_000,
        b'{"id":"evt_1","type":"a.b","data":' + b'{"a":' * 900 + b"1" + b"}" * 901,
        b'{"id":"evt_1","type":"a.b","x":' + b"9" * 5_000 + b"}",
    ],
    ids=lambda raw: repr(raw[:28]),
)  # fmt: skip
def test_a_signed_body_that_is_no_event_is_kept_once_encrypted(
    client: Client, ledger: Ledger, raw: bytes
) -> None:
    import hashlib
    import hmac

    now = int(time.time())
    signature = hmac.new(b"whsec_test_secret", f"{now}.".encode() + raw, hashlib.sha256)
    headers = {"Stripe-Signature": f"t={now},v1={signature.hexdigest()}"}

    answers = [
        client.post(f"/webhooks/stripe/{ledger.name}", data=raw, headers=headers) for _ in range(2)
    ]

    assert [answer.status_code for answer in answers] == [200, 200]
    (kept,) = log_of(ledger)
    assert kept.topic == "Account.DeliveryUnreadable"
    assert kept.personal is not None


@pytest.mark.parametrize(
    "text",
    ["nul \x00 inside", "half \ud83d pair", "Ünïcødé 😀", "x" * 100_000],
    ids=["nul", "surrogate", "unicode", "long"],
)
def test_any_text_is_recorded_and_read_back(ledger: Ledger, text: str) -> None:
    from ledger import history

    receipts = record(ledger, event("customer.created", customer(name=text)))

    assert receipts[0].outcome == "recorded"
    (recorded,) = log_of(ledger)
    with ledger.pool.connection() as connection:
        opened = history.opened_event(connection, ledger.keys, recorded)
    assert opened.data["data"]["object"]["name"] == text
    assert (recorded.data.get("_ledger") == {"flags": ["nul"]}) == ("\x00" in text)


def test_big_integers_are_exact_and_of_duplicate_keys_the_last_counts(ledger: Ledger) -> None:
    big = event("invoice.updated", invoice(amount_due=123456789012345678901234567890))
    raw = json.dumps(big).replace('"amount_paid": 0', '"amount_paid": 1, "amount_paid": 2')

    ledger.intake.receive(raw.encode())

    obj = log_of(ledger)[0].data["data"]["object"]
    assert obj["amount_due"] == 123456789012345678901234567890
    assert obj["amount_paid"] == 2


@pytest.fixture
def strict_ledger(installation: Installation) -> Iterator[Ledger]:
    yield from new_ledger(installation, stripe_account="acct_ours")


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"livemode": True}, "other_mode"), ({"account": "acct_other"}, "foreign_account")],
)
def test_events_of_the_other_mode_or_a_foreign_account_are_set_aside(
    strict_ledger: Ledger, change: Json, reason: str
) -> None:
    receipts = record(strict_ledger, event("customer.created", customer(), **change))

    assert receipts[0].outcome == "set_aside"
    (noted,) = log_of(strict_ledger)
    assert (noted.stream, noted.topic) == ("account", "Account.StripeEventNoted")
    assert noted.data["_ledger"] == {"set_aside": reason}


@pytest.mark.parametrize(
    "header",
    [
        "", "garbage", "t=1", "v1=abc", "t=abc,v1=abc", "t=1,v1=ä", "t=" + "9" * 400 + ",v1=a",
        "t=-5,v1=a", ",,,,", "t=1,v1=", "t=\u00b2,v1=a",
    ],
)  # fmt: skip
@pytest.mark.parametrize("raw", [b"{}", b"", b"\xff\xfe", b"[" * 20_000])
def test_an_unsigned_delivery_is_refused_and_stores_nothing(
    client: Client, ledger: Ledger, header: str, raw: bytes
) -> None:
    answer = client.post(
        f"/webhooks/stripe/{ledger.name}",
        data=raw,
        environ_overrides={"HTTP_STRIPE_SIGNATURE": header.encode().decode("latin-1")},
    )

    assert answer.status_code == 400
    assert answer.content_type == "application/problem+json"
    assert log_of(ledger) == []


@pytest.mark.parametrize("age_seconds", [-301, 301, 86_400, -86_400])
def test_a_signature_too_old_or_from_the_future_is_refused(
    client: Client, ledger: Ledger, age_seconds: int
) -> None:
    raw = json.dumps(event("customer.created", customer())).encode()
    headers = signed(raw, at=time.time() - age_seconds)

    answer = client.post(f"/webhooks/stripe/{ledger.name}", data=raw, headers=headers)

    assert answer.status_code == 400
    assert log_of(ledger) == []


def test_a_body_over_one_mebibyte_is_refused(client: Client, ledger: Ledger) -> None:
    raw = b"x" * (1024 * 1024 + 1)

    answer = client.post(f"/webhooks/stripe/{ledger.name}", data=raw, headers=signed(raw))

    assert answer.status_code == 413
    assert answer.content_type == "application/problem+json"


def test_each_of_several_secrets_is_accepted(installation: Installation) -> None:
    for opened in new_ledger(installation, webhook_secrets="whsec_old, whsec_new\n"):
        with front_client(installation) as client:
            for secret in ("whsec_old", "whsec_new"):
                raw = json.dumps(event("customer.created", customer())).encode()
                headers = signed(raw, secret=secret)

                answer = client.post(f"/webhooks/stripe/{opened.name}", data=raw, headers=headers)

                assert answer.status_code == 200


def test_a_secret_set_beside_a_running_server_counts(client: Client, ledger: Ledger) -> None:
    raw = json.dumps(event("customer.created", customer())).encode()
    assert deliver(client, ledger, raw).status_code == 200
    change_settings(ledger, {"webhook_secrets": "whsec_rolled"})
    headers = signed(raw, secret="whsec_rolled")

    answer = client.post(f"/webhooks/stripe/{ledger.name}", data=raw, headers=headers)

    assert (answer.status_code, (answer.json or {})["outcome"]) == (200, "duplicate")
