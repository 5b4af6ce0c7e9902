"""Who comes in and what they look at, as events: nothing of it names anybody but by an id.

What a person's account is like now (role, password, second factor) is a row of `users`, for it is
asked with every request and holds secrets; here is what happened to it, for ever.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ledger.aggregates.decision import Decision, DecisionEvent, DecisionOpened


class User(Decision):
    """The account of one person: a stream for each."""

    TOPIC = "User"
    PREFIX = "user:"

    class Event(DecisionEvent):
        """Something happened to an account."""

        TOPIC = "User.Event"

        def apply(self, aggregate: Any) -> None:
            """Nothing follows from it here: the row of `users` has it."""

    class Added(DecisionOpened, Event):
        """A person was let in, with a role, maybe until some day."""

        TOPIC = "User.Added"
        actor: str
        role: str
        expires_at: datetime | None

    class RoleChanged(Event):
        """A person has another role, or another last day."""

        TOPIC = "User.RoleChanged"
        actor: str
        role: str
        expires_at: datetime | None

    class Invited(Event):
        """A way in that works once was made: to set a first or a new password."""

        TOPIC = "User.Invited"
        actor: str
        until: datetime

    class PasswordSet(Event):
        """A person set a password; all their sessions ended."""

        TOPIC = "User.PasswordSet"
        actor: str

    class SecondFactorSet(Event):
        """A person set up a second factor and got recovery codes."""

        TOPIC = "User.SecondFactorSet"
        actor: str

    class SecondFactorReset(Event):
        """Somebody took a person's second factor away: it is set up anew when they come."""

        TOPIC = "User.SecondFactorReset"
        actor: str

    class RecoveryCodeUsed(Event):
        """A person showed a recovery code in place of the second factor."""

        TOPIC = "User.RecoveryCodeUsed"
        actor: str
        left: int

    class LoggedIn(Event):
        """A person came in: by `password` or `openid`."""

        TOPIC = "User.LoggedIn"
        actor: str
        how: str
        second_factor: bool

    class LogInFailed(Event):
        """Somebody tried to come in as this person and could not."""

        TOPIC = "User.LogInFailed"
        because: str

    class Locked(Event):
        """After several failures nobody may try until then."""

        TOPIC = "User.Locked"
        until: datetime

    class LoggedOut(Event):
        """A person ended a session."""

        TOPIC = "User.LoggedOut"
        actor: str

    class Disabled(Event):
        """A person was shut out; their sessions ended."""

        TOPIC = "User.Disabled"
        actor: str

    class Enabled(Event):
        """A person was let in again."""

        TOPIC = "User.Enabled"
        actor: str

    def __init__(self, actor: str, role: str, expires_at: datetime | None) -> None:
        """Begin; the row of `users` has the rest."""

    @classmethod
    def stream_of(cls, user_id: str) -> str:
        """Return the stream of a person."""
        return f"{cls.PREFIX}{user_id}"

    @classmethod
    def add(
        cls, user_id: str, role: str, expires_at: datetime | None, *, actor: str, now: datetime
    ) -> User:
        """Return a new account."""
        made: User = cls._create(
            cls.Added,
            id=cls.stream_of(user_id),
            actor=actor,
            role=role,
            expires_at=expires_at,
            timestamp=now,
        )
        return made

    def note(self, event: type[User.Event], *, now: datetime, **told: Any) -> None:
        """Note what happened."""
        self.trigger_event(event, timestamp=now, **told)


class Program(Decision):
    """A program's token: a stream for each."""

    TOPIC = "Program"
    PREFIX = "token:"

    class Event(DecisionEvent):
        """Something happened to a token."""

        TOPIC = "Program.Event"

        def apply(self, aggregate: Any) -> None:
            """Nothing follows from it here: the row of `api_tokens` has it."""

    class TokenCreated(DecisionOpened, Event):
        """A program was let in; `replaces` is the token in whose place it is."""

        TOPIC = "Program.TokenCreated"
        actor: str
        scopes: list[str]
        expires_at: datetime | None
        replaces: str | None

    class TokenRevoked(Event):
        """A token became useless."""

        TOPIC = "Program.TokenRevoked"
        actor: str

    def __init__(
        self, actor: str, scopes: list[str], expires_at: datetime | None, replaces: str | None
    ) -> None:
        """Begin; the row of `api_tokens` has the rest."""

    @classmethod
    def stream_of(cls, token_id: str) -> str:
        """Return the stream of a token."""
        return f"{cls.PREFIX}{token_id}"

    @classmethod
    def add(
        cls,
        token_id: str,
        scopes: list[str],
        expires_at: datetime | None,
        *,
        replaces: str | None,
        actor: str,
        now: datetime,
    ) -> Program:
        """Return a new token's stream."""
        made: Program = cls._create(
            cls.TokenCreated,
            id=cls.stream_of(token_id),
            actor=actor,
            scopes=scopes,
            expires_at=expires_at,
            replaces=replaces,
            timestamp=now,
        )
        return made

    def revoke(self, *, actor: str, now: datetime) -> None:
        """Note that it became useless."""
        self.trigger_event(self.TokenRevoked, actor=actor, timestamp=now)


class Access(Decision):
    """One request in which something personal was told, or an export made: a stream for each."""

    TOPIC = "Access"
    PREFIX = "access:"

    class Event(DecisionEvent):
        """Something was told."""

        TOPIC = "Access.Event"

        def apply(self, aggregate: Any) -> None:
            """Nothing follows from it."""

    class AccessLogged(DecisionOpened, Event):
        """Somebody was told personal data of these subjects; `what` is the request or command."""

        TOPIC = "Access.AccessLogged"
        actor: str
        what: str
        subjects: list[str]

    def __init__(self, actor: str, what: str, subjects: list[str]) -> None:
        """Begin and end."""

    @classmethod
    def log(
        cls, request_id: str, *, actor: str, what: str, subjects: list[str], now: datetime
    ) -> Access:
        """Return the note of one request."""
        made: Access = cls._create(
            cls.AccessLogged,
            id=f"{cls.PREFIX}{request_id}",
            actor=actor,
            what=what,
            subjects=subjects,
            timestamp=now,
        )
        return made
