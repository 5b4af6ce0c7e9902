"""Decision aggregates are saved to the log and read back through the eventsourcing library."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from eventsourcing.application import Repository
from eventsourcing.persistence import EventStore, IntegrityError

from ledger.aggregates.decision import Decision, DecisionEvent, DecisionOpened
from ledger.application import Ledger
from ledger.log import Log, NewEvent
from ledger.log.recorder import LedgerMapper, LedgerRecorder

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)


class Watch(Decision):
    """A decision made up for this test: we watch a customer until we stop."""

    TOPIC = "Test.Watch"

    class Event(DecisionEvent):
        TOPIC = "Test.Watch.Event"

    class Opened(DecisionOpened, Event):
        TOPIC = "Test.Watch.Opened"
        customer_id: str
        until: datetime

    class Stopped(Event):
        TOPIC = "Test.Watch.Stopped"
        class_version = 2
        reason: str

        @staticmethod
        def upcast_v1_v2(state: dict[str, Any]) -> None:
            state.setdefault("reason", "unknown")

        def apply(self, aggregate: Any) -> None:
            aggregate.reason = self.reason

    def __init__(self, customer_id: str, until: datetime) -> None:
        self.customer_id = customer_id
        self.until = until
        self.reason: str | None = None


def opened_watch() -> Watch:
    return Watch._create(
        Watch.Opened, id="watch:cus_1", customer_id="cus_1", until=NOW, timestamp=NOW
    )


@pytest.fixture
def store(ledger: Ledger) -> Iterator[EventStore[str]]:
    with ledger.pool.connection() as connection:
        yield EventStore(LedgerMapper(), LedgerRecorder(connection, ledger.keys))


def test_a_decision_is_read_back_as_it_was_made(store: EventStore[str]) -> None:
    watch = opened_watch()
    watch.trigger_event(Watch.Stopped, reason="paid", timestamp=NOW)

    store.put(watch.collect_events(), causation_id="evt_1")

    again: Watch = Repository(store).get("watch:cus_1")
    assert (again.version, again.customer_id, again.until) == (2, "cus_1", NOW)
    assert again.reason == "paid"


def test_of_two_decisions_on_one_version_the_second_is_refused(store: EventStore[str]) -> None:
    store.put(opened_watch().collect_events())

    with pytest.raises(IntegrityError):
        store.put(opened_watch().collect_events())

    assert store.recorder.max_notification_id() == 1  # type: ignore[attr-defined]


def test_an_event_of_an_older_class_version_is_upcast(store: EventStore[str]) -> None:
    watch = opened_watch()
    watch.trigger_event(Watch.Stopped, reason="x", timestamp=NOW)
    mapper = store.mapper
    stored = mapper.to_stored_event(watch.pending_events[-1])
    old = type(stored)(**{**vars(stored), "state": b"{}"})

    event: Any = mapper.to_domain_event(old)

    assert event.reason == "unknown"


def test_time_is_an_argument_of_every_decision() -> None:
    with pytest.raises(TypeError, match="time is an argument"):
        opened_watch().trigger_event(Watch.Stopped, reason="late")


def test_notifications_come_by_position_and_topic(store: EventStore[str]) -> None:
    watch = opened_watch()
    watch.trigger_event(Watch.Stopped, reason="paid", timestamp=NOW)
    store.put(watch.collect_events())
    recorder = store.recorder
    assert isinstance(recorder, LedgerRecorder)

    every = recorder.select_notifications(1, 10)
    stopped = recorder.select_notifications(None, 10, topics=["Test.Watch.Stopped"])

    assert [one.id for one in every] == [1, 2]
    assert [one.id for one in stopped] == [2]
    assert recorder.select_notifications(1, 10, inclusive_of_start=False) == stopped


def test_a_connection_whose_transaction_was_rolled_back_appends_again(ledger: Ledger) -> None:
    with ledger.pool.connection() as connection:
        store = EventStore(LedgerMapper(), LedgerRecorder(connection, ledger.keys))
        store.put(opened_watch().collect_events())
        for _ in range(2):
            for _ in range(10):
                connection.execute("SELECT 1")  # psycopg prepares what it meets often
            with connection.transaction(force_rollback=True):
                connection.execute("SELECT 1")
            with connection.transaction():
                watch: Watch = Repository(store).get("watch:cus_1")
                watch.trigger_event(Watch.Stopped, reason="paid", timestamp=NOW)
                store.put(watch.collect_events())
            Log(connection).append([fact()])


def fact() -> NewEvent:
    return NewEvent("account", "Account.GapFilled", NOW, b"{}")
