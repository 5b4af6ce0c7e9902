"""The accounts of people: rows, each change of which is saved with its event."""

from __future__ import annotations

import hmac
import json
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

from psycopg.rows import dict_row

from ledger.aggregates.people import User as Events
from ledger.decisions import Connection, Decisions
from ledger.errors import NotFound
from ledger.people.changes import Changing

CONTACT = "user contact"
_FOUND = "SELECT * FROM users WHERE id = %s OR address_hash = %s"
_FOUND_LOCKED = f"{_FOUND} FOR UPDATE"


@dataclass(frozen=True)
class Person:
    """One person's account."""

    id: str
    email: str
    name: str
    role: str
    created_at: datetime
    expires_at: datetime | None
    disabled_at: datetime | None
    locked_until: datetime | None
    has_password: bool
    has_second_factor: bool

    def may_come(self, now: datetime) -> bool:
        """Return whether they are let in at all now."""
        ended = self.expires_at is not None and self.expires_at <= now
        return self.disabled_at is None and not ended


class Accounts(Changing):
    """The accounts of one ledger."""

    def one(self, named: str) -> Person:
        """Return a person by id or address; raise NotFound."""
        with self.connected() as connection:
            return self.person(self.row(connection, named))

    def row(self, connection: Connection, named: str, *, locked: bool = False) -> dict[str, Any]:
        """Return the row of a user by id or address, maybe locked; raise NotFound."""
        cursor = connection.cursor(row_factory=dict_row)
        row = cursor.execute(
            _FOUND_LOCKED if locked else _FOUND,
            [named if named.startswith("usr_") else "", self.address_hash(named)],
        ).fetchone()
        if row is None:
            raise NotFound("There is no such user; `ledger user list` shows them.")
        return row

    def person(self, row: dict[str, Any]) -> Person:
        """Return a row as the person it is of."""
        contact = json.loads(self.master.open_setting(CONTACT, bytes(row["contact"])))
        return Person(
            row["id"],
            contact["email"],
            contact["name"],
            row["role"],
            row["created_at"],
            row["expires_at"],
            row["disabled_at"],
            row["locked_until"],
            row["password_hash"] is not None,
            row["second_factor"] is not None,
        )

    def address_hash(self, email: str) -> bytes:
        """Return by what an address is found: what it is cannot be told from it."""
        told = email.strip().casefold().encode("utf-8", "surrogateescape")
        return hmac.new(self.master.derive("user addresses"), told, sha256).digest()


def events_of(decisions: Decisions, user_id: str) -> Events:
    """Return the stream of a person, to note what happened."""
    found = decisions.find(Events, Events.stream_of(user_id))
    if found is None:
        raise NotFound(f"The log does not know the user {user_id}.")
    return found
