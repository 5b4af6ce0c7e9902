"""`/v1/users`, `/v1/tokens`: who may come in; `/v1/access_log`: who did, and what they saw."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from typing import Any

from marshmallow import fields, validate

from api.v1 import people_shapes as shapes
from api.v1 import schema
from api.v1.access import Caller
from api.v1.endpoints import Acting, Body, Json, Reading
from api.v1.lists import PositionsQuery, id_filter, listed
from ledger.invitations import address_of
from ledger.people import tokens
from ledger.people.accounts import Person
from ledger.people.audit import access_log
from ledger.people.permissions import ROLES, SCOPES
from ledger.people.programs import Programs
from ledger.people.users import People
from ledger.policies.desk import Desk


class UserBody(Body):
    """A person to be let in."""

    email = fields.String(required=True, validate=validate.Length(min=3, max=254))
    name = fields.String(validate=validate.Length(max=200), load_default="")
    role = fields.String(required=True, validate=validate.OneOf(list(ROLES)))
    until = fields.Date(allow_none=True)


class RoleBody(Body):
    """What a person is from now on, maybe until some day."""

    role = fields.String(required=True, validate=validate.OneOf(list(ROLES)))
    until = fields.Date(allow_none=True)


class TokenBody(Body):
    """A program to be let in."""

    name = fields.String(required=True, validate=validate.Length(min=1, max=100))
    scopes = fields.List(
        fields.String(validate=validate.OneOf(list(SCOPES))),
        required=True,
        validate=validate.Length(min=1),
    )
    expires_at = fields.Integer(allow_none=True, validate=validate.Range(min=0, max=253402300799))


class AccessQuery(PositionsQuery):
    """Filters of the access log; its cursors are positions."""

    actor = id_filter()
    customer = id_filter()


def list_users(caller: Caller, _: Json) -> Json:
    """Return people, the first that was added first."""
    found = People(caller.ledger, caller.connection).listed()
    return listed((user_json(one) for one in found), has_more=False)


def add_user(desk: Desk, caller: Caller, given: Json) -> Json:
    """Let a person in, and return the link with which they set a password."""
    people = People(caller.ledger, caller.connection)
    person = people.add(
        given["email"],
        given["name"] or given["email"],
        given["role"],
        actor=caller.actor.name,
        expires_at=_midnight(given.get("until")),
    )
    return _invited(people, person, caller)


def invite_user(desk: Desk, caller: Caller, _: Json, user_id: str) -> Json:
    """Return another link with which a person sets a password."""
    people = People(caller.ledger, caller.connection)
    return _invited(people, people.one(user_id), caller)


def change_role(desk: Desk, caller: Caller, given: Json, user_id: str) -> Json:
    """Give a person another role; their sessions end."""
    until = _midnight(given.get("until"))
    return user_json(
        People(caller.ledger, caller.connection).change_role(
            user_id, given["role"], actor=caller.actor.name, expires_at=until
        )
    )


def disable_user(desk: Desk, caller: Caller, _: Json, user_id: str) -> Json:
    """Shut a person out at once."""
    people = People(caller.ledger, caller.connection)
    return user_json(people.disable(user_id, actor=caller.actor.name))


def enable_user(desk: Desk, caller: Caller, _: Json, user_id: str) -> Json:
    """Let a person in again who was shut out."""
    people = People(caller.ledger, caller.connection)
    return user_json(people.enable(user_id, actor=caller.actor.name))


def reset_second_factor(desk: Desk, caller: Caller, _: Json, user_id: str) -> Json:
    """Take a person's second factor away: they set it up anew when they come."""
    people = People(caller.ledger, caller.connection)
    return user_json(people.reset_second_factor(user_id, actor=caller.actor.name))


def list_tokens(caller: Caller, _: Json) -> Json:
    """Return tokens, without their secrets."""
    return listed(map(token_json, tokens.listed(caller.connection)), has_more=False)


def create_token(desk: Desk, caller: Caller, given: Json) -> Json:
    """Let a program in; the secret is told this once."""
    at = given.get("expires_at")
    made, secret = Programs(caller.ledger, caller.connection).create(
        given["name"],
        given["scopes"],
        datetime.fromtimestamp(at, UTC) if at is not None else None,
        actor=caller.actor.name,
    )
    return {**_token(caller, made.id), "secret": secret}


def rotate_token(desk: Desk, caller: Caller, _: Json, token_id: str) -> Json:
    """Make a token in another's place; the former works for a day more."""
    made, secret = Programs(caller.ledger, caller.connection).rotate(
        token_id, actor=caller.actor.name
    )
    return {**_token(caller, made.id), "secret": secret}


def revoke_token(desk: Desk, caller: Caller, _: Json, token_id: str) -> Json:
    """Shut a program out at once."""
    Programs(caller.ledger, caller.connection).revoke(token_id, actor=caller.actor.name)
    return _token(caller, token_id)


def list_access(caller: Caller, asked: Json) -> Json:
    """Return who came in, who was told what is personal, and what people decided."""
    found, has_more = access_log(
        caller.connection,
        limit=asked["limit"],
        before=asked.get("starting_after"),
        actor=asked.get("actor"),
        customer=asked.get("customer"),
    )
    return listed(found, has_more=has_more)


def user_json(person: Person) -> Json:
    """Return a person's account."""
    return {
        "id": person.id,
        "object": "user",
        "created": int(person.created_at.timestamp()),
        "email": person.email,
        "name": person.name,
        "role": person.role,
        "expires_at": _seconds(person.expires_at),
        "disabled_at": _seconds(person.disabled_at),
        "locked_until": _seconds(person.locked_until),
        "has_password": person.has_password,
        "has_second_factor": person.has_second_factor,
    }


def token_json(row: dict[str, Any]) -> Json:
    """Return a token, without its secret."""
    return {
        "id": row["id"],
        "object": "token",
        "created": _seconds(row["created_at"]),
        "name": row["name"],
        "scopes": row["scopes"],
        "expires_at": _seconds(row["expires_at"]),
        "last_used_at": _seconds(row["last_used_at"]),
        "revoked_at": _seconds(row["revoked_at"]),
    }


def _token(caller: Caller, token_id: str) -> Json:
    return next(
        token_json(row) for row in tokens.listed(caller.connection) if row["id"] == token_id
    )


def _invited(people: People, person: Person, caller: Caller) -> Json:
    secret = people.invite(person.id, actor=caller.actor.name)
    return {**user_json(person), "link": address_of(caller.ledger, secret)}


def _midnight(day: date | None) -> datetime | None:
    return datetime.combine(day, time(), UTC) if day else None


def _seconds(instant: datetime | None) -> int | None:
    return int(instant.timestamp()) if instant else None


_INVITED = schema.more(shapes.USER, link=schema.STRING)
_WITH_SECRET = schema.more(shapes.TOKEN, secret=schema.STRING)
ENDPOINTS = (
    Reading(
        path="/users",
        handle=list_users,
        answer=schema.list_of(shapes.USER),
        permission="people",
    ),
    Acting(
        path="/users",
        handle=add_user,
        answer=_INVITED,
        body=UserBody,
        permission="people",
        status=201,
    ),
    Acting(
        path="/users/<user_id>/invite", handle=invite_user, answer=_INVITED, permission="people"
    ),
    Acting(
        path="/users/<user_id>/role",
        handle=change_role,
        answer=shapes.USER,
        body=RoleBody,
        permission="people",
    ),
    *(
        Acting(
            path=f"/users/<user_id>/{name}",
            handle=handle,
            answer=shapes.USER,
            permission="people",
        )
        for name, handle in (
            ("disable", disable_user),
            ("enable", enable_user),
            ("reset_second_factor", reset_second_factor),
        )
    ),
    Reading(
        path="/tokens",
        handle=list_tokens,
        answer=schema.list_of(shapes.TOKEN),
        permission="people",
    ),
    Acting(
        path="/tokens",
        handle=create_token,
        answer=_WITH_SECRET,
        body=TokenBody,
        permission="people",
        status=201,
    ),
    Acting(
        path="/tokens/<token_id>/rotate",
        handle=rotate_token,
        answer=_WITH_SECRET,
        permission="people",
        status=201,
    ),
    Acting(
        path="/tokens/<token_id>/revoke",
        handle=revoke_token,
        answer=shapes.TOKEN,
        permission="people",
    ),
    Reading(
        path="/access_log",
        handle=list_access,
        answer=schema.list_of(shapes.ACCESS),
        query=AccessQuery,
        permission="audit",
    ),
)
