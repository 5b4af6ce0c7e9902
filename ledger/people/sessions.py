"""Sessions: kept here as hashes; they end when unused, and for good after half a day."""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256

from ledger.decisions import Connection
from ledger.people.actors import Actor, hash_of
from ledger.people.permissions import GUARDED_ROLES, ROLES
from ledger.privacy.master import MasterKey
from ledger.settings import DEFAULT_LEDGER, LEDGER_NAME

PREFIX = "lgs"
IDLE = timedelta(minutes=60)
ABSOLUTE = timedelta(hours=12)
SEEN = timedelta(minutes=1)  # how exactly it is known when a session was last used


@dataclass(frozen=True)
class Session:
    """Who is here, and whether they have shown all they must."""

    user_id: str
    role: str
    is_verified: bool
    has_second_factor: bool
    form_token: str

    @property
    def is_in(self) -> bool:
        """Whether more than showing or setting up the second factor is allowed."""
        needed = self.has_second_factor or self.role in GUARDED_ROLES
        return self.is_verified or not needed

    @property
    def actor(self) -> Actor:
        """Who acts."""
        return Actor(self.user_id, self.user_id, ROLES[self.role])  # type: ignore[index]

    def is_form(self, token: str) -> bool:
        """Return whether a request comes from a page of this session's own."""
        return hmac.compare_digest(token.encode("utf-8", "replace"), self.form_token.encode())


def ledger_named_by(secret: str) -> str:
    """Return the ledger a session is of: it says so itself."""
    name = secret.removeprefix(f"{PREFIX}_").rpartition("_")[0]
    return name if LEDGER_NAME.fullmatch(name) else DEFAULT_LEDGER


def begin(
    connection: Connection, ledger: str, user_id: str, now: datetime, *, is_verified: bool
) -> str:
    """Keep a new session and return its secret; forget the ones that have ended."""
    secret = f"{PREFIX}_{ledger}_{secrets.token_hex(24)}"
    connection.execute(
        "DELETE FROM sessions WHERE created_at < %s OR seen_at < %s", [now - ABSOLUTE, now - IDLE]
    )
    connection.execute(
        "INSERT INTO sessions (secret_hash, user_id, created_at, seen_at, is_verified)"
        " VALUES (%s, %s, %s, %s, %s)",
        [hash_of(secret), user_id, now, now, is_verified],
    )
    return secret


def find(connection: Connection, master: MasterKey, secret: str, now: datetime) -> Session | None:
    """Return the session with this secret, unless it or its person's time here has ended."""
    row = connection.execute(
        "SELECT user_id, role, is_verified, second_factor IS NOT NULL, seen_at"
        " FROM sessions JOIN users ON users.id = user_id"
        " WHERE secret_hash = %s AND sessions.created_at > %s AND seen_at > %s"
        " AND disabled_at IS NULL AND (expires_at IS NULL OR expires_at > %s)",
        [hash_of(secret), now - ABSOLUTE, now - IDLE, now],
    ).fetchone()
    if row is None:
        return None
    if now - row[4] >= SEEN:
        connection.execute(
            "UPDATE sessions SET seen_at = %s WHERE secret_hash = %s", [now, hash_of(secret)]
        )
    return Session(row[0], row[1], row[2], row[3], form_token_of(master, secret))


def form_token_of(master: MasterKey, secret: str) -> str:
    """Return what a form of this session bears: a page elsewhere cannot know it."""
    return hmac.new(master.derive("forms"), secret.encode(), sha256).hexdigest()


def end(connection: Connection, secret: str) -> None:
    """End a session."""
    connection.execute("DELETE FROM sessions WHERE secret_hash = %s", [hash_of(secret)])


def end_all_of(connection: Connection, user_id: str) -> None:
    """End all sessions of a person."""
    connection.execute("DELETE FROM sessions WHERE user_id = %s", [user_id])
