"""Lists as Stripe pages them: newest first, `starting_after`, `ending_before`, filters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ledger.simulator.engine import Json
from ledger.simulator.refusals import Refused, missing

LIMIT, LIMIT_MAX = 10, 100
_STATUSES = {"all": (), "ended": ("canceled", "incomplete_expired")}
_PAGING = frozenset({"limit", "starting_after", "ending_before", "expand"})


def page(
    objects: Iterable[Json], given: Mapping[str, Any], filters: Iterable[str], url: str
) -> Json:
    """Return a page of objects that pass the filters, in the order they are given in.

    A filter names a member, dotted for one inside: `payment.payment_intent` is the parameter
    `payment[payment_intent]`. `name=path` filters by a member that has another name.
    """
    wanted = _wanted(given, frozenset(filters))
    found = [obj for obj in objects if all(_passes(obj, *one) for one in wanted)]
    return _cut(found, given, url)


def _wanted(given: Mapping[str, Any], filters: frozenset[str]) -> list[tuple[str, Any]]:
    paths = {"created": "created"}
    paths |= {(parts := one.partition("="))[0]: parts[2] or parts[0] for one in filters}
    flat: list[tuple[str, Any]] = []
    for name, value in given.items():
        if name in _PAGING:
            continue
        if isinstance(value, dict) and name != "created":
            flat += [(f"{name}.{inner}", one) for inner, one in value.items()]
        else:
            flat.append((name, value))
    for name, _ in flat:
        if name not in paths:
            raise Refused(
                f"Received unknown parameter: {name}", code="parameter_unknown", param=name
            )
    return [(paths[name], value) for name, value in flat]


def _passes(obj: Json, name: str, wanted: Any) -> bool:
    if name == "created":
        return in_bounds(obj.get("created", 0), wanted)
    if name == "lookup_keys":
        return obj["lookup_key"] in (wanted if isinstance(wanted, list) else [wanted])
    if name == "status" and wanted in _STATUSES:
        return obj["status"] in _STATUSES[wanted] or wanted == "all"
    value: Any = obj
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if isinstance(value, dict) and "id" in value:
        value = value["id"]
    text = str(value).lower() if isinstance(value, bool) else value
    return bool(text == wanted or str(text) == wanted)


def in_bounds(moment: int, wanted: Any) -> bool:
    """Return whether a moment (unix seconds) is the wanted one, or within wanted bounds."""
    if not isinstance(wanted, dict):
        return moment == int(wanted)
    tests = {
        "gt": lambda bound: moment > bound,
        "gte": lambda bound: moment >= bound,
        "lt": lambda bound: moment < bound,
        "lte": lambda bound: moment <= bound,
    }
    return all(tests[name](int(bound)) for name, bound in wanted.items())


def _cut(found: list[Json], given: Mapping[str, Any], url: str) -> Json:
    limit = _limit(given)
    places = {obj["id"]: i for i, obj in enumerate(found)}
    has_more = False
    if before := given.get("ending_before"):
        found = found[: _place(places, before, "ending_before")]
        has_more, found = len(found) > limit, found[-limit:]
    else:
        if after := given.get("starting_after"):
            found = found[_place(places, after, "starting_after") + 1 :]
        has_more, found = len(found) > limit, found[:limit]
    return {"object": "list", "data": found, "has_more": has_more, "url": url}


def _place(places: dict[str, int], object_id: str, param: str) -> int:
    if object_id not in places:
        raise missing("object", object_id, param)
    return places[object_id]


def _limit(given: Mapping[str, Any]) -> int:
    text = str(given.get("limit", LIMIT))
    if not text.isdigit() or not 1 <= int(text) <= LIMIT_MAX:
        raise Refused(f"Invalid integer: {text}", code="parameter_invalid_integer", param="limit")
    return int(text)
