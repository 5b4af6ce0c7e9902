"""The chain of steps from the newest rendering to any older one."""

from __future__ import annotations

from functools import cache
from typing import Any

from ledger.simulator.rendering import older, oldest, recent
from ledger.simulator.rendering.steps import Step

Json = dict[str, Any]

# (first date of the newer shape, the step that leads to the older one), newest first.
STEPS: tuple[tuple[str, Step], ...] = (
    *recent.STEPS,
    *older.STEPS,
    *oldest.STEPS,
)

LINES_SHOWN = 10  # of an invoice; all of them are a list of its own
# Types that endpoints of older versions never receive.
FIRST_TOLD = {
    "invoice_payment.paid": "2025-05-28",
    "invoice.payment_attempt_required": "2025-09-30",
}


@cache
def steps_to(version: str) -> tuple[Step, ...]:
    """Return the steps from the newest rendering to that of a version, in order."""
    date = version[:10]
    return tuple(step for first, step in STEPS if date < first)


def is_told(type_: str, version: str) -> bool:
    """Return whether an endpoint of this version receives events of this type."""
    return version[:10] >= FIRST_TOLD.get(type_, "")


def render(obj: Json, version: str) -> Json:
    """Return the object as the API of that version shows it."""
    kind = obj["object"]
    for step in steps_to(version):
        if convert := step.get(kind):
            obj = convert(obj)
    if kind == "invoice":
        lines = obj["lines"]
        shown = [_public(line) for line in lines["data"][:LINES_SHOWN]]
        has_more = len(lines["data"]) > LINES_SHOWN
        return {**_public(obj), "lines": {**lines, "data": shown, "has_more": has_more}}
    if kind == "subscription":
        items = obj["items"]
        shown = [_public(item) for item in items["data"]]
        return {**_public(obj), "items": {**items, "data": shown}}
    if kind == "customer" and obj["discount"]:
        return {**obj, "discount": _public(obj["discount"])}
    return _public(obj)


def _public(obj: Json) -> Json:
    if "_" not in obj:
        return obj
    return {key: value for key, value in obj.items() if key != "_"}
