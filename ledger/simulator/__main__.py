"""Serves a simulator on loopback: `python -m ledger.simulator --port 12111`."""

from __future__ import annotations

import argparse
import logging
import signal
from collections.abc import Sequence
from threading import Event, Thread

from werkzeug.serving import make_server

from ledger.clock import SystemClock
from ledger.simulator.http import Service, create_app
from ledger.simulator.http.webhooks import Webhooks
from ledger.simulator.settings import NEWEST, AccountSettings
from ledger.simulator.simulator import Simulator

logger = logging.getLogger("ledger.simulator")


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until interrupted."""
    options = _options().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    clock = SystemClock()

    def now() -> int:
        return int(clock.now().timestamp())

    settings = AccountSettings(api_version=options.api_version)
    simulator = Simulator(options.seed, now(), settings)
    service = Service(simulator, now)
    if options.webhook:
        endpoint = simulator.webhook_endpoints.create(
            url=options.webhook,
            api_version=options.api_version,
            **({"secret": options.secret} if options.secret else {}),
        )
        logger.info("webhooks go to %s, signed with %s", options.webhook, endpoint["secret"])
    server = make_server("127.0.0.1", options.port, create_app(service), threaded=True)
    logger.info("serving on http://127.0.0.1:%s", server.server_port)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    stopped = Event()
    ticker = Thread(target=_tick, args=[service, stopped], daemon=True)
    webhooks = Webhooks(service)
    ticker.start()
    try:
        server.serve_forever()  # returns when interrupted
    finally:
        stopped.set()
        webhooks.close()
        server.server_close()
        logger.info("stopped")


def _tick(service: Service, stopped: Event) -> None:
    while not stopped.wait(1.0):
        service.tick()


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ledger.simulator", description=__doc__)
    parser.add_argument("--port", type=int, default=12111, help="on 127.0.0.1; 0: any free one")
    parser.add_argument("--seed", type=int, default=1, help="what ids and chances follow from")
    parser.add_argument("--webhook", metavar="URL", help="where events are sent")
    parser.add_argument("--secret", metavar="whsec_…", help="what deliveries are signed with")
    parser.add_argument("--api-version", default=NEWEST, help="of the account and the webhook")
    return parser


if __name__ == "__main__":
    main()
