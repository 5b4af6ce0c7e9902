"""The web face: Stripe's webhook, the JSON API under `/v1`, health checks."""

from __future__ import annotations

from flask import Flask

from api import errors, health, v1, webhooks
from ledger.bootstrap import Installation

BODY_MAX_BYTES = 1024 * 1024


def create_app(installation: Installation) -> Flask:
    """Return the WSGI application over the ledgers of an installation."""
    app = Flask("billing-ledger", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = BODY_MAX_BYTES
    app.extensions["installation"] = installation
    app.json.sort_keys = False  # type: ignore[attr-defined]
    errors.register(app)
    app.register_blueprint(webhooks.blueprint)
    app.register_blueprint(health.blueprint)
    app.register_blueprint(v1.blueprint)
    return app
