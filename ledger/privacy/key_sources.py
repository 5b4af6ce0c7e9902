"""Where the master key comes from: the environment, a file, a command, or LEDGER_HOME."""

from __future__ import annotations

import base64
import os
import shlex
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ledger.errors import MasterKeyMissing, SettingsInvalid
from ledger.settings import decoded_key

if TYPE_CHECKING:
    from ledger.settings import Settings

COMMAND_SECONDS_MAX = 30


def key_file(settings: Settings) -> Path:
    """Return where a made master key is kept."""
    return settings.home / "master.key"


def has_own_source(settings: Settings) -> bool:
    """Return whether the key comes from elsewhere than LEDGER_HOME."""
    return bool(settings.master_keys or settings.master_key_file or settings.master_key_command)


def is_confirmed_saved(settings: Settings) -> bool:
    """Return whether somebody has said that a copy of the made key is in a safe place."""
    return has_own_source(settings) or _saved(settings).exists()


def confirm_saved(settings: Settings) -> None:
    """Note that a copy of the made key is in a safe place."""
    _saved(settings).touch(mode=0o600)


def unconfirm_saved(settings: Settings) -> None:
    """Note that of the present key no copy is known to be in a safe place."""
    _saved(settings).unlink(missing_ok=True)


def _saved(settings: Settings) -> Path:
    return settings.home / "master.key.saved"


def given_keys(settings: Settings, *, embedded: bool) -> list[bytes]:
    """Return the master keys that are given, the one to write with first; none if there is none.

    Raises SettingsInvalid for what is no key, without telling it.
    """
    if settings.master_keys:
        return list(settings.master_keys)
    if settings.master_key_file is not None:
        found = _read(settings.master_key_file)
        if not found:
            raise SettingsInvalid(f"LEDGER_MASTER_KEY_FILE: no {settings.master_key_file}.")
        return found
    if settings.master_key_command is not None:
        return _asked(settings.master_key_command)
    # A key file from an embedded start is not taken for a database elsewhere.
    return _read(key_file(settings)) if embedded else []


def write_keys(path: Path, keys: Sequence[bytes]) -> None:
    """Put keys into a made key's file, the first is the one to write with; all of it or nothing."""
    draft = _draft(path, keys)
    draft.replace(path)


def make_key(path: Path) -> list[bytes]:
    """Make a key in a file, for its owner only; whoever comes first makes it for all."""
    draft = _draft(path, [os.urandom(32)])
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
    keys = _read(path)
    if not keys:
        raise MasterKeyMissing(f"{path} was removed while it was being made.")
    return keys


def _draft(path: Path, keys: Sequence[bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    # A name that no other thread, nor a process of the same number in another container, has.
    handle, name = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)  # mode 0600
    with os.fdopen(handle, "wb") as file:
        file.writelines(base64.b64encode(one) + b"\n" for one in keys)
        file.flush()
        os.fsync(handle)  # on disk before anything is encrypted under it
    return Path(name)


def _read(path: Path) -> list[bytes]:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise SettingsInvalid(f"{path} cannot be read: {error.strerror}.") from error
    return _decoded(content, str(path))


def _asked(command: str) -> list[bytes]:
    """Return what a command prints; what it says on stderr is for people."""
    try:
        done = subprocess.run(  # B603 — the operator's own command, without a shell
            shlex.split(command), stdout=subprocess.PIPE, timeout=COMMAND_SECONDS_MAX, check=False
        )
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise SettingsInvalid(
            f"LEDGER_MASTER_KEY_COMMAND cannot be run: {type(error).__name__}."
        ) from error
    if done.returncode:
        raise SettingsInvalid(f"LEDGER_MASTER_KEY_COMMAND ended with {done.returncode}.")
    return _decoded(done.stdout, "The output of LEDGER_MASTER_KEY_COMMAND")


def _decoded(content: bytes, where: str) -> list[bytes]:
    keys = [decoded_key(line) for line in content.replace(b",", b"\n").split()] or [None]
    if None in keys:
        raise SettingsInvalid(f"{where} does not hold a master key (32 bytes in base64).")
    return [one for one in keys if one is not None]
