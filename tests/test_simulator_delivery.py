"""Deliveries: signed, in another order, twice, later or never, as the plan says."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from stripe import Webhook

from ledger.simulator import Simulator, random_business
from ledger.simulator.delivery import ALL_FAULTS, NO_FAULTS, Delivery, Faults, plan
from ledger.simulator.sending import Sender

VERSIONS = ("2020-08-27", "2026-03-25.dahlia")


@pytest.fixture
def business() -> Simulator:
    return random_business(2, 120, endpoint_versions=VERSIONS)


def test_without_faults_every_endpoint_hears_everything_once_and_in_order(
    business: Simulator,
) -> None:
    deliveries = list(plan(business))

    for endpoint in business.webhook_endpoints.all():
        version = endpoint["api_version"]
        heard = [d.event_id for d in deliveries if d.endpoint == endpoint["id"]]
        assert heard == [e.id for e in business.events if version in e.bodies]
    assert all(event.pending == 0 for event in business.events if len(event.bodies) == 3)


def test_a_delivery_bears_the_signature_and_the_rendering_of_its_endpoint(
    business: Simulator,
) -> None:
    delivery = next(plan(business))

    event = Webhook.construct_event(
        delivery.body, delivery.headers(1_767_225_600)["Stripe-Signature"], delivery.secret,
        tolerance=10**9,
    )  # fmt: skip

    assert event["id"] == delivery.event_id
    assert event["api_version"] == VERSIONS[0]


def test_the_same_seed_plans_the_same_faults(business: Simulator) -> None:
    def planned(seed: int) -> list[tuple[str, str, int]]:
        found = plan(business, ALL_FAULTS, seed=seed)
        return [(d.event_id, d.endpoint, d.attempt) for d in found]

    assert planned(1) == planned(1)
    assert planned(1) != planned(2)


def test_what_is_dropped_never_arrives_and_the_event_list_says_so(business: Simulator) -> None:
    deliveries = list(plan(business, Faults(drops=0.2)))

    heard = Counter(d.event_id for d in deliveries)
    for event in business.events:
        told_to = sum(version in event.bodies for version in VERSIONS)
        assert heard[event.id] == told_to - event.undelivered
    lost, _ = business.event_list.page(delivery_success=False, limit=100)
    assert lost
    assert all(business.event_list.retrieve(event["id"]) == event for event in lost)


def test_a_repetition_has_the_same_body_and_a_higher_attempt(business: Simulator) -> None:
    deliveries = list(plan(business, Faults(duplicates=0.3, redeliveries=0.3)))

    bodies: dict[tuple[str, str], bytes] = {}
    repeated = 0
    for delivery in deliveries:
        key = delivery.event_id, delivery.endpoint
        assert bodies.setdefault(key, delivery.body) == delivery.body
        repeated += delivery.attempt > 1
    assert len(deliveries) * 0.2 < repeated < len(deliveries) * 0.5


def test_shuffled_deliveries_stay_within_their_window(business: Simulator) -> None:
    position = {event.id: i for i, event in enumerate(business.events)}
    order = [position[d.event_id] for d in plan(business, Faults(shuffle_window=10))]

    assert order != sorted(order)
    highest = 0
    for place in order:
        highest = max(highest, place)
        assert highest - place <= 10


def test_a_plan_holds_back_no_more_than_it_must(business: Simulator) -> None:
    taken = 0

    def events() -> Iterator[object]:
        nonlocal taken
        for event in business.events:
            taken += 1
            yield event

    first = next(plan(business, NO_FAULTS, events=events()))  # type: ignore[arg-type]

    assert taken == 1
    assert first.event_id == business.events[0].id


class Listener:
    """A loopback endpoint that is busy at first."""

    def __init__(self, busy: int) -> None:
        listener = self
        self.heard: list[bytes] = []
        self.left = busy
        self.lock = threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with listener.lock:
                    listener.left -= 1
                    status = 503 if listener.left >= 0 else 200
                    if status == 200:
                        listener.heard.append(body)
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hook"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))

    def __enter__(self) -> Listener:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def test_sending_delivers_all_and_tries_again_while_the_endpoint_is_busy() -> None:
    with Listener(busy=3) as listener:
        deliveries = [
            Delivery(f"evt_{n}", "t", "we_1", listener.url, "whsec_1", b'{"n":%d}' % n)
            for n in range(20)
        ]
        answers = Sender(lambda: 1_767_225_600, concurrency=2).send_all(deliveries)

    assert answers == {200: 20}
    assert sorted(listener.heard) == sorted(d.body for d in deliveries)


def test_an_endpoint_that_is_not_there_is_given_up() -> None:
    sender = Sender(lambda: 1_767_225_600, concurrency=1)
    sender.send(Delivery("evt_1", "t", "we_1", "http://127.0.0.1:9/hook", "whsec_1", b"{}"))
    sender.close(at_once=True)

    assert sender.answers in ({0: 1}, {})
