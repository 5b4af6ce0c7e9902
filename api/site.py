"""The Flask application: the JSON API under `/v1`, the pages behind links, the health checks."""

from __future__ import annotations

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from api import callbacks, entrance, errors, health, links, openapi, requests, v1
from ledger.bootstrap import Installation


def create_site(installation: Installation) -> Flask:
    """Return the WSGI application over the ledgers of an installation."""
    site = Flask("billing-ledger", static_folder=None)
    site.extensions["installation"] = installation
    if (proxies := installation.settings.proxies) > 0:
        site.wsgi_app = ProxyFix(site.wsgi_app, proxies, proxies, proxies)  # type: ignore[method-assign]
    site.json.sort_keys = False  # type: ignore[attr-defined]
    errors.register(site)
    requests.register(site)
    site.register_blueprint(health.blueprint)
    site.register_blueprint(v1.blueprint)
    site.register_blueprint(links.blueprint)
    site.register_blueprint(callbacks.blueprint)
    site.register_blueprint(entrance.blueprint)
    site.register_blueprint(openapi.blueprint)
    return site
