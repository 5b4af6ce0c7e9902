"""One AES-256-GCM box per event for its personal leaves, bound to its subject and its id."""

from __future__ import annotations

import json
import os
from typing import Any

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ledger.canonical import canonical
from ledger.privacy.classify import PersonalLeaf

FORMAT = b"\x01"
NONCE_BYTES = 12

_decode = msgspec.json.Decoder().decode


class BoxUnreadable(Exception):
    """A box that this key does not open: another subject's, another event's, or damaged."""


def seal_box(
    cipher: AESGCM, subject: str, event_id: str, digest: bytes, personal: list[PersonalLeaf]
) -> bytes:
    """Encrypt the personal leaves, with a digest of the dropped ones for comparing."""
    plain = canonical([digest.hex(), personal])
    nonce = os.urandom(NONCE_BYTES)
    return FORMAT + nonce + cipher.encrypt(nonce, plain, _context(subject, event_id))


def open_box(
    cipher: AESGCM, subject: str, event_id: str, box: bytes
) -> tuple[bytes, list[PersonalLeaf]]:
    """Return the digest and the personal leaves; raise BoxUnreadable if this is not their box."""
    nonce, sealed = box[1 : 1 + NONCE_BYTES], box[1 + NONCE_BYTES :]
    try:
        plain = cipher.decrypt(nonce, sealed, _context(subject, event_id))
    except InvalidTag as error:
        raise BoxUnreadable(f"the box of {event_id} does not open for {subject}") from error
    content: Any
    try:
        content = _decode(plain)
    except msgspec.DecodeError:
        content = json.loads(plain)
    return bytes.fromhex(content[0]), [(tuple(path), value) for path, value in content[1]]


def _context(subject: str, event_id: str) -> bytes:
    return f"{subject}|{event_id}".encode()
