"""`/v1/status`: how far the log is, how far the views are, what needs a look."""

from __future__ import annotations

from api.v1 import shapes
from api.v1.access import Caller
from api.v1.endpoints import Json, Reading
from ledger import health


def show_status(caller: Caller, _: Json) -> Json:
    """Return positions, lag and counts."""
    return health.status(caller.ledger, caller.connection)


ENDPOINTS = (Reading(path="/status", handle=show_status, answer=shapes.STATUS),)
