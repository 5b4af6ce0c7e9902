"""`/openapi.json`: the API described as OpenAPI 3.1 has it, from the declarations that serve it."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from apispec.ext.marshmallow.openapi import OpenAPIConverter
from flask import Blueprint, Response, render_template, request
from markupsafe import Markup, escape

from api.errors import TITLES
from api.v1 import ENDPOINTS, shapes
from api.v1.endpoints import KEY_HEADER, KEY_MAX, Acting, Endpoint, Reading
from api.v1.lists import AFTER_POSITION, EXPAND
from api.v1.objects import with_expansions
from ledger.ids import ID_MAX, ID_PATTERN
from ledger.people.permissions import PERMISSIONS, ROLES, SCOPES

VERSION = "1.0.0"
Json = dict[str, Any]

_AFTER = {
    "name": AFTER_POSITION,
    "in": "query",
    "description": "wait until the views have seen this position of the log",
    "schema": {"type": "integer", "minimum": 0},
}

# What a parameter of this name means, wherever it is taken.
TOLD = {
    "limit": "how many at most",
    "starting_after": "those after this one: the `id` that came last",
    "ending_before": "those before this one: the `id` that came first",
    "as_of": "what was true then: a day, an instant, or unix seconds",
    "known_at": "what had been recorded by then: an instant, or a position of the log",
    "customer": "only of this customer",
    "subscription": "only of this subscription",
    "invoice": "only of this invoice",
    "status": "only of this status",
    "stream": "only of this stream: `sub_…`, `cus_…`, `account`, or one of ours",
    "type": "a Stripe type (`invoice.paid`) or a class (`Subscription.PaymentFailed`)",
    "stripe_event_id": "only this `evt_…`",
    "actor": "only what this person or program did or was told",
    "delinquent": "only those who owe, or do not",
    "tag": "only those with this tag",
    "owner": "only those of this owner",
    "segment": "by a filter that is saved under this name",
    "email": "a whole address; needs the scope `personal`",
    "query": "an address, a mail domain, or one whole word of a name; needs `personal`",
    "from": "the first period: 2026-11-28, 2026-11, 2026-Q4 or 2026",
    "to": "the last period, included",
    "interval": "how long each period is",
    "definitions": "by which definition set, NAME or NAME/CALCULATION; else the adopted one",
    "convert_to": "tell all currencies in this one, with imported rates",
    "currency": "only this currency",
    "product": "only this product",
    "price": "only this price",
    "plan": "another word for `price`",
    "billing_interval": "only what is billed so often",
    "country": "only customers of this country",
    "cohort": "only customers first worth something in this month",
    "by": "told apart by this",
    "kind": "only of this kind",
    "period": "only of this period",
    "feedback": "only who gave this reason",
    "window_days": "within how many days a payment counts as recovered",
    "first_invoices": "whether first invoices count, too",
    "campaign": "only of this campaign",
    "open": "only those that are open, or not",
    "state": "only in this state",
    "assignee": "only for this person",
    "due_before": "only those due before this day",
    "report": "a name that `GET /v1/books` lists",
    "block": "the number of a block",
    "position": "a position of the log",
    "name": "a name that the list has",
}

blueprint = Blueprint("openapi", __name__, template_folder="templates")

ABOUT = """\
Stripe's conventions over what the ledger knows: lists are `{object, url, has_more, data}`, paged by
`limit` (1–100), `starting_after` and `ending_before`; amounts are integers in minor units;
`created` and other instants are unix seconds, UTC.

Errors are `application/problem+json` (RFC 9457); `code` is stable, `detail` is for people. Every
answer bears a `Request-Id`. Requests that change something take an `Idempotency-Key`, kept a day.

Send a token as `Authorization: Bearer …` (or as the user of basic authentication). A person's
session works as well; what is not a GET then also needs the header `X-Form-Token`.
"""


@blueprint.get("/openapi.json")
def document() -> Response:
    """Return the description of the API."""
    return Response(_document(), mimetype="application/json")


@blueprint.get("/docs")
def docs() -> str:
    """Return the same, to be read by people."""
    return render_template(
        "docs.html",
        spec=json.loads(_document()),
        told=_told,
        told_parameters=_told_parameters,
        address=request.host_url,
    )


@blueprint.get("/docs.css")
def style() -> Response:
    """Return the stylesheet of that page."""
    css = render_template("docs.css")
    return Response(css, headers={"Cache-Control": "max-age=3600"}, mimetype="text/css")


@blueprint.app_template_filter("marked")
def marked(text: str) -> Markup:
    """Return a text with what stands between backticks as code."""
    parts = str(escape(text)).split("`")
    return Markup("".join(  # noqa: S704 — escaped above
        f"<code>{part}</code>" if index % 2 else part for index, part in enumerate(parts)
    ))  # fmt: skip


@cache
def _document() -> str:
    return json.dumps(described(), ensure_ascii=False, indent=1)


def described() -> Json:
    """Return the OpenAPI document."""
    plugin = MarshmallowPlugin()
    spec = APISpec(
        "Billing ledger", VERSION, "3.1.0", [plugin], info={"description": ABOUT},
        tags=[{"name": name} for name in sorted({tag_of(one) for one in ENDPOINTS})],
    )  # fmt: skip
    spec.components.security_scheme("token", {"type": "http", "scheme": "bearer"})
    spec.components.security_scheme(
        "session", {"type": "apiKey", "in": "cookie", "name": "ledger_session"}
    )
    spec.components.schema("problem", shapes.PROBLEM)
    assert plugin.converter is not None
    paths: dict[str, Json] = {}
    for one in ENDPOINTS:
        address = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", f"/v1{one.path}")
        paths.setdefault(address, {})[one.method.lower()] = _operation(one, plugin.converter)
    for address, operations in paths.items():
        spec.path(address, operations=operations)
    return {**spec.to_dict(), "x-permissions": dict(PERMISSIONS)}


def tag_of(endpoint: Endpoint) -> str:
    """Return the group of an endpoint: the first word of its address."""
    return endpoint.path.split("/")[1]


def _operation(one: Endpoint, converter: OpenAPIConverter) -> Json:
    told: Json = {
        "operationId": re.sub(r"\W+", "_", f"{one.method.lower()}{one.path}").strip("_"),
        "summary": one.what,
        "tags": [tag_of(one)],
        "description": _who(one),
        "x-permission": one.permission,
        "security": [{"token": []}, {"session": []}],
        "parameters": [*_ids(one), *converter.schema2parameters(one.query, location="query"),
                       *_headers(one)],
        "responses": {
            str(one.status): {
                "description": "as asked",
                "content": {"application/json": {"schema": _answer(one)}},
            },
            **{str(status): _problem(status) for status in one.refusals},
        },
    }  # fmt: skip
    for parameter in told["parameters"]:
        if (what := TOLD.get(parameter["name"])) is not None:
            parameter.setdefault("description", what)
    if not isinstance(one, Acting):
        told["parameters"].append(_AFTER)
    if isinstance(one, Reading) and one.expands:
        told["parameters"].append(
            {
                "name": EXPAND,
                "in": "query",
                "description": "objects to be told in the place of their ids",
                "schema": {"type": "array", "items": {"enum": one.expandable}},
            }
        )
    if one.method != "GET":
        schema: Json = converter.schema2jsonschema(one.body()) if one.body else {}  # type: ignore[no-untyped-call]
        told["requestBody"] = {
            "description": (one.body.__doc__ or "").strip() if one.body else "as it was told",
            "required": one.body is None or bool(schema.get("required")),
            "content": {"application/json": {"schema": schema}},
        }
    return told


def _answer(one: Endpoint) -> Json:
    names = one.expandable if isinstance(one, Reading) else []
    return with_expansions(one.answer, names)


def _who(one: Endpoint) -> str:
    roles = ", ".join(role for role, held in ROLES.items() if one.permission in held)
    scopes = ", ".join(scope for scope, held in SCOPES.items() if one.permission in held)
    return (
        f"Needs the permission `{one.permission}`: {PERMISSIONS[one.permission]}."
        f" Roles: {roles}. Scopes: {scopes or 'none'}."
    )


def _ids(one: Endpoint) -> list[Json]:
    found = re.findall(r"<(?:(\w+):)?(\w+)>", one.path)
    text = {"type": "string", "pattern": f"^{ID_PATTERN}$", "maxLength": ID_MAX}
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "integer", "minimum": 0} if kind == "int" else text,
        }
        for kind, name in found
    ]


def _headers(one: Endpoint) -> list[Json]:
    if not isinstance(one, Acting):
        return []
    key = {
        "name": KEY_HEADER,
        "in": "header",
        "description": "the same request under the same key is answered as before",
        "schema": {"type": "string", "minLength": 1, "maxLength": KEY_MAX},
    }
    match = {
        "name": "If-Match",
        "in": "header",
        "description": "the ETag that was seen: 412 if it has changed meanwhile",
        "schema": {"type": "string"},
    }
    return [key, match] if one.version is not None else [key]


def _problem(status: int) -> Json:
    return {
        "description": TITLES[status],
        "content": {
            "application/problem+json": {"schema": {"$ref": "#/components/schemas/problem"}}
        },
    }


def _told(schema: Json) -> list[tuple[str, str, str]]:
    """Return the members of a schema as rows: name, type, what it is."""
    members = schema.get("properties", {})
    if "has_more" in members:
        members = members["data"]["items"].get("properties", {})
    return [(name, _type(one), one.get("description", "")) for name, one in members.items()]


def _told_parameters(operation: Json) -> list[tuple[str, str, str]]:
    return [
        (one["name"], _type(one["schema"]), one.get("description", ""))
        for one in operation["parameters"]
    ]


def _type(schema: Json) -> str:
    if "const" in schema:
        return f"“{schema['const']}”"
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if schema.get("type") == "array":
        return f"array of {_type(schema['items'])}"
    found = schema.get("type", "any")
    return " or ".join(found) if isinstance(found, list) else str(found)
