"""Files that only the master key opens: written and read as a stream, whole or refused.

A file is `LEDGERSEAL1\\n`, its head (JSON, in plain: what it is, never what is in it), then frames
of compressed data, each AES-256-GCM under a key of this file alone, numbered, bound to the head;
the last says that it is. Cut off, changed, reordered or mixed with another, it does not open.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import IO, Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ledger.errors import LedgerError

MAGIC = b"LEDGERSEAL1\n"
FRAME_BYTES = 1 << 20
FRAME_BYTES_MAX = FRAME_BYTES + (1 << 16)
HEAD_BYTES_MAX = 1 << 16
MORE, LAST = b"more", b"last"
_LENGTH = struct.Struct(">I")


class SealedFileDamaged(LedgerError):
    """A sealed file that is cut off, was changed, or is none."""


class SealedFileForeign(LedgerError):
    """A sealed file that was written under another master key."""


class SealedWriter:
    """Writes a sealed file; without `close` it is cut off, and does not open."""

    def __init__(self, out: IO[bytes], key: bytes, head: dict[str, Any]) -> None:
        salt = os.urandom(32)
        told = json.dumps({**head, "salt": salt.hex(), "key": _name_of(key)}).encode()
        self._out = out
        self._cipher = _cipher(key, salt)
        self._bound = sha256(told).digest()
        self._number = 0
        self._waiting = bytearray()
        out.write(MAGIC + _LENGTH.pack(len(told)) + told)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Add data."""
        self._waiting += data
        while len(self._waiting) > FRAME_BYTES:
            self._frame(bytes(self._waiting[:FRAME_BYTES]), MORE)
            del self._waiting[:FRAME_BYTES]

    def close(self) -> None:
        """Write what is left, and that it is the last."""
        self._frame(bytes(self._waiting), LAST)

    def _frame(self, data: bytes, which: bytes) -> None:
        nonce = self._number.to_bytes(12, "big")
        sealed = self._cipher.encrypt(nonce, zlib.compress(data, 1), self._bound + which)
        self._out.write(which + _LENGTH.pack(len(sealed)) + sealed)
        self._number += 1


class SealedReader:
    """Reads a sealed file; `head` is what it says of itself."""

    def __init__(self, source: IO[bytes], keys: Sequence[bytes], name: str) -> None:
        """Read the head; raise SealedFileDamaged, SealedFileForeign naming the file."""
        self._source, self._name = source, name
        if source.read(len(MAGIC)) != MAGIC:
            raise SealedFileDamaged(f"{name} is no sealed file of a ledger's.")
        told = self._exactly(self._length(HEAD_BYTES_MAX))
        try:
            self.head: dict[str, Any] = json.loads(told)
            salt, named = bytes.fromhex(self.head["salt"]), self.head["key"]
        except (ValueError, KeyError, TypeError) as error:
            raise self._damaged("its head cannot be read") from error
        key = next((one for one in keys if _name_of(one) == named), None)
        if key is None:
            raise SealedFileForeign(
                f"{name} was written under another master key: give that one, too"
                " (LEDGER_MASTER_KEY=PRESENT,FORMER)."
            )
        self._cipher = _cipher(key, salt)
        self._bound = sha256(told).digest()
        self._number = 0
        self._first = self._frame()  # which proves the head, too

    def chunks(self) -> Iterator[bytes]:
        """Yield the data; raise SealedFileDamaged where it is not what was written."""
        which, data = self._first
        while which == MORE:
            yield data
            which, data = self._frame()
        if self._source.read(1):
            raise self._damaged("something follows its end")
        yield data

    def _frame(self) -> tuple[bytes, bytes]:
        which = self._exactly(len(MORE))
        if which not in (MORE, LAST):
            raise self._damaged("something else is in it")
        sealed = self._exactly(self._length(FRAME_BYTES_MAX))
        nonce = self._number.to_bytes(12, "big")
        try:
            data = self._cipher.decrypt(nonce, sealed, self._bound + which)
        except InvalidTag as error:
            raise self._damaged("it was changed") from error
        self._number += 1
        return which, zlib.decompress(data)

    def _length(self, limit: int) -> int:
        length: int = _LENGTH.unpack(self._exactly(_LENGTH.size))[0]
        if length > limit:
            raise self._damaged("something else is in it")
        return length

    def _exactly(self, size: int) -> bytes:
        found = self._source.read(size)
        if len(found) < size:
            raise self._damaged("it is cut off")
        return found

    def _damaged(self, how: str) -> SealedFileDamaged:
        return SealedFileDamaged(f"{self._name} cannot be used: {how}.")


def _cipher(key: bytes, salt: bytes) -> AESGCM:
    return AESGCM(HKDF(SHA256(), 32, salt=salt, info=b"billing-ledger sealed file").derive(key))


def _name_of(key: bytes) -> str:
    """Return by what a key is told from others: it tells nothing of it."""
    return sha256(b"billing-ledger key name " + key).hexdigest()[:16]
