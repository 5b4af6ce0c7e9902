"""Adding and adopting definition sets: events, so that every number says what it was told by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from ledger.aggregates import Account
from ledger.aggregates.base import DEFINITIONS_STREAM
from ledger.errors import RequestInvalid, ViewsBehind
from ledger.log import Log, NewEvent
from ledger.projections.definitions import Definitions, read
from ledger.projections.numbers.series import (
    CALCULATIONS,
    END,
    Series,
    adopted_until,
    series_until,
)
from ledger.projections.projection import Connection

if TYPE_CHECKING:
    from ledger.application import Ledger

_encode = msgspec.json.Encoder().encode
NEWEST_CALCULATION = max(CALCULATIONS)


def changed(definitions: Definitions, changes: Mapping[str, Any], name: str | None) -> Definitions:
    """Return a set with some choices changed: `{"discounts.profile": "net"}`.

    Raises RequestInvalid naming a choice that there is not.
    """
    data = msgspec.to_builtins(definitions)
    for path, value in changes.items():
        group, _, choice = path.partition(".")
        if not choice or not isinstance(data.get(group), dict) or choice not in data[group]:
            known = ", ".join(
                f"{group}.{choice}"
                for group, choices in data.items()
                if isinstance(choices, dict)
                for choice in choices
            )
            raise RequestInvalid(f"There is no choice {path!r}; there are {known}.")
        data[group][choice] = value
    if name:
        data["name"] = name
    return read(data)


def add_definitions(
    ledger: Ledger, definitions: Definitions, *, calculation: int | None = None, actor: str
) -> None:
    """Put a set beside those there are: its numbers are made for the whole past.

    Raises RequestInvalid if another set has that name, or if it is there already.
    """
    calculation = calculation or NEWEST_CALCULATION
    if calculation not in CALCULATIONS:
        known = ", ".join(map(str, CALCULATIONS))
        raise RequestInvalid(f"There is no calculation {calculation}; there are {known}.")
    with ledger.pool.connection() as connection:
        for one in series_until(connection, END):
            if one.definitions == definitions and one.calculation == calculation:
                raise RequestInvalid(f"{one.label} is there already.")
            if one.definitions.name == definitions.name and one.definitions != definitions:
                raise RequestInvalid(
                    f"There are other definitions named {definitions.name!r}: choose a name (--as)."
                )
        _append(
            ledger,
            connection,
            Account.DefinitionsAdded.TOPIC,
            {
                "type": "definitions.added",
                "definitions": msgspec.to_builtins(definitions),
                "hash": definitions.hash,
                "calculation": calculation,
                "actor": actor,
            },
        )


def adopt_definitions(ledger: Ledger, name: str, *, actor: str) -> Series:
    """Let a set, NAME or NAME/CALCULATION, be the one that is told where nobody asks for another.

    Raises RequestInvalid if there is no such set.
    """
    with ledger.pool.connection() as connection:
        chosen = _named(series_until(connection, END), name)
        _append(
            ledger,
            connection,
            Account.DefinitionsAdopted.TOPIC,
            {
                "type": "definitions.adopted",
                "name": chosen.definitions.name,
                "hash": chosen.definitions.hash,
                "calculation": chosen.calculation,
                "actor": actor,
            },
        )
    return chosen


def chosen_series(
    connection: Connection, name: str | None, seen: int, position: int | None = None
) -> Series:
    """Return the series of that name, under its newest calculation unless told; or the adopted one.

    `name` may be NAME, or NAME/CALCULATION. What was adopted is asked as of a position. Raises
    RequestInvalid, and ViewsBehind for a set that was added after what the numbers have `seen`.
    """
    if name is None:
        return adopted_until(connection, seen if position is None else position)
    found = _named(series_until(connection, END), name)
    if found not in series_until(connection, seen):
        raise ViewsBehind(f"The numbers by {found.label} are being made; try again.")
    return found


def _named(known: Sequence[Series], name: str) -> Series:
    plain, _, number = name.partition("/")
    if number and not number.isdigit():
        raise RequestInvalid(f"A calculation is a number: {plain}/1, not {number!r}.")
    found = [
        one
        for one in known
        if one.definitions.name == plain and number in ("", str(one.calculation))
    ]
    if not found:
        there = ", ".join(one.label for one in known)
        raise RequestInvalid(
            f"There are no numbers by the definitions {name!r}; there are {there}."
            " `ledger definitions add` puts a set beside these."
        )
    return max(found, key=lambda one: one.calculation)


def _append(ledger: Ledger, connection: Connection, topic: str, data: dict[str, Any]) -> None:
    event = NewEvent(DEFINITIONS_STREAM, topic, ledger.clock.now(), _encode(data))
    Log(connection).append([event])
    ledger.announce()
