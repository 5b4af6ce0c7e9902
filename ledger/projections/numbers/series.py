"""Series: a definition set under a version of the calculation; several live side by side.

A release that would compute something else brings another calculation and keeps the former: a
published number moves when somebody adopts the new one, never by itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec
from psycopg.types.json import Jsonb

from ledger.aggregates import Account
from ledger.aggregates.base import DEFINITIONS_STREAM
from ledger.errors import RequestInvalid
from ledger.log import Log, RecordedEvent
from ledger.projections.definitions import Definitions, read, shipped
from ledger.projections.numbers.situations import WorthOf
from ledger.projections.numbers.worth import worth_of
from ledger.projections.projection import Connection

END = 2**63 - 1  # after every position

# Every version of the code's own part of a number that is still answered for.
CALCULATIONS: dict[int, WorthOf] = {1: worth_of}
FIRST_CALCULATION = 1


@dataclass(frozen=True)
class Series:
    """One line of numbers: `number` counts the series of a ledger in the order of the log."""

    number: int
    definitions: Definitions
    calculation: int

    @property
    def label(self) -> str:
        """How people name it: the definitions, and the version of the calculation."""
        return f"{self.definitions.name}/{self.calculation}"

    @property
    def worth(self) -> WorthOf:
        """What the items of a subscription are worth by its calculation."""
        return CALCULATIONS[self.calculation]


def series_until(connection: Connection, position: int) -> list[Series]:
    """Return the series of a ledger as of a position: the one it starts with, and those added."""
    return series_of(_events_until(connection, position))


def series_of(events: Iterable[RecordedEvent]) -> list[Series]:
    """Return the series that these events of the stream of definitions make, in order."""
    found = [Series(1, shipped("adopted"), FIRST_CALCULATION)]
    for event in events:
        if event.topic != Account.DefinitionsAdded.TOPIC:
            continue
        try:
            definitions = read(event.data["definitions"])
        except RequestInvalid:
            continue  # an earlier release took it in; it must not hold up the others
        known = {(one.definitions, one.calculation) for one in found}
        if (definitions, event.data["calculation"]) not in known:
            found.append(Series(len(found) + 1, definitions, event.data["calculation"]))
    return [one for one in found if one.calculation in CALCULATIONS]


def adopted_until(connection: Connection, position: int) -> Series:
    """Return the series that was the adopted one as of a position."""
    events = _events_until(connection, position)
    known = series_of(events)
    adopted = known[0]
    for event in events:
        if event.topic == Account.DefinitionsAdopted.TOPIC:
            wanted = event.data["hash"], event.data["calculation"]
            adopted = next(
                (one for one in known if (one.definitions.hash, one.calculation) == wanted),
                adopted,
            )
    return adopted


def _events_until(connection: Connection, position: int) -> list[RecordedEvent]:
    events = Log(connection).stream(DEFINITIONS_STREAM)
    return [event for event in events if event.position <= position]


def write_series(connection: Connection, series: Iterable[Series]) -> None:
    """Write which series there are."""
    for one in series:
        connection.execute(
            "INSERT INTO mrr_series (series, name, hash, calculation, definitions)"
            " VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
            [
                one.number,
                one.definitions.name,
                one.definitions.hash,
                one.calculation,
                Jsonb(msgspec.to_builtins(one.definitions)),
            ],
        )
