"""The log: events in, in one order for ever; nothing is changed and nothing is lost."""

from __future__ import annotations

from ledger.log.log import Log, NewEvent, RecordedEvent

__all__ = ["Log", "NewEvent", "RecordedEvent"]
