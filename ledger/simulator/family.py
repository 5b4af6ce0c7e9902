"""What every family of operations has: the account it works on, and how to look things up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from ledger.simulator.engine import Json

if TYPE_CHECKING:
    from ledger.simulator.simulator import Simulator


class Family:
    """Operations on one kind of object, named as Stripe names them."""

    kind: ClassVar[str]

    def __init__(self, simulator: Simulator) -> None:
        self.sim = simulator
        self.engine = simulator.engine

    def retrieve(self, object_id: str) -> Json:
        """Return the object as it is now."""
        return self.engine.get(self.kind, object_id)

    def all(self) -> list[Json]:
        """Return every object of this kind, oldest first."""
        return self.engine.all(self.kind)

    def named(self, object_id: str, param: str) -> Json:
        """Return the object that a parameter names."""
        return self.engine.get(self.kind, object_id, param)

    def amend(self, object_id: str, changes: Mapping[str, Any]) -> Json:
        """Change members of an object in one call, and tell of it as `<kind>.updated`."""
        known = self.retrieve(object_id)
        leaves = dict(changes)
        if "metadata" in leaves:
            leaves["metadata"] = merged_metadata(known, leaves["metadata"])
        with self.engine.call(known):
            changed = self.engine.change(known, **leaves)
            self.engine.tell(f"{self.kind}.updated", changed)
            return changed


def merged_metadata(obj: Json, changes: dict[str, Any] | None) -> dict[str, str]:
    """Return metadata with changes: an empty value removes its key, no value at all removes all."""
    if not changes:
        return {}
    both = {**obj.get("metadata", {}), **changes}
    return {key: value for key, value in both.items() if value not in (None, "")}
