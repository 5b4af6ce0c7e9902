"""The master key: where it comes from, what is derived from it, and the canary that knows it."""

from __future__ import annotations

import base64
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ledger.errors import MasterKeyMismatch, MasterKeyMissing, SettingsInvalid

if TYPE_CHECKING:
    import psycopg

    from ledger.settings import Settings

CANARY = "canary"


class MasterKey:
    """Thirty-two bytes from which every other key of the ledger is derived or unwrapped."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._wrapping = AESGCM(self.derive("subject keys"))
        self._settings = AESGCM(self.derive("settings"))

    def derive(self, purpose: str) -> bytes:
        """Return the 32-byte key for one purpose (HKDF-SHA-256, RFC 5869)."""
        return HKDF(SHA256(), 32, salt=None, info=f"billing-ledger {purpose}".encode()).derive(
            self._key
        )

    def wrap(self, subject: str, key: bytes) -> bytes:
        """Encrypt a subject's key for the database."""
        nonce = os.urandom(12)
        return nonce + self._wrapping.encrypt(nonce, key, subject.encode())

    def unwrap(self, subject: str, wrapped: bytes) -> bytes:
        """Return a subject's key."""
        return self._wrapping.decrypt(wrapped[:12], wrapped[12:], subject.encode())

    def seal_setting(self, name: str, value: str) -> bytes:
        """Encrypt a setting, bound to its name."""
        nonce = os.urandom(12)
        return nonce + self._settings.encrypt(nonce, value.encode(), name.encode())

    def open_setting(self, name: str, sealed: bytes) -> str:
        """Return a setting; raise MasterKeyMismatch if it was sealed under another key."""
        try:
            return self._settings.decrypt(sealed[:12], sealed[12:], name.encode()).decode()
        except InvalidTag as error:
            raise MasterKeyMismatch(
                "This ledger was written under another master key. Put the right one into "
                "LEDGER_MASTER_KEY (or LEDGER_HOME/master.key); nothing was changed."
            ) from error


def key_file(settings: Settings) -> Path:
    """Return where a made master key is kept."""
    return settings.home / "master.key"


def is_confirmed_saved(settings: Settings) -> bool:
    """Return whether somebody has said that a copy of the made key is in a safe place."""
    return settings.master_key is not None or (settings.home / "master.key.saved").exists()


def confirm_saved(settings: Settings) -> None:
    """Note that a copy of the made key is in a safe place."""
    (settings.home / "master.key.saved").touch(mode=0o600)


def load_master_key(
    settings: Settings, connection: psycopg.Connection[tuple[Any, ...]], *, embedded: bool
) -> MasterKey:
    """Return the master key of this installation, proven against the ledger's canary.

    It comes from the settings; on the embedded database else from LEDGER_HOME, where it is made
    for a new ledger. Raises MasterKeyMissing and MasterKeyMismatch.
    """
    row = connection.execute("SELECT value FROM settings WHERE key = %s", [CANARY]).fetchone()
    # A key file from an embedded start is not taken for a database elsewhere.
    key = settings.master_key or (_read(key_file(settings)) if embedded else None)
    if key is None:
        if not embedded:
            raise MasterKeyMissing(
                "With LEDGER_DATABASE_URL, LEDGER_MASTER_KEY must be set (the key must not depend "
                "on this machine): `openssl rand -base64 32` makes one. Keep a copy elsewhere."
            )
        if row is not None:
            raise MasterKeyMissing(
                f"This ledger was written under a master key that is not at {key_file(settings)} "
                "any more. Put your copy back there or into LEDGER_MASTER_KEY."
            )
        key = _make(key_file(settings))
    master = MasterKey(key)
    if row is None:
        connection.execute(
            "INSERT INTO settings (key, value) VALUES (%s, %s) ON CONFLICT DO NOTHING",
            [CANARY, master.seal_setting(CANARY, CANARY)],
        )
        row = connection.execute("SELECT value FROM settings WHERE key = %s", [CANARY]).fetchone()
    if row is None or master.open_setting(CANARY, row[0]) != CANARY:
        raise MasterKeyMismatch("The canary of this ledger is gone; restore its settings table.")
    return master


def _read(path: Path) -> bytes | None:
    try:
        content = path.read_bytes().strip()
    except FileNotFoundError:
        return None
    try:
        key = base64.b64decode(content, validate=True)
    except ValueError:
        key = b""
    if len(key) != 32:
        raise SettingsInvalid(f"{path} does not hold a master key (32 bytes in base64).")
    return key


def _make(path: Path) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    # A name that no other thread, nor a process of the same number in another container, has.
    handle, name = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)  # mode 0600
    draft = Path(name)
    with os.fdopen(handle, "wb") as file:
        file.write(base64.b64encode(os.urandom(32)) + b"\n")
        file.flush()
        os.fsync(handle)  # on disk before anything is encrypted under it
    try:
        os.link(draft, path)  # whoever comes first makes the key, everybody reads that one
    except FileExistsError:
        pass
    finally:
        draft.unlink()
    key = _read(path)
    if key is None:
        raise MasterKeyMissing(f"{path} was removed while it was being made.")
    return key
