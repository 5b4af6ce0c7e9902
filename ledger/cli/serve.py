"""`ledger serve`, `worker`, `migrate`: what runs."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time

import click

from ledger import tokens
from ledger.bootstrap import Installation, installation
from ledger.cli.context import Context, json_option, say_json
from ledger.database.embedded import EmbeddedServer
from ledger.errors import LedgerError, SettingsInvalid
from ledger.log.log import prepare
from ledger.privacy.master import is_confirmed_saved, key_file
from ledger.projections import PROJECTIONS, Runner
from ledger.scheduler import Jobs, add_jobs, scheduler
from ledger.settings import DEFAULT_LEDGER

logger = logging.getLogger("ledger.serve")

DEFAULT_PORT = 8100
BLOCKING_THREADS = 48
WATCH_SECONDS = 0.5
NEW_LEDGERS_SECONDS = 5
STOP_SECONDS = 20


def _configure_logging() -> None:
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", force=True
    )
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
    logging.getLogger("yoyo").setLevel(logging.WARNING)


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=DEFAULT_PORT, show_default=True)
@click.option("--threads", default=BLOCKING_THREADS, show_default=True, help="Request threads.")
@click.option("--no-worker", is_flag=True, help="Do not project here; run `ledger worker` apart.")
@click.pass_obj
def serve(context: Context, host: str, port: int, threads: int, no_worker: bool) -> None:
    """Serve the webhook and the API, and project what comes in."""
    from granian.constants import Interfaces  # noqa: PLC0415 — only this command needs a server
    from granian.server import Server  # noqa: PLC0415

    _configure_logging()
    _refuse_taken_port(host, port)
    with installation(context.settings) as opened:
        _prepare(opened)
        _greet(opened, host, port)
        stop = threading.Event()
        watchers = [threading.Thread(target=_watch_database, args=[opened, stop], daemon=True)]
        if not no_worker:
            watchers.append(threading.Thread(target=_keep_worker, args=[stop], daemon=True))
        for watcher in watchers:
            watcher.start()
        server = Server(
            "api.wsgi:app",
            address=host,
            port=port,
            interface=Interfaces.WSGI,
            blocking_threads=threads,
            respawn_failed_workers=True,
            websockets=False,
            log_level="error",  # type: ignore[arg-type]
        )
        try:
            server.serve()
        finally:
            stop.set()
            for watcher in watchers:
                watcher.join(timeout=STOP_SECONDS)


def _refuse_taken_port(host: str, port: int) -> None:
    import socket  # noqa: PLC0415

    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise SettingsInvalid(
                f"Cannot listen on {host}:{port}: {error.strerror}. Choose another --port."
            ) from error


def _prepare(opened: Installation) -> None:
    ledger = opened.ledger(DEFAULT_LEDGER)
    if secret := opened.settings.bootstrap_token:
        with ledger.pool.connection() as connection:
            prepare(connection)
            if tokens.find(connection, secret) is None:
                tokens.create(connection, DEFAULT_LEDGER, "bootstrap", list(tokens.SCOPES), secret)


def _greet(opened: Installation, host: str, port: int) -> None:
    ledger = opened.ledger(DEFAULT_LEDGER)
    where = "embedded PostgreSQL" if opened.database.is_embedded else "PostgreSQL"
    click.echo(f"Ledger `{ledger.name}` ({ledger.settings.mode} mode) on {where}")
    click.echo(f"  webhook   http://{host}:{port}/webhooks/stripe")
    click.echo(f"  API       http://{host}:{port}/v1/status")
    click.echo("  It records and shows; it sends nothing to anybody.")
    if not ledger.settings.webhook_secrets:
        click.echo("  ! STRIPE_WEBHOOK_SECRET is not set: deliveries are refused until it is.")
    if not is_confirmed_saved(opened.settings):
        click.echo(
            f"  ! The master key exists only in {key_file(opened.settings)}: copy it to a safe "
            "place, then `ledger keys confirm`."
        )


def _watch_database(opened: Installation, stop: threading.Event) -> None:
    """Start the embedded server again when it was killed."""
    server = opened.database.server
    if server is None:
        return
    while not stop.wait(WATCH_SECONDS):
        if not _is_alive(server):
            try:
                server.ensure_running()
                logger.warning("the embedded PostgreSQL was gone; started it again")
            except LedgerError as error:
                logger.error("%s", error)


def _is_alive(server: EmbeddedServer) -> bool:
    try:
        pid = int((server.data / "postmaster.pid").read_text().split()[0])
        os.kill(pid, 0)
    except (OSError, ValueError, IndexError):
        return False
    return True


def _keep_worker(stop: threading.Event) -> None:
    """Run the worker as a process of its own, again whenever it ends."""
    while not stop.is_set():
        worker = subprocess.Popen(
            [sys.executable, "-m", "ledger", "worker", "--parent", str(os.getpid())]
        )
        while worker.poll() is None and not stop.wait(WATCH_SECONDS):
            pass
        if worker.poll() is None:
            worker.terminate()
            try:
                worker.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                worker.kill()
            return
        if not stop.is_set():
            logger.warning("the worker ended (%s); starting it again", worker.returncode)
            stop.wait(1)


@click.command()
@click.option("--parent", type=int, hidden=True, help="Stop when this process is gone.")
@click.pass_obj
def worker(context: Context, parent: int | None) -> None:
    """Project what the log holds, seal it, and go on until stopped."""
    _configure_logging()
    stop = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.set())
    with installation(context.settings) as opened:
        jobs = scheduler()
        runners: dict[str, threading.Thread] = {}
        look_again_at = 0.0
        while not stop.is_set():
            if time.monotonic() >= look_again_at:
                _work_on_new_ledgers(opened, runners, jobs, stop)
                look_again_at = time.monotonic() + NEW_LEDGERS_SECONDS
            if parent is not None and os.getppid() != parent:
                stop.set()  # the server that started us was killed; the next brings its own worker
            stop.wait(WATCH_SECONDS)
        for runner in runners.values():
            runner.join()
        jobs.shutdown(wait=True)


def _work_on_new_ledgers(
    opened: Installation,
    runners: dict[str, threading.Thread],
    jobs: Jobs,
    stop: threading.Event,
) -> None:
    """Start projecting and sealing each ledger that was added since the last look."""
    try:
        added = [ledger for ledger in opened.ledgers() if ledger.name not in runners]
    except LedgerError as error:
        logger.warning("%s", error)
        return
    for ledger in added:
        add_jobs(jobs, ledger)
        runner = threading.Thread(target=Runner(ledger, PROJECTIONS).run, args=[stop])
        runner.start()
        runners[ledger.name] = runner


@click.command()
@json_option
@click.pass_obj
def migrate(context: Context, as_json: bool) -> None:
    """Bring the database up to date; safe to run at any time, several at once."""
    from ledger.database import open_database  # noqa: PLC0415
    from ledger.database.migrate import migrate as apply  # noqa: PLC0415

    database = open_database(context.settings)
    try:
        applied = apply(database)
    finally:
        database.close()
    if as_json:
        say_json({"applied": applied})
    else:
        click.echo("\n".join(applied) or "Nothing to do: the database is up to date.")


COMMANDS = (serve, worker, migrate)
