"""The Flask application: authentication, routing, headers."""

from __future__ import annotations

import base64
from typing import Any

from flask import Flask, Response, request

from ledger.simulator.http.forms import opened
from ledger.simulator.http.idempotency import Answer
from ledger.simulator.http.routes import Target, routes
from ledger.simulator.http.service import Service
from ledger.simulator.refusals import Refused

_KEYS = ("sk_test_", "rk_test_")


def create_app(service: Service) -> Flask:
    """Return the application that serves one simulator."""
    app = Flask("ledger.simulator")
    for number, (method, path, target) in enumerate(routes(service.simulator)):
        app.add_url_rule(
            path,
            endpoint=f"{number}",
            view_func=_view(service, target),
            methods=[method],
        )
    app.register_error_handler(404, lambda _: _response(service.refuse(_unknown_url()), service))
    app.register_error_handler(500, lambda _: _response(service.refuse(_broken()), service))
    app.register_error_handler(405, lambda _: _response(service.refuse(_unknown_url()), service))
    return app


def _view(service: Service, target: Target) -> Any:
    def view(**ids: str) -> Response:
        refused = _authenticate()
        if refused:
            return _response(service.refuse(refused), service)
        pairs = [*request.args.items(multi=True), *request.form.items(multi=True)]
        answer = service.answer(
            target,
            tuple(ids.values()),
            opened(pairs),
            url=request.path,
            version=request.headers.get("Stripe-Version"),
            key=request.headers.get("Idempotency-Key") if request.method == "POST" else None,
        )
        return _response(answer, service)

    return view


def _response(answer: Answer, service: Service) -> Response:
    response = Response(answer.body, answer.status, content_type="application/json")
    version = request.headers.get("Stripe-Version")
    response.headers["Request-Id"] = answer.request_id
    response.headers["Stripe-Version"] = version or service.simulator.engine.settings.api_version
    if key := request.headers.get("Idempotency-Key"):
        response.headers["Idempotency-Key"] = key
    if answer.is_replay:
        response.headers["Idempotent-Replayed"] = "true"
    return response


def _authenticate() -> Refused | None:
    scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
    key = credentials
    if scheme.lower() == "basic":
        try:
            key = base64.b64decode(credentials).decode().partition(":")[0]
        except ValueError:
            key = ""
    if key.startswith(_KEYS):
        return None
    if not key:
        return Refused(
            "You did not provide an API key. You need to provide your API key in the"
            " Authorization header, using Bearer auth.",
            status=401,
        )
    return Refused(f"Invalid API Key provided: {key[:8]}****", status=401)


def _broken() -> Refused:
    return Refused(
        "Sorry! There was an error while talking to Stripe.", status=500, kind="api_error"
    )


def _unknown_url() -> Refused:
    return Refused(f"Unrecognized request URL ({request.method}: {request.path}).", status=404)
