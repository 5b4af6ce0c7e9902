"""One byte string per value: what is compared, hashed and put into digests."""

from __future__ import annotations

import json
from typing import Any

import msgspec

_encode = msgspec.json.Encoder(order="deterministic").encode


def canonical(value: Any) -> bytes:
    """Return JSON with sorted members and no blanks; half a surrogate pair stays an escape."""
    try:
        return _encode(value)
    except UnicodeEncodeError:
        return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
