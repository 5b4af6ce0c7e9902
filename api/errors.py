"""Every error as RFC 9457 problem+json with a stable `code`; never a traceback, never a page."""

from __future__ import annotations

import json
import logging

import psycopg
from flask import Flask, Response
from marshmallow import ValidationError
from psycopg_pool import PoolTimeout
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from ledger.errors import DatabaseUnavailable, LedgerError, LedgerUnknown, NotFound, RequestInvalid

logger = logging.getLogger("ledger.api")

RETRY_AFTER_SECONDS = "5"


class ApiError(Exception):
    """An answer that is not the one asked for."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail


TITLES = {
    400: "Bad request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not found",
    405: "Method not allowed",
    413: "Too large",
    415: "Unsupported media type",
    500: "Internal error",
    503: "Unavailable",
}


def problem(status: int, code: str, detail: str) -> Response:
    """Return a problem+json response."""
    body = {
        "type": "about:blank",
        "title": TITLES.get(status, "Error"),
        "status": status,
        "code": code,
        "detail": detail,
    }
    response = Response(json.dumps(body), status, content_type="application/problem+json")
    if status == 503:
        response.headers["Retry-After"] = RETRY_AFTER_SECONDS
    if status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def _api_error(error: ApiError) -> Response:
    return problem(error.status, error.code, error.detail)


def _http(error: HTTPException) -> Response:
    status = error.code or 500
    code = error.name.lower().replace(" ", "_")
    response = problem(status, code, error.description or error.name)
    if isinstance(error, MethodNotAllowed) and error.valid_methods:
        response.headers["Allow"] = ", ".join(sorted(error.valid_methods))
    return response


def _ledger_error(error: LedgerError) -> Response:
    match error:
        case DatabaseUnavailable():
            return _unavailable(error)
        case LedgerUnknown() | NotFound():
            return problem(404, "not_found", str(error))
        case RequestInvalid():
            return problem(400, "request_invalid", str(error))
        case _:
            logger.error("%s: %s", type(error).__name__, error)
            return problem(503, "ledger_unusable", str(error))


def _invalid(error: ValidationError) -> Response:
    told = "; ".join(f"`{name}`: {' '.join(map(str, what))}" for name, what in _messages(error))
    return problem(400, "parameter_invalid", told)


def _messages(error: ValidationError) -> list[tuple[str, list[object]]]:
    messages = error.messages
    return list(messages.items()) if isinstance(messages, dict) else [("request", messages)]


def _unavailable(error: Exception) -> Response:
    logger.warning("database unavailable: %s", type(error).__name__)
    return problem(
        503, "database_unavailable", "PostgreSQL does not answer; nothing was stored. Try again."
    )


def _unexpected(error: Exception) -> Response:
    # Only where it happened: an error's text may quote what a request contained.
    where = error.__traceback__
    while where is not None and where.tb_next is not None:
        where = where.tb_next
    place = f"{where.tb_frame.f_code.co_filename}:{where.tb_lineno}" if where else "?"
    logger.error("unexpected %s at %s", type(error).__name__, place)
    return problem(500, "unexpected", "The ledger failed to answer; its log says where.")


def register(app: Flask) -> None:
    """Answer every error of the application in one form."""
    app.register_error_handler(ApiError, _api_error)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(LedgerError, _ledger_error)
    app.register_error_handler(ValidationError, _invalid)
    app.register_error_handler(psycopg.OperationalError, _unavailable)
    app.register_error_handler(psycopg.InterfaceError, _unavailable)
    app.register_error_handler(PoolTimeout, _unavailable)
    app.register_error_handler(Exception, _unexpected)
