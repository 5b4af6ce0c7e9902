"""What goes out has the shapes of those who take it: Stripe's, by its own types, and Twilio's."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
import stripe.params
import stripe.params.billing_portal
from stripe._request_options import RequestOptions
from werkzeug.serving import make_server
from werkzeug.wrappers import Request

from ledger.aggregates.effect import EffectRequest
from ledger.aggregates.outbox import Outbox
from ledger.aggregates.sending import Brand
from ledger.application import Ledger
from ledger.effects.performing import EffectFailed, Task
from ledger.effects.render import Renderer
from ledger.effects.sms import Texter, TwilioAccount
from ledger.effects.stripe_actions import ACTIONS, StripeActor
from ledger.links import Links
from ledger.simulator import Simulator
from ledger.simulator.http import Service, create_app
from ledger.stripe_api import StripeApi, StripeLacks
from ledger.stripe_objects.contacts import Contact
from tests.facts import Json
from tests.reactions import START, Reactor, andi, seconds

PARAMS: dict[str, Json] = {
    "cancel_subscription": {"subscription": "sub_1"},
    "schedule_cancellation": {"subscription": "sub_1", "feedback": "unused", "comment": "x"},
    "withdraw_cancellation": {"subscription": "sub_1"},
    "mark_uncollectible": {"invoice": "in_1"},
    "pause_collection": {"subscription": "sub_1", "resumes_at": 1_780_000_000},
    "set_payment_method": {"subscription": "sub_1", "payment_method": "pm_1"},
    "pay_invoice": {"invoice": "in_1", "payment_method": "pm_1"},
    "discount": {"subscription": "sub_1", "percent_off": 20, "months": 3},
    "pause_for": {"subscription": "sub_1", "resumes_at": 1_780_000_000},
    "change_plan": {"subscription": "sub_1", "price": "price_2"},
    "extend_trial": {"subscription": "sub_1", "trial_end": 1_780_000_000},
    "update_customer": {"customer": "cus_1", "name": "A", "address.city": "Maros"},
    "delete_customer": {"customer": "cus_1"},
}
# Which of Stripe's types a call is of, by what its path ends in, the kind of object in it.
TYPES: dict[tuple[str, str], Any] = {
    ("post", "subscriptions"): stripe.params.SubscriptionUpdateParams,
    ("delete", "subscriptions"): stripe.params.SubscriptionCancelParams,
    ("post", "pay"): stripe.params.InvoicePayParams,
    ("post", "mark_uncollectible"): stripe.params.InvoiceMarkUncollectibleParams,
    ("post", "customers"): stripe.params.CustomerUpdateParams,
    ("delete", "customers"): stripe.params.CustomerDeleteParams,
    ("post", "coupons"): stripe.params.CouponCreateParams,
    ("post", "billing_portal/sessions"): stripe.params.billing_portal.SessionCreateParams,
}
NEWER = {"discounts", "proration_behavior"}  # than the version that the public description is of


class Written(StripeApi):
    """Writes down what would be called, and answers as an object that exists."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, Json]] = []

    def _call(self, method: str, path: str, **params: Any) -> Json:
        if method == "get":
            if "/coupons/" in path:
                raise StripeLacks("no such coupon")
            item = {"id": "si_1", "price": {"id": "price_1"}}
            return {"id": "x", "status": "open", "items": {"data": [item]}}
        key = params.pop("idempotency_key", None)
        assert key is None or len(key) <= 255
        self.calls.append((method, path, params))
        return {"id": "x", "url": "https://s.test", "status": "active"}


def kind_of(method: str, path: str) -> tuple[str, str]:
    parts = path.removeprefix("/v1/").split("/")
    if parts[0] == "billing_portal":
        return method, "billing_portal/sessions"
    return method, parts[2] if len(parts) == 3 else parts[0]


def calls_of(action: str) -> list[tuple[str, str, Json]]:
    api = Written()
    StripeActor(api).perform(task(action, PARAMS[action]))
    return api.calls


def task(what: str, params: Json, attempt: int = 1, key: str = "k") -> Task:
    request = EffectRequest(key, "stripe", what, "action", params)
    outbox = Outbox.begin("cus_1", now=START)
    return Task(key, attempt, request, outbox, None, None, Brand(), "https://b.example.test")


def misfits(value: Any, hint: Any, module: ModuleType, at: str = "") -> list[str]:
    """Return what of a value is not as a type of Stripe's says."""
    if isinstance(hint, str):
        hint = eval(hint, vars(module))
    arguments = get_args(hint)
    if get_origin(hint) in (Union, type(int | str)):
        return min((misfits(value, one, module, at) for one in arguments), key=len)
    if get_origin(hint) is Literal:
        return [] if value in arguments else [f"{at}: {value!r} is none of {arguments}"]
    if get_origin(hint) is list and isinstance(value, list):
        return [one for item in value for one in misfits(item, arguments[0], module, f"{at}[]")]
    if get_origin(hint) not in (None, list, dict):  # NotRequired and the like
        return misfits(value, arguments[0], module, at)
    if hasattr(hint, "__total__") and isinstance(value, dict):
        return _misfits_of_hash(value, hint, at)
    plain = get_origin(hint) or hint
    if isinstance(value, bool) or plain is bool:
        fits = isinstance(value, bool) and plain is bool
    else:
        fits = isinstance(value, (int, float) if plain is float else plain)
    return [] if fits else [f"{at}: {value!r} is no {plain}"]


def _misfits_of_hash(value: Json, hint: Any, at: str) -> list[str]:
    module = sys.modules[hint.__module__]
    names = {**vars(module), "StripeContext": object, "Mapping": dict}
    hints = get_type_hints(hint, names)
    known = set(hints) - set(RequestOptions.__annotations__)
    found = [f"{at}.{name}: unknown" for name in value if name not in known]
    for name in known & set(value):
        found += misfits(value[name], hints[name], module, f"{at}.{name}")
    return found


@pytest.mark.parametrize("action", sorted(ACTIONS))
def test_each_action_calls_stripe_with_what_stripes_own_types_know(action: str) -> None:
    calls = calls_of(action)
    assert calls
    for method, path, params in calls:
        hint = TYPES[kind_of(method, path)]
        assert misfits(params, hint, sys.modules[hint.__module__]) == []


def test_a_portal_session_has_stripes_shape() -> None:
    api = Written()
    api.portal_session("cus_1", "https://warung.example.test")
    ((_, path, params),) = api.calls
    hint = TYPES[kind_of("post", path)]

    assert misfits(params, hint, sys.modules[hint.__module__]) == []


@pytest.mark.parametrize(
    ("params", "fault"),
    [
        ({"cancel_at_periodend": True}, ".cancel_at_periodend: unknown"),
        ({"coupon": "OFF"}, ".coupon: unknown"),
        ({"cancel_at_period_end": "yes"}, ".cancel_at_period_end: 'yes'"),
        ({"pause_collection": {"behavior": 7}}, "behavior"),
        ({"cancellation_details": {"feedback": "unused", "why": "x"}}, "why: unknown"),
    ],
)
def test_what_stripes_types_do_not_know_is_found(params: Json, fault: str) -> None:
    hint = stripe.params.SubscriptionUpdateParams
    found = misfits(params, hint, sys.modules[hint.__module__])

    assert any(fault in one for one in found), found


@pytest.mark.parametrize("action", sorted(ACTIONS))
def test_each_action_is_in_stripes_public_description(shared: Path, action: str) -> None:
    spec = json.loads(
        (shared / "data/vendor-specs/stripe/stripe-billing-2023-08-16.json").read_text()
    )
    for method, path, params in calls_of(action):
        schema = _form(spec, method, path)
        told = {name: value for name, value in params.items() if name not in NEWER}
        assert _outside(told, schema, "") == []


def _form(spec: Json, method: str, path: str) -> Json:
    asked = path.strip("/").split("/")
    for template, of in spec["paths"].items():
        parts = template.strip("/").split("/")
        fits = len(parts) == len(asked) and all(
            one == other or one.startswith("{") for one, other in zip(parts, asked, strict=True)
        )
        if fits and method in of:
            content = of[method].get("requestBody", {}).get("content", {})
            found: Json = content.get("application/x-www-form-urlencoded", {}).get("schema", {})
            return found
    raise AssertionError(f"{method} {path} is not described")


def _outside(value: Any, schema: Json, at: str) -> list[str]:
    choices = schema.get("anyOf")
    if choices:
        return min((_outside(value, one, at) for one in choices), key=len)
    if schema.get("type") == "object" and isinstance(value, dict):
        known = schema.get("properties", {})
        more = schema.get("additionalProperties")
        found = [] if more else [f"{at}.{name}" for name in value if name not in known]
        return found + [
            one
            for name, inner in value.items()
            if name in known
            for one in _outside(inner, known[name], f"{at}.{name}")
        ]
    if schema.get("type") == "array" and isinstance(value, list):
        return [one for item in value for one in _outside(item, schema["items"], f"{at}[]")]
    if "enum" in schema and value not in schema["enum"]:
        return [f"{at}: {value!r}"]
    kinds: dict[str, tuple[type, ...]] = {
        "string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,),
        "object": (dict,), "array": (list,),
    }  # fmt: skip
    wanted = kinds.get(str(schema.get("type")), (object,))
    return [] if isinstance(value, wanted) else [f"{at}: {value!r}"]


# --- a Stripe that fails ------------------------------------------------------------------------


class Faulty:
    """A Stripe in front of which things go wrong: answers that are lost, errors, refusals."""

    def __init__(self, simulator: Simulator) -> None:
        self._app = create_app(Service(simulator, lambda: simulator.now))
        self.simulator = simulator
        self.faults: list[str] = []
        self.executed: list[str] = []
        self.replayed: list[str] = []
        self.base = ""

    def __call__(self, environ: Json, start_response: Callable[..., Any]) -> Any:
        request = Request(environ)
        fault = self.faults.pop(0) if request.method != "GET" and self.faults else None
        if fault in ("429", "500"):
            told = json.dumps({"error": {"message": "no", "type": "api_error"}}).encode()
            start_response(f"{fault} no", [("Content-Type", "application/json")])
            return [told]
        headers: list[tuple[str, str]] = []

        def noted(status: str, given: list[tuple[str, str]], *more: Any) -> Any:
            headers.extend(given)
            return start_response(status, given, *more)

        body = list(self._app(environ, noted))
        if request.method != "GET":
            is_replay = any(name.lower() == "idempotent-replayed" for name, _ in headers)
            (self.replayed if is_replay else self.executed).append(request.path)
        if fault == "lost":  # it was done, and nobody hears of it
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
        return body


@pytest.fixture
def faulty() -> Iterator[Faulty]:
    made = Faulty(Simulator(1, seconds(START)))
    server = make_server("127.0.0.1", 0, made, threaded=True)
    made.base = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


def subscribed(faulty: Faulty) -> str:
    """Let somebody subscribe at the simulator; return the subscription."""
    sim = faulty.simulator
    product = sim.products.create(name="Premium")
    price = sim.prices.create(product=product["id"], currency="usd", unit_amount=1_000,
                              recurring={"interval": "month"})  # fmt: skip
    customer = sim.customers.create(
        email="a@example.test",
        payment_method="pm_card_visa",
        invoice_settings={"default_payment_method": "pm_card_visa"},
    )
    made = sim.subscriptions.create(customer=customer["id"], items=[{"price": price["id"]}])
    found: str = made["id"]
    return found


@pytest.mark.parametrize("faults", [["lost"], ["500"], ["429"], ["500", "429", "lost"], []])
def test_whatever_is_lost_on_the_way_an_action_is_done_once(
    faulty: Faulty, faults: list[str]
) -> None:
    subscription = subscribed(faulty)
    faulty.faults = list(faults)
    actor = StripeActor(StripeApi("sk_test_x", faulty.base, retries=0))
    wanted = {"subscription": subscription}
    for attempt in range(1, len(faults) + 1):
        with pytest.raises(EffectFailed) as failed:
            actor.perform(task("schedule_cancellation", wanted, attempt))
        assert not failed.value.is_final
    actor.perform(task("schedule_cancellation", wanted, len(faults) + 1))

    shown = faulty.simulator.subscriptions.retrieve(subscription)
    assert shown["cancel_at_period_end"] is True
    assert shown["metadata"]["ledger_effect"].startswith("ledger-")
    assert len(faulty.executed) == 1


def test_a_day_later_when_keys_are_forgotten_the_mark_on_the_object_tells(
    faulty: Faulty,
) -> None:
    subscription = subscribed(faulty)
    faulty.faults = ["lost"]
    actor = StripeActor(StripeApi("sk_test_x", faulty.base, retries=0))
    wanted = {"subscription": subscription, "percent_off": 20, "months": 3}
    with pytest.raises(EffectFailed):
        actor.perform(task("discount", wanted, 1))
    faulty.simulator.advance(seconds(START + timedelta(days=2)))
    actor.perform(task("discount", wanted, 2))
    actor.perform(task("discount", wanted, 3))

    shown = faulty.simulator.subscriptions.retrieve(subscription)
    assert len(shown["discounts"]) == 1
    assert sum(path.startswith("/v1/subscriptions/") for path in faulty.executed) == 1


def test_what_stripe_refuses_is_not_tried_again(faulty: Faulty) -> None:
    actor = StripeActor(StripeApi("sk_test_x", faulty.base, retries=0))
    with pytest.raises(EffectFailed) as refused:
        actor.perform(task("withdraw_cancellation", {"subscription": "sub_nobody"}))

    assert refused.value.is_final


def test_every_effect_reaches_stripe_through_a_ledger(ledger: Ledger, faulty: Faulty) -> None:
    subscription = subscribed(faulty)
    faulty.faults = ["lost", "429"]
    reactor = Reactor(ledger)
    reactor.performers["stripe"] = StripeActor(StripeApi("sk_test_x", faulty.base, retries=0))
    reactor.told(*andi())
    reactor.switch_on()
    request = EffectRequest("k", "stripe", "schedule_cancellation", "action",
                            {"subscription": subscription})  # fmt: skip
    reactor.decide(lambda desk: desk.ask("cus_andi", request))
    reactor.react()
    reactor.wait(hours=1)

    assert reactor.effects() == [("schedule_cancellation", "sent")]
    assert len(faulty.executed) == 1


# --- short messages -----------------------------------------------------------------------------


@contextmanager
def prism(shared: Path) -> Iterator[str]:
    program = os.environ.get("PRISM")
    if program is None or not Path(program).exists():
        pytest.skip("Prism is not installed (set PRISM to where it is)")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    spec = shared / "data/vendor-specs/twilio/twilio-messages-subset.json"
    process = subprocess.Popen(
        [program, "mock", str(spec), "--host", "127.0.0.1", "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(300):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


SID = "AC" + "0" * 32


def text_to(ledger: Ledger, api: str, phone: str = "+62 811 0000 001") -> Any:
    account = TwilioAccount(SID, "token", "+15550006666", api)
    links = Links(ledger.master, ledger.name)
    request = EffectRequest("k", "sms", "payment_failed_sms", "notice",
                            {"currency": "idr", "amount_minor": 15_000_000, "invoice": "in_1"},
                            "id")  # fmt: skip
    made = Task("k", 1, request, Outbox.begin("cus_1", now=START),
                Contact("Andi", None, phone), None, Brand(name="Warung"),
                "https://billing.example.test")  # fmt: skip
    return Texter(account, Renderer(), links).perform(made)


def test_a_short_message_has_the_shape_that_twilio_takes(ledger: Ledger, shared: Path) -> None:
    with prism(shared) as base:
        receipt = text_to(ledger, base)

    assert receipt.reference


@contextmanager
def answering(status: int, body: Json) -> Iterator[tuple[str, list[Json]]]:
    """A Twilio that answers so, and writes down what it was sent."""
    got: list[Json] = []

    def app(environ: Json, start_response: Callable[..., Any]) -> list[bytes]:
        request = Request(environ)
        got.append({**request.form.to_dict(), "auth": request.authorization,
                    "path": request.path})  # fmt: skip
        start_response(f"{status} told", [("Content-Type", "application/json")])
        return [json.dumps(body).encode()]

    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", got
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_short_message_says_what_failed_and_where_to_mend_it(ledger: Ledger) -> None:
    with answering(201, {"sid": "SM1", "status": "queued"}) as (base, got):
        receipt = text_to(ledger, base)

    assert receipt.reference == "SM1"
    assert (got[0]["To"], got[0]["From"]) == ("+628110000001", "+15550006666")
    assert "Rp150.000" in got[0]["Body"]
    assert got[0]["StatusCallback"].startswith("https://billing.example.test/callbacks/twilio/")


@pytest.mark.parametrize(
    ("status", "code", "final"),
    [(400, 21211, True), (429, 20429, False), (500, None, False), (401, 20003, False)],
)
def test_how_twilio_refuses_decides_whether_it_is_tried_again(
    ledger: Ledger, status: int, code: int | None, final: bool
) -> None:
    with answering(status, {"code": code}) as (base, _), pytest.raises(EffectFailed) as refused:
        text_to(ledger, base)

    assert refused.value.is_final is final
