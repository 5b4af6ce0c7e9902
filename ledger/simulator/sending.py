"""Carries deliveries out over HTTP: a few at a time, again after a 503."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPException
from threading import BoundedSemaphore, Event, Lock, local
from urllib.parse import urlsplit

from ledger.simulator.delivery import Delivery

RETRIES = 5
FIRST_WAIT_SECONDS = 0.05
TIMEOUT_SECONDS = 30.0


class Sender:
    """Sends deliveries with bounded concurrency; `now` gives unix seconds to sign with."""

    def __init__(self, now: Callable[[], int], *, concurrency: int = 4) -> None:
        self._now = now
        self._concurrency = concurrency
        self._pool = ThreadPoolExecutor(concurrency, thread_name_prefix="webhooks")
        self._room = BoundedSemaphore(concurrency * 2)
        self._thread = local()
        self._connections: list[HTTPConnection] = []
        self._lock = Lock()
        self._stopped = Event()
        self.answers: Counter[int] = Counter()

    def send(self, delivery: Delivery, done: Callable[[int], None] | None = None) -> None:
        """Send one delivery as soon as there is room; `done` is told the last status."""
        self._room.acquire()
        self._pool.submit(self._deliver, delivery, done)

    def send_all(self, deliveries: Iterable[Delivery]) -> Counter[int]:
        """Send all, wait for the answers, and return how many there were of each status."""
        for delivery in deliveries:
            self.send(delivery)
        self.close()
        return self.answers

    def close(self, *, at_once: bool = False) -> None:
        """Stop taking deliveries; wait for those under way, or give up their retries."""
        if at_once:
            self._stopped.set()
        self._pool.shutdown(wait=True, cancel_futures=at_once)
        for connection in self._connections:
            connection.close()

    def _deliver(self, delivery: Delivery, done: Callable[[int], None] | None) -> None:
        try:
            status = self._until_taken(delivery)
            with self._lock:
                self.answers[status] += 1
            if done:
                done(status)
        finally:
            self._room.release()

    def _until_taken(self, delivery: Delivery) -> int:
        """Return the last status; 0 where nobody answered."""
        wait = FIRST_WAIT_SECONDS
        status = self._post(delivery)
        for _ in range(RETRIES):
            if status not in (0, 503) or self._stopped.wait(wait):
                break
            wait *= 2
            status = self._post(delivery)
        return status

    def _post(self, delivery: Delivery) -> int:
        parts = urlsplit(delivery.url)
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        try:
            connection = self._connection(parts.netloc)
            headers = delivery.headers(self._now())
            connection.request("POST", path or "/", body=delivery.body, headers=headers)
            answer = connection.getresponse()
            answer.read()
        except (OSError, HTTPException):
            self._forget(parts.netloc)
            return 0
        return answer.status

    def _connection(self, netloc: str) -> HTTPConnection:
        known: dict[str, HTTPConnection] | None = getattr(self._thread, "connections", None)
        if known is None:
            known = self._thread.connections = {}
        if netloc not in known:
            known[netloc] = HTTPConnection(netloc, timeout=TIMEOUT_SECONDS)
            with self._lock:
                self._connections.append(known[netloc])
        return known[netloc]

    def _forget(self, netloc: str) -> None:
        connection = self._thread.connections.pop(netloc, None)
        if connection:
            connection.close()
