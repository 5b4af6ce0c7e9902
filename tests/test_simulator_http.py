"""The simulator behind HTTP, asked by Stripe's official client and command line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
import requests
import stripe
from stripe import StripeClient
from werkzeug.serving import make_server

from ledger.simulator import NEWEST, Simulator
from ledger.simulator.http import Service, create_app
from ledger.simulator.http.forms import opened
from ledger.simulator.http.parameters import accepted_by
from ledger.simulator.http.routes import routes
from ledger.simulator.http.webhooks import Webhooks
from tests.facts import SECRET
from tests.test_kills import serving
from tests.test_simulator_delivery import Listener
from tests.test_simulator_subscriptions import DAY, T0, Shop
from tests.waiting import eventually

KEY = "sk_test_simulated"


@dataclass
class Served:
    """A simulator on loopback, its clock set by hand, and the official client for it."""

    simulator: Simulator = field(default_factory=lambda: Simulator(11, T0))
    now: int = T0
    url: str = ""

    def __post_init__(self) -> None:
        self.service = Service(self.simulator, lambda: self.now)

    def client(self, **options: Any) -> StripeClient:
        addresses: Any = {"api": self.url}
        return StripeClient(KEY, base_addresses=addresses, **options)

    def post(self, path: str, data: dict[str, str], **headers: str) -> requests.Response:
        return requests.post(
            self.url + path, data=data, headers=headers, auth=(KEY, ""), timeout=10
        )

    def told(self) -> list[str]:
        return [event.type for event in self.simulator.events]


@pytest.fixture
def served() -> Iterator[Served]:
    service = Served()
    server = make_server("127.0.0.1", 0, create_app(service.service), threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    service.url = f"http://127.0.0.1:{server.server_port}"
    yield service
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def client(served: Served) -> StripeClient:
    return served.client()


def paying_customer(client: StripeClient) -> Any:
    customer = client.v1.customers.create({"email": "andi@example.test", "name": "Andi"})
    card = client.v1.payment_methods.attach("pm_card_visa", {"customer": customer.id})
    settings: Any = {"invoice_settings": {"default_payment_method": card.id}}
    return client.v1.customers.update(customer.id, settings)


def new_price(client: StripeClient, **terms: Any) -> Any:
    product = client.v1.products.create({"name": "Pro"})
    params: Any = {
        "product": product.id,
        "currency": "usd",
        "unit_amount": 3_000,
        "recurring": {"interval": "month"},
        **terms,
    }
    return client.v1.prices.create(params)


def test_the_official_client_runs_a_subscription_from_beginning_to_end(
    served: Served, client: StripeClient
) -> None:
    customer, price = paying_customer(client), new_price(client)
    subscription = client.v1.subscriptions.create(
        {"customer": customer.id, "items": [{"price": price.id, "quantity": 2}]}
    )
    assert subscription.status == "active"
    item = subscription["items"].data[0]
    assert item.quantity == 2

    changed = client.v1.subscriptions.update(
        subscription.id,
        {
            "items": [{"id": item.id, "quantity": 3}],
            "proration_behavior": "always_invoice",
            "metadata": {"crm": "17"},
        },
    )
    assert changed.metadata["crm"] == "17"
    invoices = client.v1.invoices.list({"subscription": subscription.id, "limit": 1})
    assert invoices.data[0].billing_reason == "subscription_update"
    paused = client.v1.subscriptions.pause(subscription.id)
    assert paused.status == "paused"
    assert paused["status_details"].paused.subscription.type == "pause_requested"
    assert client.v1.subscriptions.resume(subscription.id).status == "active"
    ending = client.v1.subscriptions.update(subscription.id, {"cancel_at_period_end": True})
    served.now = ending["items"].data[0].current_period_end

    assert client.v1.subscriptions.retrieve(subscription.id).status == "canceled"
    assert served.told().count("customer.subscription.deleted") == 1


def test_answers_are_expanded_as_asked(client: StripeClient) -> None:
    customer, price = paying_customer(client), new_price(client)

    subscription = client.v1.subscriptions.create(
        {
            "customer": customer.id,
            "items": [{"price": price.id}],
            "payment_behavior": "default_incomplete",
            "expand": ["latest_invoice.confirmation_secret", "customer", "latest_invoice.payments"],
        }
    )

    invoice: Any = subscription.latest_invoice
    assert subscription.status == "incomplete"
    assert subscription.customer.email == "andi@example.test"  # type: ignore[union-attr]
    assert "_secret_" in invoice.confirmation_secret.client_secret
    intent = invoice.payments.data[0].payment.payment_intent
    client.v1.payment_intents.confirm(intent, {"payment_method": "pm_card_visa"})
    assert client.v1.subscriptions.retrieve(subscription.id).status == "active"
    listed = client.v1.subscriptions.list({"expand": ["data.latest_invoice"]})
    assert listed.data[0].latest_invoice.status == "paid"  # type: ignore[union-attr]
    with pytest.raises(stripe.InvalidRequestError, match="cannot be expanded"):
        client.v1.customers.retrieve(customer.id, {"expand": ["nothing"]})


def test_lists_are_paged_and_filtered(client: StripeClient) -> None:
    made = [client.v1.customers.create({"email": f"c{n}@example.test"}).id for n in range(7)]

    everyone = [one.id for one in client.v1.customers.list({"limit": 3}).auto_paging_iter()]
    one = client.v1.customers.list({"email": "c4@example.test"})
    back = client.v1.customers.list({"ending_before": made[0], "limit": 2})

    assert everyone == made[::-1]
    assert [c.id for c in one.data] == [made[4]]
    assert [c.id for c in back.data] == [made[2], made[1]]
    with pytest.raises(stripe.InvalidRequestError, match="unknown parameter"):
        client.v1.customers.list(cast(Any, {"nonsense": "1"}))


def test_events_are_listed_in_the_accounts_rendering_for_thirty_days(
    served: Served, client: StripeClient
) -> None:
    paying_customer(client)
    old = served.client(stripe_version="2024-06-20")

    listed = old.v1.events.list({"types": ["customer.created", "customer.updated"]})

    assert [event.type for event in listed.data] == ["customer.updated", "customer.created"]
    assert listed.data[0].api_version == NEWEST
    assert old.v1.events.retrieve(listed.data[0].id).type == "customer.updated"
    served.simulator.events[0].undelivered = 1
    lost = client.v1.events.list({"delivery_success": False})
    assert [event.id for event in lost.data] == [served.simulator.events[0].id]
    assert len(client.v1.events.list({"delivery_success": True, "limit": 100}).data) == (
        len(served.simulator.events) - 1
    )
    served.now += 31 * DAY
    assert client.v1.events.list({"created": {"gte": T0}}).data == []


def test_answers_are_rendered_in_the_version_that_is_asked_for(
    served: Served, client: StripeClient
) -> None:
    customer, price = paying_customer(client), new_price(client)
    made = client.v1.subscriptions.create({"customer": customer.id, "items": [{"price": price.id}]})

    old = served.client(stripe_version="2024-06-20")
    then = old.v1.subscriptions.retrieve(made.id)
    invoice = old.v1.invoices.retrieve(str(made.latest_invoice))

    assert then["current_period_end"] == made["items"].data[0].current_period_end
    assert invoice["subscription"] == made.id
    assert "current_period_end" not in made


def test_a_declined_card_is_an_error_with_its_reasons(client: StripeClient) -> None:
    with pytest.raises(stripe.CardError) as caught:
        client.v1.payment_intents.create(
            {
                "amount": 500,
                "currency": "usd",
                "confirm": True,
                "payment_method": "pm_card_visa_chargeDeclinedInsufficientFunds",
            }
        )

    error: Any = caught.value
    assert (error.http_status, error.code) == (402, "card_declined")
    assert error.error.decline_code == "insufficient_funds"
    assert error.error.payment_intent.status == "requires_payment_method"
    assert error.request_id.startswith("req_")


@pytest.mark.parametrize(
    ("path", "data", "status", "code", "param"),
    [
        ("/v1/customers/cus_none", {}, 404, "resource_missing", "id"),
        ("/v1/products", {}, 400, "parameter_missing", "name"),
        ("/v1/products", {"name": "A", "colour": "red"}, 400, "parameter_unknown", "colour"),
        ("/v1/payment_intents", {"amount": "x", "currency": "usd"}, 400,
         "parameter_invalid_integer", "amount"),
        ("/v1/subscriptions", {"customer": "cus_none"}, 404, "resource_missing", "customer"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_refused_in_stripes_words(
    served: Served, path: str, data: dict[str, str], status: int, code: str, param: str
) -> None:
    answer = served.post(path, data)

    error = answer.json()["error"]
    assert answer.status_code == status
    assert (error["type"], error["code"]) == ("invalid_request_error", code)
    assert error["param"] == param
    assert error["message"]


def test_only_test_keys_are_let_in_and_only_known_paths_served(served: Served) -> None:
    url = f"{served.url}/v1/customers"

    assert requests.get(url, timeout=10).status_code == 401
    assert requests.get(url, auth=("sk_live_1", ""), timeout=10).status_code == 401
    bearer = {"Authorization": f"Bearer {KEY}"}
    assert requests.get(url, headers=bearer, timeout=10).status_code == 200
    unknown = requests.get(f"{served.url}/v1/nonsense", headers=bearer, timeout=10)
    assert unknown.status_code == 404
    assert "Unrecognized request URL" in unknown.json()["error"]["message"]


def test_a_key_gives_the_same_answer_and_does_nothing_twice(served: Served) -> None:
    key = {"Idempotency-Key": "k1"}
    first = served.post("/v1/customers", {"email": "a@example.test"}, **key)
    again = served.post("/v1/customers", {"email": "a@example.test"}, **key)
    other = served.post("/v1/customers", {"email": "b@example.test"}, **key)

    assert first.content == again.content
    assert again.headers["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first.headers
    assert served.told().count("customer.created") == 1
    assert (other.status_code, other.json()["error"]["type"]) == (400, "idempotency_error")
    told = served.simulator.events[-1].body(NEWEST)
    assert told["request"] == {"id": first.headers["Request-Id"], "idempotency_key": "k1"}


def test_a_decline_is_replayed_and_a_wrong_parameter_is_not(served: Served) -> None:
    payment = {"amount": "500", "currency": "usd", "confirm": "true"}
    declined = {**payment, "payment_method": "pm_card_visa_chargeDeclined"}
    first = served.post("/v1/payment_intents", declined, **{"Idempotency-Key": "k1"})
    again = served.post("/v1/payment_intents", declined, **{"Idempotency-Key": "k1"})
    wrong = served.post("/v1/products", {"nam": "A"}, **{"Idempotency-Key": "k2"})
    right = served.post("/v1/products", {"name": "A"}, **{"Idempotency-Key": "k2"})

    assert (first.status_code, first.content) == (402, again.content)
    assert served.told().count("charge.failed") == 1
    assert (wrong.status_code, right.status_code) == (400, 200)


def test_the_client_reaches_all_the_rest(served: Served, client: StripeClient) -> None:
    v1 = client.v1
    customer, price = paying_customer(client), new_price(client)
    coupon = v1.coupons.create({"percent_off": 20, "duration": "forever"})
    code = v1.promotion_codes.create({"promotion": {"type": "coupon", "coupon": coupon.id}})
    rate = v1.tax_rates.create({"display_name": "PPN", "percentage": 11, "inclusive": False})
    subscription = v1.subscriptions.create(
        {
            "customer": customer.id,
            "items": [{"price": price.id}],
            "discounts": [{"promotion_code": code.id}],
            "default_tax_rates": [rate.id],
        }
    )
    preview = v1.invoices.create_preview({"subscription": subscription.id})
    assert preview.total == 2_664
    item = v1.subscription_items.create(
        {"subscription": subscription.id, "price": new_price(client).id}
    )
    v1.subscription_items.delete(item.id)
    v1.invoice_items.create({"customer": customer.id, "amount": 700, "currency": "usd"})
    invoice = v1.invoices.create({"customer": customer.id})
    v1.invoices.finalize_invoice(invoice.id)
    assert v1.invoices.pay(invoice.id).status == "paid"
    payments = v1.invoice_payments.list({"invoice": invoice.id}).data
    intent = v1.payment_intents.retrieve(str(payments[0].payment.payment_intent))
    refund = v1.refunds.create({"payment_intent": intent.id, "amount": 100})
    assert v1.refunds.retrieve(refund.id).status == "succeeded"
    note = v1.credit_notes.create({"invoice": invoice.id, "amount": 50, "credit_amount": 50})
    assert note.status == "issued"
    setup = v1.setup_intents.create({"customer": customer.id, "payment_method": "pm_card_visa"})
    assert v1.setup_intents.confirm(setup.id).status == "succeeded"
    schedule = v1.subscription_schedules.create({"from_subscription": subscription.id})
    assert v1.subscription_schedules.release(schedule.id).status == "released"
    session = v1.checkout.sessions.create(
        {"mode": "subscription", "line_items": [{"price": price.id, "quantity": 1}]}
    )
    assert v1.checkout.sessions.expire(session.id).status == "expired"
    assert "billing.stripe.com" in v1.billing_portal.sessions.create({"customer": customer.id}).url
    v1.payment_intents.create(
        {
            "amount": 900,
            "currency": "usd",
            "confirm": True,
            "payment_method": "pm_card_createDispute",
        }
    )
    dispute = v1.disputes.list({"limit": 1}).data[0]
    evidence: Any = {"evidence": {"uncategorized_text": "winning_evidence"}}
    assert v1.disputes.update(dispute.id, evidence).status == "won"
    assert v1.balance.retrieve().pending[0].currency == "usd"
    assert len(v1.balance_transactions.list({"type": "charge"}).data) == 3
    feature = v1.entitlements.features.create({"lookup_key": "a", "name": "A"})
    assert v1.entitlements.features.retrieve(feature.id).name == "A"
    clock = v1.test_helpers.test_clocks.create({"frozen_time": T0})
    advancing = v1.test_helpers.test_clocks.advance(clock.id, {"frozen_time": T0 + DAY})
    assert advancing.status == "advancing"
    assert v1.test_helpers.test_clocks.retrieve(clock.id).status == "ready"
    endpoint = v1.webhook_endpoints.create(
        {"url": "https://l.example.test", "enabled_events": ["*"]}
    )
    assert str(endpoint.secret).startswith("whsec_")
    v1.webhook_endpoints.delete(endpoint.id)
    served.now += 10 * DAY
    assert v1.balance.retrieve().available[0].amount >= 0
    assert v1.payouts.list().data


def test_ended_subscriptions_are_listed_only_when_asked_for(client: StripeClient) -> None:
    customer, price = paying_customer(client), new_price(client)
    made = [
        client.v1.subscriptions.create({"customer": customer.id, "items": [{"price": price.id}]}).id
        for _ in range(2)
    ]
    client.v1.subscriptions.cancel(made[0])

    def listed(**params: Any) -> list[str]:
        return [one.id for one in client.v1.subscriptions.list(cast(Any, params)).data]

    assert listed() == [made[1]]
    assert listed(status="all") == made[::-1]
    assert listed(status="ended") == listed(status="canceled") == [made[0]]


GARBAGE: tuple[Any, ...] = ("", "x", "-1", "9999999999999", {"a": "x"}, ["x"], [{"a": "b"}])


def test_no_garbage_is_answered_by_a_fault_of_the_server(served: Served) -> None:
    page = create_app(served.service).test_client()
    subscription = Shop.opened().subscribe()
    asked = 0
    for method, path, target in routes(served.simulator):
        names = sorted(accepted_by(target).types) if callable(target) else ["limit", "created"]
        for value in GARBAGE:
            pairs = [pair for name in names for pair in flattened(name, value)]
            url = path.replace("<id>", subscription).replace("<id2>", "x")
            sent: Any = {"query_string" if method == "GET" else "data": dict(pairs)}
            headers = {"Authorization": f"Bearer {KEY}"}
            answer = page.open(url, method=method, headers=headers, **sent)
            assert answer.status_code < 500, (method, path, value)
            asked += 1
    assert asked > 800


def flattened(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from flattened(f"{name}[{key}]", inner)
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from flattened(f"{name}[{i}]", inner)
    else:
        yield name, value


def test_webhooks_are_sent_signed_to_the_endpoints_there_are(served: Served) -> None:
    with Listener(busy=2) as listener:
        endpoint = served.client().v1.webhook_endpoints.create(
            {"url": listener.url, "enabled_events": ["customer.created", "product.created"]}
        )
        webhooks = Webhooks(served.service)
        for n in range(5):
            served.client().v1.customers.create({"email": f"c{n}@example.test"})
        served.client().v1.coupons.create({"percent_off": 10})
        webhooks.close()

    assert endpoint.secret
    assert len(listener.heard) == 5
    bodies = {event.bodies[NEWEST] for event in served.simulator.events}
    assert set(listener.heard) <= bodies
    created = [e for e in served.simulator.events if e.type == "customer.created"]
    assert [(e.pending, e.undelivered) for e in created] == [(0, 0)] * 5


@contextmanager
def program(webhook: str, secret: str) -> Iterator[tuple[str, list[str]]]:
    """Run the simulator as a program; yield its address and what it said when it started."""
    serving = subprocess.Popen(
        [
            sys.executable, "-m", "ledger.simulator", "--port", "0",
            "--webhook", webhook, "--secret", secret,
        ],
        stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    assert serving.stderr
    try:
        lines = [serving.stderr.readline() for _ in range(2)]
        yield lines[-1].rpartition(" ")[2].strip(), lines
    finally:
        serving.terminate()
        with serving.stderr:
            assert "stopped" in serving.stderr.read()
    assert serving.wait(10) == 0


def test_it_is_served_by_one_command_and_stops_when_told() -> None:
    with Listener(busy=0) as listener, program(listener.url, "whsec_x") as (url, lines):
        client = StripeClient(KEY, base_addresses={"api": url})
        customer = client.v1.customers.create({"email": "andi@example.test"})

    assert "signed with whsec_x" in lines[0]
    assert [customer.id in body.decode() for body in listener.heard] == [True]


def test_forms_open_into_hashes_and_lists() -> None:
    pairs = [
        ("items[0][price]", "p1"),
        ("items[1][price]", "p2"),
        ("types[]", "a"),
        ("types[]", "b"),
        ("lines[][price]", "p1"),
        ("lines[][quantity]", "1"),
        ("lines[][price]", "p2"),
        ("metadata[a b]", "c"),
        ("email", ""),
    ]

    assert opened(pairs) == {
        "items": [{"price": "p1"}, {"price": "p2"}],
        "types": ["a", "b"],
        "lines": [{"price": "p1", "quantity": "1"}, {"price": "p2"}],
        "metadata": {"a b": "c"},
        "email": "",
    }


TRIGGERS = (
    "customer.created customer.deleted customer.updated customer.discount.created"
    " customer.source.created"
    " customer.subscription.created customer.subscription.updated customer.subscription.deleted"
    " customer.subscription.paused customer.subscription.trial_will_end"
    " invoice.created invoice.finalized invoice.paid invoice.payment_failed"
    " invoice.payment_succeeded"
    " invoice.payment_action_required invoice.sent invoice.updated invoice.voided invoice.deleted"
    " invoice.marked_uncollectible invoiceitem.created invoiceitem.deleted"
    " payment_intent.created payment_intent.succeeded payment_intent.payment_failed"
    " payment_intent.canceled payment_intent.requires_action"
    " payment_intent.amount_capturable_updated payment_method.attached payment_method.detached"
    " charge.succeeded charge.failed charge.captured charge.refunded charge.refund.updated"
    " charge.dispute.created charge.dispute.closed charge.dispute.updated"
    " checkout.session.completed checkout.session.expired balance.available"
    " billing_portal.session.created coupon.created coupon.updated coupon.deleted"
    " credit_note.created credit_note.updated credit_note.voided plan.created plan.updated"
    " plan.deleted price.created price.updated product.created product.updated product.deleted"
    " promotion_code.created promotion_code.updated setup_intent.created setup_intent.succeeded"
    " setup_intent.canceled setup_intent.requires_action setup_intent.setup_failed"
    " subscription.payment_failed subscription.payment_succeeded"
    " subscription_schedule.created subscription_schedule.updated subscription_schedule.canceled"
    " subscription_schedule.released tax_rate.created tax_rate.updated payout.created"
    " payout.updated test_helpers.test_clock.created test_helpers.test_clock.advancing"
    " test_helpers.test_clock.ready test_helpers.test_clock.deleted"
).split()
_ALIASES = {
    "subscription.payment_failed": "invoice.payment_failed",
    "subscription.payment_succeeded": "invoice.payment_succeeded",
}
QUICK = (
    "customer.subscription.created invoice.payment_failed customer.subscription.deleted"
    " invoice.paid charge.refunded charge.dispute.created payment_intent.payment_failed"
    " checkout.session.completed"
).split()


def command_line() -> str:
    """Return Stripe's official command line, from `STRIPE_CLI` or the path; skip without it."""
    found = os.environ.get("STRIPE_CLI") or shutil.which("stripe")
    if not found or not Path(found).exists():
        pytest.skip("Stripe's command line is not installed (set STRIPE_CLI to where it is)")
    return found


def trigger(url: str, event: str, home: Path) -> None:
    done = subprocess.run(
        [command_line(), "trigger", event, "--api-base", url, "--api-key", KEY + "0" * 16],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"HOME": str(home), "PATH": os.environ["PATH"], "STRIPE_CLI_TELEMETRY_OPTOUT": "1"},
    )

    assert "Trigger succeeded" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("event", QUICK)
def test_the_official_command_line_triggers_events(
    served: Served, event: str, tmp_path: Path
) -> None:
    trigger(served.url, event, tmp_path)

    assert _ALIASES.get(event, event) in served.told(), served.told()


@pytest.mark.long
@pytest.mark.parametrize("event", TRIGGERS)
def test_the_official_command_line_triggers_every_event_of_billing(
    served: Served, event: str, tmp_path: Path
) -> None:
    trigger(served.url, event, tmp_path)

    assert _ALIASES.get(event, event) in served.told(), served.told()


def test_what_the_official_command_line_triggers_lands_in_the_ledger(tmp_path: Path) -> None:
    command_line()
    asked = (
        "customer.subscription.created", "invoice.payment_failed", "customer.subscription.deleted",
    )  # fmt: skip
    with serving(tmp_path / "ledger") as ledger:
        webhook = f"http://127.0.0.1:{ledger.port}/webhooks/stripe"

        def told() -> dict[str, str]:
            oldest = json.loads(ledger.get("/v1/events?limit=100&ending_before=0")[1])["data"]
            from_stripe = [one for one in oldest if one["stripe_event_id"]]
            return {one["stripe_event_id"]: one["stripe_type"] for one in from_stripe}

        with program(webhook, SECRET) as (url, _):
            for event in asked:
                trigger(url, event, tmp_path)
            client = StripeClient(KEY, base_addresses={"api": url})
            at_stripe = {one.id: one.type for one in client.v1.events.list({"limit": 100}).data}
            assert eventually(lambda: told() == at_stripe, seconds=30), at_stripe

        assert set(asked) <= set(at_stripe.values())
        assert eventually(lambda: ledger.lag() == 0, seconds=30)
        failed = json.loads(ledger.get("/v1/invoices?status=open")[1])["data"]
        assert [one["last_failure"]["decline_code"] for one in failed] == ["generic_decline"]
