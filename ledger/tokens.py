"""API tokens: bearer secrets, kept as hashes, each naming its ledger and what it may do."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import psycopg

from ledger.errors import NotFound, RequestInvalid
from ledger.settings import DEFAULT_LEDGER, LEDGER_NAME

SCOPES = ("read", "write", "admin", "personal")
PREFIX = "lgt"
PRESET = "bootstrap"  # the name of the token that the environment gives
_IMPLIED = {
    "read": {"read"},
    "write": {"read", "write"},
    "admin": {"read", "write", "admin"},
    "personal": {"read", "personal"},
}

Connection = psycopg.Connection[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Token:
    """Who asks, and what they may do."""

    id: str
    name: str
    scopes: frozenset[str]

    def may(self, scope: str) -> bool:
        """Return whether this token has a scope, itself or by one that implies it."""
        return scope in self.scopes


def ledger_named_by(secret: str) -> str:
    """Return the ledger a token is for: it says so itself, others are the default one's."""
    prefix, _, rest = secret.partition("_")
    name, _, tail = rest.rpartition("_")
    return name if prefix == PREFIX and tail and LEDGER_NAME.fullmatch(name) else DEFAULT_LEDGER


def create(connection: Connection, ledger: str, name: str, scopes: list[str]) -> tuple[Token, str]:
    """Store a new token's hash and return it with its secret, which nobody can see again."""
    unknown = set(scopes) - set(SCOPES)
    if unknown or not scopes:
        raise RequestInvalid(f"A token's scopes are some of {', '.join(SCOPES)}.")
    if name == PRESET:
        raise RequestInvalid(f"`{PRESET}` is the name of the token that the environment gives.")
    secret = f"{PREFIX}_{ledger}_{secrets.token_hex(24)}"
    token_id = f"tok_{secrets.token_hex(8)}"
    connection.execute(
        "INSERT INTO api_tokens (id, name, scopes, token_hash) VALUES (%s, %s, %s, %s)",
        [token_id, name, scopes, _hash(secret)],
    )
    return Token(token_id, name, _all_scopes(scopes)), secret


def preset(connection: Connection, secret: str | None) -> None:
    """Let this secret, and no other preset one, be a token with all scopes.

    Whoever revokes it has revoked it for good.
    """
    token_hash = _hash(secret or "")
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


def find(connection: Connection, secret: str) -> Token | None:
    """Return the token with this secret, unless it was revoked."""
    row = connection.execute(
        "SELECT id, name, scopes FROM api_tokens WHERE token_hash = %s AND revoked_at IS NULL",
        [_hash(secret)],
    ).fetchone()
    return Token(row[0], row[1], _all_scopes(row[2])) if row else None


def listed(connection: Connection) -> list[dict[str, Any]]:
    """Return all tokens, without their secrets (nobody has them)."""
    rows = connection.execute(
        "SELECT id, name, scopes, created_at, revoked_at FROM api_tokens ORDER BY created_at"
    ).fetchall()
    names = ("id", "name", "scopes", "created_at", "revoked_at")
    return [dict(zip(names, row, strict=True)) for row in rows]


def revoke(connection: Connection, token_id: str) -> None:
    """Make a token useless at once; raise NotFound."""
    done = connection.execute(
        "UPDATE api_tokens SET revoked_at = clock_timestamp() WHERE id = %s", [token_id]
    )
    if done.rowcount == 0:
        raise NotFound(f"There is no token {token_id}; `ledger token list` shows them.")


def _hash(secret: str) -> bytes:
    return sha256(secret.encode("utf-8", "surrogateescape")).digest()


def _all_scopes(scopes: list[str]) -> frozenset[str]:
    return frozenset().union(*(_IMPLIED[scope] for scope in scopes))
