"""The server's raw files: a person's words are never in them, after a purge their key neither.

A server of its own, logging at its noisiest, into which a whole life goes by every way there is.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger import history
from ledger.aggregates import Customer
from ledger.application import Ledger
from ledger.bootstrap import Installation, migrate
from ledger.cancellations import cancel
from ledger.customer_work import work_on
from ledger.database import open_database
from ledger.log import Log, RecordedEvent
from ledger.orders import say_once
from ledger.people import tokens
from ledger.people.users import People
from ledger.projections import PROJECTIONS
from ledger.projections.rebuild import Rebuild
from ledger.settings import Settings
from ledger.subjects import erasure
from ledger.subjects.erasure import erasures, keep_purged, pending, purge
from tests.client import front_client
from tests.facts import SECRET, T0, customer, event, project, record
from tests.reactions import Reactor, andi, failed
from tests.test_erasure import life_of_andi

# Of the made-up Andi: name, address, phone, street, metadata, and what people wrote of him.
WORDS = (
    "Andi", "Wijaya", "andi@example", "811 0000", "Somba Opu", "Sakit hati",
    "Kenal lama", "Suka kopi", "Halo Andi", "eka.staf@",
)  # fmt: skip
NOISY = {
    "log_statement": "all", "log_min_duration_statement": "0", "log_parameter_max_length": "-1",
    "log_parameter_max_length_on_error": "-1", "log_min_error_statement": "debug5",
    "log_min_messages": "debug1", "debug_print_parse": "on",
}  # fmt: skip


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    """A server of its own, whose log tells all it can."""
    settings = Settings.from_env(
        {"LEDGER_HOME": str(tmp_path / "home"), "STRIPE_WEBHOOK_SECRET": SECRET}
    )
    database = open_database(settings)
    with database.connect_as_owner() as owner:
        for name, value in NOISY.items():
            owner.execute(f"ALTER SYSTEM SET {name} = '{value}'".encode())
        owner.execute("SELECT pg_reload_conf()")
    migrate(database)
    opened = Installation(settings, database)
    yield opened
    opened.close()


def raw(home: Path) -> dict[str, bytes]:
    """Return every file of the server's, the log included."""
    return {
        str(path.relative_to(home)): path.read_bytes()
        for path in (home / "postgres").rglob("*")
        if path.is_file() and path.name != "passwords"
    }


def found_in(files: dict[str, bytes], words: list[bytes]) -> set[tuple[str, bytes]]:
    return {(name, word) for name, content in files.items() for word in words if word in content}


def as_text(ledger: Ledger) -> str:
    """Return everything in the database as SQL sees it: what is compressed on disk, too."""
    told = []
    with ledger.database.connect_as_owner() as owner:
        tables = owner.execute(
            "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables"
            " WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
        ).fetchall()
        for (table,) in tables:
            rows = owner.execute(f"SELECT t::text FROM {table} AS t".encode()).fetchall()
            told += [row[0] for row in rows]
    return "\n".join(told)


def live(ledger: Ledger, installation: Installation) -> None:
    """Let a whole life go in by every way there is, and be read."""
    reactor = Reactor(ledger)
    reactor.told(*life_of_andi())
    reactor.told(*andi(), *failed(reactor.at()))
    reactor.switch_on("stripe")
    reactor.decide(lambda desk: work_on(desk, "cus_andi").tag(
        "vip", actor="t", reason="Kenal lama", now=desk.now))  # fmt: skip
    reactor.decide(lambda desk: work_on(desk, "cus_andi").write(
        "Suka kopi", actor="t", now=desk.now))  # fmt: skip
    reactor.decide(lambda desk: say_once(
        desk, "cus_andi", "mail", {"subject": "Halo Andi", "body": "Halo Andi Wijaya"},
        key="m1", language="id", actor="t"))  # fmt: skip
    reactor.decide(lambda desk: cancel(desk, "cus_andi", "sub_andi", source="page", reason=None,
                                       comment="Sakit hati"))  # fmt: skip
    reactor.react()
    People(ledger).add("eka.staf@example.test", "Eka", "viewer", actor="t")
    with ledger.pool.connection() as connection:
        _, secret = tokens.create(connection, ledger.name, "t", ["personal", "write"])
    with front_client(installation) as client:
        headers = {"Authorization": f"Bearer {secret}"}
        for path in ("customers?email=andi@example.test", "customers?query=wijaya", "events",
                     "customers/cus_andi", "customers/andi@example.test",
                     "customers?starting_after=andi@example.test"):  # fmt: skip
            client.get(f"/v1/{path}", headers=headers)
        client.post("/v1/customers/cus_andi/notes", json={"text": "Suka kopi"}, headers=headers)


def checkpoint(ledger: Ledger) -> None:
    with ledger.database.connect_as_owner() as owner:
        owner.execute("CHECKPOINT")


def wrapped_keys(ledger: Ledger) -> list[bytes]:
    with ledger.pool.connection() as connection:
        rows = connection.execute(
            "SELECT wrapped_key FROM subject_keys WHERE wrapped_key IS NOT NULL"
            " AND subject IN (SELECT object_id FROM owners WHERE customer_id = 'cus_andi'"
            " UNION ALL SELECT 'cus_andi')"
        ).fetchall()
    return [bytes(row[0]) for row in rows]


def test_a_persons_words_and_after_the_purge_their_keys_are_in_no_raw_file(
    installation: Installation, tmp_path: Path
) -> None:
    ledger = installation.ledger()
    live(ledger, installation)
    checkpoint(ledger)
    home = tmp_path / "home"
    words = [word.encode() for word in WORDS]
    assert found_in(raw(home), words) == set()
    assert [word for word in WORDS if word in as_text(ledger)] == []

    keys = wrapped_keys(ledger)
    assert len(keys) >= 2
    assert {key for _, key in found_in(raw(home), keys)} == set(keys)  # they are there before
    before = {position: history.as_json(one) for position, one in events(ledger).items()}
    counted = numbers(ledger)

    ledger.erase_customer("cus_andi", reason="customer_request", actor="tests")
    project(ledger)
    with ledger.pool.connection() as connection:
        assert "cus_andi" in pending(connection)
    assert purge(ledger).lacking == ()

    with ledger.pool.connection() as connection:
        assert pending(connection) == []
    assert found_in(raw(home), keys) == set()
    assert found_in(raw(home), words) == set()

    # A late delivery and a rebuild bring nothing back; what was counted stays, the log too.
    late = event("customer.updated", customer(name="Andi Wijaya Telat"), at=2_000_000_000,
                 previous={"name": "x"})  # fmt: skip
    record(ledger, late)
    for projection in PROJECTIONS:
        Rebuild(installation.settings, ledger, projection, workers=0).run()
    told = as_text(ledger)
    assert [word for word in (*WORDS, "Telat") if word in told] == []
    after = events(ledger)
    assert {at: history.as_json(after[at]) for at in before} == before
    assert numbers(ledger) == counted
    newest = max(after)
    assert after[newest].topic == Customer.Updated.TOPIC
    assert after[newest].personal is None
    checkpoint(ledger)
    assert found_in(raw(home), words) == set()


def many(ledger: Ledger, count: int) -> None:
    record(ledger, *[event("customer.created", customer(f"cus_{n}"), at=T0 + n)
                     for n in range(count)])  # fmt: skip
    project(ledger)


def forget(ledger: Ledger, *customers: str) -> list[bytes]:
    """Erase customers; return what their wrapped keys were."""
    with ledger.pool.connection() as connection:
        rows = connection.execute(
            "SELECT wrapped_key FROM subject_keys WHERE subject = ANY (%s)", [list(customers)]
        ).fetchall()
    for one in customers:
        ledger.erase_customer(one, reason="customer_request", actor="tests")
    project(ledger)
    return [bytes(row[0]) for row in rows]


def states(ledger: Ledger) -> dict[str, bool]:
    with ledger.pool.connection() as connection:
        return {one.customer_id: one.is_purged for one in erasures(connection, limit=100)[0]}


def test_purged_again_no_key_is_left_in_statistics(
    installation: Installation, tmp_path: Path
) -> None:
    ledger = installation.ledger()
    many(ledger, 40)
    with ledger.database.connect_as_owner() as owner:  # as an earlier release let it be done
        keys = f'"{ledger.schema}".subject_keys'
        owner.execute(f"ALTER TABLE {keys} ALTER wrapped_key SET STATISTICS 100".encode())
        owner.execute(f"ANALYZE {keys}".encode())
        owner.execute(f"ALTER TABLE {keys} ALTER wrapped_key SET STATISTICS 0".encode())
    first = forget(ledger, "cus_1")
    assert purge(ledger).lacking == ()
    second = forget(ledger, "cus_2", "cus_3", "cus_4")
    assert purge(ledger).lacking == ()

    assert found_in(raw(tmp_path / "home"), [*first, *second]) == set()
    assert set(states(ledger).values()) == {True}


def test_while_somebody_can_still_see_a_key_it_does_not_count_as_purged(
    installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasure, "SNAPSHOTS_SECONDS", 0.0)
    ledger = installation.ledger()
    many(ledger, 3)
    with ledger.database.connect_as_owner() as analyst, analyst.transaction():
        analyst.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        analyst.execute("SELECT count(*) FROM pg_class").fetchone()
        keys = forget(ledger, "cus_1")
        assert purge(ledger).lacking != ()
        assert states(ledger) == {"cus_1": False}
    assert purge(ledger).lacking == ()

    assert found_in(raw(tmp_path / "home"), keys) == set()
    assert states(ledger) == {"cus_1": True}


def test_what_is_traced_to_somebody_later_is_purged_later(
    installation: Installation, tmp_path: Path
) -> None:
    ledger = installation.ledger()
    record(ledger, *life_of_andi())
    with ledger.pool.connection() as connection:
        rows = connection.execute(
            "SELECT wrapped_key FROM subject_keys WHERE subject IN ('ch_guest', 're_1', 'dp_1')"
        ).fetchall()
    ledger.erase_customer("cus_andi", reason="customer_request", actor="tests")
    assert purge(ledger).lacking == ()
    assert states(ledger) == {"cus_andi": False}  # the views have not seen whose these are
    project(ledger)
    assert states(ledger) == {"cus_andi": False}
    keep_purged(ledger)
    with ledger.pool.connection() as connection:
        assert pending(connection) == []

    assert found_in(raw(tmp_path / "home"), [bytes(row[0]) for row in rows]) == set()
    assert states(ledger) == {"cus_andi": True}


def test_log_that_the_server_keeps_is_named(installation: Installation) -> None:
    ledger = installation.ledger()
    many(ledger, 2)
    with ledger.database.connect_as_owner() as owner:
        owner.execute("ALTER SYSTEM SET wal_keep_size = '64MB'")
        owner.execute("SELECT pg_reload_conf()")
    forget(ledger, "cus_1")
    with ledger.database.connect_as_owner() as owner:
        while owner.execute("SHOW wal_keep_size").fetchone() != ("64MB",):
            owner.execute("SELECT pg_sleep(0.05)")

    assert [one for one in purge(ledger).lacking if "wal_keep_size" in one]
    assert states(ledger) == {"cus_1": False}


def events(ledger: Ledger) -> dict[int, RecordedEvent]:
    with ledger.pool.connection() as connection:
        return {one.position: one for one in Log(connection).after(0, limit=10_000)}


def numbers(ledger: Ledger) -> dict[str, list[tuple[object, ...]]]:
    """Return what was counted: numbers and journal."""
    with ledger.pool.connection() as connection:
        return {
            table: connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2, 3".encode()).fetchall()
            for table in ("mrr_entries", "journal_entries")
        }


def test_the_search_would_find_what_is_there(tmp_path: Path) -> None:
    """A control: words in plain and in what holds them are found by the same means."""
    home = tmp_path / "postgres"
    home.mkdir()
    (home / "file").write_bytes(b"\x00Somba Opu\x00")
    assert found_in(raw(tmp_path), [b"Somba Opu"]) == {("postgres/file", b"Somba Opu")}
    assert b"Somba Opu" not in gzip.compress(b"Somba Opu" * 9)  # why SQL is asked, too
    assert zlib.decompress(zlib.compress(b"x")) == b"x"
