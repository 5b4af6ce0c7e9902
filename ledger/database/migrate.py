"""Brings the schemas up to date: expand-only SQL files, applied once, by one process at a time."""

from __future__ import annotations

from contextlib import suppress
from importlib.resources import as_file, files
from typing import TYPE_CHECKING, Any

from psycopg import errors, sql
from yoyo import read_migrations
from yoyo.backends.core.postgresql import PostgresqlPsycopgBackend
from yoyo.connections import DatabaseURI

from ledger.database import BI_ROLE, INSTALLATION_SCHEMA, RUNTIME_ROLE
from ledger.errors import DatabaseUnsuitable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import psycopg

    from ledger.database import Database

MIGRATION_LOCK = 1818518118


def schema_of(ledger: str) -> str:
    """Return the schema that holds the ledger of this name."""
    return f"ledger_of_{ledger}"


def migrate(
    database: Database,
    new_ledger: str,
    finish: Callable[[psycopg.Connection[tuple[Any, ...]], str], list[str]],
) -> list[str]:
    """Create or update the installation and every ledger in it; return what was applied.

    `finish` does what is left to do in a ledger's schema, and returns what that was. Several
    processes may call this at once: one works, the others wait and find nothing to do.
    """
    done: list[str] = []
    with database.connect_as_owner() as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", [MIGRATION_LOCK])
        _make_roles(connection, database)
        done += _apply(connection, database.owner, INSTALLATION_SCHEMA, "installation")
        connection.execute(
            sql.SQL(
                "INSERT INTO {}.ledgers (name, schema_name) VALUES (%s, %s) ON CONFLICT DO NOTHING"
            ).format(sql.Identifier(INSTALLATION_SCHEMA)),
            [new_ledger, schema_of(new_ledger)],
        )
        schemas = connection.execute(
            sql.SQL("SELECT schema_name FROM {}.ledgers ORDER BY name").format(
                sql.Identifier(INSTALLATION_SCHEMA)
            )
        ).fetchall()
        for (schema,) in schemas:
            done += _apply(connection, database.owner, schema, "ledger")
            done += finish(connection, schema)
    return done


def applied(connection: psycopg.Connection[tuple[Any, ...]], schema: str) -> list[str]:
    """Return the migrations that a schema has."""
    table = sql.Identifier(schema, "_yoyo_migration")
    rows = connection.execute(
        sql.SQL("SELECT migration_id FROM {} ORDER BY 1").format(table)
    ).fetchall()
    return [row[0] for row in rows]


def pending(
    connection: psycopg.Connection[tuple[Any, ...]], schema: str, folder: str = "ledger"
) -> list[str]:
    """Return the migrations this release has and a schema has not."""
    with as_file(files("ledger.database") / "migrations" / folder) as path:
        known = {file.stem for file in path.glob("*.sql")}
    table = sql.Identifier(schema, "_yoyo_migration")
    try:
        rows = connection.execute(sql.SQL("SELECT migration_id FROM {}").format(table)).fetchall()
    except (errors.UndefinedTable, errors.InvalidSchemaName):
        rows = []
    return sorted(known - {row[0] for row in rows})


def _make_roles(connection: psycopg.Connection[tuple[Any, ...]], database: Database) -> None:
    runtime = sql.Identifier(RUNTIME_ROLE)
    login = str(database.runtime.get("user") or connection.info.user)
    try:
        if not _role_exists(connection, RUNTIME_ROLE):
            connection.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(runtime))
        if not _role_exists(connection, BI_ROLE):
            with suppress(errors.InsufficientPrivilege):  # then whoever may makes and grants it
                connection.execute(
                    sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(BI_ROLE))
                )
        if database.is_embedded and not _role_exists(connection, login):
            connection.execute(
                sql.SQL("CREATE ROLE {} LOGIN NOINHERIT PASSWORD {}").format(
                    sql.Identifier(login), sql.Literal(database.runtime["password"])
                )
            )
        # Since PostgreSQL 16 a role that creates another is its member without the right to be it.
        membership = "SET" if connection.info.server_version >= 160_000 else "MEMBER"
        member = connection.execute(
            "SELECT pg_has_role(%s, %s, %s) AND NOT rolsuper FROM pg_roles WHERE rolname = %s",
            [login, RUNTIME_ROLE, membership, login],
        ).fetchone()
        if not (member and member[0]):
            connection.execute(sql.SQL("GRANT {} TO {}").format(runtime, sql.Identifier(login)))
    except errors.InsufficientPrivilege as error:
        raise DatabaseUnsuitable(
            f"The role {connection.info.user} may not create the role {RUNTIME_ROLE}. As a "
            f"superuser run: CREATE ROLE {RUNTIME_ROLE} NOLOGIN; GRANT {RUNTIME_ROLE} TO {login};"
        ) from error


def _role_exists(connection: psycopg.Connection[tuple[Any, ...]], name: str) -> bool:
    return bool(
        connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [name]).fetchone() is not None
    )


def _apply(
    connection: psycopg.Connection[tuple[Any, ...]],
    owner: Mapping[str, Any],
    schema: str,
    folder: str,
) -> list[str]:
    try:
        connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(schema)))
    except errors.InsufficientPrivilege as error:
        raise DatabaseUnsuitable(
            f"The role {connection.info.user} may not create schemas in this database. As its "
            f"owner run: GRANT CREATE ON DATABASE {connection.info.dbname} "
            f"TO {connection.info.user};"
        ) from error
    if not pending(connection, schema, folder):
        return []  # and nothing of the migration library's own is made, locked or logged
    # pg_temp last, or a temporary table could stand in for one of ours in pinned functions.
    arguments = {**owner, "schema": f'"{schema}", pg_temp'}
    database_name = arguments.pop("dbname", None)
    backend = PostgresqlPsycopgBackend(
        DatabaseURI("postgresql+psycopg", None, None, None, None, database_name, arguments),
        "_yoyo_migration",
    )
    try:
        backend.init_database()
        backend.break_lock()  # left by a killed process: ours is the advisory lock, which is free
        with as_file(files("ledger.database") / "migrations" / folder) as path:
            todo = backend.to_apply(read_migrations(str(path)))
            # Before the last migration is noted as applied: nobody comes here again after that.
        backend.execute(f'GRANT USAGE ON SCHEMA "{schema}" TO {RUNTIME_ROLE}')
        backend.execute(f"GRANT SELECT ON _yoyo_migration TO {RUNTIME_ROLE}")
        backend.apply_migrations(todo)
        return [f"{schema}: {migration.id}" for migration in todo]
    finally:
        backend.connection.close()
