"""Waiting until the read models have seen a position of the log."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ledger.application import Ledger

LOOK_AGAIN_SECONDS = 0.02


def wait_for(ledger: Ledger, position: int, seconds: float) -> int:
    """Return how far all projections are, as soon as that is `position`, or after so long.

    No connection is held meanwhile: a few who wait must not keep the others out.
    """
    give_up_at = time.monotonic() + seconds
    while True:
        with ledger.pool.connection() as connection:
            row = connection.execute("SELECT min(position) FROM bookmarks").fetchone()
        reached = (row and row[0]) or 0
        if reached >= position or time.monotonic() >= give_up_at:
            return int(reached)
        time.sleep(LOOK_AGAIN_SECONDS)
