"""`ledger serve`, `worker`, `migrate`: what runs."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from pathlib import Path

import click
import psycopg

from ledger.agenda import Agenda
from ledger.aggregates.sending import KINDS
from ledger.application import Ledger, keep_mode
from ledger.bootstrap import Installation, installation, site_of, tools_of, unusable_settings
from ledger.bootstrap import migrate as bring_up_to_date
from ledger.cli.context import Context, json_option, say_json
from ledger.cli.demo import demo_token
from ledger.database import Database, open_database
from ledger.demo import NAME as DEMO
from ledger.errors import LedgerError, SettingsInvalid
from ledger.invitations import remember_address
from ledger.people import tokens
from ledger.people.users import People
from ledger.policies import POLICIES
from ledger.policies.desk import log_desk
from ledger.policies.runner import PolicyRunner
from ledger.privacy.key_sources import is_confirmed_saved, key_file
from ledger.processes import WATCH_SECONDS, Supervisor, Termination, end_with_supervisor
from ledger.projections import PROJECTIONS, Runner
from ledger.projections.rebuild.versions import bring_to_version
from ledger.projections.runner import told
from ledger.scheduler import Jobs, Workplace, add_jobs, scheduler
from ledger.settings import DEFAULT_LEDGER, Settings
from ledger.tls import is_loopback, require_certificate
from ledger.weaknesses import weaknesses

logger = logging.getLogger("ledger.serve")

DEFAULT_PORT = 8100
WEB_STOP_SECONDS = 10  # for requests under way; less than what the supervisor waits
NEW_LEDGERS_SECONDS = 5
REBUILD_AGAIN_SECONDS = 30


_FILE = click.Path(dir_okay=False, path_type=Path)


def _configure_logging() -> None:
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", force=True
    )
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
    logging.getLogger("yoyo").setLevel(logging.WARNING)


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=DEFAULT_PORT, show_default=True, type=click.IntRange(0, 65535))
@click.option("--tls-cert", type=_FILE, help="A certificate with its chain: serve https.")
@click.option("--tls-key", type=_FILE, help="Its key, PKCS#8 without a password.")
@click.option("--no-worker", is_flag=True, help="Do not project here; run `ledger worker` apart.")
@click.option("--demo", "with_demo", is_flag=True, help="With a made-up business to look at.")
@json_option
@click.pass_obj
def serve(
    context: Context,
    host: str,
    port: int,
    tls_cert: Path | None,
    tls_key: Path | None,
    no_worker: bool,
    with_demo: bool,
    as_json: bool,
) -> None:
    """Serve the webhook and the API, and project what comes in."""
    _configure_logging()
    termination = Termination()  # before anything is started that has to be stopped
    _refuse_plain(context.settings, host, tls_cert, tls_key)
    _refuse_taken_port(host, port)
    commands = {"web": [*_web_command(host, port), *_tls(tls_cert, tls_key), "api.rsgi:app"]}
    if not no_worker:
        commands["worker"] = [sys.executable, "-m", "ledger", "worker"]
    with installation(context.settings) as opened:
        _prepare(opened)
        url = f"http{'s' if tls_cert else ''}://{host}:{port}"
        remember_address(opened.ledger(DEFAULT_LEDGER), url)
        _greet(opened, url, as_json=as_json)
        if with_demo:
            _greet_demo(opened, url, as_json=as_json)
            commands["demo"] = [sys.executable, "-m", "ledger", "demo", "--url", url, "--follow"]
        Supervisor(commands, os.environ).run(termination, lambda: _tend(opened.database))


def _web_command(host: str, port: int) -> list[str]:
    # Its master and its worker process end together; starting both again is ours to do.
    return [
        sys.executable, "-m", "api", "--interface", "rsgi", "--loop", "uvloop", "--no-ws",
        "--host", host, "--port", str(port), "--log-level", "error",
        "--workers-kill-timeout", str(WEB_STOP_SECONDS),
    ]  # fmt: skip


def _tls(certificate: Path | None, key: Path | None) -> list[str]:
    if certificate is None or key is None:
        return []
    return [
        "--ssl-certificate", str(certificate), "--ssl-keyfile", str(key),
        "--ssl-protocol-min", "tls1.2",
    ]  # fmt: skip


def _refuse_plain(
    settings: Settings, host: str, certificate: Path | None, key: Path | None
) -> None:
    """Raise SettingsInvalid where what is personal would go in plain to other machines."""
    if (certificate is None) != (key is None):
        raise SettingsInvalid("--tls-cert and --tls-key belong together.")
    if certificate is not None and key is not None:
        require_certificate(certificate, key)
    elif not is_loopback(host) and not settings.proxies:
        raise SettingsInvalid(
            f"On {host} other machines could listen in: give --tls-cert and --tls-key, or let a"
            " proxy of yours speak TLS and set LEDGER_PROXIES=1."
        )


def _tend(database: Database) -> None:
    """Start the embedded server again when it was killed."""
    if database.server is None or database.server.is_listening():
        return
    try:
        database.server.ensure_running()
        logger.warning("the embedded PostgreSQL was gone; started it again")
    except (LedgerError, OSError) as error:
        logger.error("%s", error)


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
    keep_mode(ledger, opened.settings.mode)
    with opened.database.connect(ledger.schema) as connection:
        tokens.preset(connection, opened.settings.bootstrap_token)


def _greet(opened: Installation, url: str, *, as_json: bool) -> None:
    """Say what is served where, and what a person should see to."""
    ledger = opened.ledger(DEFAULT_LEDGER)
    warnings = []
    if not ledger.settings.webhook_secrets:
        warnings.append("STRIPE_WEBHOOK_SECRET is not set: deliveries are refused until it is.")
    with opened.database.connect(ledger.schema) as connection:
        weak = weaknesses(opened.settings, ledger, connection)
        warnings += [one.sentence for one in weak]
    warnings += unusable_settings(opened.settings, ledger)
    if not People(ledger).listed():
        warnings.append(
            "Nobody can sign in yet: `ledger user add YOU@EXAMPLE --role admin` prints a link."
        )
    if not is_confirmed_saved(opened.settings):
        warnings.append(
            f"The master key exists only in {key_file(opened.settings)}: copy it to a safe "
            "place, then `ledger keys confirm`."
        )
    told = {
        "ledger": ledger.name,
        "mode": ledger.settings.mode,
        "database": "embedded PostgreSQL" if opened.database.is_embedded else "PostgreSQL",
        "webhook": f"{ledger.settings.public_url or url}/webhooks/stripe",
        "api": f"{url}/v1/status",
        "sends": _sends(opened),
    }
    if as_json:
        say_json({**told, "warnings": warnings})
        return
    click.echo(f"Ledger `{told['ledger']}` ({told['mode']} mode) on {told['database']}")
    click.echo(f"  webhook   {told['webhook']}")
    click.echo(f"  API       {told['api']}")
    click.echo(f"  It records {told['mode']} events and shows them. {told['sends']}")
    for warning in warnings:
        click.echo(f"  ! {warning}")


def _sends(opened: Installation) -> str:
    """Say what may go out from here."""
    ledger = opened.ledger(DEFAULT_LEDGER)
    site = site_of(opened.settings, ledger)
    with ledger.pool.connection() as connection:
        desk, _ = log_desk(connection, ledger.keys, site, ledger.clock.now())
        kinds = [kind for kind in KINDS if desk.obstacle(kind) is None]
    if not kinds:
        return "It sends nothing to anybody (`ledger effects status`)."
    return f"It sends {', '.join(kinds)} (`ledger effects stop` ends that)."


def _greet_demo(opened: Installation, url: str, *, as_json: bool) -> None:
    """Say how to look at the demo while it is being told."""
    token = demo_token(opened)
    if as_json:
        say_json({"demo": {"ledger": DEMO, "token": token}})
        return
    click.echo("DEMO: a made-up business of 600 customers, in the ledger `demo`; nobody is real.")
    click.echo(f"  curl -u {token}: '{url}/v1/customers?status=past_due'")
    click.echo("  .venv/bin/ledger --ledger demo events --limit 5")


@click.command()
@json_option
@click.pass_obj
def worker(context: Context, as_json: bool) -> None:
    """Project what the log holds, seal it, and go on until stopped."""
    _configure_logging()
    termination = Termination()
    is_supervised = end_with_supervisor(os.environ)
    stop = threading.Event()
    with installation(context.settings) as opened:
        if as_json:
            say_json({"ledgers": opened.names()})
        elif not is_supervised:
            click.echo(f"Projecting and sealing: {', '.join(opened.names())}")
        jobs = scheduler()
        runners: dict[str, list[threading.Thread]] = {}
        look_again_at = 0.0
        while not termination.requested:
            if time.monotonic() >= look_again_at:
                _work_on_new_ledgers(opened, runners, jobs, stop)
                look_again_at = time.monotonic() + NEW_LEDGERS_SECONDS
            time.sleep(WATCH_SECONDS)
        stop.set()
        for runner in (one for threads in runners.values() for one in threads):
            runner.join()
        jobs.shutdown(wait=True)


def _work_on_new_ledgers(
    opened: Installation,
    runners: dict[str, list[threading.Thread]],
    jobs: Jobs,
    stop: threading.Event,
) -> None:
    """Start projecting and sealing each ledger that was added since the last look."""
    try:
        added = [name for name in opened.names() if name not in runners]
    except LedgerError as error:
        logger.warning("%s", error)
        return
    for name in added:
        try:
            ledger = opened.ledger(name)
            tools = tools_of(opened.settings, ledger)
        except (LedgerError, psycopg.Error) as error:
            logger.error("ledger %s cannot be opened, the others go on: %s", name, error)
            continue
        add_jobs(jobs, Workplace(ledger, Agenda(ledger, tools), stop, opened.settings))
        policies = PolicyRunner(ledger, POLICIES, tools.site)
        runners[name] = [
            threading.Thread(target=_project, args=[opened, ledger, stop]),
            threading.Thread(target=policies.run, args=[stop]),
        ]
        for runner in runners[name]:
            runner.start()


class _Stopped(Exception):
    """The worker was told to end in the middle of a rebuild, which can go on later."""


def _project(opened: Installation, ledger: Ledger, stop: threading.Event) -> None:
    """Bring a ledger's read models to this release's version, then follow the log."""

    def going_on(stage: str, done: float, total: float) -> None:
        if stop.is_set():
            raise _Stopped

    for projection in PROJECTIONS:
        while not stop.is_set():
            try:
                if bring_to_version(opened.settings, ledger, projection, going_on):
                    logger.warning("rebuilt %s of %s", projection.name, ledger.name)
                break
            except _Stopped:
                return
            except LedgerError as error:
                logger.error("cannot rebuild %s of %s: %s", projection.name, ledger.name, error)
                stop.wait(REBUILD_AGAIN_SECONDS)
            except Exception as error:  # noqa: BLE001 — a worker outlives any failure, loudly
                logger.error(
                    "cannot rebuild %s of %s: %s", projection.name, ledger.name, told(error)
                )
                stop.wait(REBUILD_AGAIN_SECONDS)
    Runner(ledger, PROJECTIONS).run(stop)


@click.command()
@json_option
@click.pass_obj
def migrate(context: Context, as_json: bool) -> None:
    """Bring the database up to date; safe to run at any time, several at once."""
    database = open_database(context.settings)
    try:
        applied = bring_up_to_date(database)
    finally:
        database.close()
    if as_json:
        say_json({"applied": applied})
    else:
        click.echo("\n".join(applied) or "Nothing to do: the database is up to date.")


COMMANDS = (serve, worker, migrate)
