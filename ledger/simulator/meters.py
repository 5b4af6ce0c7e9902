"""Billing meters: what is used, reported, and billed afterwards."""

from __future__ import annotations

from typing import NotRequired, TypedDict, Unpack

from ledger.simulator.engine import Json
from ledger.simulator.family import Family
from ledger.simulator.refusals import Refused, needs


class MeterCreate(TypedDict):
    """Parameters of a new meter."""

    display_name: str
    event_name: str
    default_aggregation: NotRequired[dict[str, str]]


class MeterUsage(TypedDict):
    """One report of usage."""

    event_name: str
    payload: dict[str, str]
    timestamp: NotRequired[int]
    identifier: NotRequired[str]


class Meters(Family):
    """Billing meters and the usage reported to them."""

    kind = "billing.meter"

    def create(self, **params: Unpack[MeterCreate]) -> Json:
        """Make a meter that sums the `value` of its events by customer."""
        with self.engine.call():
            now = self.engine.now
            meter = self.engine.save(
                {
                    "id": self.engine.new_id("mtr"),
                    "object": "billing.meter",
                    "created": now,
                    "customer_mapping": {
                        "event_payload_key": "stripe_customer_id",
                        "type": "by_id",
                    },
                    "default_aggregation": {"formula": "sum"},
                    "display_name": params["display_name"],
                    "event_name": params["event_name"],
                    "event_time_window": None,
                    "livemode": False,
                    "status": "active",
                    "status_transitions": {"deactivated_at": None},
                    "updated": now,
                    "value_settings": {"event_payload_key": "value"},
                    "_": {"usage": []},
                }
            )
            self.engine.tell("billing.meter.created", meter)
            return meter

    def report(self, **params: Unpack[MeterUsage]) -> Json:
        """Report usage of a customer (the meter events of the API)."""
        meter = next((m for m in self.all() if m["event_name"] == params["event_name"]), None)
        if meter is None:
            raise Refused(f"No active meter for event name {params['event_name']}.")
        payload = params["payload"]
        for name in ("stripe_customer_id", "value"):
            if name not in payload:
                raise needs(f"payload[{name}]")
        with self.engine.call():
            at = params.get("timestamp", self.engine.now)
            meter["_"]["usage"].append((at, payload["stripe_customer_id"], int(payload["value"])))
            return {
                "object": "billing.meter_event",
                "created": self.engine.now,
                "event_name": params["event_name"],
                "identifier": params.get("identifier") or self.engine.ids.letters(24),
                "livemode": False,
                "payload": payload,
                "timestamp": at,
            }

    def usage_of(self, meter: str | None, customer: str, start: int, end: int) -> int:
        """Return the customer's usage from `start` until before `end` (unix seconds)."""
        found = self.engine.find(self.kind, meter)
        used = found["_"]["usage"] if found else []
        return sum(value for at, whose, value in used if whose == customer and start <= at < end)
