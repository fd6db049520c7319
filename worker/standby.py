"""A trainer that has imported TensorFlow, which takes seconds, and waits for the next attempt of any slot."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from worker.child_process import ChildProcess


class Standby:
    """Keeps one ready where that is `wanted`. `on_exit` is told of the end of each trainer."""

    def __init__(self, scratch: Path, on_exit: Callable[[], None], *, wanted: bool) -> None:
        self._scratch = scratch
        self._on_exit = on_exit
        self._wanted = wanted
        self._lock = threading.Lock()
        self._ready: ChildProcess | None = None

    def take(self) -> ChildProcess:
        """The one that is ready, or a new one."""
        with self._lock:
            ready, self._ready = self._ready, None
        if ready is not None:
            if ready.returncode() is None:
                return ready
            ready.kill()
        return self._start()

    def prepare(self) -> None:
        """Makes sure that one is ready, or soon will be."""
        with self._lock:
            if self._ready is not None and self._ready.returncode() is not None:
                self._ready.kill()
                self._ready = None
            if self._wanted and self._ready is None:
                self._ready = self._start()

    def close(self) -> None:
        with self._lock:
            self._wanted = False
            if self._ready is not None:
                self._ready.kill()
                self._ready = None

    def _start(self) -> ChildProcess:
        return ChildProcess("worker.trainer", self._on_exit, self._scratch)
