"""A bar for work that takes long: what is done now, how fast, how much longer."""

from __future__ import annotations

import sys
import time

import click

WIDTH = 30
REDRAW_SECONDS = 0.1


class Bar:
    """Draws on a terminal's stderr; elsewhere it says each stage once."""

    def __init__(self, unit: str, *, quiet: bool = False) -> None:
        self._unit = unit
        self._quiet = quiet
        self._draws = sys.stderr.isatty() and not quiet
        self._started_at = time.monotonic()
        self._from = 0.0  # what was done already when it began
        self._begun = False
        self._drawn_at = 0.0
        self._stage = ""

    def __call__(self, stage: str, done: float, total: float) -> None:
        """Show that `done` of `total` is done, and at what."""
        now = time.monotonic()
        if not self._begun:
            self._begun, self._from, self._started_at = True, done, now
        if not self._draws:
            if stage != self._stage and not self._quiet:
                click.echo(stage, err=True)
            self._stage = stage
            return
        if now - self._drawn_at < REDRAW_SECONDS and stage == self._stage and done < total:
            return
        self._drawn_at, self._stage = now, stage
        share = done / total if total else 1.0
        rate = (done - self._from) / max(now - self._started_at, 1e-3)
        filled = int(WIDTH * share)
        left = _clock((total - done) / rate) if rate > 0 else "–"
        click.echo(
            f"\r\033[K{stage:16} {'█' * filled}{'░' * (WIDTH - filled)} {share:4.0%}"
            f"  {rate:9,.0f} {self._unit}/s  {left} left",
            err=True,
            nl=False,
        )

    def end(self) -> None:
        """Leave the line for what is said next."""
        if self._draws and self._begun:
            click.echo("\r\033[K", err=True, nl=False)


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds + 0.5), 60)
    return f"{minutes}:{seconds:02}"
