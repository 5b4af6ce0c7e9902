"""People with accounts: let in, given a role, shut out.

A person belongs to one ledger, as a token does.
"""

from __future__ import annotations

import json
import secrets
from datetime import datetime, timedelta
from typing import Any

from psycopg.rows import dict_row

from ledger.aggregates.people import User as Events
from ledger.decisions import Connection, Decisions
from ledger.errors import RequestInvalid
from ledger.people import sessions
from ledger.people.accounts import CONTACT, Accounts, Person, events_of
from ledger.people.actors import hash_of
from ledger.people.permissions import EXPIRING_ROLES, ROLES

INVITED_HOURS = 24


class People(Accounts):
    """Who there is, and who may be."""

    def listed(self) -> list[Person]:
        """Return all people, the first that was added first."""
        with self.connected() as connection:
            cursor = connection.cursor(row_factory=dict_row)
            rows = cursor.execute("SELECT * FROM users ORDER BY created_at, id").fetchall()
        return [self.person(row) for row in rows]

    def add(
        self, email: str, name: str, role: str, *, actor: str, expires_at: datetime | None = None
    ) -> Person:
        """Let a person in; raise RequestInvalid. They come by an invitation."""
        if email.count("@") != 1 or len(email) > 254 or any(map(str.isspace, email)):
            raise RequestInvalid("A user's address is a mail address.")
        now = self.ledger.clock.now()
        _check_role(role, expires_at, now)
        user_id = f"usr_{secrets.token_hex(8)}"
        contact = self.master.seal_setting(CONTACT, json.dumps({"email": email, "name": name}))

        def change(connection: Connection, decisions: Decisions) -> None:
            taken = connection.execute(
                "INSERT INTO users (id, address_hash, contact, role, expires_at, created_at)"
                " VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (address_hash) DO NOTHING",
                [user_id, self.address_hash(email), contact, role, expires_at, now],
            )
            if taken.rowcount == 0:
                raise RequestInvalid("There is a user of this address already.")
            decisions.add(Events.add(user_id, role, expires_at, actor=actor, now=now))

        self.saved(change)
        return self.one(user_id)

    def invite(self, user_id: str, *, actor: str) -> str:
        """Return a secret with which this person sets a password, once, within a day."""
        now = self.ledger.clock.now()
        secret = secrets.token_urlsafe(24)
        until = now + timedelta(hours=INVITED_HOURS)

        def change(connection: Connection, decisions: Decisions) -> None:
            connection.execute(
                "DELETE FROM invitations WHERE user_id = %s OR expires_at < %s", [user_id, now]
            )
            connection.execute(
                "INSERT INTO invitations (secret_hash, user_id, expires_at) VALUES (%s, %s, %s)",
                [hash_of(secret), user_id, until],
            )
            events_of(decisions, user_id).note(Events.Invited, actor=actor, until=until, now=now)

        self.saved(change)
        return secret

    def change_role(
        self, named: str, role: str, *, actor: str, expires_at: datetime | None = None
    ) -> Person:
        """Give a person another role, or another last day; raise RequestInvalid."""
        now = self.ledger.clock.now()
        _check_role(role, expires_at, now)

        def change(connection: Connection, decisions: Decisions) -> None:
            row = self.row(connection, named, locked=True)
            connection.execute(
                "UPDATE users SET role = %s, expires_at = %s WHERE id = %s",
                [role, expires_at, row["id"]],
            )
            self._keep_an_admin(connection, row)
            sessions.end_all_of(connection, row["id"])
            events_of(decisions, row["id"]).note(
                Events.RoleChanged, actor=actor, role=role, expires_at=expires_at, now=now
            )

        self.saved(change)
        return self.one(named)

    def disable(self, named: str, *, actor: str) -> Person:
        """Shut a person out at once; raise RequestInvalid for the last admin."""
        return self._shut(named, actor, disabled_at=self.ledger.clock.now())

    def enable(self, named: str, *, actor: str) -> Person:
        """Let a person in again."""
        return self._shut(named, actor, disabled_at=None)

    def _shut(self, named: str, actor: str, disabled_at: datetime | None) -> Person:
        now = self.ledger.clock.now()

        def change(connection: Connection, decisions: Decisions) -> None:
            row = self.row(connection, named, locked=True)
            if (row["disabled_at"] is None) == (disabled_at is None):
                return
            connection.execute(
                "UPDATE users SET disabled_at = %s, failures = 0, locked_until = NULL"
                " WHERE id = %s",
                [disabled_at, row["id"]],
            )
            self._keep_an_admin(connection, row)
            sessions.end_all_of(connection, row["id"])
            connection.execute("DELETE FROM invitations WHERE user_id = %s", [row["id"]])
            event = Events.Disabled if disabled_at else Events.Enabled
            events_of(decisions, row["id"]).note(event, actor=actor, now=now)

        self.saved(change)
        return self.one(named)

    def reset_second_factor(self, named: str, *, actor: str) -> Person:
        """Take a person's second factor away: they set it up anew when they come."""
        now = self.ledger.clock.now()

        def change(connection: Connection, decisions: Decisions) -> None:
            user_id = self.row(connection, named, locked=True)["id"]
            connection.execute(
                "UPDATE users SET second_factor = NULL, second_factor_step = NULL,"
                " recovery_hashes = '{}' WHERE id = %s",
                [user_id],
            )
            sessions.end_all_of(connection, user_id)
            events_of(decisions, user_id).note(Events.SecondFactorReset, actor=actor, now=now)

        self.saved(change)
        return self.one(named)

    def _keep_an_admin(self, connection: Connection, before: dict[str, Any]) -> None:
        """Raise RequestInvalid if nobody could let people in any more."""
        if before["role"] != "admin" or before["disabled_at"] is not None:
            return
        rows = connection.execute(
            "SELECT disabled_at, expires_at FROM users WHERE role = 'admin' ORDER BY id FOR UPDATE"
        ).fetchall()
        now = self.ledger.clock.now()
        if not any(gone is None and (end is None or end > now) for gone, end in rows):
            raise RequestInvalid("This is the last admin: make somebody else one first.")


def _check_role(role: str, expires_at: datetime | None, now: datetime) -> None:
    if role not in ROLES:
        raise RequestInvalid(f"A role is one of {', '.join(ROLES)}.")
    if role in EXPIRING_ROLES and expires_at is None:
        raise RequestInvalid(f"The stay of a {role} ends on a day: say which.")
    if expires_at is not None and expires_at <= now:
        raise RequestInvalid("The last day of a stay lies ahead.")
