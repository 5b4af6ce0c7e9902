"""Every error the ledger raises on purpose; each says what is wrong, where, and what to do."""

from __future__ import annotations


class LedgerError(Exception):
    """Something the person who runs the ledger can understand and mend."""


class SettingsInvalid(LedgerError):
    """A setting is missing or cannot be used."""


class DatabaseUnavailable(LedgerError):
    """PostgreSQL does not answer; asking again is safe."""


class DatabaseUnsuitable(LedgerError):
    """PostgreSQL answers, but is of the wrong version or lacks a privilege."""


class MasterKeyMismatch(LedgerError):
    """This ledger was written under another master key."""


class MasterKeyMissing(LedgerError):
    """No master key where one is required."""


class LedgerUnknown(LedgerError):
    """This installation has no ledger of that name."""


class VersionConflict(LedgerError):
    """The stream has moved on since the decision was made."""


class EventUnknown(LedgerError):
    """A stream holds an event of a newer release."""


class NotMigrated(LedgerError):
    """The database is not up to date with this release."""


class ViewsBehind(LedgerError):
    """The read models have not seen the position that is asked for yet."""


class RequestInvalid(LedgerError):
    """A request of the API or command line cannot be understood."""


class NotFound(LedgerError):
    """There is nothing of that name in this ledger."""
