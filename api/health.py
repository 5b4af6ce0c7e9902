"""`/readyz`: it can take deliveries, however far views lag."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify

from api.context import current_installation
from api.errors import problem
from ledger.database.migrate import pending
from ledger.errors import DatabaseUnavailable

blueprint = Blueprint("health", __name__)


@blueprint.get("/readyz")
def readyz() -> Response:
    """Say whether the database is there, migrated, and the log can be appended to."""
    ledger = current_installation().ledger()
    try:
        with ledger.pool.connection(timeout=2) as connection:
            missing = pending(connection, ledger.schema)
            row = connection.execute(
                "SELECT has_function_privilege(oid, 'EXECUTE') AND NOT pg_is_in_recovery()"
                " AND current_setting('transaction_read_only') = 'off'"
                " FROM pg_proc WHERE proname = 'append' AND pronamespace = %s::regnamespace",
                [ledger.schema],
            ).fetchone()
    except Exception as error:
        raise DatabaseUnavailable(str(error)) from error
    if missing:
        return problem(503, "not_migrated", f"Not migrated yet: {', '.join(missing)}")
    if not (row and row[0]):
        return problem(503, "read_only", "The database does not let this ledger append.")
    return jsonify(status="ready")
