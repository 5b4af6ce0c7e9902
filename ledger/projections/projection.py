"""What a projection is: read models that follow from the log, live and in bulk, the same."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any, ClassVar

import psycopg

from ledger.log import RecordedEvent

if TYPE_CHECKING:
    from ledger.application import Ledger

LAST_KEY = "\U0010ffff"  # after every id, in C order

ONCE = "SELECT NULL::text WHERE false AND %(every)s > 0"  # bounds of a step that is not divided

Connection = psycopg.Connection[tuple[Any, ...]]


@dataclass(frozen=True)
class Derivation:
    """A step of a bulk load that follows from loaded rows, done range by range of a key.

    `bounds` is a query for every %(every)s-th key in order; `work` does low < key ≤ high.
    """

    name: str
    bounds: str
    work: Callable[[Connection, str, str], None]


def statements_in(package: str, file: str) -> list[str]:
    """Return the statements of a package's SQL file, without its comments."""
    text = (files(package) / file).read_text()
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("--")]
    return [one.strip() for one in "\n".join(lines).split(";\n") if one.strip(" \n;")]


class Projection(ABC):
    """A set of read models that moves through the log under one bookmark.

    `version` counts up whenever the same events would give other rows or tables: the models are
    then made again beside the old ones. `tables` are all it has, `views` what depends on them.
    Who `follows` another reads that one's tables, and is never ahead of it.
    """

    name: ClassVar[str]
    version: ClassVar[int]
    package: ClassVar[str]  # where tables.sql and indexes.sql are
    tables: ClassVar[tuple[str, ...]]
    loaded: ClassVar[tuple[str, ...]]  # the tables that `load` fills; none: nothing is loaded
    views: ClassVar[tuple[str, ...]] = ()
    reads: ClassVar[frozenset[str] | None] = None  # the only topics that mean anything; None: all
    follows: ClassVar[type[Projection] | None] = None

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger

    @abstractmethod
    def apply(self, connection: Connection, events: Sequence[RecordedEvent]) -> None:
        """Write what these events, the next in the log, mean; commit nothing."""

    @abstractmethod
    def load(self, connection: Connection, events: Sequence[RecordedEvent]) -> None:
        """Write what all events about some objects mean into tables that know none of these."""

    @abstractmethod
    def derivations(self, until: int) -> Sequence[Derivation]:
        """Return what is left to do, in this order, when all up to a position is loaded."""

    def went_live(self, connection: Connection) -> None:  # noqa: B027 — nothing, for most
        """Do what follows outside these tables, when those of a rebuild come to be read."""

    @classmethod
    def statements(cls, file: str) -> list[str]:
        """Return the statements of tables.sql or indexes.sql."""
        return statements_in(cls.package, file)
