"""Which version of a projection's tables is read: of this release, or one to go back to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ledger.errors import RequestInvalid
from ledger.projections import generations
from ledger.projections.projection import Connection
from ledger.projections.rebuild import Progress, Rebuild

if TYPE_CHECKING:
    from ledger.application import Ledger
    from ledger.projections.projection import Projection
    from ledger.settings import Settings


def bring_to_version(
    settings: Settings, ledger: Ledger, projection: type[Projection], progress: Progress | None
) -> bool:
    """Let a ledger's tables be those of this release; return whether anything had to be done.

    The former generation is taken up again if it is of this version: so a release goes back.
    """
    with ledger.database.connect_as_owner() as owner:
        if _is_at_version(owner, projection, generations.live(ledger)):
            return False
        with generations.alone(owner, ledger, projection):
            if _is_at_version(owner, projection, generations.live(ledger)):
                return False
            former = generations.former(ledger, projection)
            if _is_at_version(owner, projection, former):
                _take_up(owner, projection, former)
                return True
    Rebuild(settings, ledger, projection).run(progress)
    return True


def roll_back(ledger: Ledger, projection: type[Projection]) -> None:
    """Let the generation that was live before be so again; it then catches up by itself.

    Raises RequestInvalid if there is none, or one that this release cannot go on with, and
    RebuildRunning.
    """
    before = generations.former(ledger, projection)
    with (
        ledger.database.connect_as_owner() as owner,
        generations.alone(owner, ledger, projection),
    ):
        version = generations.version_of(owner, before, projection.name)
        if version is None:
            raise RequestInvalid(f"There are no former tables of {projection.name} to go back to.")
        if version != projection.version:
            raise RequestInvalid(
                f"The former tables of {projection.name} are of version {version}, this release"
                f" makes version {projection.version}: start the release that made them, it takes"
                " them up by itself."
            )
        _take_up(owner, projection, before)


def _is_at_version(
    owner: Connection, projection: type[Projection], generation: generations.Generation
) -> bool:
    return generations.version_of(owner, generation, projection.name) == projection.version


def _take_up(
    owner: Connection, projection: type[Projection], before: generations.Generation
) -> None:
    with owner.transaction():
        generations.patiently(owner, lambda own: generations.swap(own, projection, before, before))
