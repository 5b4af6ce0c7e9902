"""`/v1/status`: how far the log is, how far the views are, what needs a look."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify

from api.v1.access import reading
from api.v1.lists import Query, query
from ledger import health


def routes(blueprint: Blueprint) -> None:
    """Mount the routes."""
    blueprint.get("/status")(show_status)


def show_status() -> Response:
    """Return positions, lag and counts."""
    query(Query())
    with reading() as caller:
        return jsonify(health.status(caller.ledger, caller.connection))
