"""Sends what is told to the account's endpoints, in the background."""

from __future__ import annotations

from functools import partial
from queue import SimpleQueue
from threading import Thread

from ledger.simulator.delivery import Delivery, delivery_of
from ledger.simulator.engine import Event, wants
from ledger.simulator.http.service import Service
from ledger.simulator.sending import Sender

CONCURRENCY = 4


class Webhooks:
    """One thread that hands deliveries to a few senders, in the order of the events."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._sender = Sender(service.now, concurrency=CONCURRENCY)
        self._waiting: SimpleQueue[tuple[Event, Delivery] | None] = SimpleQueue()
        self._thread = Thread(target=self._run, name="webhooks", daemon=True)
        self._thread.start()
        service.simulator.engine.listeners.append(self._told)

    def close(self) -> None:
        """Send what waits, give up what is not answered, and stop."""
        self._service.simulator.engine.listeners.remove(self._told)
        self._waiting.put(None)
        self._thread.join()
        self._sender.close()

    def _told(self, event: Event) -> None:
        for endpoint in self._service.simulator.engine.endpoints:
            if wants(endpoint, event.type) and endpoint["api_version"] in event.bodies:
                self._waiting.put((event, delivery_of(self._service.simulator, event, endpoint)))

    def _run(self) -> None:
        while (waiting := self._waiting.get()) is not None:
            event, delivery = waiting
            self._sender.send(delivery, partial(self._answered, event))

    def _answered(self, event: Event, status: int) -> None:
        with self._service.lock:
            if 200 <= status < 300:
                event.pending -= 1
            else:
                event.undelivered += 1
