"""Who asks: a bearer token names its ledger and what it may do there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from flask import request

from api.context import current_installation
from api.errors import ApiError
from api.v1.lists import AFTER_POSITION
from ledger import tokens
from ledger.application import Ledger
from ledger.errors import LedgerUnknown
from ledger.log import Log
from ledger.log.log import prepare
from ledger.projections.waiting import wait_for

WAIT_SECONDS_MAX = 5.0
UNKNOWN = "This token is unknown or was revoked."


@dataclass(frozen=True)
class Caller:
    """The ledger a request is for, what it may see, and a connection to read with."""

    ledger: Ledger
    token: tokens.Token
    connection: psycopg.Connection[tuple[Any, ...]]

    @property
    def sees_personal(self) -> bool:
        """Whether names, addresses and the like may be told."""
        return self.token.may("personal")


@contextmanager
def reading() -> Iterator[Caller]:
    """Let the request read its token's ledger; raise ApiError 401 or 403 if it may not."""
    scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "basic" and request.authorization is not None:
        secret = request.authorization.username or ""  # `curl -u TOKEN:`, as one does with Stripe
    elif scheme.lower() != "bearer":
        secret = ""
    if not secret.strip():
        raise ApiError(401, "token_missing", "Send a token: `Authorization: Bearer …`.")
    secret = secret.strip()
    try:
        ledger = current_installation().ledger(tokens.ledger_named_by(secret))
    except LedgerUnknown:
        raise ApiError(401, "token_invalid", UNKNOWN) from None
    if (asked := request.args.get(AFTER_POSITION)) is not None:
        with ledger.pool.connection() as connection:
            _reader(connection, secret)
            last = Log(connection).last_position()
        _wait_for(ledger, asked, last)
    with ledger.pool.connection() as connection:
        prepare(connection)
        yield Caller(ledger, _reader(connection, secret), connection)


def _reader(connection: psycopg.Connection[tuple[Any, ...]], secret: str) -> tokens.Token:
    token = tokens.find(connection, secret)
    if token is None:
        raise ApiError(401, "token_invalid", UNKNOWN)
    if not token.may("read"):
        raise ApiError(403, "scope_missing", "This token may not read.")
    return token


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
