"""Who asks: a bearer token, or the session of a person who came in; and what they may do."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
from flask import g, request

from api import rates
from api.context import current_installation
from api.errors import ApiError
from api.sessions import FORM_HEADER, session_secret
from api.v1.lists import AFTER_POSITION
from ledger.application import Ledger
from ledger.errors import LedgerUnknown
from ledger.log import Log
from ledger.log.log import prepare
from ledger.people import sessions, tokens
from ledger.people.actors import Actor
from ledger.people.permissions import Permission, scope_for
from ledger.people.reads import note_read
from ledger.projections.waiting import wait_for

WAIT_SECONDS_MAX = 5.0
UNKNOWN = "This token is unknown, has expired or was revoked."
Connection = psycopg.Connection[tuple[Any, ...]]
Finder = Callable[[Connection], Actor]
_SAFE = frozenset({"GET", "HEAD"})


@dataclass(frozen=True)
class Caller:
    """The ledger a request is for, who asks, and a connection to read with."""

    ledger: Ledger
    actor: Actor
    connection: Connection
    told: set[str] = field(default_factory=set)

    @property
    def sees_personal(self) -> bool:
        """Whether names, addresses and the like may be told."""
        return self.actor.may("personal")

    def tell(self, subjects: Iterable[str | None]) -> None:
        """Note of whom something personal is told: it is in the log before the answer goes out."""
        self.told.update(one for one in subjects if one)

    def require(self, permission: Permission) -> None:
        """Raise ApiError 403 if they may not do that."""
        if not self.actor.may(permission):
            raise ApiError(
                403,
                "scope_missing",
                f"This needs the permission `{permission}`: a token with the scope"
                f" `{scope_for(permission)}`, or a role that has it.",
            )


@contextmanager
def reading(permission: Permission = "read") -> Iterator[Caller]:
    """Let the request read its caller's ledger; raise ApiError 401 or 403 if it may not."""
    ledger, find = _claimed()
    if (asked := request.args.get(AFTER_POSITION)) is not None:
        with ledger.pool.connection() as connection:
            _admitted(ledger, connection, find, permission)
            last = Log(connection).last_position()
        _wait_for(ledger, asked, last)
    with ledger.pool.connection() as connection:
        prepare(connection)
        caller = _admitted(ledger, connection, find, permission)
        yield caller
        note_told(caller)


def note_told(caller: Caller) -> None:
    """Write down of whom this request told something personal, before the answer goes out."""
    if caller.told:
        what = f"{request.method} {request.url_rule}"
        note_read(caller.ledger, caller.connection, caller.actor, g.request_id, what, caller.told)


def _admitted(
    ledger: Ledger, connection: Connection, find: Finder, permission: Permission
) -> Caller:
    caller = Caller(ledger, find(connection), connection)
    g.actor = caller.actor.id
    rates.count(caller.actor)
    caller.require(permission)
    return caller


def _claimed() -> tuple[Ledger, Finder]:
    """Return the ledger that the request names, and what finds out who asks."""
    header = request.headers.get("Authorization", "")
    scheme, _, secret = header.partition(" ")
    secret = secret.strip()
    if scheme.lower() == "basic" and request.authorization is not None:
        secret = request.authorization.username or ""  # `curl -u TOKEN:`, as one does with Stripe
    elif scheme.lower() != "bearer":
        secret = ""
    cookie = None if header else session_secret()
    if not secret and cookie is None:
        raise ApiError(401, "token_missing", "Send a token: `Authorization: Bearer …`.")
    named = sessions.ledger_named_by(cookie) if cookie else tokens.ledger_named_by(secret)
    try:
        ledger = current_installation().ledger(named)
    except LedgerUnknown:
        raise ApiError(401, "token_invalid", UNKNOWN) from None
    if cookie is None:
        return ledger, lambda connection: _program(ledger, connection, secret)
    return ledger, lambda connection: _person(ledger, connection, cookie)


def _program(ledger: Ledger, connection: Connection, secret: str) -> Actor:
    found = tokens.find(connection, secret, ledger.clock.now())
    if found is None:
        raise ApiError(401, "token_invalid", UNKNOWN)
    return found


def _person(ledger: Ledger, connection: Connection, secret: str) -> Actor:
    found = sessions.find(connection, ledger.master, secret, ledger.clock.now())
    if found is None or not found.is_in:
        raise ApiError(401, "session_ended", "This session has ended: sign in again.")
    if request.method not in _SAFE and not found.is_form(request.headers.get(FORM_HEADER, "")):
        raise ApiError(
            403, "form_token_missing", f"Send the page's form token as the header `{FORM_HEADER}`."
        )
    return found.actor


def _wait_for(ledger: Ledger, asked: str, last: int) -> None:
    """Return when the views have seen this position: who has just written can read it back.

    Raises ApiError 400 for what is no position up to the `last` of the log, 503 if it takes too
    long.
    """
    if not re.fullmatch(r"\d{1,18}", asked):
        raise ApiError(400, "parameter_invalid", f"`{AFTER_POSITION}`: not a position of the log.")
    if int(asked) > last:
        raise ApiError(
            400, "parameter_invalid", f"`{AFTER_POSITION}` {asked} is past the log's end, {last}."
        )
    reached = wait_for(ledger, int(asked), WAIT_SECONDS_MAX)
    if reached < int(asked):
        raise ApiError(
            503, "views_behind", f"The views are at {reached}, not at {asked} yet; try again."
        )
