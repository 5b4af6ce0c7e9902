"""Test clocks: time of their own for a few customers."""

from __future__ import annotations

from typing import Required, TypedDict, Unpack

from ledger.simulator.engine import Json
from ledger.simulator.family import Family
from ledger.simulator.moments import DAY
from ledger.simulator.refusals import Refused


class ClockCreate(TypedDict, total=False):
    """Parameters of a test clock; the time in unix seconds."""

    frozen_time: Required[int]
    name: str


class TestClocks(Family):
    """Test clocks: time of their own for a few customers."""

    kind = "test_helpers.test_clock"

    def create(self, **params: Unpack[ClockCreate]) -> Json:
        """Make a clock that stands at a moment."""
        with self.engine.call():
            clock = self.engine.save(
                {
                    "id": self.engine.new_id("clock"),
                    "object": "test_helpers.test_clock",
                    "created": self.engine.now,
                    "deletes_after": self.engine.now + 30 * DAY,
                    "frozen_time": params["frozen_time"],
                    "livemode": False,
                    "name": params.get("name"),
                    "status": "ready",
                    "status_details": {},
                }
            )
            self.engine.add_clock(clock["id"], params["frozen_time"])
            self.engine.tell("test_helpers.test_clock.created", clock)
            return clock

    def advance(self, test_clock: str, *, frozen_time: int) -> Json:
        """Let time pass for the customers of a clock; the answer says that it advances."""
        known = self.retrieve(test_clock)
        if frozen_time <= known["frozen_time"]:
            raise Refused("`frozen_time` must be in the future of the clock.", param="frozen_time")
        with self.engine.call():
            details = {"advancing": {"target_frozen_time": frozen_time}}
            advancing = self.engine.change(known, status="advancing", status_details=details)
            self.engine.tell("test_helpers.test_clock.advancing", advancing)
            self.engine.advance(frozen_time, self.engine.clocks[test_clock])
            ready = self.engine.change(
                advancing, status="ready", status_details={}, frozen_time=frozen_time
            )
            self.engine.tell("test_helpers.test_clock.ready", ready)
            return advancing

    def delete(self, test_clock: str) -> Json:
        """Delete a clock and its customers."""
        known = self.retrieve(test_clock)
        with self.engine.call():
            for customer in self.sim.customers.all():
                if customer["test_clock"] == test_clock:
                    self.sim.customers.delete(customer["id"])
            self.engine.tell("test_helpers.test_clock.deleted", known)
            self.engine.remove(self.kind, test_clock)
        return {"id": test_clock, "object": self.kind, "deleted": True}
