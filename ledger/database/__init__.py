"""PostgreSQL, the only store: where it is, who we are there, and connections to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg_pool import ConnectionPool

from ledger.database.embedded import EmbeddedServer
from ledger.errors import DatabaseUnavailable, DatabaseUnsuitable, SettingsInvalid
from ledger.tls import require_encrypted

if TYPE_CHECKING:
    from ledger.settings import Settings

MINIMUM_MAJOR = 15
RUNTIME_ROLE = "ledger_runtime"
BI_ROLE = "ledger_bi"  # may read the views for programs of others, and nothing else
INSTALLATION_SCHEMA = "ledger_installation"

# A peer that vanished without a word is noticed after ten seconds, not after hours.
PATIENCE: Mapping[str, Any] = {
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}

type_of_pool = ConnectionPool[psycopg.Connection[tuple[Any, ...]]]


class Database:
    """One PostgreSQL database: an owner who migrates, a runtime role that may not rewrite."""

    def __init__(
        self,
        owner: Mapping[str, Any],
        runtime: Mapping[str, Any],
        server: EmbeddedServer | None = None,
    ) -> None:
        self.owner = owner
        self.runtime = runtime
        self.server = server

    @property
    def is_embedded(self) -> bool:
        """Whether the server is our own, under LEDGER_HOME."""
        return self.server is not None

    def conninfo(self, search_path: str, lock_seconds_max: int = 0) -> str:
        """Return how the runtime role connects to one ledger: its schema, maybe others before it.

        With `lock_seconds_max` a statement that waits longer for a lock fails instead.
        """
        given = str(self.runtime.get("options") or "")
        options = (
            f"{given} -c role={RUNTIME_ROLE} -c search_path={search_path},pg_temp"
            " -c synchronous_commit=on -c default_transaction_isolation=read\\ committed"
            f" -c lock_timeout={lock_seconds_max}s"
        ).strip()
        return make_conninfo("", **{**PATIENCE, **self.runtime, "options": options})

    def connect(
        self, search_path: str, lock_seconds_max: int = 0
    ) -> psycopg.Connection[tuple[Any, ...]]:
        """Open one autocommitting connection as the runtime role."""
        try:
            return psycopg.connect(self.conninfo(search_path, lock_seconds_max), autocommit=True)
        except psycopg.OperationalError as error:
            raise DatabaseUnavailable(f"PostgreSQL does not answer: {error}") from error

    def pool(self, schema: str, *, size_max: int = 8) -> type_of_pool:
        """Return an opened pool of runtime connections; it fills and mends itself."""
        return ConnectionPool(
            self.conninfo(schema),
            kwargs={"autocommit": True},
            min_size=1,
            max_size=size_max,
            timeout=5,
            reconnect_timeout=3600,
            check=ConnectionPool.check_connection,
            open=True,
        )

    def connect_as_owner(self) -> psycopg.Connection[tuple[Any, ...]]:
        """Open one autocommitting connection as the owner; raise what is unsuitable about it."""
        try:
            connection = psycopg.connect(
                make_conninfo("", **{**PATIENCE, **self.owner}), autocommit=True
            )
        except psycopg.OperationalError as error:
            raise DatabaseUnavailable(f"PostgreSQL does not answer: {error}") from error
        major = connection.info.server_version // 10000
        if major < MINIMUM_MAJOR:
            connection.close()
            raise DatabaseUnsuitable(
                f"This is PostgreSQL {major}; the ledger needs {MINIMUM_MAJOR} or newer."
            )
        return connection

    def close(self) -> None:
        """Leave the database; an embedded server stops with its last user."""
        if self.server:
            self.server.release()


def open_database(settings: Settings) -> Database:
    """Return the database the settings name, starting the embedded one if they name none."""
    if settings.database_url is None:
        server = EmbeddedServer(settings.home)
        login = server.acquire()
        return Database(login.owner, login.runtime, server)
    plain = settings.database_plain
    runtime = _parameters(settings.database_url, "LEDGER_DATABASE_URL", plain_allowed=plain)
    if settings.database_owner_url is None:
        return Database(runtime, runtime)
    owner = _parameters(
        settings.database_owner_url, "LEDGER_DATABASE_OWNER_URL", plain_allowed=plain
    )
    return Database(owner, runtime)


def _parameters(url: str, variable: str, *, plain_allowed: bool) -> dict[str, Any]:
    try:
        found: dict[str, Any] = dict(conninfo_to_dict(url))
    except psycopg.ProgrammingError as error:
        raise SettingsInvalid(f"{variable} is not a PostgreSQL URL: {error}") from error
    require_encrypted(found, variable, plain_allowed=plain_allowed)
    return found
