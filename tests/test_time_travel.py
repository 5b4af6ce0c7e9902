"""The past on two axes: what was true then (`as_of`), what was known then (`known_at`)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from werkzeug.test import Client

from ledger.application import Ledger
from ledger.clock import SystemClock, utc
from ledger.errors import NotFound, RequestInvalid
from ledger.log import Log
from ledger.log.log import prepare
from ledger.moments import Moment, instant_of, moment_of
from ledger.people import tokens
from ledger.projections.crm import past, queries
from ledger.streams import changes_between, stream_at
from tests.conftest import empty
from tests.facts import (
    T0,
    charge,
    customer,
    event,
    invoice,
    payment_intent,
    project,
    record,
    subscription,
)
from tests.test_convergence import story

DAY = 86_400
Ask = Callable[..., tuple[int, Any]]


@pytest.fixture
def ask(ledger: Ledger, client: Client) -> Ask:
    with ledger.pool.connection() as connection:
        _, secret = tokens.create(connection, ledger.name, "tests", ["personal"])

    def asked(path: str, **query: object) -> tuple[int, Any]:
        answer = client.get(
            f"/v1/{path}",
            query_string=query,
            headers={"Authorization": f"Bearer {secret}"},
        )
        return answer.status_code, answer.json

    return asked


def life() -> list[dict[str, Any]]:
    """A subscription that lapsed and came back, its invoice, its customer under two names."""
    return [
        event("customer.created", customer()),
        event("customer.subscription.created", subscription(), at=T0 + 10),
        event("invoice.created", invoice(), at=T0 + 30 * DAY),
        event(
            "customer.subscription.updated", subscription(status="past_due"),
            previous={"status": "active"}, at=T0 + 31 * DAY,
        ),
        event(
            "invoice.updated", invoice(status="paid", amount_paid=10_000_000),
            previous={"status": "draft", "amount_paid": 0}, at=T0 + 40 * DAY,
        ),
        event(
            "customer.subscription.updated", subscription(), previous={"status": "past_due"},
            at=T0 + 40 * DAY,
        ),
        event(
            "customer.updated", customer(name="Andi W."), previous={"name": "Andi Wijaya"},
            at=T0 + 50 * DAY,
        ),
    ]  # fmt: skip


def test_what_was_true_then(ledger: Ledger, ask: Ask) -> None:
    record(ledger, *life())
    project(ledger)

    told = [ask("subscriptions/sub_andi", as_of=T0 + days * DAY) for days in (1, 35, 45)]
    assert [(code, one["status"]) for code, one in told] == [
        (200, "active"), (200, "past_due"), (200, "active"),
    ]  # fmt: skip
    assert told[1][1]["as_of"] == T0 + 35 * DAY
    assert ask("invoices/in_andi", as_of=T0 + 35 * DAY)[1]["status"] == "draft"
    assert ask("invoices/in_andi", as_of=T0 + DAY)[0] == 404
    then = ask("customers/cus_andi", as_of=T0 + 35 * DAY)[1]
    assert (then["status"], then["name"]) == ("past_due", "Andi Wijaya")
    assert then["subscriptions"][0]["status"] == "past_due"
    now = ask("customers/cus_andi")[1]
    assert (now["status"], now["name"]) == ("active", "Andi W.")
    assert "as_of" not in now


def test_what_was_known_then(ledger: Ledger, ask: Ask) -> None:
    facts = life()
    late = facts.pop(3)  # past_due is learnt last of all
    record(ledger, *facts, late)
    project(ledger)

    assert ask("subscriptions/sub_andi", as_of=T0 + 35 * DAY)[1]["status"] == "past_due"
    then = ask("subscriptions/sub_andi", as_of=T0 + 35 * DAY, known_at=6)[1]
    assert (then["status"], then["known_at"]) == ("active", 6)
    assert ask("subscriptions/sub_andi", known_at=1)[0] == 404
    assert ask("customers/cus_andi", as_of=T0 + 35 * DAY, known_at=6)[1]["status"] == "active"
    assert ask("customers/cus_andi", as_of=T0 + 35 * DAY, known_at=7)[1]["status"] == "past_due"
    assert ask("customers/cus_andi", known_at=1)[1]["status"] == "lead"


def test_lists_of_the_past(ledger: Ledger, ask: Ask) -> None:
    record(ledger, *life())
    record(
        ledger,
        event("customer.created", customer("cus_budi", created=T0 + 60 * DAY), at=T0 + 60 * DAY),
        event(
            "customer.subscription.created",
            subscription("sub_budi", of="cus_budi", created=T0 + 60 * DAY), at=T0 + 60 * DAY,
        ),
    )  # fmt: skip
    project(ledger)

    def ids(path: str, **query: object) -> list[Any]:
        code, answer = ask(path, **query)
        assert code == 200
        return [one["id"] for one in answer["data"]]

    assert ids("customers") == ["cus_budi", "cus_andi"]
    assert ids("customers", as_of=T0 + 55 * DAY) == ["cus_andi"]
    assert ids("customers", as_of=T0 + 35 * DAY, status="past_due") == ["cus_andi"]
    assert ids("customers", status="past_due") == []
    assert ids("subscriptions", as_of=T0 + 61 * DAY, limit=1) == ["sub_budi"]
    assert ids("subscriptions", as_of=T0 + 61 * DAY, starting_after="sub_budi") == ["sub_andi"]
    assert ids("subscriptions", known_at=8, customer="cus_budi") == []
    assert ids("invoices", known_at=3, status="draft") == ["in_andi"]
    assert ids("invoices", status="draft") == []
    assert ids("events", known_at=2) == [2, 1]
    assert ids("events", as_of=T0 + 10, customer="cus_andi") == [2, 1]
    assert ids("customers/cus_andi/timeline", as_of=T0 + 10) == [2, 1]


def test_pages_of_the_past_are_complete_and_in_order(ledger: Ledger, ask: Ask) -> None:
    record(
        ledger,
        *(
            event(
                "customer.subscription.created",
                subscription(f"sub_{n:03}", status="active" if n % 3 else "trialing",
                             created=T0 + n), at=T0 + n,
            )
            for n in range(250)
        ),
    )  # fmt: skip
    project(ledger)
    asked = {"as_of": T0 + 199, "status": "trialing", "limit": 30}
    expected = [f"sub_{n:03}" for n in range(199, -1, -1) if n % 3 == 0]

    def pages(cursor: str, of: Callable[[list[str]], str]) -> list[list[str]]:
        found: list[list[str]] = []
        more: dict[str, str] = {}
        while True:
            answer = ask("subscriptions", **asked, **more)[1]
            found.append([one["id"] for one in answer["data"]])
            if not answer["has_more"]:
                return found
            more = {cursor: of(found[-1])}

    forward = pages("starting_after", lambda page: page[-1])
    assert [one for page in forward for one in page] == expected
    assert [len(page) for page in forward] == [30, 30, 7]
    last = ask("subscriptions", **asked, ending_before=expected[-1])[1]
    assert [one["id"] for one in last["data"]] == expected[-31:-1]


def test_a_stream_at_a_moment(ledger: Ledger, ask: Ask) -> None:
    record(ledger, *life())
    project(ledger)

    code, told = ask("streams/sub_andi", as_of=T0 + 35 * DAY)
    assert code == 200
    assert {one["id"]: one["state"]["status"] for one in told["objects"]} == {
        "sub_andi": "past_due", "in_andi": "draft",
    }  # fmt: skip
    assert [one["position"] for one in told["events"]] == [4, 3, 2]
    assert ask("streams/sub_andi", known_at=1)[0] == 404
    code, told = ask("streams/account")
    assert (code, "/v1/events?stream=account" in told["detail"]) == (400, True)


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ({"as_of": "yesterday"}, "`as_of` 'yesterday' is no instant"),
        ({"as_of": "2026-02-30"}, "no instant"),
        ({"as_of": "2999-01-01"}, "in the future"),
        ({"as_of": str(T0 * 1000)}, "not milliseconds"),
        ({"as_of": "2026"}, "no instant"),
        ({"as_of": "0001-01-01T00:00:00+10:00"}, "no instant"),
        ({"known_at": "9999-12-31T23:59:59-10:00"}, "no instant"),
        ({"known_at": "9"}, "past the log's end, 7"),
        ({"known_at": "2999-01-01"}, "in the future"),
        ({"known_at": "-1"}, "no instant"),
        ({"as_of": "x" * 41}, "`as_of`"),
        ({"asof": "2026-01-01"}, "`asof`"),
    ],
)
def test_a_moment_that_cannot_be_meant_is_refused(
    ledger: Ledger, ask: Ask, query: dict[str, str], detail: str
) -> None:
    record(ledger, *life())
    project(ledger)

    for path in ("customers", "customers/cus_andi", "streams/sub_andi", "invoices/in_andi"):
        code, told = ask(path, **query)
        assert code == 400
        assert detail in told["detail"]


def test_what_has_no_past_says_so(ledger: Ledger, ask: Ask) -> None:
    record(ledger, *life())
    project(ledger)

    for path in ("payments", "status", "payments/pi_andi", "events/1"):
        code, told = ask(path, as_of=T0)
        assert (code, told["code"]) == (400, "past_not_kept")
    code, told = ask("customers", as_of=T0, email="andi@example.test")
    assert (code, "present only" in told["detail"]) == (400, True)


def test_moments_are_said_in_several_ways(ledger: Ledger) -> None:
    now = datetime(2026, 6, 1, tzinfo=UTC)
    with ledger.pool.connection() as connection:

        def as_of(text: str) -> datetime | None:
            return moment_of(connection, text, None, now).as_of

        assert as_of("2026-03-31") == datetime(2026, 3, 31, 23, 59, 59, 999999, tzinfo=UTC)
        assert as_of(str(T0)) == utc(T0)
        assert as_of(f"{now:%Y%m%d}") == as_of(f"{now:%F}") == now
        day = instant_of("2026-03-31", "since", now, day_begins=True)
        assert day == datetime(2026, 3, 31, tzinfo=UTC)
        assert as_of("2026-W01-1") == datetime(2025, 12, 29, 23, 59, 59, 999999, tzinfo=UTC)
        for text in ("2026-01-01T07:00:00+07:00", "2026-01-01T07:00:00 07:00", "2026-01-01T00:00Z"):
            assert as_of(text) == utc(T0)


def test_known_at_an_instant_is_the_last_position_recorded_until_then(ledger: Ledger) -> None:
    record(ledger, *life())
    with ledger.pool.connection() as connection:
        prepare(connection)
        log = Log(connection)
        recorded = {one.position: one.recorded_at for one in log.after(0, 10)}
        for position, at in recorded.items():
            same = [other for other, then in recorded.items() if then == at]
            assert log.position_at(at) == max(same) >= position
        first = recorded[1] - timedelta(microseconds=1)
        assert log.position_at(first) == 0
        assert log.position_at(SystemClock().now()) == len(recorded)


def test_what_each_event_changed(ledger: Ledger) -> None:
    facts = life()
    late = facts.pop(3)
    record(ledger, *facts, late)

    with ledger.pool.connection() as connection:
        told = {
            one.position: {(change.object_id, change.leaf): (change.before, change.after)
                           for change in changes}
            for one, changes in changes_between(connection, "sub_andi", 2, 7)
        }  # fmt: skip
    assert set(told) == {3, 4, 5, 7}
    assert told[3]["in_andi", "status"] == (None, "draft")
    assert told[4] == {
        ("in_andi", "status"): ("draft", "paid"), ("in_andi", "amount_paid"): (0, 10_000_000),
    }  # fmt: skip
    assert told[5] == {}  # active, as it was known to be
    assert told[7] == {}  # behind a younger one


def test_of_account_and_of_nothing_no_changes_are_told(ledger: Ledger) -> None:
    record(ledger, *life())
    with ledger.pool.connection() as connection:
        with pytest.raises(RequestInvalid, match="too many objects"):
            next(changes_between(connection, "account", 0, 7))
        with pytest.raises(NotFound):
            stream_at(connection, "sub_andi", Moment(known_at=0))


def test_who_has_just_written_can_wait_for_the_views(ledger: Ledger, ask: Ask) -> None:
    record(ledger, *life())
    project(ledger)

    assert ask("payments", after_position=7)[0] == 200
    assert ask("status", after_position=0)[0] == 200
    code, told = ask("payments", after_position="soon")
    assert (code, told["code"]) == (400, "parameter_invalid")
    code, told = ask("payments", after_position=8)
    assert (code, told["code"]) == (400, "parameter_invalid")
    record(ledger, event("customer.updated", customer(), at=T0 + 60 * DAY))
    code, told = ask("payments", after_position=8)
    assert (code, told["code"]) == (503, "views_behind")


def test_what_the_views_have_not_seen_yet_they_do_not_tell(ledger: Ledger, ask: Ask) -> None:
    record(ledger, *life())
    project(ledger)
    record(ledger, event("customer.updated", customer(delinquent=True), at=T0 + 60 * DAY))

    for path in ("customers", "customers/cus_andi", "invoices", "customers/cus_andi/timeline"):
        code, told = ask(path, known_at=8)
        assert (code, told["code"]) == (503, "views_behind"), path
    project(ledger)
    assert ask("customers/cus_andi", known_at=8)[1]["delinquent"] is True


def test_a_tie_that_was_learnt_later_says_nothing_of_before(ledger: Ledger, ask: Ask) -> None:
    refund = {"id": "re_1", "object": "refund", "charge": "ch_guest", "created": T0}
    record(
        ledger,
        event("customer.created", customer(), at=T0 + 10),
        event("refund.created", refund, at=T0),
        event("charge.succeeded", charge("ch_guest", of="cus_budi"), at=T0 + 5),
        event("setup_intent.created", {
            "id": "seti_1", "object": "setup_intent", "customer": None,
            "related_customer": "cus_citra",
        }, at=T0 + 20),
    )  # fmt: skip
    project(ledger)

    assert ask("customers/cus_budi", known_at=2)[0] == 404
    code, then = ask("customers/cus_budi", known_at=3)
    now = ask("customers/cus_budi")[1]
    assert (code, then["created"], now["created"]) == (200, T0, T0)
    story = ask("customers/cus_budi/timeline", known_at=3)[1]["data"]
    assert [line["id"] for line in story] == [3, 2]
    left = ask("customers/cus_budi/timeline", known_at=3, starting_after=3)[1]["data"]
    assert [line["id"] for line in left] == [2]
    assert ask("customers/cus_budi/timeline", known_at=3, starting_after=4)[0] == 400
    assert ask("customers/cus_budi/timeline", known_at=2)[0] == 404
    assert ask("customers/cus_citra", known_at=3)[0] == 404
    assert ask("customers/cus_citra", known_at=4)[0] == ask("customers/cus_citra")[0] == 200


def test_what_was_somebody_elses_then_is_in_their_story(ledger: Ledger, ask: Ask) -> None:
    tried = charge("ch_guest", of=None, payment_intent="pi_guest")
    record(
        ledger,
        event("charge.succeeded", tried, at=T0),
        event("payment_intent.succeeded", payment_intent("pi_guest"), at=T0 + 1),
        event("charge.updated", {**tried, "customer": "cus_budi"}, at=T0 + 2),
    )
    project(ledger)

    def story(**at: int) -> list[int]:
        return [one["id"] for one in ask("customers/cus_andi/timeline", **at)[1]["data"]]

    assert story(known_at=2) == [2, 1]
    assert story() == [2]


@hypothesis_settings(
    max_examples=8, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(order=st.permutations(range(len(story()))), known=st.integers(1, len(story())))
def test_what_was_known_at_a_position_is_what_the_views_said_then(
    ledger: Ledger, order: list[int], known: int
) -> None:
    empty(ledger)
    ledger.keys.forget(["cus_andi", "account"])
    facts = story()
    record(ledger, *(facts[index] for index in order[:known]))
    project(ledger)
    said = views(ledger, Moment())

    record(ledger, *(facts[index] for index in order[known:]))
    project(ledger)

    assert views(ledger, Moment(known_at=known)) == said


def views(ledger: Ledger, moment: Moment) -> dict[str, list[dict[str, Any]]]:
    with ledger.pool.connection() as connection:
        prepare(connection)
        return {
            listing.source: sorted(
                past.page(connection, listing, moment, limit=100).rows,
                key=lambda row: str(row["id"]),
            )
            for listing in (queries.CUSTOMERS, queries.SUBSCRIPTIONS, queries.INVOICES)
        }
