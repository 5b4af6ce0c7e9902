"""The front door as the web server runs it: what strangers may send over a socket."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.facts import customer, event, signed
from tests.test_kills import TOKEN, Server, serving

TIMEOUT_SECONDS = 20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("front") / "home") as started:
        yield started


def exchange(server: Server, request: bytes) -> tuple[int, str, bytes]:
    """Send these bytes; return status, headers and body of what comes back."""
    with closing(socket.create_connection(("127.0.0.1", server.port), TIMEOUT_SECONDS)) as to:
        to.sendall(request)
        told = b""
        while chunk := to.recv(65_536):
            told += chunk
    head, _, body = told.partition(b"\r\n\r\n")
    return int(head.split()[1]), head.decode("latin-1").lower(), body


def posted(body: bytes, *headers: bytes, path: bytes = b"/webhooks/stripe") -> bytes:
    head = [b"POST " + path + b" HTTP/1.1", b"Host: ledger", b"Connection: close", *headers]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


def chunked(body: bytes, size: int = 8_000) -> bytes:
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def length(body: bytes) -> bytes:
    return b"Content-Length: %d" % len(body)


@pytest.mark.parametrize(
    "signature",
    [b"", b"\xff\xfe", b"t=1,v1=\xe4", "t=1,v1=ä".encode(), b"t=\xb2,v1=a", b"t=1", b"," * 4000],
)
def test_no_signature_header_whatever_its_bytes_is_a_400(server: Server, signature: bytes) -> None:
    body = b"{}"

    status, head, _ = exchange(
        server, posted(body, b"Stripe-Signature: " + signature, length(body))
    )

    assert status == 400
    assert "application/problem+json" in head


def test_a_body_in_chunks_is_taken_as_it_is(server: Server) -> None:
    body = json.dumps(event("customer.created", customer())).encode()
    signature = signed(body)["Stripe-Signature"].encode()
    headers = (b"Stripe-Signature: " + signature, b"Transfer-Encoding: chunked")

    status, _, told = exchange(server, posted(chunked(body, 100), *headers))

    assert (status, json.loads(told)["outcome"]) == (200, "recorded")


@pytest.mark.parametrize("path", [b"/webhooks/stripe", b"/v1/customers"])
def test_more_than_a_mebibyte_is_refused_declared_or_in_chunks(server: Server, path: bytes) -> None:
    body = b"x" * (1024 * 1024 + 1)
    declared = posted(b"", b"Content-Length: %d" % len(body), path=path)
    streamed = posted(chunked(body), b"Transfer-Encoding: chunked", path=path)

    assert [exchange(server, one)[0] for one in (declared, streamed)] == [413, 413]


def test_a_sender_who_leaves_in_the_middle_troubles_nobody(server: Server) -> None:
    with closing(socket.create_connection(("127.0.0.1", server.port), TIMEOUT_SECONDS)) as to:
        to.sendall(posted(b"{", b"Content-Length: 1000"))

    assert server.is_ready()


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (b"/webhooks/stripe/nobody", 404), (b"/webhooks/stripe/", 404), (b"/webhooks/", 404),
        (b"/webhooks/stripe/a/b", 404), (b"/webhooks/stripe/%ff%00", 404),
        (b"/webhooks/stripe/" + b"a" * 5000, 404), (b"/%ff", 404), (b"/v1/customers/%ff", 401),
    ],
)  # fmt: skip
def test_an_odd_path_is_a_problem(server: Server, path: bytes, status: int) -> None:
    answered, head, _ = exchange(server, posted(b"", length(b""), path=path))
    method_refused = path.startswith(b"/v1/")

    assert answered == (405 if method_refused else status)
    assert "application/problem+json" in head


@pytest.mark.parametrize(
    "query", ["query=é".encode(), "limit=２".encode(), b"query=%00", b"q=\xff"]
)
def test_a_query_of_any_bytes_is_no_fault_of_the_server(server: Server, query: bytes) -> None:
    asked = b"GET /v1/customers?" + query + b" HTTP/1.1\r\nHost: ledger\r\nConnection: close\r\n"
    status, _, _ = exchange(server, asked + f"Authorization: Bearer {TOKEN}\r\n\r\n".encode())

    assert status in (200, 400)


def test_the_api_answers_through_the_same_door(server: Server) -> None:
    asked = (
        f"HEAD /v1/customers?limit=1 HTTP/1.1\r\nHost: ledger\r\nConnection: close\r\n"
        f"Authorization: Bearer {TOKEN}\r\n\r\n"
    )

    status, head, body = exchange(server, asked.encode())

    assert (status, body) == (200, b"")
    assert "content-type: application/json" in head
