"""`python -m api …`: granian serving `api.rsgi`, its worker forked, so that it has the lifeline."""

from __future__ import annotations

import multiprocessing
import sys

from granian.cli import entrypoint

if sys.platform == "linux":
    multiprocessing.set_start_method("fork")  # since Python 3.14 it is not the default
entrypoint()  # type: ignore[no-untyped-call]
