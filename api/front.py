"""The front door: webhooks are taken on the event loop, all else goes to Flask in threads.

A webhook waits for a commit and for nothing else. One loop that parses the next deliveries while
PostgreSQL commits the ones before takes more than twice as many of them as a thread for each.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import TYPE_CHECKING, Any

from flask import Flask
from granian._granian import RSGIProtocolClosed, RSGIProtocolError
from werkzeug.exceptions import MethodNotAllowed
from werkzeug.test import run_wsgi_app

from api.errors import ApiError, problem_of
from api.site import create_site
from api.webhooks import PREFIX, Webhooks
from ledger.bootstrap import Installation

if TYPE_CHECKING:
    from granian._granian import RSGIHTTPProtocol
    from granian.rsgi import Scope

BODY_MAX_BYTES = 1024 * 1024
SITE_THREADS = 16
BODY_SECONDS_MAX = 15.0  # less than a stop waits for requests under way
TOO_LARGE = ApiError(413, "request_entity_too_large", "A request holds at most 1 MiB.")
TOO_SLOW = ApiError(408, "request_timeout", "The body of the request did not arrive in time.")

Answer = tuple[int, list[tuple[str, str]], bytes]


class Front:
    """The RSGI application over the ledgers of an installation."""

    def __init__(self, installation: Installation) -> None:
        self._webhooks = Webhooks(installation)
        self._site = create_site(installation)
        self._threads = ThreadPoolExecutor(SITE_THREADS, "site")

    async def __rsgi__(self, scope: Scope, protocol: RSGIHTTPProtocol) -> None:
        """Answer one request."""
        try:
            status, headers, body = await self._answer(scope, protocol)
            protocol.response_bytes(status, headers, body)
        except (RSGIProtocolClosed, RSGIProtocolError):
            pass  # whoever asked has gone, mid-sentence perhaps

    async def _answer(self, scope: Scope, protocol: RSGIHTTPProtocol) -> Answer:
        try:
            body = await _read(scope, protocol)
            if scope.path.startswith(PREFIX):
                return await self._webhooks.answer(scope.method, scope.path, scope.headers, body)
            if scope.path == "/healthz":
                return _alive(scope.method)
        except (RSGIProtocolClosed, RSGIProtocolError):
            raise
        except Exception as error:  # noqa: BLE001 — every error has its answer
            problem = problem_of(error)
            return problem.status, problem.headers, problem.body()
        environ = _environ(scope, body)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, _through, self._site, environ)

    async def close(self) -> None:
        """Commit and answer what is under way."""
        await self._webhooks.close()
        await asyncio.to_thread(self._threads.shutdown)


def _alive(method: str) -> Answer:
    """`/healthz`: this process answers, whatever the database or other requests do."""
    if method not in {"GET", "HEAD"}:
        raise MethodNotAllowed(["GET", "HEAD"])
    return 200, [("content-type", "application/json")], b'{"status":"ok"}\n'


async def _read(scope: Scope, protocol: RSGIHTTPProtocol) -> bytes:
    """Return the body of a request; raise ApiError 413 if it is too large, 408 if too slow."""
    try:
        async with asyncio.timeout(BODY_SECONDS_MAX):
            return await _read_all(scope, protocol)
    except TimeoutError:
        raise TOO_SLOW from None


async def _read_all(scope: Scope, protocol: RSGIHTTPProtocol) -> bytes:
    headers = scope.headers
    length = headers.get("content-length")
    if length is not None:
        if not length.isdecimal() or int(length) > BODY_MAX_BYTES:
            raise TOO_LARGE
        return await protocol() if int(length) else b""
    if scope.method in {"GET", "HEAD"} and "transfer-encoding" not in headers:
        return b""
    found = bytearray()
    async for chunk in protocol:
        found += chunk
        if len(found) > BODY_MAX_BYTES:
            raise TOO_LARGE
    return bytes(found)


def _environ(scope: Scope, body: bytes) -> dict[str, Any]:
    """Return a request as WSGI has it (PEP 3333): text is bytes in Latin-1."""
    server, _, port = scope.server.rpartition(":")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": scope.path.encode().decode("latin-1"),
        "QUERY_STRING": scope.query_string.encode(errors="surrogateescape").decode("latin-1"),
        "SERVER_NAME": server,
        "SERVER_PORT": port,
        "SERVER_PROTOCOL": f"HTTP/{scope.http_version}",
        "REMOTE_ADDR": scope.client.rpartition(":")[0],
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.scheme,
        "wsgi.input": BytesIO(body),
        "wsgi.errors": None,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "CONTENT_LENGTH": str(len(body)),
    }
    if scope.authority:
        environ["HTTP_HOST"] = scope.authority
    for name, value in scope.headers.items():
        if "_" in name:
            continue  # in WSGI it would be the same as the header with `-`, which a proxy sets
        key = name.upper().replace("-", "_")
        if key == "CONTENT_TYPE":
            environ[key] = value
        elif key != "CONTENT_LENGTH" and not (key == "HOST" and scope.authority):
            key = f"HTTP_{key}"
            environ[key] = f"{environ[key]},{value}" if key in environ else value
    return environ


def _through(site: Flask, environ: dict[str, Any]) -> Answer:
    chunks, status, headers = run_wsgi_app(site, environ, buffered=True)
    return int(status.split(maxsplit=1)[0]), list(headers.items()), b"".join(chunks)
