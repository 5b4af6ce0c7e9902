"""The simulator behind Stripe's HTTP API, on loopback."""

from ledger.simulator.http.app import create_app
from ledger.simulator.http.service import Service

__all__ = ["Service", "create_app"]
