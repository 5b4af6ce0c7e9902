"""A real PostgreSQL for every test run, a fresh ledger for every test that asks for one."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path

import pytest
from psycopg import sql
from werkzeug.test import Client

from ledger.application import Ledger, change_settings, ledger_names
from ledger.bootstrap import Installation, migrate
from ledger.database import Database, open_database
from ledger.projections import PROJECTIONS, generations
from ledger.settings import Settings
from tests.client import front_client
from tests.facts import SECRET

_numbers = count(1)


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """An installation of its own: embedded, unless LEDGER_TEST_DATABASE_URL names a server."""
    environ = {
        "LEDGER_HOME": str(tmp_path_factory.mktemp("home")),
        "STRIPE_WEBHOOK_SECRET": SECRET,
        "LEDGER_MASTER_KEY": "dGVzdC1tYXN0ZXIta2V5LW9mLTMyLWJ5dGVzLWxvbmc=",
    }
    if url := os.environ.get("LEDGER_TEST_DATABASE_URL"):
        environ["LEDGER_DATABASE_URL"] = url
    return Settings.from_env(environ)


@pytest.fixture(scope="session")
def database(settings: Settings) -> Iterator[Database]:
    """The migrated database of this run."""
    opened = open_database(settings)
    migrate(opened)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def installation(settings: Settings, database: Database) -> Installation:
    """The installation all tests of a run share; each test has a ledger of its own in it."""
    return Installation(settings, database)


@pytest.fixture
def ledger(installation: Installation) -> Iterator[Ledger]:
    """An empty ledger in test mode."""
    yield from new_ledger(installation)


def new_ledger(installation: Installation, **changes: str) -> Iterator[Ledger]:
    """Yield an empty ledger with these settings; empty and shelve it afterwards."""
    name = _shelf.pop() if _shelf else f"t{os.getpid()}_{next(_numbers)}"
    if name not in ledger_names(installation.database):
        migrate(installation.database, name)
    opened = installation.ledger(name)
    change_settings(opened, {"mode": "test", "webhook_secrets": SECRET, **changes})
    opened.close()
    installation.forget(name)
    opened = installation.ledger(name)
    yield opened
    opened.close()
    installation.forget(name)
    empty(opened)
    _shelf.append(name)


_shelf: list[str] = []
LITTLE_BYTES = 1_000_000


def empty(ledger: Ledger) -> None:
    """Remove everything from a ledger, which only a superuser can who switches triggers off."""
    _truncate(ledger, TABLES)
    with ledger.database.connect_as_owner() as connection, connection.transaction():
        for projection in PROJECTIONS:
            generations.drop(connection, generations.following(ledger, projection))
            generations.drop(connection, generations.former(ledger, projection))


def empty_views(ledger: Ledger) -> None:
    """Remove the read models, so that projecting starts at the log's beginning."""
    _truncate(ledger, VIEWS)


def _truncate(ledger: Ledger, tables: Iterable[str]) -> None:
    """Empty tables: by deleting what is little, for to truncate makes each table's files anew."""
    with ledger.database.connect_as_owner() as connection, connection.transaction():
        connection.execute("SET LOCAL session_replication_role = replica")
        for table in tables:
            name = sql.Identifier(ledger.schema, table)
            size = connection.execute("SELECT pg_relation_size(%s)", [name.as_string()]).fetchone()
            if size and size[0]:
                way = "TRUNCATE {}" if size[0] > LITTLE_BYTES else "DELETE FROM {}"
                connection.execute(sql.SQL(way).format(name))
        bookmarks = sql.Identifier(ledger.schema, "bookmarks")
        connection.execute(
            sql.SQL("DELETE FROM {} WHERE projection <> ALL (%s)").format(bookmarks),
            [[projection.name for projection in PROJECTIONS]],
        )
        for projection in PROJECTIONS:
            connection.execute(
                sql.SQL("UPDATE {} SET position = 0, version = %s WHERE projection = %s").format(
                    bookmarks
                ),
                [projection.version, projection.name],
            )


VIEWS = (*(table for one in PROJECTIONS for table in one.tables), "projection_faults")
TABLES = (
    "events", "subject_keys", "seals", "settings", "api_tokens", "delivery_counts",
    "rebuilds", "rebuild_tasks", "completeness", "policy_bookmarks",
    "idempotency_keys", "sessions", "invitations", "users", *VIEWS,
)  # fmt: skip


@pytest.fixture
def client(installation: Installation) -> Iterator[Client]:
    """The web face, called in-process."""
    with front_client(installation) as opened:
        yield opened


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real payloads kept outside this project; tests that need them skip where they are not."""
    here = Path(__file__).resolve().parent.parent
    found = Path(os.environ.get("LEDGER_SHARED") or here.parent / "shared")
    if not (found / "data" / "stripe-events").is_dir():
        pytest.skip("the collection of real Stripe payloads is not on this machine")
    return found
