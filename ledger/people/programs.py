"""Programs with tokens: let in, given another secret, shut out; each of it an event."""

from __future__ import annotations

from datetime import datetime

from ledger.aggregates.people import Program
from ledger.decisions import Connection, Decisions
from ledger.people import tokens
from ledger.people.actors import Actor
from ledger.people.changes import Changing


class Programs(Changing):
    """The tokens of one ledger."""

    def create(
        self, name: str, scopes: list[str], expires_at: datetime | None, *, actor: str
    ) -> tuple[Actor, str]:
        """Let a program in; return its token and the secret, which nobody can see again."""
        now, made = self.ledger.clock.now(), list[tuple[Actor, str]]()

        def change(connection: Connection, decisions: Decisions) -> None:
            made[:] = [tokens.create(connection, self.ledger.name, name, scopes, expires_at)]
            decisions.add(
                Program.add(made[0][0].id, scopes, expires_at, replaces=None, actor=actor, now=now)
            )

        self.saved(change)
        return made[0]

    def rotate(self, token_id: str, *, actor: str) -> tuple[Actor, str]:
        """Make a token in another's place; the former works for a day more. Raises NotFound."""
        now, made = self.ledger.clock.now(), list[tuple[Actor, str]]()

        def change(connection: Connection, decisions: Decisions) -> None:
            made[:] = [tokens.rotate(connection, self.ledger.name, token_id, now)]
            new = made[0][0]
            known = {one["id"]: one for one in tokens.listed(connection)}[new.id]
            decisions.add(
                Program.add(new.id, known["scopes"], known["expires_at"], replaces=token_id,
                            actor=actor, now=now)
            )  # fmt: skip

        self.saved(change)
        return made[0]

    def revoke(self, token_id: str, *, actor: str) -> None:
        """Shut a program out at once; raise NotFound."""
        now = self.ledger.clock.now()

        def change(connection: Connection, decisions: Decisions) -> None:
            tokens.revoke(connection, token_id)
            stream = Program.stream_of(token_id)
            found = decisions.find(Program, stream)
            if found is None:  # it was made before this was noted, or by the environment
                found = Program.add(token_id, [], None, replaces=None, actor=actor, now=now)
                decisions.add(found)
            found.revoke(actor=actor, now=now)

        self.saved(change)
