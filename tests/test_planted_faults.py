"""Proof that the tests can fail: each fault planted here is reported by the check it is for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import psycopg
import pytest
from psycopg import sql

from ledger.application import Ledger
from ledger.bootstrap import Installation, migrate
from ledger.database.migrate import schema_of
from ledger.privacy.clear import CLEAR
from ledger.projections import Projection, Runner
from ledger.projections.crm.facts import Row
from ledger.projections.crm.settle import Settlement
from ledger.stripe_objects.order import Fact, Settled
from tests.facts import record
from tests.test_convergence import (
    FACTS,
    Plan,
    added_by_other_renderings,
    deliver,
    differences,
    disagreements,
    plain_words,
    read_models,
    story,
    untruths,
)
from tests.test_database import log_faults

Connection = psycopg.Connection[tuple[Any, ...]]
BACKWARD = Plan(tuple(reversed(range(FACTS))), ((20, 7), (10, 3)))
FORWARD = BACKWARD.in_order


def latest_event_id(
    facts: Sequence[Fact],
    before: Settled | None = None,
    following: Sequence[Fact] = (),
    kind: str = "",
) -> Settled:
    winner = max(facts, key=lambda fact: fact.event_id)
    return Settled(winner, winner.deletes, "clear")


def fewest_broken_links(
    facts: Sequence[Fact],
    before: Settled | None = None,
    following: Sequence[Fact] = (),
    kind: str = "",
) -> Settled:
    """The rule of permutations: last is whose changes nobody undoes (without a start or ties)."""

    def undone(fact: Fact) -> int:
        return sum(
            (other.previous or {}).get(name) == fact.snapshot.get(name)
            for other in facts
            for name in other.previous or {}
        )

    winner = min(facts, key=undone)
    return Settled(winner, winner.deletes, "clear")


@pytest.mark.parametrize("rule", [latest_event_id, fewest_broken_links])
def test_a_simpler_rule_of_order_tells_untrue_states(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, rule: object
) -> None:
    monkeypatch.setattr("ledger.aggregates.base.settle", rule)

    assert any(untruths_told(ledger, seed) for seed in range(5))


def untruths_told(ledger: Ledger, seed: int) -> list[str]:
    deliver(ledger, story(seed), FORWARD)
    return untruths(ledger)


def last_to_arrive(_: Connection, rows: Iterable[Row], __: Mapping[int, Any]) -> Settlement:
    current = {row.object_id: row for row in rows}
    for row in current.values():
        row.mark = "clear"
    return Settlement(current=[*current.values()])


def test_the_last_writer_winning_makes_the_views_depend_on_arrival(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ledger.projections.crm.settle_touched", last_to_arrive)

    assert disagreements(ledger, story(), BACKWARD)


def bookmark_moved(monkeypatch: pytest.MonkeyPatch, by: int) -> None:
    """After its first step, let the projection stand `by` events from where it should."""
    step = Runner.step
    moved: list[str] = []

    def faulty(self: Runner, connection: Connection, projection: Projection) -> int:
        done = step(self, connection, projection)
        if done and not moved:
            moved.append(projection.name)
            connection.execute("UPDATE bookmarks SET position = greatest(0, position + %s)", [by])
        return done

    monkeypatch.setattr(Runner, "step", faulty)


def test_a_bookmark_left_behind_is_told_as_a_fault(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    bookmark_moved(monkeypatch, by=-1)

    (difference,) = disagreements(ledger, story(), BACKWARD)

    assert difference.startswith("projection_faults: ")
    assert "duplicate key" in difference


def test_a_bookmark_that_runs_ahead_leaves_rows_out(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver(ledger, story(), FORWARD)
    expected = read_models(ledger)
    bookmark_moved(monkeypatch, by=1)

    deliver(ledger, story(), BACKWARD)

    assert differences(expected, read_models(ledger))


@pytest.fixture
def forgetful_ledger(installation: Installation) -> Iterator[Ledger]:
    """A ledger whose `append` does not look for what the log has already."""
    name = "forgetful"
    migrate(installation.database, name)
    with installation.database.connect_as_owner() as connection:
        schema = sql.Identifier(schema_of(name))
        connection.execute(sql.SQL("SET search_path = {}").format(schema))
        row = connection.execute("SELECT pg_get_functiondef('append'::regproc)").fetchone()
        assert row is not None
        forgetting, replaced = re.subn(r"IF known IS NOT NULL", "IF false", row[0])
        assert replaced == 1
        connection.execute("ALTER TABLE events DROP CONSTRAINT events_stripe_event_id_key")
        connection.execute(forgetting)
        opened = installation.ledger(name)
        yield opened
        opened.close()
        installation.forget(name)
        connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(schema))
        connection.execute("DELETE FROM ledger_installation.ledgers WHERE name = %s", [name])


def test_a_log_without_dedupe_keeps_an_event_twice(forgetful_ledger: Ledger) -> None:
    facts = story()[:3]

    record(forgetful_ledger, *facts, facts[1])

    answered = [fact["id"] for fact in facts]
    assert log_faults(forgetful_ledger, answered) == [f"{answered[1]} is in the log 2 times"]


def test_a_lost_event_and_a_hole_are_noticed(ledger: Ledger) -> None:
    facts = story()[:4]
    record(ledger, *facts)
    with ledger.database.connect_as_owner() as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute(
            sql.SQL("DELETE FROM {} WHERE position = 3").format(
                sql.Identifier(ledger.schema, "events")
            )
        )

    assert log_faults(ledger, [fact["id"] for fact in facts]) == [
        f"{facts[2]['id']} is in the log 0 times",
        "position 4 follows 2",
    ]


def test_a_rendering_taken_for_a_conflict_is_noticed(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ledger.intake.intake.is_other_rendering", lambda *_: False)

    assert added_by_other_renderings(ledger, story()) == FACTS


def test_an_address_left_clear_is_found_in_the_tables(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CLEAR, "email", re.compile(".+").fullmatch)

    deliver(ledger, story(), FORWARD)

    assert {"andi@ in events", "budi@ in events"} <= set(plain_words(ledger))
