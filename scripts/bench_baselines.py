"""The two baselines of `scripts/bench ingest`, on the same server software as the ledger."""

from __future__ import annotations

import os
import threading
import time

import psycopg
from flask import Flask, Response, request

from ledger.intake import SignatureRejected, verify_signature

SECRETS = (os.environ["BENCH_SECRET"],)
app = Flask(__name__)
_own = threading.local()


def _verified() -> bytes:
    body = request.get_data(cache=False)
    try:
        verify_signature(body, request.headers.get("Stripe-Signature", ""), SECRETS, time.time())
    except SignatureRejected:
        raise SystemExit("the benchmark signs wrongly") from None
    return body


@app.post("/verify")
def verify() -> Response:
    """Check the signature and answer."""
    _verified()
    return Response('{"received":true}\n', content_type="application/json")


@app.post("/insert")
def insert() -> Response:
    """Check the signature and insert the raw body: one row, one commit, one kept connection."""
    body = _verified()
    if not hasattr(_own, "connection"):
        _own.connection = psycopg.connect(os.environ["BENCH_CONNINFO"], autocommit=True)
    _own.connection.execute("INSERT INTO bench_raw (body) VALUES (%b)", [body], prepare=True)
    return Response('{"received":true}\n', content_type="application/json")
