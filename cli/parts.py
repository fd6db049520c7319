"""`kerasd api`, `worker`, `migrate`: become the part, so that a process manager talks to it directly."""

from __future__ import annotations

import os
import sys
from typing import NoReturn


def part_command(module: str, *arguments: str) -> tuple[str, ...]:
    """The command line that runs a part as a module.

    -P keeps the working directory off the import path: a folder there named `worker` or `service` must not be run.
    """
    return (sys.executable, "-P", "-m", module, *arguments)


def api() -> NoReturn:
    """Run the HTTP API alone; it takes all settings from KERASD_* variables."""
    _become("service")


def worker() -> NoReturn:
    """Run one worker alone; it takes all settings from KERASD_* variables."""
    _become("worker")


def migrate() -> NoReturn:
    """Bring the configured database to the newest schema, and make the bucket of the artifacts; safe to repeat."""
    _become("migrations")


def _become(module: str) -> NoReturn:
    sys.stdout.flush()
    os.execv(sys.executable, part_command(module))  # noqa: S606  (no shell is wanted)


PARTS = {"api": api, "worker": worker, "migrate": migrate}
