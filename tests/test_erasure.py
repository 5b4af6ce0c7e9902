"""Erasing a customer: what was personal opens for nobody any more, what was counted stays."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import permutations
from threading import Barrier
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from psycopg import errors, sql
from werkzeug.test import Client

from ledger import history
from ledger.application import Ledger, open_ledger
from ledger.bootstrap import Installation
from ledger.errors import NotFound
from ledger.log import Log, NewEvent, RecordedEvent
from ledger.people import tokens
from ledger.privacy.box import seal_box
from ledger.projections import Crm
from ledger.projections.rebuild import Rebuild
from ledger.settings import Settings
from tests.conftest import empty_views
from tests.facts import (
    T0,
    Json,
    charge,
    customer,
    event,
    invoice,
    payment_intent,
    project,
    record,
    subscription,
)

READ_MODELS = (
    "facts", "objects", "links", "owners", "customers", "customer_search", "payments", "timeline",
)  # fmt: skip
WHO = ("andi@example.test", "Andi Wijaya", "+62 811 0000 001", "Somba Opu", "Sakit hati", "Budi")


def refund(id_: str = "re_1", **changes: Any) -> Json:
    return {
        "id": id_, "object": "refund", "charge": "ch_guest", "amount": 10_000_000, "created": T0,
        "currency": "idr", "status": "succeeded", "metadata": {"note": "Andi Wijaya asked"},
        **changes,
    }  # fmt: skip


def dispute(id_: str = "dp_1", **changes: Any) -> Json:
    return {
        "id": id_, "object": "dispute", "charge": "ch_guest", "amount": 10_000_000, "created": T0,
        "currency": "idr", "status": "needs_response", "reason": "fraudulent", "metadata": {},
        "evidence": {"customer_email_address": "andi@example.test"}, **changes,
    }  # fmt: skip


def guest_charge(**changes: Any) -> Json:
    """A charge that names no customer, but a payment intent that may."""
    return charge("ch_guest", of=None, payment_intent="pi_guest", **changes)


def life_of_andi() -> list[Json]:
    return [
        event("customer.created", customer()),
        event("customer.updated", customer(name="Andi W."), at=T0 + 1,
              previous={"name": "Andi Wijaya", "metadata": {"note": "Sakit hati"}}),
        event("customer.subscription.created", subscription(
            cancellation_details={"comment": "Sakit hati", "feedback": None, "reason": None})),
        event("invoice.created", invoice()),
        event("invoice.paid", invoice(status="paid", amount_paid=10_000_000), at=T0 + 5),
        event("charge.succeeded", charge()),
        event("payment_intent.succeeded", payment_intent("pi_guest")),
        event("charge.succeeded", guest_charge()),
        event("refund.created", refund()),
        event("charge.dispute.created", dispute()),
        event("galaxy.collided", {"id": "gx_1", "object": "galaxy", "customer": "cus_andi",
                                  "who": "Andi Wijaya"}),
    ]  # fmt: skip


def life_of_budi() -> list[Json]:
    return [
        event("customer.created", customer("cus_budi", name="Budi", email="budi@example.test")),
        event("charge.succeeded", charge("ch_budi", of="cus_budi", payment_intent=None)),
        event("refund.created", refund("re_budi", charge="ch_budi", metadata={"note": "Budi"})),
    ]


def events_of(ledger: Ledger) -> list[RecordedEvent]:
    with ledger.pool.connection() as connection:
        return Log(connection).after(0, 10_000)


def opened(ledger: Ledger) -> list[tuple[str, str]]:
    """Return (event, what it tells) of every event as its reader with all rights sees it."""
    told = []
    with ledger.pool.connection() as connection:
        for one in Log(connection).after(0, 10_000):
            whole = history.opened_event(connection, ledger.keys, one)
            told.append((f"{one.position} {one.topic}", json.dumps(whole.data)))
    return told


def telling(ledger: Ledger, *who: str) -> list[str]:
    """Return the events that still tell something about somebody."""
    return [name for name, told in opened(ledger) if any(one in told for one in who or WHO)]


def keys_of(ledger: Ledger) -> set[str]:
    """Return the subjects whose key still exists."""
    return {row[0] for row in rows(ledger, "subject_keys") if row[1] is not None}


def rows(ledger: Ledger, table: str) -> list[tuple[Any, ...]]:
    with ledger.pool.connection() as connection:
        return connection.execute(
            sql.SQL("SELECT * FROM {} ORDER BY 1, 2, 3").format(sql.Identifier(table))
            if table != "owners"
            else "SELECT * FROM owners ORDER BY 1"
        ).fetchall()


def views(ledger: Ledger) -> dict[str, list[tuple[Any, ...]]]:
    return {name: rows(ledger, name) for name in READ_MODELS}


def erase(ledger: Ledger, customer_id: str = "cus_andi") -> None:
    ledger.erase_customer(customer_id, reason="customer_request")
    project(ledger)


@pytest.fixture
def other(ledger: Ledger, installation: Installation) -> Iterator[Ledger]:
    """The same ledger as another process has it open: with a key ring of its own."""
    opened_again = open_ledger(installation.settings, installation.database, ledger.name)
    yield opened_again
    opened_again.close()


def teach(ledger: Ledger, *subjects: str) -> None:
    """Let a ledger's key ring remember keys, as one that has read and written with them."""
    with ledger.pool.connection() as connection:
        assert ledger.keys.for_reading(subjects, connection).keys() == set(subjects)


def asked(ledger: Ledger, client: Client, path: str) -> Any:
    with ledger.pool.connection() as connection:
        _, secret = tokens.create(connection, ledger.name, "all", ["personal"])
    answer = client.get(f"/v1/{path}", headers={"Authorization": f"Bearer {secret}"})
    assert answer.status_code == 200
    return answer.json


# --- what is gone --------------------------------------------------------------------------------


def test_nothing_personal_about_the_customer_opens_any_more(ledger: Ledger) -> None:
    record(ledger, *life_of_andi())
    project(ledger)
    assert len(telling(ledger)) == len(life_of_andi()) - 1  # all but the payment intent

    erase(ledger)

    assert telling(ledger) == []
    for one in events_of(ledger):
        with ledger.pool.connection() as connection:
            assert history.opened_event(connection, ledger.keys, one).data == one.data


def test_the_keys_of_the_customer_and_of_all_that_is_linked_are_gone(ledger: Ledger) -> None:
    record(ledger, *life_of_andi())
    assert keys_of(ledger) == {"cus_andi", "ch_guest", "re_1", "dp_1"}
    project(ledger)

    erase(ledger)

    assert keys_of(ledger) == set()
    erased = {row[0] for row in rows(ledger, "subject_keys") if row[3] is not None}
    assert {"cus_andi", "ch_guest", "re_1", "dp_1"} <= erased


def test_the_api_tells_null_where_somebody_was(ledger: Ledger, client: Client) -> None:
    record(ledger, *life_of_andi())
    project(ledger)
    assert asked(ledger, client, "customers/cus_andi")["email"] == "andi@example.test"

    erase(ledger)

    shown = asked(ledger, client, "customers/cus_andi")
    assert (shown["name"], shown["email"], shown["phone"]) == (None, None, None)
    assert shown["erased"] is True
    for path in ("customers", "events?limit=100", "customers/cus_andi/timeline", "payments"):
        told = json.dumps(asked(ledger, client, path))
        assert not any(one in told for one in WHO)


@pytest.mark.parametrize(
    "search", ["email=andi@example.test", "query=@example.test", "query=wijaya", "query=andi"]
)
def test_a_search_finds_an_erased_customer_no_more(
    ledger: Ledger, client: Client, search: str
) -> None:
    record(ledger, event("customer.created", customer()), *life_of_andi()[3:])
    project(ledger)
    assert [one["id"] for one in asked(ledger, client, f"customers?{search}")["data"]]

    erase(ledger)

    assert asked(ledger, client, f"customers?{search}")["data"] == []
    assert rows(ledger, "customer_search") == []


def test_a_customer_known_by_an_invoice_only_is_erased_all_the_same(
    ledger: Ledger, client: Client
) -> None:
    record(ledger, event("invoice.created", invoice()))
    project(ledger)
    assert asked(ledger, client, "customers/cus_andi")["email"] == "andi@example.test"

    erase(ledger)

    assert asked(ledger, client, "customers/cus_andi")["email"] is None
    assert rows(ledger, "customer_search") == []


def test_conflicting_deliveries_are_erased_too(ledger: Ledger) -> None:
    first = event("customer.updated", customer(name="Budi"))
    second = {**first, "data": {"object": customer(name="Andi Wijaya")}}
    assert [one.outcome for one in record(ledger, first, second)] == ["recorded", "conflict"]
    project(ledger)
    assert len(telling(ledger)) == 2

    erase(ledger)

    assert telling(ledger) == []


# --- what stays ----------------------------------------------------------------------------------


def test_what_was_counted_stays_as_it_was(ledger: Ledger, client: Client) -> None:
    record(ledger, *life_of_andi())
    project(ledger)
    paths = ("subscriptions", "invoices", "payments")
    log, seen, told = events_of(ledger), views(ledger), [asked(ledger, client, p) for p in paths]
    standing = asked(ledger, client, "customers/cus_andi")

    erase(ledger)

    since = [one for one in events_of(ledger) if not one.stream.startswith("access:")]
    assert since[:-1] == log
    assert [asked(ledger, client, path) for path in paths] == told
    after = views(ledger)
    for name in ("objects", "links", "owners", "payments"):
        assert after[name] == seen[name]
    assert after["timeline"][:-1] == seen["timeline"]
    now = asked(ledger, client, "customers/cus_andi")
    changed = {name for name in now if now[name] != standing[name]}
    assert changed == {"name", "email", "phone", "erased"}


def test_the_others_keep_their_names(ledger: Ledger, client: Client) -> None:
    record(ledger, *life_of_andi(), *life_of_budi())
    project(ledger)
    before = telling(ledger, "Budi")

    erase(ledger)

    assert telling(ledger, "Budi") == before
    assert keys_of(ledger) == {"cus_budi", "re_budi"}
    assert [one["id"] for one in asked(ledger, client, "customers?query=budi")["data"]]


def test_a_customer_never_seen_cannot_be_erased_and_leaves_no_trace(ledger: Ledger) -> None:
    record(ledger, *life_of_budi())
    before = [rows(ledger, "subject_keys"), events_of(ledger)]

    with pytest.raises(NotFound):
        ledger.erase_customer("cus_unknown", reason="customer_request")

    assert [rows(ledger, "subject_keys"), events_of(ledger)] == before


@pytest.mark.parametrize(
    "known_by",
    [
        event("customer.subscription.created", subscription(items={"who": "Andi Wijaya"})),
        event("customer.created", customer(), livemode=True),
    ],
    ids=["not projected yet", "set aside"],
)
def test_whoever_has_a_key_can_be_erased(ledger: Ledger, known_by: Json) -> None:
    record(ledger, known_by)
    assert keys_of(ledger) == {"cus_andi"}

    ledger.erase_customer("cus_andi", reason="customer_request")

    assert keys_of(ledger) == set()


def test_views_built_anew_after_an_erasure_are_the_same(ledger: Ledger) -> None:
    record(ledger, *life_of_andi(), *life_of_budi())
    project(ledger)
    erase(ledger)
    record(ledger, event("invoice.updated", invoice(status="paid"), at=T0 + 9))
    project(ledger)
    before = views(ledger)

    empty_views(ledger)
    project(ledger, batch_events=3)

    assert views(ledger) == before


class Newer(Crm):
    """The CRM views, of a version to come: nothing to compare with."""

    version = Crm.version + 1


def test_a_rebuild_erases_what_turns_out_to_be_the_customers_when_it_is_read_not_before(
    settings: Settings, ledger: Ledger
) -> None:
    record(ledger, event("payment_intent.succeeded", payment_intent("pi_guest")))
    project(ledger)
    erase(ledger)
    record(ledger, event("charge.succeeded", guest_charge()))

    Rebuild(settings, ledger, Newer, workers=0).run(swap=False)
    assert keys_of(ledger) == {"ch_guest"}

    Rebuild(settings, ledger, Newer, workers=0).run()
    assert keys_of(ledger) == set()


def test_former_tables_find_an_erased_customer_no_more(settings: Settings, ledger: Ledger) -> None:
    record(ledger, *life_of_andi(), *life_of_budi())
    project(ledger)
    Rebuild(settings, ledger, Crm, workers=0).run()
    former = f"former_crm_{ledger.schema}.customer_search"

    erase(ledger)

    with ledger.database.connect_as_owner() as connection:
        left = connection.execute(f"SELECT DISTINCT customer_id FROM {former}").fetchall()
    assert left == [("cus_budi",)]


# --- what comes afterwards -----------------------------------------------------------------------


def test_later_events_of_the_customer_are_kept_without_their_box(ledger: Ledger) -> None:
    record(ledger, *life_of_andi())
    project(ledger)
    erase(ledger)
    count = len(events_of(ledger))

    outcomes = [
        receipt.outcome
        for receipt in record(
            ledger,
            event("customer.updated", customer(), at=T0 + 9),
            event("invoice.updated", invoice(status="void"), at=T0 + 9),
            event("charge.updated", guest_charge(), at=T0 + 9),
            event("refund.updated", refund(), at=T0 + 9),
            event("customer.updated", customer(), livemode=True),
            event("galaxy.collided", {"id": "gx_2", "object": "galaxy", "customer": "cus_andi",
                                      "who": "Andi Wijaya"}),
        )
    ]  # fmt: skip
    project(ledger)

    assert outcomes == ["recorded"] * 4 + ["set_aside", "recorded"]
    later = events_of(ledger)[count:]
    assert [one.personal for one in later] == [None] * 6
    assert later[1].data["data"]["object"]["status"] == "void"
    assert keys_of(ledger) == set()
    assert telling(ledger) == []


@pytest.mark.parametrize("erased", ["first", "last"])
def test_what_is_linked_over_charge_and_payment_intent_is_erased_in_any_order(
    ledger: Ledger, erased: str
) -> None:
    chains = [chain(f"{number}", order) for number, order in enumerate(permutations(range(4)))]
    customers = [f"cus_{number}" for number in range(len(chains))]
    record(ledger, *(event("customer.created", customer(id_)) for id_ in customers))
    if erased == "first":
        for id_ in customers:
            erase(ledger, id_)
    for step in range(4):
        record(ledger, *(events[step] for events in chains))
        if step != 1:
            project(ledger, batch_events=7)
    if erased == "last":
        assert len(keys_of(ledger)) == 4 * len(chains)
        for id_ in customers:
            erase(ledger, id_)

    assert keys_of(ledger) == set()
    assert telling(ledger) == []


def chain(n: str, order: tuple[int, ...]) -> list[Json]:
    """Return a refund and a dispute of a guest's charge whose payment intent names a customer."""
    events = [
        event("refund.created", refund(f"re_{n}", charge=f"ch_{n}")),
        event("charge.dispute.created", dispute(f"dp_{n}", charge=f"ch_{n}")),
        event("charge.succeeded", charge(f"ch_{n}", of=None, payment_intent=f"pi_{n}")),
        event("payment_intent.succeeded", payment_intent(f"pi_{n}", of=f"cus_{n}")),
    ]
    return [events[index] for index in order]


def test_an_object_linked_before_it_had_anything_personal_stays_erased(ledger: Ledger) -> None:
    record(ledger, event("customer.created", customer()))
    erase(ledger)
    record(
        ledger,
        event("charge.succeeded", charge(payment_intent=None)),
        event("refund.created", refund(charge="ch_andi", metadata={})),
    )
    project(ledger)
    record(ledger, event("refund.updated", refund(charge="ch_andi"), at=T0 + 9))
    project(ledger)

    assert telling(ledger) == []
    assert keys_of(ledger) == set()


def test_what_was_recorded_but_not_projected_at_the_erasure_is_erased_with_it(
    ledger: Ledger,
) -> None:
    record(ledger, *life_of_andi())

    ledger.erase_customer("cus_andi", reason="customer_request")

    unlinked = {"ch_guest", "re_1", "dp_1"}  # whose they are is known once they are projected
    assert keys_of(ledger) == unlinked
    assert len(telling(ledger)) == len(unlinked)
    project(ledger)
    assert keys_of(ledger) == set()
    assert telling(ledger) == []


@pytest.mark.parametrize(
    ("linked", "over"),
    [
        ({"id": "mandate_1", "object": "mandate", "payment_method": "pm_1",
          "customer_acceptance": {"online": {"ip_address": "Andi Wijaya"}}},
         {"id": "pm_1", "object": "payment_method", "customer": "cus_andi"}),
        ({"id": "cs_1", "object": "checkout.session", "payment_intent": "pi_guest",
          "customer_details": {"name": "Andi Wijaya"}}, payment_intent("pi_guest")),
        ({"id": "prv_1", "object": "review", "charge": "ch_andi", "ip_address": "Andi Wijaya"},
         charge()),
        ({"id": "issfr_1", "object": "radar.early_fraud_warning", "charge": "ch_andi",
          "who": "Andi Wijaya"}, charge()),
        ({"id": "vs_1", "object": "identity.verification_session", "related_customer": "cus_andi",
          "verified_outputs": {"first_name": "Andi Wijaya"}}, customer()),
        ({"id": "pm_1", "object": "payment_method", "customer": None,
          "billing_details": {"name": "Andi Wijaya"}},
         {"id": "pm_1", "object": "payment_method", "customer": "cus_andi"}),
    ],
    ids=["mandate", "checkout session", "review", "fraud warning", "identity check",
         "payment method"],
)  # fmt: skip
def test_whatever_can_be_traced_to_the_customer_is_erased(
    ledger: Ledger, linked: Json, over: Json
) -> None:
    record(
        ledger,
        event("customer.created", customer()),
        event(f"{linked['object']}.updated", linked),
        event(f"{over['object']}.updated", over),
    )
    project(ledger)

    erase(ledger)

    assert telling(ledger) == []


# --- what could bring it back --------------------------------------------------------------------


def test_a_key_that_another_process_remembers_opens_nothing(ledger: Ledger, other: Ledger) -> None:
    record(ledger, *life_of_andi())
    project(ledger)
    teach(other, "cus_andi", "re_1", "ch_guest")

    erase(ledger)

    assert telling(other) == []


def test_a_key_that_another_process_remembers_writes_nothing(ledger: Ledger, other: Ledger) -> None:
    record(ledger, *life_of_andi())
    project(ledger)
    teach(other, "cus_andi", "re_1", "ch_guest")
    erase(ledger)
    count = len(events_of(ledger))

    record(
        other,
        event("customer.updated", customer(), at=T0 + 9),
        event("refund.updated", refund(), at=T0 + 9),
        event("charge.updated", guest_charge(), at=T0 + 9),
    )
    project(other)

    assert [one.personal for one in events_of(ledger)[count:]] == [None] * 3
    assert telling(other) == telling(ledger) == []
    assert keys_of(ledger) == set()


def test_who_serves_cannot_put_a_key_back(ledger: Ledger) -> None:
    record(ledger, event("customer.created", customer()))
    wrapped = rows(ledger, "subject_keys")[0][1]
    erase(ledger)

    with ledger.pool.connection() as connection:
        for attempt in (
            "UPDATE subject_keys SET wrapped_key = %s, erased_at = NULL",
            "DELETE FROM subject_keys WHERE %s IS NOT NULL",
            "INSERT INTO subject_keys (subject, wrapped_key) VALUES ('cus_new', %s)",
        ):
            with pytest.raises(errors.InsufficientPrivilege):
                connection.execute(attempt, [wrapped])
    assert keys_of(ledger) == set()


def test_a_key_made_anew_for_an_erased_customer_is_not_taken(ledger: Ledger) -> None:
    record(ledger, event("customer.created", customer()))
    erase(ledger)
    box = seal_box(AESGCM(bytes(32)), "cus_andi", "evt_x", b"", [(("name",), "Andi")])
    late = NewEvent(
        "cus_andi", "Customer.Updated", ledger.clock.now(), b"{}", "cus_andi", "cus_andi",
        "evt_x", subject="cus_andi", box=box, new_key=ledger.master.wrap("cus_andi", bytes(32)),
    )  # fmt: skip

    with ledger.database.connect(ledger.schema) as connection:
        outcome = Log(connection).append([late])

    assert outcome == [0]
    assert keys_of(ledger) == set()


def test_events_that_come_in_during_an_erasure_leave_nothing(ledger: Ledger, other: Ledger) -> None:
    record(ledger, event("customer.created", customer()), event("refund.created", refund()))
    teach(other, "cus_andi", "re_1")
    start = Barrier(3)

    def deliver(to: Ledger) -> None:
        start.wait()
        for number in range(25):
            record(to, event("customer.updated", customer(), at=T0 + number))

    with ThreadPoolExecutor(2) as threads:
        delivering = [threads.submit(deliver, to) for to in (ledger, other)]
        start.wait()
        ledger.erase_customer("cus_andi", reason="customer_request")
        for one in delivering:
            one.result()
    project(ledger)

    assert len(events_of(ledger)) == 2 + 50 + 1
    assert telling(other, *WHO[:3]) == telling(ledger, *WHO[:3]) == ["2 Customer.RefundCreated"]
    assert keys_of(ledger) == {"re_1"}


# --- what is delivered again ---------------------------------------------------------------------


@pytest.mark.parametrize("again_by", ["the same process", "another", "another that remembers"])
def test_an_event_delivered_again_after_the_erasure_is_a_duplicate(
    ledger: Ledger, other: Ledger, again_by: str
) -> None:
    before = life_of_andi()
    record(ledger, *before)
    project(ledger)
    if again_by == "another that remembers":
        teach(other, "cus_andi", "re_1", "ch_guest", "dp_1")
    erase(ledger)
    count = len(events_of(ledger))

    by = ledger if again_by == "the same process" else other
    outcomes = {receipt.outcome for receipt in record(by, *before)}

    assert outcomes == {"duplicate"}
    assert len(events_of(ledger)) == count


@pytest.mark.parametrize("again_by", ["the same process", "another", "another that remembers"])
def test_an_event_that_came_after_the_erasure_is_a_duplicate_when_it_comes_again(
    ledger: Ledger, other: Ledger, again_by: str
) -> None:
    record(ledger, *life_of_andi())
    project(ledger)
    if again_by == "another that remembers":
        teach(other, "cus_andi", "re_1", "ch_guest", "dp_1")
    erase(ledger)
    late = [
        event("customer.updated", customer(), at=T0 + 9),
        event("refund.updated", refund(), at=T0 + 9),
    ]
    record(ledger, *late)

    by = ledger if again_by == "the same process" else other
    outcomes = [receipt.outcome for receipt in record(by, *late)]

    assert outcomes == ["duplicate"] * 2


def test_an_event_of_an_object_linked_late_is_a_duplicate_when_it_comes_again(
    ledger: Ledger,
) -> None:
    record(ledger, event("customer.created", customer()), event("refund.created", refund()))
    erase(ledger)
    record(
        ledger,
        event("charge.succeeded", charge("ch_guest", payment_intent=None)),
    )
    project(ledger)  # tombstones the refund's key, which this process remembers
    late = event("refund.updated", refund(), at=T0 + 9)
    record(ledger, late)

    outcomes = [receipt.outcome for receipt in record(ledger, late)]

    assert outcomes == ["duplicate"]
    assert keys_of(ledger) == set()


def test_a_delivery_that_tells_more_is_a_conflict_where_nobody_was_erased(ledger: Ledger) -> None:
    bare = {"id": "re_bare", "object": "refund"}
    first = event("refund.created", bare)
    second = {**first, "data": {"object": {**bare, "description": "Andi Wijaya"}}}

    outcomes = [receipt.outcome for receipt in record(ledger, first, second)]

    assert outcomes == ["recorded", "conflict"]


def test_erasing_twice_erases_once_and_is_told_twice(ledger: Ledger) -> None:
    record(ledger, *life_of_andi())
    project(ledger)
    erase(ledger)
    tombstones = rows(ledger, "subject_keys")

    erase(ledger)

    assert rows(ledger, "subject_keys") == tombstones
    assert [one.topic for one in events_of(ledger)[-2:]] == ["Customer.CustomerErased"] * 2
