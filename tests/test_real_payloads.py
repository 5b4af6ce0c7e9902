"""Every real Stripe payload at hand is taken in, none is lost, and all of it can be shown."""

from __future__ import annotations

import csv
import itertools
import json
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
from werkzeug.test import Client

from ledger import history
from ledger.application import Ledger
from ledger.bootstrap import Installation
from ledger.log import Log
from ledger.privacy.classify import classify
from ledger.stripe_objects.readers import view_of
from tests.client import front_client
from tests.conftest import new_ledger
from tests.facts import T0, Json, event, project, record, signed
from tests.test_crm import LISTS, Tell, asking, every, telling

# The Stripe type under which an object of this kind is told of; others are `KIND.updated`.
TYPES = {
    "subscription": "customer.subscription.updated",
    "dispute": "charge.dispute.updated",
    "card": "customer.source.updated",
    "bank_account": "customer.source.updated",
    "discount": "customer.discount.updated",
    "tax_id": "customer.tax_id.updated",
    "checkout.session": "checkout.session.completed",
    "invoice_payment": "invoice_payment.paid",
    "payment_intent": "payment_intent.succeeded",
    "setup_intent": "setup_intent.created",
}
# Never stored: what lets somebody pay or take over.
FORBIDDEN = frozenset({
    "client_secret", "secret", "cvc", "exp_month", "exp_year", "fingerprint",
})  # fmt: skip


@dataclass
class Samples:
    """The collection: events as Stripe made them, and objects wrapped into events by us."""

    folder: Path
    events: list[Json] = field(default_factory=list)
    wrapped: list[Json] = field(default_factory=list)

    @property
    def all(self) -> list[Json]:
        """Everything that can be delivered."""
        return self.events + self.wrapped

    def objects(self, pattern: str) -> list[Json]:
        """Return the recorded objects of these files, in the order of their names."""
        found = [json.loads(file.read_bytes()) for file in sorted(self.folder.glob(pattern))]
        assert found, f"no samples at {pattern}"
        return [obj for one in found for obj in listed(one)]


def listed(content: Json) -> list[Json]:
    return list(content["data"]) if content.get("object") == "list" else [content]


def wrapped(obj: Json, number: int, **changes: Any) -> Json:
    """Return an event that tells of an object which was recorded without one."""
    kind = obj.get("object") or "unknown"
    type_ = TYPES.get(kind, f"{kind}.updated")
    if obj.get("deleted"):
        type_ = type_.replace(".updated", ".deleted")
    created = obj.get("created")
    at = created if isinstance(created, int) else T0
    return event(type_, obj, **{"at": at, "id": f"evt_wrapped{number:06d}", **changes})


@pytest.fixture(scope="module")
def samples(shared: Path) -> Samples:
    found = Samples(shared / "data" / "stripe-events")
    index = (found.folder / "INDEX.tsv").read_text()
    for row in csv.DictReader(index.splitlines(), delimiter="\t"):
        content = json.loads((found.folder / row["path"]).read_bytes())
        match row["kind"]:
            case "event":
                found.events.append(content)
            case "list-of-events":
                found.events += content["data"]
            case "delivery(headers+body)":
                found.events.append(content["body"])
            case "object-only" | "api-response":
                version = {"api_version": row["api_version"] or None}
                for obj in listed(content):
                    found.wrapped.append(wrapped(obj, len(found.wrapped), **version))
            case kind:
                raise AssertionError(f"{row['path']} is of an unknown kind: {kind}")
    return found


def test_the_samples_bear_the_marks_of_their_time(samples: Samples) -> None:
    ids = Counter(one["id"] for one in samples.events)

    assert (len(samples.events), len(ids)) == (596, 292)
    assert max(ids.values()) == 181
    assert sum("account" in one for one in samples.events) == 11
    assert sum(one.get("api_version") is None for one in samples.events) == 64


# --- taken in, all of it ----------------------------------------------------------------------


@dataclass
class Taken:
    """A ledger that was sent every sample twice, and what it answered."""

    ledger: Ledger
    tell: Tell
    answers: list[tuple[int, str]]
    again: list[tuple[int, str]]
    length: int  # of the log after the first time


@pytest.fixture(scope="module")
def front(installation: Installation) -> Iterator[Client]:
    with front_client(installation) as opened:
        yield opened


@pytest.fixture(scope="module")
def taken(installation: Installation, samples: Samples, front: Client) -> Iterator[Taken]:
    for ledger in new_ledger(installation):

        def post(sample: Json, to: str = f"/webhooks/stripe/{ledger.name}") -> tuple[int, str]:
            raw = json.dumps(sample).encode()
            answer = front.post(to, data=raw, headers=signed(raw))
            return answer.status_code, (answer.json or {}).get("outcome", "")

        answers = [post(sample) for sample in samples.all]
        length = len_of_log(ledger)
        again = [post(sample) for sample in samples.all]
        project(ledger)
        yield Taken(ledger, telling(asking(front, ledger)), answers, again, length)


def len_of_log(ledger: Ledger) -> int:
    with ledger.pool.connection() as connection:
        return Log(connection).last_position()


def test_every_real_payload_is_answered_with_success(taken: Taken) -> None:
    assert {status for status, _ in taken.answers} == {200}


def test_each_event_is_recorded_once_and_a_repeated_id_kept_as_a_conflict(
    taken: Taken, samples: Samples
) -> None:
    ids = {one["id"] for one in samples.all}

    outcomes = Counter(outcome for _, outcome in taken.answers)

    assert outcomes == {"recorded": len(ids), "conflict": len(samples.all) - len(ids)}
    assert taken.length == len(samples.all)
    with taken.ledger.pool.connection() as connection:
        recorded = [one.stripe_event_id for one in Log(connection).after(0, 10_000)]
    assert sorted(id_ for id_ in recorded if id_) == sorted(ids)


def test_what_was_sent_can_be_read_back_but_for_what_may_not_be_kept(
    taken: Taken, samples: Samples
) -> None:
    with taken.ledger.pool.connection() as connection:
        events = Log(connection).after(0, 10_000)
        kept = [history.opened_event(connection, taken.ledger.keys, one) for one in events]

    lost = {
        path
        for sample, recorded in zip(samples.all, kept, strict=True)
        for path, sent, found in differences(sample, dict(recorded.data))
        if not (path.rpartition(".")[2] in FORBIDDEN or is_secret(sent) or is_masked(sent, found))
    }
    assert lost == set()


def differences(sent: Any, kept: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield each leaf that is not kept as it was sent: its path, what was sent, what is kept."""
    if isinstance(sent, dict) and isinstance(kept, dict):
        for name, value in sent.items():
            yield from differences(value, kept.get(name), f"{path}.{name}")
    elif isinstance(sent, list) and isinstance(kept, list) and len(sent) == len(kept):
        for one, other in zip(sent, kept, strict=True):
            yield from differences(one, other, f"{path}[]")
    elif sent != kept:
        yield path, sent, kept


def is_secret(sent: Any) -> bool:
    return isinstance(sent, str) and re.search("_secret_|^sk_", sent) is not None


def is_masked(sent: Any, kept: Any) -> bool:
    """Return whether only runs of digits, which might be card numbers, were masked.

    In the samples most letters of the ids were replaced by zeros, which pass for such numbers.
    """
    if not isinstance(sent, str) or not isinstance(kept, str):
        return False
    return re.fullmatch(re.escape(kept).replace(r"\*\*\*\*", r"[\d -]+"), sent) is not None


def test_sent_a_second_time_nothing_is_added(taken: Taken) -> None:
    assert set(taken.again) == {(200, "duplicate")}
    assert len_of_log(taken.ledger) == taken.length


def test_all_of_it_can_be_projected_and_listed(taken: Taken) -> None:
    assert taken.tell("status")["lag_events"] == 0
    for path in LISTS:
        assert every(taken.tell, path, limit=50)


def test_each_customer_and_their_story_can_be_shown(taken: Taken) -> None:
    for known in every(taken.tell, "customers"):
        shown = taken.tell(f"customers/{known['id']}")
        story = every(taken.tell, f"customers/{known['id']}/timeline")

        assert shown.items() >= known.items()
        assert all(line["sentence"].endswith(".") for line in story)


def test_events_of_live_mode_are_recorded_but_set_aside(
    ledger: Ledger, tell: Tell, samples: Samples
) -> None:
    live = [{**one, "livemode": True} for one in samples.wrapped[:30]]

    outcomes = [receipt.outcome for receipt in record(ledger, *live)]

    project(ledger)
    assert outcomes == ["set_aside"] * len(live)
    assert len_of_log(ledger) == len(live)
    assert tell("customers")["data"] == tell("invoices")["data"] == []


# --- each sample by itself --------------------------------------------------------------------


@pytest.fixture(scope="module")
def apart(
    installation: Installation, samples: Samples, front: Client
) -> Iterator[tuple[Ledger, Tell]]:
    """A ledger in which each sample has an id of its own, so that each comes into the views."""
    for ledger in new_ledger(installation):
        for number, sample in enumerate(samples.all):
            record(ledger, {**sample, "id": f"evt_apart{number:06d}"})
        project(ledger, 100)
        yield ledger, telling(asking(front, ledger))


def test_every_sample_can_be_projected_and_shown(apart: tuple[Ledger, Tell]) -> None:
    _, tell = apart
    customers = every(tell, "customers")

    for path in LISTS:
        assert every(tell, path)
    assert sum(len(every(tell, f"customers/{one['id']}/timeline")) for one in customers) > 500


def test_a_charge_that_failed_collected_nothing(apart: tuple[Ledger, Tell]) -> None:
    _, tell = apart
    with apart[0].pool.connection() as connection:
        failed = connection.execute(
            "SELECT count(*), sum((canonical ->> 'amount_received')::numeric)"
            " FROM facts WHERE type = 'charge.failed'"
        ).fetchone()

    assert failed is not None
    assert failed[0] > 3
    assert failed[1] in {None, 0}
    of_failures = [one for one in every(tell, "payments") if one["status"] == "failed"]
    assert {one["amount_received"] for one in of_failures} <= {None, 0}


# --- whole stories, in any order --------------------------------------------------------------

SHUFFLES = 3
# Recordings whose events all bear one second; each came in pages, every page newest first.
ONE_SECOND = [
    ("attach_discount_to_realm", "P41"),
    ("invoice_plans_as_needed", "P41"),
    ("switch_realm_from_standard_to_plus_plan", "P66"),
    ("switch_realm_from_standard_to_plus_plan", "P67"),
    ("invoice_plan", "P41"),
    ("invoice_plan", "P67"),
]


def recording(samples: Samples, story: str, made: str) -> list[Json]:
    """Return the events of one recording, as they happened.

    Some stories mix two recordings in which the same ids mean different objects; the letters
    after `evt_1` tell when an event was made and so which one it belongs to.
    """
    pages = sorted(samples.folder.glob(f"zulip-stories-2020-08-27/{story}--Event.list.*.json"))
    events = [one for page in pages for one in reversed(json.loads(page.read_bytes())["data"])]
    return [one for one in events if one["id"][5:].startswith(made)]


def states(ledger: Ledger) -> dict[str, tuple[Json, str]]:
    """Return what each object is now, and how sure that is."""
    with ledger.pool.connection() as connection:
        rows = connection.execute(
            "SELECT object_id, canonical, mark FROM objects JOIN facts USING (object_id, position)"
        ).fetchall()
    return {object_id: (canonical, mark) for object_id, canonical, mark in rows}


def clear_view(obj: Json) -> Any:
    """Return how an object reads once its personal leaves have been taken out."""
    body = {"data": {"object": deepcopy(obj)}}
    classify(body)
    return msgspec.json.decode(msgspec.json.encode(view_of(body["data"]["object"])))


def last_states(events: Iterable[Json]) -> Json:
    return {one["data"]["object"]["id"]: one["data"]["object"] for one in events}


@pytest.mark.parametrize(("story", "made"), ONE_SECOND)
def test_a_story_of_one_second_ends_as_it_did_in_any_order(
    installation: Installation, samples: Samples, story: str, made: str
) -> None:
    events = recording(samples, story, made)
    truth = {key: clear_view(obj) for key, obj in last_states(events).items()}
    assert len({one["created"] for one in events}) == 1
    outcomes = []
    for seed in range(SHUFFLES):
        for ledger in new_ledger(installation):
            record(ledger, *random.Random(seed).sample(events, len(events)))
            project(ledger, 10)
            outcomes.append(states(ledger))

    assert all(outcome == outcomes[0] for outcome in outcomes)
    assert outcomes[0].keys() == truth.keys()
    sure = {key: view for key, (view, mark) in outcomes[0].items() if mark != "assumed"}
    assert sure == {key: truth[key] for key in sure}
    assert len(truth) - len(sure) <= 2


@pytest.fixture
def tell(ledger: Ledger, client: Client) -> Tell:
    return telling(asking(client, ledger))


def ordered(events: list[Json], order: tuple[int, ...]) -> list[Json]:
    """Return the events in this order, each under an id of its own (the samples share one)."""
    return [{**events[place], "id": f"evt_sample{place}"} for place in order]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_a_cancellation_withdrawn_within_its_second_did_not_happen(
    ledger: Ledger, tell: Tell, samples: Samples, order: tuple[int, ...]
) -> None:
    renewed, canceled, reactivated = (
        samples.objects(f"mozilla-subhub/stripe_sub_updated_event_{name}.json")[0]
        for name in ("charge", "cancel", "reactivate")
    )
    story = [{**renewed, "created": renewed["created"] - 1}, canceled, reactivated]
    for fact in ordered(story, order):
        record(ledger, fact)
        project(ledger)

    known = tell(f"subscriptions/{renewed['data']['object']['id']}")

    assert (known["status"], known["cancel_at_period_end"]) == ("active", False)
    assert known["current_period_end"] == renewed["data"]["object"]["current_period_end"]
    assert known["provisional"] == []


@pytest.mark.parametrize("order", list(itertools.permutations(range(2))))
def test_a_subscription_of_2018_ends_with_its_last_fact(
    ledger: Ledger, tell: Tell, samples: Samples, order: tuple[int, ...]
) -> None:
    made, ended = (
        samples.objects(f"mozilla-subhub/stripe_sub_{name}_event.json")[0]
        for name in ("created", "deleted")
    )
    for fact in ordered([made, ended], order):
        record(ledger, fact)
        project(ledger)

    known = tell(f"customers/{made['data']['object']['customer']}")

    assert known["status"] == "inactive"
    (subscribed,) = known["subscriptions"]
    assert subscribed["status"] == "canceled"
    plan = ended["data"]["object"]["plan"]["id"].rstrip("0")
    assert subscribed["items"][0]["price"].startswith(plan)


def test_bare_objects_of_2020_read_like_any_others(
    ledger: Ledger, tell: Tell, samples: Samples
) -> None:
    objects = samples.objects("dj-stripe/object__*.json")
    facts = [wrapped(obj, n, api_version="2020-08-27") for n, obj in enumerate(objects)]
    record(ledger, *random.Random(3).sample(facts, len(facts)))
    project(ledger, 7)

    who = next(obj["customer"] for obj in objects if obj["object"] == "invoice")
    known = tell(f"customers/{who}")

    assert known["status"] == "active"
    assert {(one["id"], one["items"][0]["price"]) for one in known["subscriptions"]} == {
        (obj["id"], obj["items"]["data"][0]["plan"]["id"])
        for obj in objects
        if obj["object"] == "subscription" and obj["customer"] == who
    }
    assert {one["id"]: one["amount_paid"] for one in every(tell, "invoices", customer=who)} == {
        obj["id"]: obj["amount_paid"] for obj in objects if obj["object"] == "invoice"
    }
    disputes = [
        line
        for line in every(tell, f"customers/{who}/timeline")
        if line["type"] == "charge.dispute.updated"
    ]
    assert len(disputes) == sum(obj["object"] == "dispute" for obj in objects)


SWAP = "pay-rails-cassettes/2025-10-29.clover__test_stripe_can_swap_and_invoice_a_subscription*"


def swap(samples: Samples, seed: int, *, without: str = "") -> tuple[list[Json], list[Json]]:
    """Return the answers recorded while a plan was swapped, and events made of them."""
    objects = [obj for obj in samples.objects(SWAP) if obj["object"] != without]
    facts = [
        wrapped(obj, n, at=objects[0]["created"] + n, api_version="2025-10-29.clover")
        for n, obj in enumerate(objects)
    ]
    return objects, random.Random(seed).sample(facts, len(facts)) if seed else facts


@pytest.mark.parametrize("seed", [0, 1])
def test_after_a_swap_subscription_invoices_and_payments_are_right(
    ledger: Ledger, tell: Tell, samples: Samples, seed: int
) -> None:
    objects, facts = swap(samples, seed)
    last: dict[str, Json] = defaultdict(dict)
    for obj in objects:
        last[obj["object"]][obj["id"]] = obj
    for fact in facts:
        record(ledger, fact)
        project(ledger)

    known = tell(f"customers/{objects[0]['id']}")

    (subscribed,) = known["subscriptions"]
    (item,) = subscribed["items"]
    (swapped,) = last["subscription"].values()
    (truth,) = swapped["items"]["data"]
    assert (known["status"], subscribed["status"]) == ("active", "active")
    assert item["price"] == truth["price"]["id"]
    assert item["unit_amount"] == truth["price"]["unit_amount"]
    assert subscribed["current_period_end"] == truth["current_period_end"]
    invoices = every(tell, "invoices", subscription=subscribed["id"])
    assert {one["id"]: (one["status"], one["amount_paid"]) for one in invoices} == {
        key: ("paid", obj["amount_paid"]) for key, obj in last["invoice"].items()
    }
    assert len(invoices) == 3
    payments = every(tell, "payments", customer=known["id"])
    assert {one["id"]: one["amount_received"] for one in payments} == {
        key: obj["amount_received"] for key, obj in last["payment_intent"].items()
    }
    assert {one["invoice_found_by"] for one in payments} == {"link"}
    assert {one["invoice"]: one["amount_received"] for one in payments} == {
        one["id"]: one["amount_paid"] for one in invoices if one["amount_paid"]
    }


@pytest.mark.parametrize("seed", [0, 1])
def test_without_invoice_payments_the_cut_reference_finds_the_invoice(
    ledger: Ledger, tell: Tell, samples: Samples, seed: int
) -> None:
    _, facts = swap(samples, seed, without="invoice_payment")
    for fact in facts:
        record(ledger, fact)
        project(ledger)

    payments, invoices = every(tell, "payments"), every(tell, "invoices")

    assert {one["invoice_found_by"] for one in payments} == {"order_reference"}
    assert {one["invoice"]: one["amount_received"] for one in payments} == {
        one["id"]: one["amount_paid"] for one in invoices if one["amount_paid"]
    }
