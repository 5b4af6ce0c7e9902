"""What we store never changes its shape unseen: approved samples of every version of every class.

`tests/approved/TOPIC.vN.json` is a stored body of version N. A class whose stored fields change
counts `class_version` up, gets an upcaster, and a sample of the new version is added; the old ones
stay for ever, as they do in the logs of those who use it.
"""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import pytest
from eventsourcing.application import Repository
from eventsourcing.persistence import EventStore

from ledger.accounting.closing import close
from ledger.aggregates import BY_TOPIC, FACTS, StripeFact
from ledger.application import Ledger
from ledger.clock import utc
from ledger.completeness import note_filled
from ledger.errors import EventUnknown
from ledger.facts import as_fact
from ledger.log import Log, NewEvent, RecordedEvent
from ledger.log.evolution import VERSION, upcast, version_of
from ledger.log.log import prepare
from ledger.log.recorder import LedgerMapper, LedgerRecorder
from ledger.metrics.categories import categorize
from ledger.metrics.definitions import add_definitions, adopt_definitions
from ledger.metrics.exchange import import_rates
from ledger.observation import note_terms, observe_balance, observe_cards, observe_lines
from ledger.projections.definitions import shipped
from ledger.recovery.copies import Copy
from ledger.recovery.drill import note_verified
from ledger.regular_checks import note_audited
from ledger.subjects.erasure import purge
from tests.facts import T0, charge, customer, event, invoice, project, record
from tests.journal import bill, finalized, line, moved
from tests.numbers import at, begun, ended, price, sub

APPROVED = Path(__file__).parent / "approved" / "facts"
OURS = [fact for fact in FACTS if fact.stripe_type is None]


def shape(value: Any) -> Any:
    """Return a body with each leaf replaced by the name of its type."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in sorted(value.items())}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


def approved(topic: str, version: int) -> Any:
    return json.loads((APPROVED / f"{topic}.v{version}.json").read_text())


def recorded(ledger: Ledger) -> dict[str, RecordedEvent]:
    """Let the ledger write an event of each kind that is ours, and one of Stripe's."""
    told = event("customer.updated", customer(), previous={"delinquent": True})
    record(
        ledger,
        told,
        {**told, "data": {**told["data"], "object": customer(delinquent=True)}},
        event("invoice.paid", invoice(), livemode=True),
    )
    ledger.intake.receive(b"[1]")
    ledger.erase_customer("cus_andi", reason="customer_request")
    with ledger.pool.connection() as connection:
        note_filled(ledger, connection, utc(T0), utc(T0 + 1), ["evt_1"])
    add_definitions(ledger, shipped("stripe"), actor="tests")
    adopt_definitions(ledger, "stripe", actor="tests")
    note_terms(ledger, "coupon", "HALF", {"object": "coupon", "id": "HALF", "percent_off": 50.0})
    observe_invoice_and_fee(ledger)
    gone = sub("b", (price(1_000), 1))
    record(ledger, begun("2025-11-01", gone), ended(at("2025-11-20"), gone))
    project(ledger)
    categorize(ledger, gone["id"], "price", actor="tests")
    with NamedTemporaryFile("w", suffix=".csv") as file:
        file.write("date,from,to,rate\n2025-12-31,eur,usd,1.17\n")
        file.flush()
        import_rates(ledger, Path(file.name), actor="tests")
    project(ledger)
    close(ledger, "2025-12", actor="tests")
    purge(ledger)
    note_audited(ledger, {"pins": 0}, ["known faults"])
    made_up = Path(__file__)
    note_verified(ledger, Copy(made_up, made_up, ledger.clock.now(), 41))
    with ledger.pool.connection() as connection:
        return {one.topic: one for one in Log(connection).after(0, 100)}


def observe_invoice_and_fee(ledger: Ledger) -> None:
    """Let a balance transaction and all lines of an invoice be fetched."""
    cut_short = bill(line(1_000))
    cut_short["lines"]["has_more"] = True
    own = sub("a", (price(1_000), 1), default_payment_method="pm_1",
              collection_method="charge_automatically")  # fmt: skip
    record(ledger, finalized(cut_short), begun("2025-12-01", own))
    project(ledger)

    class Lists:
        def payment_method(self, method: str) -> Any:
            now = ledger.clock.now()
            card = {"last4": "4242", "brand": "visa", "exp_month": now.month, "exp_year": now.year}
            return {"card": card}

        def balance_transactions(self, since: int, until: int) -> list[list[Any]]:
            return [[moved(id=f"txn_{since}", exchange_rate=1.0, source=charge(currency="eur"))]]

        def invoice_lines(self, invoice: str) -> list[list[Any]]:
            return [[line(1_000)]]

    observe_balance(ledger, Lists())  # type: ignore[arg-type]
    observe_lines(ledger, Lists())  # type: ignore[arg-type]
    observe_cards(ledger, Lists())  # type: ignore[arg-type]


def test_what_is_stored_now_has_the_approved_shape_of_its_version(ledger: Ledger) -> None:
    found = recorded(ledger)
    for topic in [*(fact.TOPIC for fact in OURS), "Customer.Updated"]:
        stored = found[topic].data
        version = stored.get(VERSION, 1)
        assert version == version_of(BY_TOPIC[topic])
        sample = APPROVED / f"{topic}.v{version}.json"
        assert sample.exists(), f"approve it as {sample.name}: {json.dumps(stored, indent=1)}"
        assert shape(stored) == shape(approved(topic, version)), (
            f"what is stored of {topic} has changed: count class_version up, write the upcaster,"
            " add a sample"
        )


@pytest.mark.parametrize("sample", sorted(APPROVED.glob("*.json")), ids=lambda path: path.stem)
def test_every_stored_version_is_read_in_the_present_shape(sample: Path) -> None:
    topic, _, version = sample.stem.rpartition(".v")
    fact = BY_TOPIC[topic]

    present = upcast(fact, json.loads(sample.read_text()))

    assert int(version) <= version_of(fact)
    current = approved(topic, version_of(fact))
    current.pop(VERSION, None)
    assert shape(present) == shape(current)


def test_every_version_of_every_class_of_ours_has_a_sample() -> None:
    for fact in OURS:
        for version in range(1, version_of(fact) + 1):
            assert (APPROVED / f"{fact.TOPIC}.v{version}.json").exists()


def test_an_older_shape_is_upcast_where_facts_are_read(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Erased(StripeFact):
        """The event of erasure, of a version to come."""

        TOPIC = "Test.Erased"
        class_version = 3

        @staticmethod
        def upcast_v1_v2(state: dict[str, Any]) -> None:
            state["reasons"] = [state.pop("reason")]

        @staticmethod
        def upcast_v2_v3(state: dict[str, Any]) -> None:
            state["reasons"] = {"given": state["reasons"]}

    old = recorded(ledger)["Customer.CustomerErased"]
    monkeypatch.setitem(BY_TOPIC, old.topic, Erased)

    assert as_fact(old).data["reasons"] == {"given": ["customer_request"]}
    assert old.data["reason"] == "customer_request"


# --- written by a newer release -------------------------------------------------------------------


def of_the_future(topic: str, stream: str = "cus_andi") -> NewEvent:
    return NewEvent(
        stream, topic, utc(T0), b'{"class_version": 9, "told": {"in": "words to come"}}',
        customer_id="cus_andi", object_id="sub_andi", version=1,
    )  # fmt: skip


def test_topics_of_a_newer_release_are_passed_over(ledger: Ledger) -> None:
    with ledger.pool.connection() as connection:
        prepare(connection)
        Log(connection).append([of_the_future("Subscription.Teleported")])
    record(ledger, event("customer.created", customer()))

    project(ledger)

    with ledger.pool.connection() as connection:
        rows = connection.execute("SELECT position FROM facts").fetchall()
        faults = connection.execute("SELECT count(*) FROM projection_faults").fetchone()
    assert rows == [(2,)]
    assert faults == (0,)


def test_a_stream_with_decisions_of_a_newer_release_is_not_taken_for_less_than_it_is(
    ledger: Ledger,
) -> None:
    with ledger.pool.connection() as connection:
        Log(connection).append([of_the_future("DunningCase.Teleported", "dunning_in_1")])
        repository = Repository(EventStore(LedgerMapper(), LedgerRecorder(connection, ledger.keys)))

        with pytest.raises(EventUnknown, match=r"DunningCase\.Teleported"):
            repository.get("dunning_in_1")
