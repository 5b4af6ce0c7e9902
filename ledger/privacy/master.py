"""The master key: what is derived from it, what is sealed under it, and the canary that knows it.

Several may be given while one takes another's place: the first is written with, all are read with.
What is found again by a derived key (hashes of addresses, digests, links) cannot be written anew:
those derived keys are kept, sealed, when the master key changes (see rotation.py).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ledger.errors import MasterKeyMismatch, MasterKeyMissing
from ledger.privacy.key_sources import given_keys, key_file, make_key

if TYPE_CHECKING:
    import psycopg

    from ledger.settings import Settings

CANARY = "canary"
KEPT = "derived:"
MISMATCH = (
    "This ledger was written under another master key. Put the right one into LEDGER_MASTER_KEY (or"
    " LEDGER_HOME/master.key); nothing was changed."
)


def derived(key: bytes, purpose: str) -> bytes:
    """Return the 32-byte key for one purpose (HKDF-SHA-256, RFC 5869)."""
    return HKDF(SHA256(), 32, salt=None, info=f"billing-ledger {purpose}".encode()).derive(key)


class MasterKey:
    """Thirty-two bytes from which every other key of the ledger is derived or unwrapped.

    `former` are keys that are only read with; `rooted` the one that purposes are derived from, if
    another than the first, and `kept` those derived keys that outlived theirs.
    """

    def __init__(
        self,
        key: bytes,
        former: Sequence[bytes] = (),
        *,
        rooted: bytes | None = None,
        kept: Mapping[str, bytes] | None = None,
    ) -> None:
        self._keys = (key, *former)
        self._root = rooted or key
        self._kept = dict(kept or {})
        self._wrapping = [AESGCM(derived(one, "subject keys")) for one in self._keys]
        self._settings = [AESGCM(derived(one, "settings")) for one in self._keys]

    @property
    def is_being_replaced(self) -> bool:
        """Whether a former key is still given."""
        return len(self._keys) > 1

    def derive(self, purpose: str) -> bytes:
        """Return the 32-byte key for one purpose, the same after a rotation if it is kept."""
        return self._kept.get(purpose) or derived(self._root, purpose)

    def derive_all(self, purpose: str) -> list[bytes]:
        """Return the key for one purpose under each master key that is given, the newest first."""
        return [derived(one, purpose) for one in self._keys]

    def wrap(self, subject: str, key: bytes) -> bytes:
        """Encrypt a subject's key for the database."""
        return _sealed(self._wrapping[0], key, subject)

    def unwrap(self, subject: str, wrapped: bytes) -> bytes:
        """Return a subject's key; raise MasterKeyMismatch if it was wrapped under another."""
        return _opened(self._wrapping, wrapped, subject)

    def is_wrapped_newly(self, subject: str, wrapped: bytes) -> bool:
        """Return whether a subject's key is under the first master key."""
        return _opens(self._wrapping[0], wrapped, subject)

    def seal_setting(self, name: str, value: str) -> bytes:
        """Encrypt a setting, bound to its name."""
        return _sealed(self._settings[0], value.encode(), name)

    def open_setting(self, name: str, sealed: bytes) -> str:
        """Return a setting; raise MasterKeyMismatch if it was sealed under another key."""
        return _opened(self._settings, sealed, name).decode()

    def is_sealed_newly(self, name: str, sealed: bytes) -> bool:
        """Return whether a setting is under the first master key."""
        return _opens(self._settings[0], sealed, name)


def _sealed(cipher: AESGCM, value: bytes, name: str) -> bytes:
    nonce = os.urandom(12)
    return nonce + cipher.encrypt(nonce, value, name.encode())


def _opened(ciphers: Sequence[AESGCM], sealed: bytes, name: str) -> bytes:
    for cipher in ciphers:
        try:
            return cipher.decrypt(sealed[:12], sealed[12:], name.encode())
        except InvalidTag:
            continue
    raise MasterKeyMismatch(MISMATCH)


def _opens(cipher: AESGCM, sealed: bytes, name: str) -> bool:
    try:
        cipher.decrypt(sealed[:12], sealed[12:], name.encode())
    except InvalidTag:
        return False
    return True


def load_master_key(
    settings: Settings, connection: psycopg.Connection[tuple[Any, ...]], *, embedded: bool
) -> MasterKey:
    """Return the master key of this installation, proven against the ledger's canary.

    It comes from the settings; on the embedded database else from LEDGER_HOME, where it is made
    for a new ledger. Raises MasterKeyMissing, MasterKeyMismatch and SettingsInvalid.
    """
    canary = _canary(connection)
    keys = given_keys(settings, embedded=embedded)
    if not keys:
        if not embedded:
            raise MasterKeyMissing(
                "With LEDGER_DATABASE_URL, LEDGER_MASTER_KEY must be set (the key must not depend "
                "on this machine): `openssl rand -base64 32` makes one. Keep a copy elsewhere."
            )
        if canary is not None:
            raise MasterKeyMissing(
                f"This ledger was written under a master key that is not at {key_file(settings)} "
                "any more. Put your copy back there or into LEDGER_MASTER_KEY."
            )
        keys = make_key(key_file(settings))
    if canary is None:
        connection.execute(
            "INSERT INTO settings (key, value) VALUES (%s, %s) ON CONFLICT DO NOTHING",
            [CANARY, MasterKey(keys[0]).seal_setting(CANARY, CANARY)],
        )
        canary = _canary(connection)
    if canary is None:
        raise MasterKeyMismatch("The canary of this ledger is gone; restore its settings table.")
    root = next((one for one in keys if MasterKey(one).is_sealed_newly(CANARY, canary)), None)
    if root is None:
        raise MasterKeyMismatch(MISMATCH)
    readable = MasterKey(keys[0], keys[1:])
    rows = connection.execute(
        "SELECT key, value FROM settings WHERE key LIKE %s", [f"{KEPT}%"]
    ).fetchall()
    kept = {
        name.removeprefix(KEPT): bytes.fromhex(readable.open_setting(name, value))
        for name, value in rows
    }
    return MasterKey(keys[0], keys[1:], rooted=root, kept=kept)


def _canary(connection: psycopg.Connection[tuple[Any, ...]]) -> bytes | None:
    row = connection.execute("SELECT value FROM settings WHERE key = %s", [CANARY]).fetchone()
    return row[0] if row else None
