"""`/v1/bounces`: where a mail provider tells whom mail does not reach."""

from __future__ import annotations

from typing import Any

from api.context import current_installation
from api.v1 import shapes
from api.v1.access import Caller
from api.v1.endpoints import Json, Taking
from ledger.bootstrap import site_of
from ledger.effects.bounces import bounces_in
from ledger.suppression import suppress_addresses


def take_bounces(caller: Caller, told: Any) -> Json:
    """Let the addresses that bounced get no more mail; each is told of once, however often sent."""
    found = bounces_in(told)
    site = site_of(current_installation().settings, caller.ledger)
    suppressed = suppress_addresses(caller.ledger, site, found)
    return {"object": "bounces", "told": len(found), "suppressed": suppressed}


ENDPOINTS = (Taking(path="/bounces", handle=take_bounces, answer=shapes.BOUNCES),)
