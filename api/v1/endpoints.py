"""What an endpoint of `/v1` is: its address, who may use it, what it takes and what it answers.

The same declaration serves the request (permission, parameters, body) and documents it (`openapi`):
neither can say something else than the other.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from flask import Response, jsonify, request
from marshmallow import RAISE, Schema, ValidationError

from api.context import current_installation
from api.errors import ApiError
from api.v1 import objects
from api.v1.access import Caller, note_told, reading
from api.v1.lists import EXPAND, Query, query
from api.v1.moments import moment_asked
from ledger.bootstrap import site_of
from ledger.decisions import Connection
from ledger.orders import decide
from ledger.people.permissions import Permission
from ledger.policies.desk import Desk, log_desk

KEY_HEADER = "Idempotency-Key"
KEY_MAX = 255
ANSWERS = "idempotency answers"
Json = dict[str, Any]

_CLAIM = """
INSERT INTO idempotency_keys (token_id, key, fingerprint, created_at)
VALUES (%s, %s, %s, clock_timestamp()) ON CONFLICT DO NOTHING
"""
_KNOWN = """
SELECT fingerprint, status, body, subjects FROM idempotency_keys WHERE token_id = %s AND key = %s
"""
_KEEP = """
UPDATE idempotency_keys SET status = %s, body = %s, subjects = %s WHERE token_id = %s AND key = %s
"""


class Body(Schema):
    """A request's body; an unknown member is an error."""

    class Meta:
        """What is misspelt must not be taken for what is left out."""

        unknown = RAISE


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """One method of one address."""

    method: ClassVar[str] = "GET"
    path: str
    handle: Callable[..., Any]
    answer: Json  # the JSON schema of what is answered
    permission: Permission = "read"
    status: int = 200
    query: type[Query] = Query
    body: type[Body] | None = None
    names_things: bool = False  # whether what it takes, beside the address, may name nothing

    @property
    def refusals(self) -> list[int]:
        """The statuses of problems that this endpoint may answer."""
        found = {400, 401, 403, 429, 503}
        may_miss = "<" in self.path or self.names_things
        return sorted(found | ({404} if may_miss else set()))

    @property
    def what(self) -> str:
        """What it does, in one line."""
        return (self.handle.__doc__ or "").partition("\n")[0].rstrip(".")

    def respond(self, **ids: Any) -> Response:
        """Answer a request; raise what it is refused with."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Reading(Endpoint):
    """Tells something: `handle(caller, parameters, **ids)`.

    With `expands` the objects that it names can be asked for in the place of their ids.
    """

    expands: bool = False

    @property
    def expandable(self) -> list[str]:
        """What can be named in `expand[]`."""
        return objects.expandable(self.answer) if self.expands else []

    def respond(self, **ids: Any) -> Response:
        """Answer a request."""
        with reading(self.permission) as caller:
            asked = query(self.query())
            if not (wanted := list(dict.fromkeys(request.args.getlist(EXPAND)))):
                return _tagged(self.handle(caller, asked, **ids))
            objects.require_expandable(wanted, self.expandable)
            moment = moment_asked(caller, dict(asked))
            answer = self.handle(caller, asked, **ids)
            return _tagged(objects.expand(caller, answer, wanted, moment))


@dataclass(frozen=True, kw_only=True)
class Acting(Endpoint):
    """Decides something: `handle(desk, caller, body, **ids)`, saved with the answer or not at all.

    The same request under the same Idempotency-Key is answered as before.
    """

    method: ClassVar[str] = "POST"
    body: type[Body] | None = Body
    permission: Permission = "act"
    version: Callable[[Desk, Json], int] | None = None  # of what is changed, for If-Match

    @property
    def refusals(self) -> list[int]:
        """Besides: what the rules do not allow now, and a body of another type."""
        return sorted({*super().refusals, 409, 415, *([412] if self.version else [])})

    def respond(self, **ids: Any) -> Response:
        """Answer a request."""
        with reading(self.permission) as caller:
            query(Query())
            given = loaded(self.body)
        key = _key()
        site = site_of(current_installation().settings, caller.ledger)
        is_replayed = False
        acting = caller

        def remember(connection: Connection, carry_out: Callable[[], Any]) -> tuple[int, Any]:
            nonlocal acting, is_replayed
            acting = replace(caller, connection=connection, told=set())
            if key is None:
                answer = carry_out()
                note_told(acting)
                return self.status, answer
            named = [caller.actor.id, hashlib.sha256(key.encode()).hexdigest()]
            fingerprint = _fingerprint()
            if connection.execute(_CLAIM, [*named, fingerprint]).rowcount == 0:
                row = connection.execute(_KNOWN, named).fetchone()
                if row is None or bytes(row[0]) != fingerprint:
                    raise ApiError(
                        409,
                        "idempotency_key_reused",
                        f"This {KEY_HEADER} was used for another request: take a new one.",
                    )
                if row[2] is None:
                    raise ApiError(
                        409,
                        "answer_erased",
                        "This was done. What was answered told of somebody who is erased since.",
                    )
                is_replayed = True
                acting.tell(row[3])
                note_told(acting)
                return row[1], json.loads(caller.ledger.master.open_setting(ANSWERS, bytes(row[2])))
            answer = carry_out()
            kept = caller.ledger.master.seal_setting(ANSWERS, json.dumps(answer))
            connection.execute(_KEEP, [self.status, kept, sorted(acting.told), *named])
            note_told(acting)
            return self.status, answer

        status, answer = decide(
            caller.ledger, site, lambda desk: self._order(desk, acting, given, ids), remember
        )
        response = _tagged(answer)
        response.status_code = status
        if is_replayed:
            response.headers["Idempotent-Replayed"] = "true"
        return response

    def _order(self, desk: Desk, caller: Caller, given: Json, ids: Json) -> Any:
        if self.version is not None and request.if_match:
            now = str(self.version(desk, ids))
            if not request.if_match.contains(now):
                raise ApiError(
                    412,
                    "changed_meanwhile",
                    f"Somebody else was quicker: it is at version {now}. Look at it again.",
                )
        return self.handle(desk, caller, given, **ids)


@dataclass(frozen=True, kw_only=True)
class Taking(Endpoint):
    """Takes what somebody sends, in a form of theirs if there is no `body`: `handle(caller, told)`.

    Whatever follows is decided once, however often it is sent; a key for that is not needed.
    """

    method: ClassVar[str] = "POST"
    permission: Permission = "act"

    @property
    def refusals(self) -> list[int]:
        """Besides: a body of another type, where it is ours to say which."""
        return sorted({*super().refusals, *([415] if self.body else [])})

    def respond(self, **ids: Any) -> Response:
        """Answer a request."""
        with reading(self.permission) as caller:
            query(Query())
            told = loaded(self.body) if self.body else _json()
        if told is None:
            raise ApiError(400, "body_invalid", "Send what was told, as `application/json`.")
        response = jsonify(self.handle(caller, told, **ids))
        response.status_code = self.status
        return response


def desk_of(caller: Caller) -> Desk:
    """Return a desk of now to look at; what is decided at it is not saved."""
    ledger = caller.ledger
    site = site_of(current_installation().settings, ledger)
    return log_desk(caller.connection, ledger.keys, site, ledger.clock.now())[0]


def loaded(schema: type[Body] | None) -> dict[str, Any]:
    """Return the request's JSON object, checked; raise ValidationError or ApiError."""
    if request.content_length and not request.is_json:
        raise ApiError(415, "unsupported_media_type", "Send a body as `application/json`.")
    given = _json() if request.data else {}
    if not isinstance(given, dict):
        raise ApiError(400, "body_invalid", "Send a JSON object, as `application/json`.")
    _require_text(given)
    found: dict[str, Any] = (schema or Body)().load(given)
    return found


def _json() -> Any:
    """Return the request's JSON, None for what is none."""
    try:
        return request.get_json(silent=True)
    except RecursionError:
        raise ApiError(400, "body_invalid", "The body is nested too deeply.") from None


def _require_text(given: Any) -> None:
    """Raise ApiError 400 for what JSON can write and PostgreSQL cannot keep."""
    if isinstance(given, str):
        if "\x00" in given or any("\ud800" <= char <= "\udfff" for char in given):
            raise ApiError(
                400, "body_invalid", "A text must not contain NUL or half a surrogate pair."
            )
    elif isinstance(given, dict):
        _require_text([*given, *given.values()])
    elif isinstance(given, list):
        for one in given:
            _require_text(one)


def _tagged(answer: Json) -> Response:
    """Return an answer; what has a version bears it as its ETag."""
    response = jsonify(answer)
    if "version" in answer and answer["object"] != "event":
        response.set_etag(str(answer["version"]))
    return response


def _key() -> str | None:
    key = request.headers.get(KEY_HEADER)
    if key is not None and not 0 < len(key) <= KEY_MAX:
        raise ValidationError(f"1 to {KEY_MAX} characters.", KEY_HEADER)
    return key


def _fingerprint() -> bytes:
    told = f"{request.method} {request.full_path}\n".encode() + request.get_data()
    return hashlib.sha256(told).digest()
