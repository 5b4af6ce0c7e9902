"""Reads the bytes of a delivery into an event of Stripe's, or says why it cannot be read as one."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NoReturn

import msgspec

from ledger.ids import is_id

_decode = msgspec.json.Decoder().decode
_TYPE = re.compile(r"[A-Za-z][A-Za-z0-9_.\-]{0,254}").fullmatch
_LAST_SECOND = 253_402_300_799  # 9999-12-31T23:59:59Z


class Envelope(msgspec.Struct, frozen=True):
    """An event as Stripe sent it. `body` is the whole of it; `occurred_at` its `created`, UTC."""

    id: str
    type: str
    occurred_at: datetime | None
    body: dict[str, Any]

    @property
    def data_object(self) -> dict[str, Any]:
        """Return `data.object`, or an empty hash where a thin event has none."""
        data = self.body.get("data")
        found = data.get("object") if isinstance(data, dict) else None
        return found if isinstance(found, dict) else {}

    @property
    def previous_attributes(self) -> dict[str, Any]:
        """Return `data.previous_attributes`, or an empty hash."""
        data = self.body.get("data")
        found = data.get("previous_attributes") if isinstance(data, dict) else None
        return found if isinstance(found, dict) else {}


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A delivery that is not an event, and why."""

    reason: str


def read_envelope(raw: bytes) -> Envelope | Unreadable:
    """Return the event in these bytes. Never raises: what cannot be read says so."""
    body = _json(raw)
    if isinstance(body, Unreadable):
        return body
    if not isinstance(body, dict):
        return Unreadable("not a JSON object")
    event_id, event_type = body.get("id"), body.get("type")
    if not isinstance(event_id, str) or not is_id(event_id):
        return Unreadable("no usable `id`")
    if not isinstance(event_type, str) or not _TYPE(event_type):
        return Unreadable("no usable `type`")
    return Envelope(event_id, event_type, _instant(body.get("created")), body)


def _json(raw: bytes) -> Any:
    try:
        return _decode(raw)
    except (msgspec.MsgspecError, RecursionError, ValueError):
        pass  # msgspec refuses half a surrogate pair, which JSON allows: the slow way knows it
    try:
        return json.loads(raw, parse_constant=_refuse, parse_float=_finite)
    except RecursionError:
        return Unreadable("nested too deep")
    except UnicodeDecodeError:
        return Unreadable("not UTF-8")
    except json.JSONDecodeError:
        return Unreadable("not JSON")
    except ValueError:
        return Unreadable("a number that is none, or beyond a double")


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError(text)
    return number


def _instant(created: Any) -> datetime | None:
    if isinstance(created, int) and not isinstance(created, bool) and 0 <= created <= _LAST_SECOND:
        return datetime.fromtimestamp(created, UTC)
    if isinstance(created, str):  # thin events: ISO 8601 with milliseconds
        try:
            instant = datetime.fromisoformat(created)
            zoned = instant if instant.tzinfo else instant.replace(tzinfo=UTC)
            return zoned.astimezone(UTC)
        except (ValueError, OverflowError):
            return None
    return None
