"""Who asks: a bearer token names its ledger and what it may do there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from flask import request

from api.context import current_installation
from api.errors import ApiError
from ledger import tokens
from ledger.application import Ledger
from ledger.errors import LedgerUnknown
from ledger.log.log import prepare


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
    unknown = ApiError(401, "token_invalid", "This token is unknown or was revoked.")
    secret = secret.strip()
    try:
        ledger = current_installation().ledger(tokens.ledger_named_by(secret))
    except LedgerUnknown:
        raise unknown from None
    with ledger.pool.connection() as connection:
        prepare(connection)
        token = tokens.find(connection, secret)
        if token is None:
            raise unknown
        if not token.may("read"):
            raise ApiError(403, "scope_missing", "This token may not read.")
        yield Caller(ledger, token, connection)
