"""Processes that live and die together: one keeps the others running, all end when it is gone.

The supervisor holds one end of a pipe for each child and the child watches the other end, its
lifeline. However the supervisor ends, the pipe ends with it, and so does the child with all that
it started. However a child ends, its lifeline is cut, so that nothing of it stays on a port, and
it is started again.
"""

from __future__ import annotations

import logging
import os
import signal
import stat
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

logger = logging.getLogger("ledger.processes")

LIFELINE = "LEDGER_LIFELINE"  # the variable that tells a child which file descriptor it is
WATCH_SECONDS = 0.2
TEND_SECONDS = 1.0
STOP_SECONDS = 20
PATIENT = 15  # of 19: how far a process steps back
AUTOGROUP_TRIES = 5
HEALTHY_SECONDS = 10  # who ends sooner is started again less and less soon
PAUSE_SECONDS_MAX = 5.0


class Termination:
    """Whether this process has been asked to end (SIGTERM or Ctrl-C).

    A plain flag: a lock taken in a signal handler may be held by the code it interrupts.
    """

    def __init__(self) -> None:
        self.requested = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._request)

    def _request(self, *_: object) -> None:
        self.requested = True


@dataclass
class _Child:
    """A process that should run, and how it fares."""

    name: str
    command: Sequence[str]
    process: subprocess.Popen[bytes] | None = None
    lifeline: int | None = None
    started_at: float = 0.0
    start_again_at: float = 0.0
    pause_seconds: float = 0.0

    def start(self, environ: Mapping[str, str]) -> None:
        watched, held = os.pipe()
        try:
            self.process = subprocess.Popen(  # B603 — this program's own processes
                self.command,
                env={**environ, LIFELINE: str(watched)},
                stdin=subprocess.DEVNULL,
                pass_fds=[watched],
                start_new_session=True,  # Ctrl-C is for the supervisor, which ends all in order
            )
        except OSError:
            os.close(held)
            raise
        finally:
            os.close(watched)
        self.lifeline, self.started_at = held, time.monotonic()

    def ended(self, status: int) -> None:
        assert self.process is not None
        assert self.lifeline is not None
        os.close(self.lifeline)
        self.process.returncode = os.waitstatus_to_exitcode(status)
        logger.warning("the %s process ended (%s)", self.name, self.process.returncode)
        self.process = self.lifeline = None
        self.postpone(0.0 if time.monotonic() - self.started_at > HEALTHY_SECONDS else 0.2)

    def postpone(self, at_least: float) -> None:
        self.pause_seconds = min(max(at_least, 2 * self.pause_seconds), PAUSE_SECONDS_MAX)
        if not at_least:
            self.pause_seconds = 0.0
        self.start_again_at = time.monotonic() + self.pause_seconds


class Supervisor:
    """Keeps commands running, each as a process of its own, from a single thread."""

    def __init__(self, commands: Mapping[str, Sequence[str]], environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._children = [_Child(name, command) for name, command in commands.items()]

    def run(self, termination: Termination, tend: Callable[[], None]) -> None:
        """Keep all running, and call `tend` every second, until termination is requested."""
        tend_at = 0.0
        try:
            while not termination.requested:
                if time.monotonic() >= tend_at:
                    tend()
                    tend_at = time.monotonic() + TEND_SECONDS
                self._reap()
                self._start_missing()
                time.sleep(WATCH_SECONDS)
        finally:
            self._stop()

    def _reap(self) -> None:
        """Collect whoever has ended: our children, and orphans where we are a container's init."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for child in self._children:
                if child.process is not None and child.process.pid == pid:
                    child.ended(status)

    def _start_missing(self) -> None:
        for child in self._children:
            if child.process is None and time.monotonic() >= child.start_again_at:
                try:
                    child.start(self._environ)
                except OSError as error:
                    logger.error("cannot start the %s process: %s", child.name, error)
                    child.postpone(PAUSE_SECONDS_MAX)

    def _stop(self) -> None:
        """Ask all to end, give them time for what is under way, then end them."""
        running = [child.process for child in self._children if child.process is not None]
        for process in running:
            process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        for process in running:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for child in self._children:
            if child.lifeline is not None:
                os.close(child.lifeline)


def end_with_supervisor(environ: Mapping[str, str]) -> bool:
    """Let this process end when its supervisor does; return False if it was started by hand."""
    lifeline = environ.get(LIFELINE)
    if lifeline:
        threading.Thread(target=_watch, args=[int(lifeline)], daemon=True).start()
    return bool(lifeline)


def _watch(lifeline: int) -> None:
    try:
        if not stat.S_ISFIFO(os.fstat(lifeline).st_mode):
            return
        os.read(lifeline, 1)  # nobody writes: it returns when the other end is closed
    except OSError:
        return  # inherited the variable, but not the pipe
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(STOP_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)


def step_back() -> None:
    """Let everybody else on this machine go first, from now on and for good.

    In a session of its own: Linux may share the processor between sessions before it looks at
    their processes.
    """
    os.setsid()
    os.nice(PATIENT)
    for _ in range(AUTOGROUP_TRIES):  # Linux takes only so many of these at a time
        try:
            Path("/proc/self/autogroup").write_text(str(PATIENT))
        except BlockingIOError:
            time.sleep(0.1)
        except OSError:  # there are no such groups here
            return
        else:
            return


def let_step_back(pid: int) -> None:
    """Let another process of ours do so, as far as we may."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, PATIENT)
