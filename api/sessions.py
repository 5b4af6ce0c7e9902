"""The cookie of a session, and the header that shows a request comes from a page of ours."""

from __future__ import annotations

from flask import Response, request

from ledger.people.sessions import ABSOLUTE

COOKIE = "ledger_session"
FORM_HEADER = "X-Form-Token"


def session_secret() -> str | None:
    """Return the secret of the session that the request bears."""
    return request.cookies.get(COOKIE) or None


def keep_session(response: Response, secret: str) -> None:
    """Let the browser keep a session: no script reads it, no other site sends it."""
    response.set_cookie(
        COOKIE,
        secret,
        max_age=int(ABSOLUTE.total_seconds()),
        secure=request.is_secure,
        httponly=True,
        samesite="Lax",
    )


def drop_session(response: Response) -> None:
    """Let the browser forget a session."""
    response.delete_cookie(COOKIE, httponly=True, samesite="Lax")
