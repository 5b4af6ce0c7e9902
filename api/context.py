"""What a request works on: the installation, and the ledger it is for."""

from __future__ import annotations

from flask import current_app

from ledger.bootstrap import Installation


def current_installation() -> Installation:
    """Return the installation that this application serves."""
    found: Installation = current_app.extensions["installation"]
    return found
