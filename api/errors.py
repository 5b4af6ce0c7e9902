"""Every error as RFC 9457 problem+json with a stable `code`; never a traceback, never a page."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import dataclass, field

import psycopg
from flask import Flask, Response, g
from marshmallow import ValidationError
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from ledger.aggregates.decision import DecisionRefused
from ledger.errors import (
    DatabaseUnavailable,
    LedgerError,
    LedgerUnknown,
    NotFound,
    RequestInvalid,
    VersionConflict,
    ViewsBehind,
)

logger = logging.getLogger("ledger.api")

RETRY_AFTER_SECONDS = "5"
WARN_SECONDS = 1.0


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
    408: "Request timeout",
    409: "Conflict",
    412: "Precondition failed",
    413: "Too large",
    415: "Unsupported media type",
    429: "Too many requests",
    500: "Internal error",
    503: "Unavailable",
}


TOLD = {
    404: "There is nothing at this address; README.md lists what `/v1` has.",
    405: "This address is not for that method; `Allow` says which it takes.",
}


@dataclass(frozen=True)
class Problem:
    """What went wrong, as it is told."""

    status: int
    code: str
    detail: str
    more_headers: list[tuple[str, str]] = field(default_factory=list)

    @property
    def headers(self) -> list[tuple[str, str]]:
        """Return the headers of the answer."""
        found = [("content-type", "application/problem+json"), *self.more_headers]
        if self.status in (429, 503):
            found.append(("retry-after", RETRY_AFTER_SECONDS))
        if self.status == 401:
            found.append(("www-authenticate", "Bearer"))
        return found

    def body(self, request_id: str | None = None) -> bytes:
        """Return the problem+json document."""
        told = {
            "type": "about:blank",
            "title": TITLES.get(self.status, "Error"),
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
        }
        if request_id is not None:
            told["request_id"] = request_id
        return json.dumps(told).encode()

    def response(self) -> Response:
        """Return the answer as Flask gives it."""
        return Response(self.body(g.get("request_id")), self.status, self.headers)


def problem(status: int, code: str, detail: str) -> Response:
    """Return a problem+json response."""
    return Problem(status, code, detail).response()


def problem_of(error: Exception) -> Problem:  # noqa: PLR0911 — a line for each kind
    """Return what to tell of an error; log what only the person who runs the ledger may know."""
    match error:
        case ApiError():
            return Problem(error.status, error.code, error.detail)
        case ValidationError():
            return Problem(400, "parameter_invalid", _told(error))
        case HTTPException():
            return _of_http(error)
        case DatabaseUnavailable() | psycopg.OperationalError() | psycopg.InterfaceError():
            _warn_of_database(error)
            return Problem(
                503,
                "database_unavailable",
                "PostgreSQL does not answer. Try again: what was stored is not stored twice.",
            )
        case LedgerUnknown() | NotFound():
            return Problem(404, "not_found", str(error))
        case DecisionRefused() | VersionConflict():
            return Problem(409, "refused", str(error))
        case ViewsBehind():
            return Problem(503, "views_behind", str(error))
        case RequestInvalid():
            return Problem(400, "request_invalid", str(error))
        case psycopg.errors.UndefinedTable() | psycopg.errors.UndefinedColumn():
            logger.warning("the views are of another version: %s", _reason(error))
            return Problem(
                503,
                "views_rebuilding",
                "The read models are being rebuilt for this release. Nothing is lost; try again.",
            )
        case LedgerError():
            logger.error("%s: %s", type(error).__name__, error)
            return Problem(503, "ledger_unusable", str(error))
    # Only where it happened: an error's text may quote what a request contained.
    where = error.__traceback__
    while where is not None and where.tb_next is not None:
        where = where.tb_next
    place = f"{where.tb_frame.f_code.co_filename}:{where.tb_lineno}" if where else "?"
    logger.error("unexpected %s at %s", type(error).__name__, place)
    return Problem(500, "unexpected", "The ledger failed to answer; its log says where.")


def _warn_of_database(error: Exception) -> None:
    """Log that the database is away, once a second: a full disk shall not get fuller by it."""
    if time.monotonic() >= _warned.again_at:
        _warned.again_at = time.monotonic() + WARN_SECONDS
        logger.warning("database unavailable: %s: %s", type(error).__name__, _reason(error))


def _reason(error: Exception) -> str:
    """Return PostgreSQL's own words; those of a driver may quote parameters."""
    cause = error.__cause__ if isinstance(error, DatabaseUnavailable) else error
    told = cause.diag.message_primary if isinstance(cause, psycopg.Error) else None
    return told or "no connection"


@dataclass
class _Warned:
    again_at: float = 0.0


_warned = _Warned()


def _of_http(error: HTTPException) -> Problem:
    allow = []
    if isinstance(error, MethodNotAllowed) and error.valid_methods:
        allow = [("allow", ", ".join(sorted(error.valid_methods)))]
    code = error.name.lower().replace(" ", "_")
    told = TOLD.get(error.code or 500, error.description or error.name)
    return Problem(error.code or 500, code, told, allow)


def _told(error: ValidationError) -> str:
    messages = error.messages
    found = messages.items() if isinstance(messages, dict) else [("request", messages)]
    return "; ".join(f"`{name}`: {' '.join(map(str, what))}" for name, what in found)


def register(app: Flask) -> None:
    """Answer every error of the application in one form."""
    app.register_error_handler(Exception, lambda error: problem_of(error).response())
