"""Watches a child that works under a lease: renews that, and tells when the child is to be ended."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from enum import Enum
from typing import Any

import structlog
from sqlalchemy.exc import DBAPIError

from core.errors import FencedOut
from core.repositories.attempts import LEASE_SECONDS
from worker.child_process import ChildProcess
from worker.exits import NO_DATABASE, NO_STORE

log = structlog.get_logger("kerasd.worker")

RENEW_SECONDS = 2.0
LOOK_SECONDS = 0.5

AWAY = {NO_DATABASE: "the database was away", NO_STORE: "the artifact store is away; see kerasd doctor"}
"""What a child's exit code says of why it came to no verdict: another try costs nothing."""

WORKER_STOPPED = "the worker stopped; waiting for another"
WORKER_GONE = "its worker is gone; waiting for another"


class Interruption(Enum):
    """Why a child is to be ended."""

    STOPPED = "the worker stops"
    STALLED = "no progress for too long"


class ChildWatch:
    """`woken` makes it look at once, `stopping` ends the watch so that another worker may go on."""

    def __init__(
        self,
        child: ChildProcess,
        renew: Callable[[], dict[str, Any]],
        fenced: FencedOut,
        *,
        woken: threading.Event,
        stopping: threading.Event,
        stall_seconds: float,
    ) -> None:
        """`renew` extends the lease and tells the progress; `fenced` is raised when the lease cannot be kept."""
        self._child = child
        self._renew = renew
        self._fenced = fenced
        self._woken = woken
        self._stopping = stopping
        self._stall_seconds = stall_seconds
        self.progress: dict[str, Any] = {}

    def until_end(self) -> Interruption | None:
        """Waits for the exit (None), or says why the child is to be ended. Raises FencedOut."""
        renewed = moved = time.monotonic()
        while self._child.returncode() is None:
            self._woken.wait(LOOK_SECONDS)
            self._woken.clear()
            if self._stopping.is_set():
                return Interruption.STOPPED
            now = time.monotonic()
            if now - renewed < RENEW_SECONDS or self._child.returncode() is not None:
                continue
            try:
                progress = self._renew()
            except DBAPIError as error:
                log.warning("the database does not answer while a child works", error=str(error.orig))
                if now - renewed > LEASE_SECONDS:
                    raise self._fenced from error
                continue
            renewed = now
            if progress != self.progress:
                self.progress, moved = progress, now
            if now - moved > self._stall_seconds:
                return Interruption.STALLED
        return None
