"""One key per subject, made when first needed, kept wrapped in the database, erased for ever."""

from __future__ import annotations

import os
from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ledger.privacy.box import BoxUnreadable, open_box
from ledger.privacy.classify import PersonalLeaf, restore

if TYPE_CHECKING:
    from collections.abc import Iterable

    import psycopg

    from ledger.privacy.master import MasterKey

CACHED_MAX = 50_000
ACCOUNT_SUBJECT = "account"


@dataclass(frozen=True, slots=True)
class SubjectKey:
    """A subject's key as AES-GCM; `wrapped` where the database does not hold it yet."""

    cipher: AESGCM
    wrapped: bytes | None = None


class KeyRing:
    """The subjects' keys of one ledger; what was read once is remembered (least recent goes)."""

    def __init__(self, master: MasterKey) -> None:
        self._master = master
        self._known: OrderedDict[str, AESGCM] = OrderedDict()
        self._unstored: OrderedDict[str, SubjectKey] = OrderedDict()
        self._lock = Lock()

    def for_writing(self, subject: str) -> SubjectKey:
        """Return the key to encrypt with, without asking the database.

        For a subject that this process has not met it is a new one, the same for all who ask
        until it is `stored` or found to be stale: a new customer's first events come together.
        """
        with self._lock:
            cipher = self._known.get(subject)
            if cipher is not None:
                self._known.move_to_end(subject)
                return SubjectKey(cipher)
            if subject not in self._unstored:
                key = os.urandom(32)
                self._unstored[subject] = SubjectKey(AESGCM(key), self._master.wrap(subject, key))
                if len(self._unstored) > CACHED_MAX:
                    self._unstored.popitem(last=False)
            return self._unstored[subject]

    def existing(
        self, subject: str, connection: psycopg.Connection[tuple[Any, ...]]
    ) -> SubjectKey | None:
        """Return the key that the database holds for a subject, None if it was erased."""
        row = connection.execute(
            "SELECT wrapped_key FROM subject_keys WHERE subject = %s", [subject]
        ).fetchone()
        with self._lock:
            self._unstored.pop(subject, None)
        if row is None or row[0] is None:
            return None
        return SubjectKey(self._remember(subject, row[0]))

    def is_erased(self, subject: str, connection: psycopg.Connection[tuple[Any, ...]]) -> bool:
        """Return whether a subject's key was destroyed."""
        row = connection.execute(
            "SELECT FROM subject_keys WHERE subject = %s AND wrapped_key IS NULL", [subject]
        ).fetchone()
        return row is not None

    def stored(self, subject: str, key: SubjectKey) -> None:
        """Remember a new key whose wrapped form is now in the database."""
        with self._lock:
            self._unstored.pop(subject, None)
            self._put(subject, key.cipher)

    def forget(self, subjects: Iterable[str]) -> None:
        """Drop erased keys from memory."""
        with self._lock:
            for subject in subjects:
                self._known.pop(subject, None)
                self._unstored.pop(subject, None)

    def for_reading(
        self, subjects: Iterable[str], connection: psycopg.Connection[tuple[Any, ...]]
    ) -> dict[str, AESGCM]:
        """Return the keys that still exist; asks the database, so that an erasure holds at once."""
        rows = connection.execute(
            "SELECT subject, wrapped_key FROM subject_keys"
            " WHERE subject = ANY(%s) AND wrapped_key IS NOT NULL",
            [sorted(set(subjects))],
        ).fetchall()
        found = {}
        for subject, wrapped in rows:
            cipher = self._known.get(subject)
            found[subject] = cipher if cipher else self._remember(subject, wrapped)
        return found

    def _remember(self, subject: str, wrapped: bytes) -> AESGCM:
        cipher = AESGCM(self._master.unwrap(subject, wrapped))
        with self._lock:
            self._put(subject, cipher)
        return cipher

    def _put(self, subject: str, cipher: AESGCM) -> None:
        self._known[subject] = cipher
        self._known.move_to_end(subject)
        if len(self._known) > CACHED_MAX:
            self._known.popitem(last=False)


def subject_of(customer_id: str | None, object_id: str | None) -> str:
    """Return whose key an event's box is under: its customer's, else its object's, else ours."""
    return customer_id or object_id or ACCOUNT_SUBJECT


def opened(
    ciphers: dict[str, AESGCM], subject: str, event_id: str, box: bytes | None
) -> list[PersonalLeaf] | None:
    """Return the personal leaves of a box; None where its key was erased or there is no box."""
    cipher = ciphers.get(subject)
    if box is None or cipher is None:
        return None
    try:
        return open_box(cipher, subject, event_id, box)[1]
    except BoxUnreadable:
        return None


def whole(clear: dict[str, Any], personal: list[PersonalLeaf] | None) -> dict[str, Any]:
    """Return the body with its personal leaves back in place, as far as they can be opened."""
    restored: dict[str, Any] = restore(clear, personal or [])
    return restored
