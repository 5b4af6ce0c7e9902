"""Lists as Stripe gives them: newest first, cursors, `has_more`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from flask import request
from marshmallow import RAISE, Schema, ValidationError, fields, validate

from api.errors import ApiError
from ledger.ids import ID_PATTERN

LIMIT_DEFAULT = 10
LIMIT_MAX = 100
AFTER_POSITION = "after_position"
EXPAND = "expand[]"


POSITION_MAX = 2**63 - 1


class _NoNul(validate.Validator):
    def __call__(self, value: str) -> str:
        if "\x00" in value:
            raise ValidationError("must not contain a NUL character.")
        return value


def id_filter(**options: Any) -> fields.String:
    """Return a parameter that is an id, a status or a type: never an address typed by mistake."""
    pattern = re.compile(rf"(?:{ID_PATTERN})\Z")
    # As JSON Schema writes it (ECMA-262 has no `\Z`).
    metadata = {"pattern": f"^(?:{ID_PATTERN})$", **options.pop("metadata", {})}
    return fields.String(validate=validate.Regexp(pattern), metadata=metadata, **options)


def text_filter(**options: Any) -> fields.String:
    """Return a text parameter that PostgreSQL can take."""
    return fields.String(validate=[_NoNul(), validate.Length(min=1, max=500)], **options)


class Query(Schema):
    """The parameters of a request that takes none of its own."""

    class Meta:
        """An unknown parameter is an error: a misspelt filter must not look like an answer."""

        unknown = RAISE


class PageQuery(Query):
    """The parameters of every list."""

    limit = fields.Integer(
        load_default=LIMIT_DEFAULT, validate=validate.Range(min=1, max=LIMIT_MAX)
    )


class ListQuery(PageQuery):
    """The parameters of a list whose cursors are ids."""

    starting_after = id_filter()
    ending_before = id_filter()


class PositionsQuery(PageQuery):
    """The parameters of a list whose cursors are positions of the log."""

    starting_after = fields.Integer(validate=validate.Range(min=0, max=POSITION_MAX))


def query(schema: Schema) -> dict[str, Any]:
    """Return the request's parameters, checked; raise ValidationError naming the wrong one.

    `after_position` and `expand[]` are no parameters of any one request: see `access.reading` and
    `endpoints.Reading`.
    """
    everywhere = (AFTER_POSITION, EXPAND)
    given = {name: value for name, value in request.args.items() if name not in everywhere}
    if past := given.keys() & {"as_of", "known_at"} - schema.fields.keys():
        raise ApiError(
            400,
            "past_not_kept",
            f"`{min(past)}` cannot be asked here: customers, subscriptions, invoices, streams,"
            " events and timelines can be seen as they were.",
        )
    loaded: dict[str, Any] = schema.load(given)
    if loaded.get("starting_after") and loaded.get("ending_before"):
        raise ValidationError("give one cursor, not both.", "ending_before")
    return loaded


def listed(objects: Iterable[dict[str, Any]], *, has_more: bool, **more: Any) -> dict[str, Any]:
    """Return Stripe's list object, with members of its own where it needs them."""
    return {
        "object": "list",
        "url": request.path,
        "has_more": has_more,
        "data": list(objects),
        **more,
    }
