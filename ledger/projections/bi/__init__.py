"""SQL views for programs of others: versioned, read-only, without anything personal.

They lie in a schema of their own beside each ledger's, so that a role can be let in there and
nowhere else: `GRANT ledger_bi TO analyst`. Views keep to the tables they were made over, whatever
those are called by then; so they are made again whenever a rebuilt generation comes to be read.
"""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import errors, sql

from ledger.database import BI_ROLE
from ledger.projections.projection import statements_in

VERSION = 1
Connection = psycopg.Connection[tuple[Any, ...]]


def schema_of(ledger_schema: str) -> str:
    """Return the schema in which the views over a ledger lie."""
    return f"bi_v{VERSION}_{ledger_schema.removeprefix('ledger_of_')}"


def ensure_views(owner: Connection, ledger_schema: str) -> list[str]:
    """Make the views that a ledger lacks; return what was done."""
    if len(_views(owner, ledger_schema)) == len(statements()):
        return []
    return make_views(owner, ledger_schema)


def statements() -> list[str]:
    """Return the statements that make the views, with LIVE for the schema of the tables."""
    return statements_in(__name__, f"v{VERSION}.sql")


def make_views(owner: Connection, ledger_schema: str) -> list[str]:
    """Make the views, or make them over the tables that are live now; return what is new.

    A view over tables that another version of a projection made, and that lack a column, stays as
    it is until they are rebuilt.
    """
    schema, live = sql.Identifier(schema_of(ledger_schema)), sql.Identifier(ledger_schema)
    with owner.transaction():
        before = _views(owner, ledger_schema)
        if not before:
            owner.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(schema))
        owner.execute(sql.SQL("SET LOCAL search_path TO {}, pg_temp").format(schema))
        for statement in statements():
            try:
                with owner.transaction():
                    owner.execute(statement.replace("LIVE.", f"{live.as_string(owner)}.").encode())
            except (errors.UndefinedColumn, errors.UndefinedTable):
                continue
        after = _views(owner, ledger_schema)
        made = sorted(after - before)
        if made and _has_role(owner):
            role = sql.Identifier(BI_ROLE)
            owner.execute(sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(schema, role))
            grant = sql.SQL("GRANT SELECT ON ALL TABLES IN SCHEMA {} TO {}")
            owner.execute(grant.format(schema, role))
    return [f"{schema_of(ledger_schema)}: {len(made)} views"] if made else []


def _views(owner: Connection, ledger_schema: str) -> set[str]:
    rows = owner.execute(
        "SELECT viewname FROM pg_views WHERE schemaname = %s", [schema_of(ledger_schema)]
    ).fetchall()
    return {row[0] for row in rows}


def _has_role(owner: Connection) -> bool:
    row = owner.execute("SELECT FROM pg_roles WHERE rolname = %s", [BI_ROLE]).fetchone()
    return row is not None
