"""Requests that change something: who may, once per Idempotency-Key, and what was answered.

The key and its answer are kept in the transaction of the decision: both, or neither.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

from flask import Response, request
from marshmallow import RAISE, Schema, ValidationError

from api.context import current_installation
from api.errors import ApiError
from api.v1.access import Caller, reading
from ledger.bootstrap import site_of
from ledger.decisions import Connection
from ledger.orders import decide
from ledger.policies.desk import Desk

KEY_MAX = 255
ANSWERS = "idempotency answers"
Answer = tuple[int, dict[str, Any]]

_CLAIM = """
INSERT INTO idempotency_keys (token_id, key, fingerprint, created_at)
VALUES (%s, %s, %s, clock_timestamp()) ON CONFLICT DO NOTHING
"""
_KNOWN = "SELECT fingerprint, status, body FROM idempotency_keys WHERE token_id = %s AND key = %s"
_KEEP = "UPDATE idempotency_keys SET status = %s, body = %s WHERE token_id = %s AND key = %s"


class Body(Schema):
    """A request's body; an unknown member is an error."""

    class Meta:
        """What is misspelt must not be taken for what is left out."""

        unknown = RAISE


def body(schema: Schema) -> dict[str, Any]:
    """Return the request's JSON object, checked; raise ValidationError or ApiError."""
    given = request.get_json(silent=True) if request.data else {}
    if not isinstance(given, dict):
        raise ApiError(400, "body_invalid", "Send a JSON object, as `application/json`.")
    loaded: dict[str, Any] = schema.load(given)
    return loaded


def acting(order: Callable[[Desk, Caller], Answer], *, scope: str = "write") -> Response:
    """Carry out what the caller orders, and answer; the same again for the same key."""
    key = request.headers.get("Idempotency-Key")
    if key is not None and not 0 < len(key) <= KEY_MAX:
        raise ValidationError(f"1 to {KEY_MAX} characters.", "Idempotency-Key")
    with reading() as caller:
        if not caller.token.may(scope):
            raise ApiError(403, "scope_missing", f"This needs a token with the scope `{scope}`.")
    ledger = caller.ledger
    site = site_of(current_installation().settings, ledger)
    replayed = False

    def remember(connection: Connection, carry_out: Callable[[], Answer]) -> Answer:
        nonlocal replayed
        if key is None:
            return carry_out()
        named = [caller.token.id, hashlib.sha256(key.encode()).hexdigest()]
        fingerprint = _fingerprint()
        if connection.execute(_CLAIM, [*named, fingerprint]).rowcount == 0:
            row = connection.execute(_KNOWN, named).fetchone()
            if row is None or bytes(row[0]) != fingerprint:
                raise ApiError(
                    409,
                    "idempotency_key_reused",
                    "This Idempotency-Key was used for another request: take a new one.",
                )
            replayed = True
            return row[1], json.loads(ledger.master.open_setting(ANSWERS, bytes(row[2])))
        status, answer = carry_out()
        kept = ledger.master.seal_setting(ANSWERS, json.dumps(answer))
        connection.execute(_KEEP, [status, kept, *named])
        return status, answer

    status, answer = decide(ledger, site, lambda desk: order(desk, caller), remember)
    response = Response(json.dumps(answer, ensure_ascii=False) + "\n", status,
                        mimetype="application/json")  # fmt: skip
    if replayed:
        response.headers["Idempotent-Replayed"] = "true"
    return response


def _fingerprint() -> bytes:
    told = f"{request.method} {request.full_path}\n".encode() + request.get_data()
    return hashlib.sha256(told).digest()
