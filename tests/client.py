"""Calls the front door in-process, as the web server does, over werkzeug's test client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from threading import Thread
from types import SimpleNamespace
from typing import Any
from wsgiref.headers import Headers

from werkzeug.test import Client

from api.front import Front
from ledger.bootstrap import Installation

ANSWER_SECONDS = 60
CHUNK_BYTES = 65_536


class Protocol:
    """One request's body and answer, with the methods of the server's own."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.status = 0
        self.headers: list[tuple[str, str]] = []
        self.answer = b""

    async def __call__(self) -> bytes:
        return self._body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._body), CHUNK_BYTES):
            yield self._body[start : start + CHUNK_BYTES]

    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.status, self.headers, self.answer = status, headers, body


class RequestHeaders(Headers):
    """Looks headers up whatever their case, and answers as the server's do."""

    def __contains__(self, name: object) -> bool:
        return self.get(str(name)) is not None


def scope_of(environ: dict[str, Any]) -> SimpleNamespace:
    """Return a WSGI request as the server describes it."""
    headers = [
        (key.removeprefix("HTTP_").replace("_", "-").lower(), value)
        for key, value in environ.items()
        if key.startswith("HTTP_") or (key in {"CONTENT_TYPE", "CONTENT_LENGTH"} and value)
    ]
    return SimpleNamespace(
        proto="http",
        http_version="1.1",
        method=environ["REQUEST_METHOD"],
        path=environ["PATH_INFO"].encode("latin-1").decode("utf-8", "surrogateescape"),
        query_string=environ["QUERY_STRING"],
        scheme="http",
        authority=None,  # as in HTTP/1.1, which has the header
        server="127.0.0.1:8100",
        client="127.0.0.1:50000",
        headers=RequestHeaders(headers),
    )


@contextmanager
def front_client(installation: Installation) -> Iterator[Client]:
    """Yield a client of a front door whose event loop runs in a thread."""
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever, daemon=True)
    thread.start()
    front = Front(installation)

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or -1))
        protocol = Protocol(body)
        answering = front.__rsgi__(scope_of(environ), protocol)  # type: ignore[arg-type]
        asyncio.run_coroutine_threadsafe(answering, loop).result(ANSWER_SECONDS)
        start_response(f"{protocol.status} told", protocol.headers)
        return [protocol.answer]

    try:
        yield Client(application)
    finally:
        asyncio.run_coroutine_threadsafe(front.close(), loop).result(ANSWER_SECONDS)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
