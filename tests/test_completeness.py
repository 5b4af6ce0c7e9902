"""The log against Stripe's own list of events: what never arrived is fetched, and said."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from threading import Thread
from typing import Any

import pytest
from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response

from ledger.application import Ledger
from ledger.clock import FixedClock, utc
from ledger.completeness import AccountMismatch, Comparison, api_of, compare, status
from ledger.errors import SettingsInvalid
from ledger.log import Log
from ledger.settings import Settings
from ledger.simulator import Simulator
from ledger.simulator.moments import DAY
from ledger.stripe_api import StripeApi, StripeUnavailable
from tests.facts import Json, customer, event, record
from tests.simulation import listed

START = 1_767_225_600  # 2026-01-01T00:00:00Z
MINUTE = 60


@pytest.fixture
def stripe(ledger: Ledger) -> Simulator:
    """A Stripe account with three customers, made a day ago on the ledger's clock."""
    simulator = Simulator(5, START)
    for name in ("andi", "budi", "citra"):
        simulator.customers.create(email=f"{name}@example.test")
    pass_time(ledger, simulator, DAY)
    return simulator


def pass_time(ledger: Ledger, simulator: Simulator, seconds: int) -> None:
    simulator.advance(simulator.now + seconds)
    ledger.clock = FixedClock(utc(simulator.now))


def deliver(ledger: Ledger, simulator: Simulator, *numbers: int) -> None:
    version = simulator.engine.settings.api_version
    for number in numbers:
        ledger.intake.receive(simulator.events[number].bodies[version])


def compared(ledger: Ledger, simulator: Simulator, **options: Any) -> Comparison:
    with listed(simulator) as there:
        return compare(ledger, there.api, **options)


def told(ledger: Ledger) -> dict[str, Any]:
    with ledger.pool.connection() as connection:
        return status(connection) or {}


def test_what_never_arrived_is_recorded_once_and_told_of(ledger: Ledger, stripe: Simulator) -> None:
    deliver(ledger, stripe, 0, 2)
    missing = stripe.events[1].id

    assert compared(ledger, stripe).filled == [missing]
    assert compared(ledger, stripe).filled == []

    with ledger.pool.connection() as connection:
        *_, filled, gap = Log(connection).after(0, 10)
    assert filled.stripe_event_id == missing
    assert filled.data["_ledger"] == {"obtained": "listed"}
    assert (gap.topic, gap.data["stripe_event_ids"]) == ("Account.GapFilled", [missing])
    deliver(ledger, stripe, 1)  # the webhook comes after all
    with ledger.pool.connection() as connection:
        assert Log(connection).last_position() == gap.position


def test_how_complete_the_log_is_can_be_asked(ledger: Ledger, stripe: Simulator) -> None:
    with ledger.pool.connection() as connection:
        assert status(connection) is None
    deliver(ledger, stripe, 0, 1)

    compared(ledger, stripe)

    first = told(ledger)
    assert (first["listed"], first["missing"], first["filled"]) == (3, 1, 1)
    assert first["complete_until"] == stripe.now - 2 * MINUTE
    assert (first["lag_seconds"], first["error"]) == (0.0, None)
    pass_time(ledger, stripe, 10 * DAY)
    compared(ledger, stripe)
    assert told(ledger)["complete_from"] == first["complete_from"]
    assert told(ledger)["complete_until"] == stripe.now - 2 * MINUTE


def test_a_comparison_begins_an_hour_before_the_last_ones_end(
    ledger: Ledger, stripe: Simulator
) -> None:
    compared(ledger, stripe)
    ended = told(ledger)["complete_until"]
    pass_time(ledger, stripe, DAY)

    assert compared(ledger, stripe).since == utc(ended - 60 * MINUTE)


def test_after_an_outage_longer_than_stripe_remembers_it_is_complete_from_then_on_only(
    ledger: Ledger, stripe: Simulator
) -> None:
    compared(ledger, stripe)
    pass_time(ledger, stripe, 40 * DAY)

    compared(ledger, stripe)

    assert told(ledger)["complete_from"] == stripe.now - 30 * DAY


def test_what_is_a_minute_old_may_still_be_on_its_way(ledger: Ledger, stripe: Simulator) -> None:
    stripe.customers.create(email="dewi@example.test")
    pass_time(ledger, stripe, MINUTE)

    found = compared(ledger, stripe)

    assert (len(found.filled), found.in_flight) == (3, 1)
    pass_time(ledger, stripe, 5 * MINUTE)
    assert len(compared(ledger, stripe).filled) == 1


def test_more_events_than_a_page_holds_are_all_compared(ledger: Ledger, stripe: Simulator) -> None:
    for number in range(230):
        stripe.customers.create(email=f"{number}@example.test")
    pass_time(ledger, stripe, DAY)

    assert len(compared(ledger, stripe).filled) == 233


def test_a_stripe_that_does_not_answer_is_noted_and_nothing_is_lost(
    ledger: Ledger, stripe: Simulator
) -> None:
    compared(ledger, stripe)
    before = told(ledger)
    away = StripeApi("sk_test_away", "http://127.0.0.1:9", retries=0)

    with pytest.raises(StripeUnavailable, match="does not answer"):
        compare(ledger, away)

    assert "does not answer" in told(ledger)["error"]
    assert {**told(ledger), "error": None} == before


def test_the_first_comparison_that_fails_is_noted(ledger: Ledger) -> None:
    with pytest.raises(StripeUnavailable):
        compare(ledger, StripeApi("sk_test_away", "http://127.0.0.1:9", retries=0))

    assert "does not answer" in told(ledger)["error"]
    assert told(ledger)["complete_until"] is None


@contextmanager
def answering(*answers: bytes | Json) -> Iterator[StripeApi]:
    """Yield a way to a Stripe that gives these answers, one after the other."""
    left = [one if isinstance(one, bytes) else json.dumps(one).encode() for one in answers]

    @Request.application
    def answer(_: Request) -> Response:
        return Response(left.pop(0), content_type="application/json")

    server = make_server("127.0.0.1", 0, answer)
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield StripeApi("sk_test_1", f"http://127.0.0.1:{server.server_port}", retries=0)
    finally:
        server.shutdown()
        server.server_close()


def page(*events: Json, has_more: bool = False) -> Json:
    return {"object": "list", "data": list(events), "has_more": has_more}


def made(name: str, at: int, **changes: Any) -> Json:
    return {
        **event("customer.created", customer(f"cus_{name}"), at=at),
        "id": f"evt_{name}",
        **changes,
    }


def gaps(ledger: Ledger) -> list[list[str]]:
    with ledger.pool.connection() as connection:
        return [
            one.data["stripe_event_ids"]
            for one in Log(connection).after(0, 100)
            if one.topic == "Account.GapFilled"
        ]


def test_what_is_filled_before_stripe_stops_answering_is_told_of(ledger: Ledger) -> None:
    now = int(ledger.clock.now().timestamp())
    first = page(made("andi", now - 600), has_more=True)
    with answering(first, b"\xff") as api, pytest.raises(StripeUnavailable):
        compare(ledger, api)

    assert gaps(ledger) == [["evt_andi"]]
    assert (told(ledger)["missing"], told(ledger)["filled"]) == (1, 1)


def test_only_what_is_in_a_view_now_is_filled(ledger: Ledger) -> None:
    now = int(ledger.clock.now().timestamp())
    listed = page(
        made("andi", now - 600),
        made("other_mode", now - 700, livemode=True),
        made("unreadable", now - 800, type=None),
    )
    for again in range(3):
        with answering(listed) as api:
            found = compare(ledger, api)
        assert found.filled == ([] if again else ["evt_andi"])
        assert found.aside == ([] if again else ["evt_other_mode"])
        assert found.unfilled == ["evt_unreadable"]
        assert "1 events could not be read" in told(ledger)["error"]

    assert gaps(ledger) == [["evt_andi"]]
    assert (told(ledger)["missing"], told(ledger)["filled"]) == (3, 1)


def test_what_another_account_lists_is_not_recorded(ledger: Ledger) -> None:
    now = int(ledger.clock.now().timestamp())
    record(ledger, made("own", now - 600))
    foreign = page(made("foreign_1", now - 500), made("foreign_2", now - 700))

    with answering(foreign) as api, pytest.raises(AccountMismatch, match="of another account"):
        compare(ledger, api)

    with ledger.pool.connection() as connection:
        assert Log(connection).last_position() == 1
    assert "another account" in told(ledger)["error"]


def test_a_list_that_has_nothing_of_what_the_log_has_is_another_accounts(ledger: Ledger) -> None:
    now = int(ledger.clock.now().timestamp())
    record(ledger, made("own", now - 3 * 3600))

    with answering(page()) as api, pytest.raises(AccountMismatch):
        compare(ledger, api)

    assert told(ledger)["complete_until"] is None


@pytest.mark.parametrize(
    "unlisted",
    [{"account": "acct_connected"}, {"livemode": True}, {"data": {}}],
    ids=["of a connected account", "of the other mode", "thin"],
)
def test_what_stripe_never_lists_is_no_sign_of_another_key(ledger: Ledger, unlisted: Json) -> None:
    now = int(ledger.clock.now().timestamp())
    (receipt,) = record(ledger, made("unlisted", now - 600, **unlisted))
    assert receipt.outcome in ("recorded", "set_aside")

    with answering(page(made("own_1", now - 500), made("own_2", now - 700))) as api:
        assert compare(ledger, api).filled == ["evt_own_1", "evt_own_2"]


def test_the_account_of_the_key_is_asked_where_one_is_set(
    ledger: Ledger,
) -> None:
    ledger.settings = replace(ledger.settings, stripe_account="acct_own")
    foreign = {"object": "account", "id": "acct_foreign"}
    with answering(foreign) as api, pytest.raises(AccountMismatch, match="of the account acct_f"):
        compare(ledger, api)
    with answering({"object": "account", "id": "acct_own"}, page()) as api:
        assert compare(ledger, api).listed == 0


@pytest.mark.parametrize(
    "answer",
    [
        b"\xff", b"[]", b"nonsense", {"data": 5}, {"data": [{"id": "evt_1", "created": 10**17}]},
        {"data": [], "has_more": True}, b"[" * 100_000,
    ],
)  # fmt: skip
def test_an_answer_that_is_no_list_is_said_and_noted(ledger: Ledger, answer: Any) -> None:
    with answering(answer) as api, pytest.raises(StripeUnavailable):
        compare(ledger, api)

    assert told(ledger)["error"]


def test_since_can_be_said(ledger: Ledger, stripe: Simulator) -> None:
    found = compared(ledger, stripe, since=utc(stripe.now) - timedelta(hours=1))

    assert (found.listed, found.filled) == (0, [])


def test_since_leaves_nothing_out_that_was_not_compared_yet(
    ledger: Ledger, stripe: Simulator
) -> None:
    compared(ledger, stripe)
    stripe.customers.create(email="dewi@example.test")
    pass_time(ledger, stripe, 5 * DAY)

    found = compared(ledger, stripe, since=utc(stripe.now - DAY))

    assert len(found.filled) == 1
    assert told(ledger)["complete_from"] <= START


def test_without_a_key_nothing_is_asked(ledger: Ledger) -> None:
    with pytest.raises(SettingsInvalid, match="STRIPE_API_KEY"):
        api_of(ledger)


@pytest.mark.parametrize(
    ("variables", "detail"),
    [
        ({"STRIPE_API_KEY": "pk_test_1"}, "no secret key"),
        ({"STRIPE_API_KEY": "sk_live_1"}, "a key of live mode, but this ledger is of test mode"),
        ({"STRIPE_API_BASE": "stripe.test"}, "must be an http"),
    ],
)
def test_a_key_that_cannot_be_right_is_refused(variables: dict[str, str], detail: str) -> None:
    with pytest.raises(SettingsInvalid, match=detail):
        Settings.from_env({"HOME": "/nowhere", **variables})
