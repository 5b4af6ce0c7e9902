"""Files that are whole or not there."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from ledger.errors import RequestInvalid


@contextmanager
def replacing(file: Path, *, binary: bool = False) -> Iterator[IO[Any]]:
    """Write a file beside its place and put it there when it is whole; else what was there stays.

    What is no ordinary file (a pipe, a terminal) is written to as it is. Raises RequestInvalid
    where nothing can be written.
    """
    file = file.resolve()
    mode, encoding = ("wb", None) if binary else ("w", "utf-8")
    if file.exists() and not file.is_file():
        with file.open(mode, encoding=encoding) as out:
            yield out
        return
    try:
        draft, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    except OSError as error:
        raise RequestInvalid(f"{file} cannot be written: {error.strerror}.") from error
    try:
        with os.fdopen(draft, mode, encoding=encoding) as out:
            yield out
            out.flush()
            os.fsync(draft)
        Path(name).replace(file)
        _keep_name(file.parent)
    except OSError as error:
        raise RequestInvalid(f"{file} cannot be written: {error.strerror}.") from error
    finally:
        Path(name).unlink(missing_ok=True)


def _keep_name(folder: Path) -> None:
    """Let what a folder lists outlive a loss of power."""
    with suppress(OSError):  # some file systems have no such thing
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


def kept_once(file: Path, make: Callable[[], str]) -> str:
    """Return what a file says; make it if it is not there: whoever comes first does.

    Raises RequestInvalid where it can be neither read nor written.
    """
    try:
        if file.exists():
            return file.read_text(encoding="utf-8").strip()
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
        with os.fdopen(draft, "w", encoding="utf-8") as out:
            out.write(f"{make()}\n")
        try:
            with suppress(FileExistsError):
                os.link(name, file)
        finally:
            Path(name).unlink()
        return file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise RequestInvalid(f"{file} cannot be kept: {error.strerror}.") from error


def json_text(value: Any, indent: int | None = None) -> str:
    """Return JSON that any file takes: half a surrogate pair, which Stripe may tell, is escaped."""
    text = json.dumps(value, ensure_ascii=False, indent=indent, default=str)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, indent=indent, default=str)
    return text


def require_writable(file: Path) -> None:
    """Raise RequestInvalid if a file cannot be written where it is wanted."""
    folder = file.resolve().parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise RequestInvalid(f"{file} cannot be written: {folder} is no folder to write in.")
