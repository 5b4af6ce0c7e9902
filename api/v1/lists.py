"""Lists as Stripe gives them: newest first, cursors, `has_more`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from flask import Response, jsonify, request
from marshmallow import RAISE, Schema, ValidationError, fields, validate

from ledger.ids import ID_PATTERN

LIMIT_DEFAULT = 10
LIMIT_MAX = 100


class _NoNul(validate.Validator):
    def __call__(self, value: str) -> str:
        if "\x00" in value:
            raise ValidationError("must not contain a NUL character.")
        return value


def id_filter(**options: Any) -> fields.String:
    """Return a parameter that is an id, a status or a type: never an address typed by mistake."""
    return fields.String(validate=validate.Regexp(re.compile(rf"(?:{ID_PATTERN})\Z")), **options)


def text_filter(**options: Any) -> fields.String:
    """Return a text parameter that PostgreSQL can take."""
    return fields.String(validate=[_NoNul(), validate.Length(min=1, max=500)], **options)


class PageQuery(Schema):
    """The parameters of every list."""

    limit = fields.Integer(
        load_default=LIMIT_DEFAULT, validate=validate.Range(min=1, max=LIMIT_MAX)
    )

    class Meta:
        """An unknown parameter is an error: a misspelt filter must not look like an answer."""

        unknown = RAISE


class ListQuery(PageQuery):
    """The parameters of a list whose cursors are ids."""

    starting_after = id_filter()
    ending_before = id_filter()


def query(schema: Schema) -> dict[str, Any]:
    """Return the request's parameters, checked; raise ValidationError naming the wrong one."""
    loaded: dict[str, Any] = schema.load(request.args.to_dict())
    if loaded.get("starting_after") and loaded.get("ending_before"):
        raise ValidationError("give one cursor, not both.", "ending_before")
    return loaded


def listed(objects: Iterable[dict[str, Any]], *, has_more: bool) -> Response:
    """Return Stripe's list object."""
    return jsonify(object="list", url=request.path, has_more=has_more, data=list(objects))
