"""What every request gets: an id, security headers, a line in the log that names nobody."""

from __future__ import annotations

import json
import logging
import time

from flask import Flask, Response, g, request

from ledger.people.reads import new_request_id

logger = logging.getLogger("ledger.requests")

# Pages load nothing from elsewhere, are framed by nobody, and send forms only here.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    " connect-src 'self'; font-src 'self'; form-action 'self'; frame-ancestors 'none';"
    " base-uri 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
}
HSTS = "max-age=31536000"


def register(site: Flask) -> None:
    """Let every request of an application have these."""
    site.before_request(_begin)
    site.after_request(_end)


def _begin() -> None:
    g.request_id = new_request_id()
    g.began = time.perf_counter()


def _end(response: Response) -> Response:
    response.headers["Request-Id"] = g.request_id
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    if request.is_secure:
        response.headers["Strict-Transport-Security"] = HSTS
    # The rule, not the address asked for: that may hold what somebody typed by mistake.
    told = {
        "request_id": g.request_id,
        "method": request.method,
        "route": str(request.url_rule) if request.url_rule else None,
        "status": response.status_code,
        "milliseconds": round((time.perf_counter() - g.began) * 1_000, 1),
        "actor": g.get("actor"),
    }
    logger.info(json.dumps(told))
    return response
