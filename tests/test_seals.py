"""The log can only grow, and whoever changes it all the same is found out, to the position."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import errors, sql

from ledger.application import Ledger
from ledger.bootstrap import Installation
from ledger.errors import RequestInvalid
from ledger.log.log import COLUMNS
from ledger.log.seals import SEALING_LOCK, export, read_export, seal, verify, verify_block
from tests.conftest import new_ledger
from tests.facts import customer, event, record

Connection = psycopg.Connection[tuple[Any, ...]]
BLOCKS = [(1, 4), (5, 8), (9, 9)]
LAST = 11  # of which 10 and 11 are not sealed


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ledger.log.seals.BLOCK_EVENTS", 4)


@pytest.fixture(scope="module")
def sealed(installation: Installation) -> Iterator[Ledger]:
    """A log of three sealed blocks and an unsealed tail; every test takes its changes back."""
    for ledger in new_ledger(installation):
        record(ledger, *(event("customer.updated", customer()) for _ in range(BLOCKS[-1][1])))
        with pytest.MonkeyPatch.context() as patch, ledger.pool.connection() as connection:
            patch.setattr("ledger.log.seals.BLOCK_EVENTS", 4)
            seal(connection)
        record(ledger, *(event("customer.updated", customer()) for _ in range(2)))
        yield ledger


@contextmanager
def as_owner(ledger: Ledger) -> Iterator[Connection]:
    with ledger.database.connect_as_owner() as connection:
        connection.execute(sql.SQL("SET search_path = {}").format(sql.Identifier(ledger.schema)))
        with connection.transaction(force_rollback=True):
            yield connection


@pytest.fixture
def superuser(sealed: Ledger) -> Iterator[Connection]:
    """One who can do anything: triggers are switched off."""
    with as_owner(sealed) as connection:
        connection.execute("SET LOCAL session_replication_role = replica")
        yield connection


def found(connection: Connection, against: Iterable[dict[str, Any]] = ()) -> list[tuple[str, int]]:
    return [(one.kind, one.position) for one in verify(connection, against).findings]


def exported(ledger: Ledger, file: Path) -> list[dict[str, Any]]:
    with ledger.pool.connection() as connection:
        export(connection, file)
    return read_export(file)


def test_an_untouched_log_is_clean_and_its_tail_is_named_unsealed(sealed: Ledger) -> None:
    told: list[tuple[int, int]] = []

    with sealed.pool.connection() as connection:
        proven = verify(connection, progress=lambda done, total: told.append((done, total)))

    assert proven.is_clean
    assert (proven.sealed_to, proven.last_position, proven.unsealed) == (9, LAST, 2)
    assert len(bytes.fromhex(proven.head)) == 32
    assert told == [(4, LAST), (8, LAST), (9, LAST), (LAST, LAST)]


def test_an_empty_log_is_clean(ledger: Ledger) -> None:
    with ledger.pool.connection() as connection:
        assert seal(connection) == 0
        assert verify(connection).is_clean


@pytest.mark.parametrize(
    "change",
    [
        "data = jsonb_set(data, '{data,object,delinquent}', 'true')",
        "data = data - 'livemode'",
        "personal = set_byte(personal, 20, get_byte(personal, 20) # 1)",
        "personal = NULL",
        "stream = 'cus_other'",
        "version = 99",
        "topic = 'Customer.Deleted'",
        "customer_id = NULL",
        "object_id = 'cus_other'",
        "stripe_event_id = 'evt_other'",
        "occurred_at = occurred_at + interval '1 microsecond'",
        "recorded_at = recorded_at - interval '1 microsecond'",
        "correlation_id = 'x'",
        "causation_id = ''",
    ],
)
def test_an_edit_is_located_to_the_event(superuser: Connection, change: str) -> None:
    superuser.execute(f"UPDATE events SET {change} WHERE position = 6".encode())

    assert found(superuser) == [("edited", 6)]


@pytest.mark.parametrize("position", [1, 4, 6, 9])
def test_a_deletion_is_located_to_the_position(superuser: Connection, position: int) -> None:
    superuser.execute("DELETE FROM events WHERE position = %s", [position])

    assert found(superuser) == [("deleted", position)]


def insert_copy(connection: Connection, of: int, position: int) -> None:
    """Insert a forged event: another one's with a position and an id of its own."""
    forged = COLUMNS.replace("position", str(position)).replace("version", str(99 - position))
    forged = forged.replace("stripe_event_id", "'evt_forged'")
    connection.execute(
        f"INSERT INTO events ({COLUMNS}) SELECT {forged} FROM events WHERE position = {of}".encode()
    )


@pytest.mark.parametrize("position", [0, -7])
def test_an_insertion_before_the_first_event_is_found(superuser: Connection, position: int) -> None:
    insert_copy(superuser, of=6, position=position)

    assert found(superuser) == [("inserted", 0)]


@pytest.mark.parametrize("position", [1, 6, 9, 10])
def test_a_second_event_at_a_position_is_located(superuser: Connection, position: int) -> None:
    superuser.execute("ALTER TABLE events DROP CONSTRAINT events_pkey")

    insert_copy(superuser, of=6, position=position)

    findings = found(superuser)
    assert ("inserted", position) in findings
    assert {at for _, at in findings} == {position}


def test_two_events_that_changed_places_are_both_located(superuser: Connection) -> None:
    for old, new in ((6, -1), (7, 6), (-1, 7)):
        superuser.execute("UPDATE events SET position = %s WHERE position = %s", [new, old])

    assert found(superuser) == [("edited", 6), ("edited", 7)]


@pytest.mark.parametrize(
    ("change", "first"),
    [
        ("UPDATE seals SET hash = set_byte(hash, 0, get_byte(hash, 0) # 1) WHERE block = 2", 5),
        ("UPDATE seals SET leaves = set_byte(leaves, 40, get_byte(leaves, 40) # 1)"
         " WHERE block = 2", 5),
        ("UPDATE seals SET last_position = 7 WHERE block = 2", 5),
        ("DELETE FROM seals WHERE block = 1", 5),
        ("DELETE FROM seals WHERE block = 2", 9),
    ],
)  # fmt: skip
def test_a_tampered_seal_is_found(superuser: Connection, change: str, first: int) -> None:
    superuser.execute(change.encode())

    assert found(superuser)[0] == ("seal_broken", first)
    alone = verify_block(superuser, [first_of for first_of, _ in BLOCKS].index(first) + 1)
    assert alone is not None
    assert (alone[1][0].kind, alone[1][0].position) == ("seal_broken", first)


def test_a_hole_in_the_unsealed_tail_is_found(superuser: Connection) -> None:
    superuser.execute("DELETE FROM events WHERE position = 10")

    assert found(superuser) == [("deleted", 10)]


@pytest.mark.parametrize("position", [10, 11])
def test_sealing_does_not_cover_a_hole(superuser: Connection, position: int) -> None:
    insert_copy(superuser, of=11, position=12)
    superuser.execute("DELETE FROM events WHERE position = %s", [position])

    seal(superuser)

    assert not verify(superuser).is_clean


def test_what_is_unsealed_is_sealed_next_and_the_chain_goes_on(superuser: Connection) -> None:
    before = verify(superuser)

    assert seal(superuser) == LAST

    after = verify(superuser)
    assert (after.is_clean, after.sealed_to, after.unsealed) == (True, LAST, 0)
    assert after.head != before.head


def test_only_one_process_seals_at_a_time(sealed: Ledger, superuser: Connection) -> None:
    with sealed.database.connect(sealed.schema) as other:
        other.execute(
            "SELECT pg_advisory_lock(%s, %s::regnamespace::oid::integer)",
            [SEALING_LOCK, sealed.schema],
        )

        assert seal(superuser) == 9


# --- an export, kept elsewhere -------------------------------------------------------------------


def test_the_log_agrees_with_its_own_export(sealed: Ledger, tmp_path: Path) -> None:
    kept = exported(sealed, tmp_path / "seals")

    with sealed.pool.connection() as connection:
        assert [(one["first_position"], one["last_position"]) for one in kept] == BLOCKS
        assert found(connection, kept) == []


def test_an_older_export_agrees_with_a_log_that_grew(
    sealed: Ledger, superuser: Connection, tmp_path: Path
) -> None:
    kept = exported(sealed, tmp_path / "seals")

    seal(superuser)

    assert found(superuser, kept) == []


def test_a_log_rewritten_with_its_seals_differs_from_the_export(
    sealed: Ledger, superuser: Connection, tmp_path: Path
) -> None:
    kept = exported(sealed, tmp_path / "seals")
    superuser.execute("UPDATE events SET stream = 'cus_other' WHERE position = 6")
    superuser.execute("DELETE FROM seals")
    seal(superuser)

    assert found(superuser) == []
    assert found(superuser, kept) == [("export_differs", 5), ("export_differs", 9)]


@pytest.mark.parametrize(("remaining", "differing"), [(8, [9]), (4, [5, 9]), (0, [1, 5, 9])])
def test_a_log_cut_off_with_its_seals_differs_from_the_export(
    sealed: Ledger,
    superuser: Connection,
    tmp_path: Path,
    remaining: int,
    differing: list[int],
) -> None:
    kept = exported(sealed, tmp_path / "seals")
    superuser.execute("DELETE FROM events WHERE position > %s", [remaining])
    superuser.execute("DELETE FROM seals WHERE last_position > %s", [remaining])

    assert found(superuser) == []
    assert found(superuser, kept) == [("export_differs", first) for first in differing]


def test_a_log_whose_last_seals_were_taken_away_differs_from_the_export(
    sealed: Ledger, superuser: Connection, tmp_path: Path
) -> None:
    kept = exported(sealed, tmp_path / "seals")
    superuser.execute("DELETE FROM seals WHERE block = 3")

    assert verify(superuser).unsealed == 3
    assert found(superuser, kept) == [("export_differs", 9)]


@pytest.mark.parametrize(
    "text",
    [
        "no seals", "[1]", '{"block": 1}', '{"block": 1, "hash": "00"}', "\x00",
        '{"block": 1, "hash": "00", "first_position": "x", "last_position": 4}',
        '{"block": [1], "hash": "00", "first_position": 1, "last_position": 4}',
    ],
)  # fmt: skip
def test_a_file_that_is_no_export_is_refused(
    sealed: Ledger, superuser: Connection, tmp_path: Path, text: str
) -> None:
    file = tmp_path / "seals"
    file.write_text(text)

    with pytest.raises(RequestInvalid):
        verify(superuser, read_export(file))


# --- who may change what -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE events SET data = '{}'",
        "DELETE FROM events",
        "TRUNCATE events",
        "TRUNCATE events CASCADE",
        "UPDATE seals SET hash = ''",
        "DELETE FROM seals",
        "TRUNCATE seals",
    ],
)
def test_even_the_owner_is_refused(sealed: Ledger, statement: str) -> None:
    with (
        as_owner(sealed) as connection,
        pytest.raises(errors.InsufficientPrivilege, match="the log only grows"),
    ):
        connection.execute(statement.encode())


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE events SET data = '{}'",
        "DELETE FROM events",
        "TRUNCATE events",
        f"INSERT INTO events ({COLUMNS}) SELECT {COLUMNS} FROM events",
        "SELECT FROM events FOR UPDATE",
        "ALTER TABLE events DISABLE TRIGGER ALL",
        "DROP TRIGGER events_only_grow ON events",
        "DROP TABLE events",
        "CREATE RULE forget AS ON INSERT TO events DO INSTEAD NOTHING",
        "CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE sql AS 'SELECT 1'",
        "CREATE TABLE own (id int)",
        "SET session_replication_role = replica",
        "SET ROLE postgres",
        "UPDATE seals SET hash = ''",
        "DELETE FROM seals",
        "TRUNCATE seals",
        "INSERT INTO subject_keys VALUES ('cus_x', '')",
        "UPDATE subject_keys SET wrapped_key = ''",
        "DELETE FROM subject_keys",
    ],
)
def test_the_runtime_role_may_not(sealed: Ledger, statement: str) -> None:
    with (
        sealed.database.connect(sealed.schema) as connection,
        pytest.raises(errors.InsufficientPrivilege),
    ):
        connection.execute(statement.encode())


def test_a_table_of_the_runtime_role_never_stands_in_for_one_of_the_ledger(
    ledger: Ledger,
) -> None:
    record(ledger, event("customer.created", customer()))
    events = sql.Identifier(ledger.schema, "events")

    with ledger.database.connect(ledger.schema) as connection:
        with suppress(errors.InsufficientPrivilege):  # refused from the start is as good
            for statement in STANDING_IN:
                connection.execute(sql.SQL(statement).format(events=events))
        kept = connection.execute("SELECT data ->> 'type' FROM events").fetchall()

    assert kept == [("customer.created",)]


# A trigger on it would run as the owner of the function that is made to write to it.
STANDING_IN = (
    "CREATE TEMP TABLE subject_keys (subject text PRIMARY KEY, wrapped_key bytea,"
    " created_at timestamptz, erased_at timestamptz)",
    "CREATE FUNCTION pg_temp.rewrite() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
    " PERFORM set_config('session_replication_role', 'replica', true);"
    " UPDATE {events} SET data = '{{}}'; RETURN NEW; END $$",
    "CREATE TRIGGER rewrite BEFORE INSERT ON pg_temp.subject_keys"
    " FOR EACH ROW EXECUTE FUNCTION pg_temp.rewrite()",
    "GRANT ALL ON pg_temp.subject_keys TO PUBLIC",
    "SELECT erase_subjects(ARRAY['cus_other'])",
)
