"""API tokens: bearer secrets, kept as hashes, each naming its ledger and what it may do."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from typing import Any

import psycopg

from ledger.errors import NotFound, RequestInvalid
from ledger.people.actors import Actor, hash_of
from ledger.people.permissions import SCOPES, permissions_of_scopes
from ledger.settings import DEFAULT_LEDGER, LEDGER_NAME

PREFIX = "lgt"
PRESET = "bootstrap"  # the name of the token that the environment gives
OVERLAP_HOURS = 24  # how long the former secret of a rotated token still works
SEEN_SECONDS = 60  # how exactly it is known when a token was last used

Connection = psycopg.Connection[tuple[Any, ...]]


def ledger_named_by(secret: str) -> str:
    """Return the ledger a token is for: it says so itself, others are the default one's."""
    prefix, _, rest = secret.partition("_")
    name, _, tail = rest.rpartition("_")
    return name if prefix == PREFIX and tail and LEDGER_NAME.fullmatch(name) else DEFAULT_LEDGER


def create(
    connection: Connection,
    ledger: str,
    name: str,
    scopes: list[str],
    expires_at: datetime | None = None,
) -> tuple[Actor, str]:
    """Store a new token's hash and return it with its secret, which nobody can see again."""
    unknown = set(scopes) - set(SCOPES)
    if unknown or not scopes:
        raise RequestInvalid(f"A token's scopes are some of {', '.join(SCOPES)}.")
    if name == PRESET:
        raise RequestInvalid(f"`{PRESET}` is the name of the token that the environment gives.")
    if name.startswith(("usr_", "tok_")) or "@" in name:
        raise RequestInvalid("A token is called as what uses it: not as somebody's id or address.")
    secret = f"{PREFIX}_{ledger}_{secrets.token_hex(24)}"
    token_id = f"tok_{secrets.token_hex(8)}"
    connection.execute(
        "INSERT INTO api_tokens (id, name, scopes, token_hash, expires_at)"
        " VALUES (%s, %s, %s, %s, %s)",
        [token_id, name, scopes, hash_of(secret), expires_at],
    )
    return Actor(token_id, name, permissions_of_scopes(scopes)), secret


def rotate(connection: Connection, ledger: str, token_id: str, now: datetime) -> tuple[Actor, str]:
    """Make a token in another's place, for as long; the former works for a day more.

    Raises NotFound.
    """
    row = connection.execute(
        "SELECT name, scopes, expires_at - created_at FROM api_tokens WHERE id = %s"
        " AND revoked_at IS NULL AND name <> %s AND (expires_at IS NULL OR expires_at > %s)"
        " FOR UPDATE",
        [token_id, PRESET, now],
    ).fetchone()
    if row is None:
        raise NotFound(f"There is no token {token_id} in use; `ledger token list` shows them.")
    connection.execute(
        "UPDATE api_tokens SET expires_at = least(expires_at, %s) WHERE id = %s",
        [now + timedelta(hours=OVERLAP_HOURS), token_id],
    )
    name, scopes, lifetime = row
    return create(connection, ledger, name, scopes, now + lifetime if lifetime else None)


def preset(connection: Connection, secret: str | None) -> None:
    """Let this secret, and no other preset one, be a token with all scopes.

    Whoever revokes it has revoked it for good.
    """
    token_hash = hash_of(secret or "")
    connection.execute(
        "DELETE FROM api_tokens WHERE name = %s AND revoked_at IS NULL AND token_hash <> %s",
        [PRESET, token_hash],
    )
    if secret:
        connection.execute(
            "INSERT INTO api_tokens (id, name, scopes, token_hash) VALUES (%s, %s, %s, %s)"
            " ON CONFLICT (token_hash) DO NOTHING",
            [f"tok_{secrets.token_hex(8)}", PRESET, list(SCOPES), token_hash],
        )


def find(connection: Connection, secret: str, now: datetime) -> Actor | None:
    """Return who has this secret, unless it was revoked or has expired; note that it was used."""
    row = connection.execute(
        "SELECT id, name, scopes, last_used_at FROM api_tokens WHERE token_hash = %s"
        " AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > %s)",
        [hash_of(secret), now],
    ).fetchone()
    if row is None:
        return None
    if row[3] is None or abs((now - row[3]).total_seconds()) >= SEEN_SECONDS:
        connection.execute("UPDATE api_tokens SET last_used_at = %s WHERE id = %s", [now, row[0]])
    return Actor(row[0], row[1], permissions_of_scopes(row[2]))


def listed(connection: Connection) -> list[dict[str, Any]]:
    """Return all tokens, without their secrets (nobody has them)."""
    names = ("id", "name", "scopes", "created_at", "expires_at", "last_used_at", "revoked_at")
    rows = connection.execute(
        f"SELECT {', '.join(names)} FROM api_tokens ORDER BY created_at, id"  # noqa: S608 — constants of ours
    ).fetchall()
    return [dict(zip(names, row, strict=True)) for row in rows]


def revoke(connection: Connection, token_id: str) -> None:
    """Make a token useless at once; raise NotFound."""
    done = connection.execute(
        "UPDATE api_tokens SET revoked_at = clock_timestamp() WHERE id = %s", [token_id]
    )
    if done.rowcount == 0:
        raise NotFound(f"There is no token {token_id}; `ledger token list` shows them.")
