"""`ledger verify`: proving that the log, or a part of it in a file, is what was sealed."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click

from ledger.cli.context import Context, json_option, say_json
from ledger.errors import RequestInvalid
from ledger.log.evidence import check_evidence
from ledger.log.seals import Finding, Verification, export, read_export
from ledger.log.seals import verify as verify_log


@click.command()
@click.argument(
    "file", required=False, type=click.Path(path_type=Path, exists=True, dir_okay=False)
)
@click.option("--export", "export_to", type=click.Path(path_type=Path), help="Write the seals.")
@click.option("--against", type=click.Path(path_type=Path), help="Check seals written earlier.")
@json_option
@click.pass_obj
def verify(
    context: Context,
    file: Path | None,
    export_to: Path | None,
    against: Path | None,
    as_json: bool,
) -> None:
    """Prove that the log is what was sealed, or say where it is not. Exits 1 on a finding.

    With a FILE of `ledger events --export` prove that instead: it needs no ledger and no key.
    """
    kept = read_export(against) if against else None
    if file is not None:
        if export_to:
            raise RequestInvalid("--export writes the seals of the log; a FILE has its own.")
        _verify_file(file, kept, as_json=as_json)
        return
    quiet = as_json or not sys.stderr.isatty()
    with context.ledger() as ledger, ledger.pool.connection() as connection:
        bar = (
            nullcontext()
            if quiet
            else click.progressbar(length=1000, label="Verifying", file=sys.stderr)
        )
        with bar as shown:

            def progress(done: int, total: int) -> None:
                if shown is not None and total:
                    shown.update(done * 1000 // total - shown.pos)

            found = verify_log(connection, kept or (), progress)
        exported = export(connection, export_to) if export_to else None
    if as_json:
        say_json(
            {
                "clean": found.is_clean,
                "sealed_to": found.sealed_to,
                "last_position": found.last_position,
                "unsealed": found.unsealed,
                "head": found.head,
                "findings": [_as_json(one) for one in found.findings],
                "against": None if kept is None else len(kept),
                "exported": exported,
            }
        )
    else:
        _tell(found, kept, exported, export_to)
    if not found.is_clean:
        raise click.exceptions.Exit(1)


def _tell(
    found: Verification,
    kept: list[dict[str, Any]] | None,
    exported: int | None,
    export_to: Path | None,
) -> None:
    for one in found.findings:
        click.secho(f"{one.kind} at {one.position}: {one.detail}", fg="red")
    if found.is_clean and found.sealed_to:
        click.secho(f"Sealed and unchanged: 1 to {found.sealed_to}.", fg="green")
        click.echo(f"Chain ends in {found.head}")
    if not found.last_position:
        click.echo("The log is empty: there is nothing to verify yet.")
    if found.is_clean and kept:
        click.echo(f"All {len(kept)} exported seals are those of this log.")
    if kept == []:
        click.echo("The export holds no seals: it says nothing about this log.")
    if found.unsealed:
        click.echo(
            f"Not sealed yet: {found.sealed_to + 1} to {found.last_position} "
            f"({found.unsealed} events); only gaps can be seen there."
        )
    if exported is not None:
        click.echo(f"{exported} seals written to {export_to}; keep them on another machine.")


def _verify_file(file: Path, kept: list[dict[str, Any]] | None, *, as_json: bool) -> None:
    found = check_evidence(file, kept)
    if as_json:
        say_json(
            {
                "clean": found.is_clean,
                "events": found.events,
                "blocks": found.blocks,
                "findings": [_as_json(one) for one in found.findings],
                "against": None if kept is None else len(kept),
            }
        )
    else:
        for one in found.findings:
            click.secho(f"{one.kind} at {one.position}: {one.detail}", fg="red")
        if found.is_clean:
            click.secho(
                f"All {found.events} events are what was sealed in {found.blocks} blocks.",
                fg="green",
            )
            click.echo(
                "The blocks are those of the seals exported earlier."
                if kept is not None
                else "Whether the seals are the ledger's own, only seals exported earlier can prove"
                " (--against)."
            )
    if not found.is_clean:
        raise click.exceptions.Exit(1)


def _as_json(one: Finding) -> dict[str, Any]:
    return {"kind": one.kind, "position": one.position, "detail": one.detail}


COMMANDS = (verify,)
