"""From any number to its events, from any event to its cause, and proof of both for outsiders."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ledger.application import Ledger
from ledger.causes import causes_of
from ledger.errors import NotFound, RequestInvalid
from ledger.files import replacing
from ledger.log import Log, NewEvent
from ledger.log.evidence import FORMAT, check_evidence, write_evidence
from ledger.log.log import prepare
from ledger.log.seals import export, read_export, seal
from ledger.moments import PRESENT
from ledger.projections.crm.explain import MODELS, explain
from ledger.streams import stream_at
from tests.facts import (
    T0,
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


def life() -> list[dict[str, Any]]:
    failed: dict[str, Any] = {"status": "requires_payment_method", "amount_received": 0}
    return [
        event("customer.created", customer()),
        event("customer.subscription.created", subscription(status="incomplete")),
        event("invoice.created", invoice(), at=T0 + 1),
        event("payment_intent.payment_failed", payment_intent(**failed), at=T0 + 2),
        event("charge.failed", charge(status="failed"), at=T0 + 2),
        event("payment_intent.succeeded", payment_intent(latest_charge="ch_two"), at=T0 + 3),
        event("charge.succeeded", charge("ch_two"), at=T0 + 3),
        event(
            "customer.subscription.updated", subscription(), previous={"status": "incomplete"},
            at=T0 + 3,
        ),
        event(
            "invoice_payment.paid",
            {"id": "inpay_andi", "object": "invoice_payment", "invoice": "in_andi",
             "status": "paid", "payment": {"type": "payment_intent", "payment_intent": "pi_andi"}},
            at=T0 + 3,
        ),
        event(
            "refund.created",
            {"id": "re_andi", "object": "refund", "status": "succeeded", "amount": 500,
             "payment_intent": "pi_andi", "charge": "ch_two"},
            at=T0 + 9,
        ),
        event("price.created", price()),
        event("coupon.created", {"id": "HEMAT", "object": "coupon", "percent_off": 10}),
    ]  # fmt: skip


def why(ledger: Ledger, model: str, key: str) -> dict[int, str]:
    given: dict[int, str] = {}
    with ledger.pool.connection() as connection:
        for position, what in explain(connection, model, key):
            given[position] = f"{given[position]} · {what}" if position in given else what
    return given


def test_a_row_is_explained_by_its_events(ledger: Ledger) -> None:
    record(ledger, *life())
    project(ledger)

    assert why(ledger, "subscriptions", "sub_andi") == {
        2: "showed what it was until the next", 8: "shows what it is now",
    }  # fmt: skip
    assert why(ledger, "payments", "pi_andi") == {
        4: "a failed attempt",
        5: "a failed attempt",
        6: "status, amount, method: payment_intent",
        7: "status, amount, method: charge",
        9: "ties it to its invoice",
        10: "what became of the money",
    }
    assert why(ledger, "customers", "cus_andi") == {
        1: "name, e-mail, phone · the customer itself: currency, country, delinquent, created",
        8: "subscription sub_andi is active: status",
    }  # fmt: skip
    assert why(ledger, "owners", "re_andi").keys() >= {10, 6, 7}
    assert why(ledger, "catalogue", "coupon:HEMAT") == {12: "shows what it is now"}
    assert why(ledger, "facts", "3") == {3: "is this row"}


def test_every_row_of_every_read_model_has_events(ledger: Ledger) -> None:
    record(ledger, *life())
    project(ledger)
    keys = {
        "customers": "id", "subscriptions": "id", "invoices": "id", "catalogue": "id",
        "payments": "id", "objects": "object_id", "owners": "object_id", "links": "from_id",
        "facts": "position::text", "customer_search": "customer_id",
    }  # fmt: skip
    assert keys.keys() == set(MODELS)

    for model, key in keys.items():
        with ledger.pool.connection() as connection:
            found = connection.execute(f"SELECT {key} FROM {model}".encode()).fetchall()
        assert found
        for (value,) in found:
            assert why(ledger, model, value)


@pytest.mark.parametrize(
    ("model", "key", "error", "detail"),
    [
        ("subscriptions", "sub_nobody", NotFound, "no row 'sub_nobody' in subscriptions"),
        ("facts", "sub_andi", RequestInvalid, "named by its position"),
        ("pg_user", "postgres", RequestInvalid, "no read model 'pg_user'"),
    ],
)
def test_what_is_no_row_is_not_explained(
    ledger: Ledger, model: str, key: str, error: type[Exception], detail: str
) -> None:
    with pytest.raises(error, match=detail):
        why(ledger, model, key)


def test_a_customer_known_only_by_links_is_explained(ledger: Ledger) -> None:
    refund = {"id": "re_1", "object": "refund", "charge": "ch_guest", "created": T0}
    record(
        ledger,
        event("refund.created", refund, at=T0),
        event("charge.succeeded", charge("ch_guest", of="cus_budi"), at=T0 + 5),
    )
    project(ledger)

    reasons = why(ledger, "customers", "cus_budi")

    assert reasons[1] == "first told of: created"
    with pytest.raises(NotFound):
        why(ledger, "subscriptions", "cus_budi")


def test_a_coupon_and_a_plan_of_one_name_are_two_things(ledger: Ledger) -> None:
    record(
        ledger,
        event("coupon.created", {"id": "GOLD", "object": "coupon", "percent_off": 10}),
        event("plan.created", {"id": "GOLD", "object": "plan", "amount": 900}, at=T0 + 1),
    )
    with ledger.pool.connection() as connection:
        found = stream_at(connection, "account", PRESENT).objects

    assert [(one.kind, one.object_id) for one in found] == [("coupon", "GOLD"), ("plan", "GOLD")]


def test_a_chain_of_causes_is_followed_both_ways(ledger: Ledger) -> None:
    facts = life()
    for one in facts:
        one["request"] = {"id": None, "idempotency_key": None}
    facts[6]["request"] = facts[5]["request"] = {"id": "req_checkout", "idempotency_key": None}
    record(ledger, *facts)
    project(ledger)
    with ledger.pool.connection() as connection:
        log = Log(connection)

        def decided(topic: str, version: int, cause: str) -> int:
            (position,) = log.append([
                NewEvent("dunning_in_andi", topic, ledger.clock.now(), msgspec.json.encode({}),
                         version=version, causation_id=cause, customer_id="cus_andi")
            ])  # fmt: skip
            return position

        opened = decided("DunningCase.Opened", 1, facts[3]["id"])
        scheduled = decided("DunningCase.StepScheduled", 2, str(opened))
        closed = decided("DunningCase.Closed", 3, facts[5]["id"])

        around = causes_of(connection, str(opened))
        of_failure = causes_of(connection, facts[3]["id"])
        of_success = causes_of(connection, facts[5]["id"])

    assert [one.position for one in around.caused_by] == [4]
    assert [(steps, one.position) for steps, one in around.led_to] == [(1, scheduled)]
    assert [(steps, one.position) for steps, one in of_failure.led_to] == [
        (1, opened), (2, scheduled),
    ]  # fmt: skip
    assert of_failure.request is None
    assert of_success.request == "req_checkout"
    assert [one.position for one in of_success.same_request] == [7]
    assert [one.position for _, one in of_success.led_to] == [closed]


def test_an_event_that_causes_itself_does_not_go_on_for_ever(ledger: Ledger) -> None:
    with ledger.pool.connection() as connection:
        Log(connection).append([
            NewEvent("odd", "Odd.Happened", ledger.clock.now(), b"{}", version=1, causation_id="1")
        ])  # fmt: skip
        found = causes_of(connection, "1")
        assert found.led_to == []
        for nobody in ("2", "evt_nobody", "9" * 30, "an address@example.test"):
            with pytest.raises(NotFound):
                causes_of(connection, nobody)


# --- proof for outsiders --------------------------------------------------------------------------


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ledger.log.seals.BLOCK_EVENTS", 4)


def evidence(ledger: Ledger, file: Path, positions: Sequence[int] = (2, 3, 9)) -> list[Any]:
    with ledger.pool.connection() as connection:
        prepare(connection)
        seal(connection)
        with file.open("w") as out:
            assert write_evidence(connection, positions, ledger.name, out) == len(positions)
    return [json.loads(line) for line in file.read_text().splitlines()]


def kinds(file: Path, lines: list[Any], **options: Any) -> list[tuple[str, int]]:
    file.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    return [(one.kind, one.position) for one in check_evidence(file, **options).findings]


@pytest.mark.usefixtures("small_blocks")
def test_exported_events_prove_themselves_without_the_ledger(
    ledger: Ledger, tmp_path: Path
) -> None:
    record(ledger, *life())
    file = tmp_path / "evidence.jsonl"
    evidence(ledger, file)

    found = check_evidence(file)

    assert (found.events, found.blocks, found.findings) == (3, 2, ())
    assert "Andi" not in file.read_text()
    assert "example.test" not in file.read_text()


@pytest.mark.usefixtures("small_blocks")
def test_whatever_is_changed_in_exported_events_is_found(ledger: Ledger, tmp_path: Path) -> None:
    record(ledger, *life())
    file = tmp_path / "evidence.jsonl"
    header, two, three, nine, first, third = evidence(ledger, file)
    rest = (first, third)

    def edited(line: Any, **changes: Any) -> Any:
        return {"event": {**line["event"], **changes}}

    for changes in (
        {"data": two["event"]["data"].replace("incomplete", "active")},
        {"customer_id": "cus_budi"},
        {"recorded_at_us": two["event"]["recorded_at_us"] - 1},
    ):
        assert kinds(file, [header, edited(two, **changes), three, nine, *rest]) == [("edited", 2)]
    for box in ("00" * 32, None):
        changed = edited(three, personal_sha256=box)
        assert kinds(file, [header, two, changed, nine, *rest]) == [("edited", 3)]
    assert kinds(file, [header, edited(two, position=4), three, nine, *rest]) == [("edited", 4)]
    assert kinds(file, [header, three, nine, *rest]) == [("events_missing", 0)]
    assert kinds(file, [header, two, three, nine, first]) == [("seal_missing", 9)]
    forged = {"seal": {**first["seal"], "previous": "11" * 32}}
    assert kinds(file, [header, two, three, nine, forged, third]) == [("seal_broken", 1)]
    forged = edited(two, data='{"forged": true}')
    for twice in ([forged, two], [two, forged]):
        assert ("repeated", 2) in kinds(file, [header, *twice, three, nine, *rest])
    twice = [header, two, three, nine, forged_seal(first), *rest]
    assert ("repeated", 1) in kinds(file, twice)


def forged_seal(line: Any) -> Any:
    return {"seal": {**line["seal"], "leaves": ""}}


@pytest.mark.usefixtures("small_blocks")
def test_a_line_that_could_be_read_in_two_ways_is_refused(ledger: Ledger, tmp_path: Path) -> None:
    record(ledger, *life())
    file = tmp_path / "evidence.jsonl"
    evidence(ledger, file)
    right = file.read_text().splitlines()
    event = json.loads(right[1])["event"]

    for line in (
        right[1].replace('"data": ', '"data": "{}", "data": '),
        right[1].replace('"event": {', '"event": {"amount_paid": 1000000, '),
        right[1].replace('{"event"', '{"seal": null, "event"'),
        json.dumps({"event": event, "seal": json.loads(right[4])["seal"]}, ensure_ascii=False),
        json.dumps({"event": {**event, "data": {}}}, ensure_ascii=False),
        json.dumps({"event": {**event, "position": "2"}}, ensure_ascii=False),
        *(
            json.dumps({"event": {**event, "personal_sha256": box}}, ensure_ascii=False)
            for box in ("no hex", "", "AB" * 32, "ab " * 32)
        ),
        json.dumps({"event": {**event, "data": event["data"] + "\x00"}}, ensure_ascii=False),
        "[" * 100_000,
    ):
        file.write_text("\n".join([right[0], line, *right[2:]]))
        with pytest.raises(RequestInvalid):
            check_evidence(file)


@pytest.mark.usefixtures("small_blocks")
def test_seals_exported_earlier_prove_that_the_blocks_are_the_ledgers_own(
    ledger: Ledger, tmp_path: Path
) -> None:
    record(ledger, *life())
    file, kept = tmp_path / "evidence.jsonl", tmp_path / "seals.jsonl"
    lines = evidence(ledger, file)
    with ledger.pool.connection() as connection:
        export(connection, kept)
    seals = read_export(kept)

    assert kinds(file, lines, against=seals) == []
    seals[0]["hash"] = "00" * 32
    assert kinds(file, lines, against=seals) == [("export_differs", 1)]
    assert [kind for kind, _ in kinds(file, lines, against=[])] == ["export_differs"] * 2


def test_what_is_not_sealed_is_not_exported(ledger: Ledger) -> None:
    record(ledger, *life())
    with ledger.pool.connection() as connection:
        prepare(connection)
        with pytest.raises(RequestInvalid, match="not sealed yet"):
            write_evidence(connection, [1], ledger.name, io.StringIO())


def test_an_export_that_fails_leaves_the_file_that_was_there(tmp_path: Path) -> None:
    file = tmp_path / "evidence.jsonl"
    file.write_text("whole")

    def fail() -> None:
        with replacing(file) as out:
            out.write("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()

    assert [one.name for one in tmp_path.iterdir()] == [file.name]
    assert file.read_text() == "whole"


@pytest.mark.parametrize(
    "content",
    [
        "", "nonsense", "[]", '{"format": "something else"}', "\xff",
        f'{{"format": "{FORMAT}", "events": 1}}\n{{"event": {{"position": 1}}}}',
        f'{{"format": "{FORMAT}", "events": 0}}\n{{"seal": {{"block": "x"}}}}',
        f'{{"format": "{FORMAT}", "events": 0}}\n{{"other": 1}}',
    ],
)  # fmt: skip
def test_a_file_that_is_no_evidence_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "evidence.jsonl"
    file.write_bytes(content.encode("latin-1"))

    with pytest.raises(RequestInvalid):
        check_evidence(file)
