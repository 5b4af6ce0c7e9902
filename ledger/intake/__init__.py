"""From a signed delivery to an event in the log: verified, sorted, encrypted, committed."""

from __future__ import annotations

from ledger.intake.intake import Intake, Receipt
from ledger.intake.signature import SignatureRejected, verify_signature

__all__ = ["Intake", "Receipt", "SignatureRejected", "verify_signature"]
