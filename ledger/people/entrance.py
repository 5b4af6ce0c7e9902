"""How people come in: by an invitation, a password, an OpenID provider; by their second factor."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from psycopg.rows import dict_row

from ledger.aggregates.people import User as Events
from ledger.decisions import Connection, Decisions
from ledger.errors import LedgerError, NotFound
from ledger.people import second_factor, sessions
from ledger.people.accounts import Accounts, Person, events_of
from ledger.people.actors import hash_of
from ledger.people.passwords import check_password, hash_password, is_outdated, is_password

FACTOR = "second factor"
FAILURES_MAX = 5
LOCKED_MINUTES = 15


class LogInRefused(LedgerError):
    """Somebody could not come in; the sentence tells nothing about whether there is such a user."""


class FactorRefused(LedgerError):
    """A code that is wrong, or was used before."""


_WRONG = LogInRefused(
    "That address and password do not open anything. After several failures nobody may try for"
    " a quarter of an hour or longer."
)


class Entrance(Accounts):
    """Lets people in who may come, and nobody else."""

    def invited(self, secret: str) -> Person | None:
        """Return whose invitation this is, while it is good."""
        now = self.ledger.clock.now()
        with self.connected() as connection:
            row = connection.execute(
                "SELECT user_id FROM invitations WHERE secret_hash = %s AND expires_at > %s",
                [hash_of(secret), now],
            ).fetchone()
            person = self.person(self.row(connection, row[0])) if row else None
        return person if person is not None and person.may_come(now) else None

    def set_password(self, secret: str, password: str) -> Person:
        """Take an invitation up; raise LogInRefused if it is good no more, RequestInvalid."""
        person = self.invited(secret)
        if person is None:
            raise LogInRefused("This link was used already or has expired: ask for another.")
        check_password(password, not_in=person.email)
        kept, now = hash_password(password), self.ledger.clock.now()

        def change(connection: Connection, decisions: Decisions) -> None:
            taken = connection.execute(
                "DELETE FROM invitations WHERE secret_hash = %s", [hash_of(secret)]
            )
            if taken.rowcount == 0:
                raise LogInRefused("This link was used already: ask for another.")
            connection.execute(
                "UPDATE users SET password_hash = %s, failures = 0, locked_until = NULL"
                " WHERE id = %s",
                [kept, person.id],
            )
            sessions.end_all_of(connection, person.id)
            events_of(decisions, person.id).note(Events.PasswordSet, actor=person.id, now=now)

        self.saved(change)
        return person

    def log_in(self, email: str, password: str) -> str:
        """Return the secret of a new session; raise LogInRefused.

        Who has a second factor has to show it before the session is good for anything else.
        """
        now = self.ledger.clock.now()
        try:
            with self.connected() as connection:
                row = self.row(connection, email)
        except NotFound:
            is_password(None, password)
            raise _WRONG from None
        right = is_password(row["password_hash"], password)
        if not self.person(row).may_come(now):
            raise _WRONG
        if row["locked_until"] is not None and row["locked_until"] > now:
            raise _WRONG
        if not right:
            self._fail(row["id"], "password")
            raise _WRONG
        if is_outdated(row["password_hash"]):
            self._rehash(row["id"], password)
        return self._come_in(row, "password")

    def log_in_by_openid(self, subject: str, email: str) -> str:
        """Return the secret of a new session of whom the provider vouches for.

        The first time they are known by their address, from then on by the provider's subject.
        """
        now = self.ledger.clock.now()
        with self.connected() as connection:
            cursor = connection.cursor(row_factory=dict_row)
            row = cursor.execute("SELECT * FROM users WHERE subject = %s", [subject]).fetchone()
            if row is None:
                row = cursor.execute(
                    "UPDATE users SET subject = %s WHERE address_hash = %s AND subject IS NULL"
                    " RETURNING *",
                    [subject, self.address_hash(email)],
                ).fetchone()
        if row is None or not self.person(row).may_come(now):
            raise LogInRefused("Nobody of this address has been let in here.")
        return self._come_in(row, "openid")

    def _come_in(self, row: dict[str, Any], how: str) -> str:
        now, found = self.ledger.clock.now(), ""

        def change(connection: Connection, decisions: Decisions) -> None:
            nonlocal found
            found = sessions.begin(connection, self.ledger.name, row["id"], now, is_verified=False)
            if row["second_factor"] is None:
                connection.execute(
                    "UPDATE users SET failures = 0, locked_until = NULL WHERE id = %s", [row["id"]]
                )
                events_of(decisions, row["id"]).note(
                    Events.LoggedIn, actor=row["id"], how=how, second_factor=False, now=now
                )

        self.saved(change)
        return found

    def _rehash(self, user_id: str, password: str) -> None:
        kept = hash_password(password)
        with self.connected() as connection:
            connection.execute("UPDATE users SET password_hash = %s WHERE id = %s", [kept, user_id])

    def _fail(self, user_id: str, because: str) -> None:
        """Count a failure; after several nobody may try for a while, longer each time."""
        now = self.ledger.clock.now()

        def change(connection: Connection, decisions: Decisions) -> None:
            row = self.row(connection, user_id, locked=True)
            failures = row["failures"] + 1
            rounds, rest = divmod(failures, FAILURES_MAX)
            until = now + timedelta(minutes=LOCKED_MINUTES * 2 ** min(rounds - 1, 6))
            connection.execute(
                "UPDATE users SET failures = %s, locked_until = %s WHERE id = %s",
                [failures, row["locked_until"] if rest else until, user_id],
            )
            events = events_of(decisions, user_id)
            events.note(Events.LogInFailed, because=because, now=now)
            if not rest:
                events.note(Events.Locked, until=until, now=now)

        self.saved(change)

    def log_out(self, secret: str, user_id: str) -> None:
        """End a session."""
        now = self.ledger.clock.now()

        def change(connection: Connection, decisions: Decisions) -> None:
            sessions.end(connection, secret)
            events_of(decisions, user_id).note(Events.LoggedOut, actor=user_id, now=now)

        self.saved(change)

    # --- the second factor ------------------------------------------------------------------

    def show_second_factor(self, secret: str, user_id: str, code: str) -> str:
        """Return the secret of a session that is good for all; raise FactorRefused.

        A code is taken once: whoever looks over a shoulder can do nothing with it.
        """
        now, found = self.ledger.clock.now(), ""
        code = code.strip().replace(" ", "").lower()

        def change(connection: Connection, decisions: Decisions) -> None:
            nonlocal found
            row = self.row(connection, user_id, locked=True)
            if row["locked_until"] is not None and row["locked_until"] > now:
                raise FactorRefused("After several wrong codes nobody may try for a while.")
            events = events_of(decisions, user_id)
            if not self._takes_code(connection, row, code, now):
                left = [one for one in row["recovery_hashes"] if bytes(one) != hash_of(code)]
                if len(left) == len(row["recovery_hashes"]):
                    raise FactorRefused("This code is wrong, or was used before.")
                connection.execute(
                    "UPDATE users SET recovery_hashes = %s WHERE id = %s", [left, user_id]
                )
                events.note(Events.RecoveryCodeUsed, actor=user_id, left=len(left), now=now)
            connection.execute(
                "UPDATE users SET failures = 0, locked_until = NULL WHERE id = %s", [user_id]
            )
            sessions.end(connection, secret)
            found = sessions.begin(connection, self.ledger.name, user_id, now, is_verified=True)
            events.note(Events.LoggedIn, actor=user_id, how="password", second_factor=True, now=now)

        try:
            self.saved(change)
        except FactorRefused:
            self._fail(user_id, "second_factor")
            raise
        return found

    def _takes_code(
        self, connection: Connection, row: dict[str, Any], code: str, now: datetime
    ) -> bool:
        if row["second_factor"] is None:
            return False
        kept = self.master.open_setting(FACTOR, bytes(row["second_factor"]))
        step = second_factor.step_of(kept, code, now)
        if step is None or step <= (row["second_factor_step"] or 0):
            return False
        connection.execute(
            "UPDATE users SET second_factor_step = %s WHERE id = %s", [step, row["id"]]
        )
        return True

    def set_second_factor(
        self, session: str, user_id: str, secret: str, code: str
    ) -> tuple[str, list[str]]:
        """Set a second factor up, proven by a first code; return a good session and the codes.

        Raises FactorRefused. The recovery codes are shown this once.
        """
        now, found = self.ledger.clock.now(), ""
        step = second_factor.step_of(secret, code.strip().replace(" ", ""), now)
        if step is None:
            raise FactorRefused("This is not the code that the app shows now.")
        codes, hashes = second_factor.new_recovery_codes()
        kept = self.master.seal_setting(FACTOR, secret)

        def change(connection: Connection, decisions: Decisions) -> None:
            nonlocal found
            if self.row(connection, user_id, locked=True)["second_factor"] is not None:
                raise FactorRefused("There is a second factor already; have it reset first.")
            connection.execute(
                "UPDATE users SET second_factor = %s, second_factor_step = %s,"
                " recovery_hashes = %s WHERE id = %s",
                [kept, step, hashes, user_id],
            )
            sessions.end_all_of(connection, user_id)
            found = sessions.begin(connection, self.ledger.name, user_id, now, is_verified=True)
            events_of(decisions, user_id).note(Events.SecondFactorSet, actor=user_id, now=now)

        self.saved(change)
        return found, codes
