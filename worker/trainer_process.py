"""A trainer seen from its supervisor: started, assigned, listened to, killed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import IO

from worker.trainer import READY_LINE, Assignment

LOG_LIMIT = 64 * 1024
"""Characters kept of what one attempt prints; the rest is counted."""


class TrainerProcess:
    """One exec'd child in its own session. Start it early to have it warm; it waits for its assignment."""

    def __init__(self, on_exit: Callable[[], None]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "worker.trainer", str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._lock = threading.Lock()
        self._pending: list[str] = []
        self._kept = 0
        self._dropped = 0
        self._on_exit = on_exit
        self._reader = threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def assign(self, assignment: Assignment) -> None:
        """Hands over the attempt. A trainer that has died already is found by `returncode`."""
        stdin = self._process.stdin
        if stdin is None:
            raise RuntimeError("the trainer was started without a pipe")
        with contextlib.suppress(BrokenPipeError):
            stdin.write(assignment.to_line())
            stdin.flush()

    def returncode(self) -> int | None:
        """None while it runs; minus the signal's number when one ended it."""
        return self._process.poll()

    def take_log(self) -> str:
        """What was printed since the last call, within the limit."""
        with self._lock:
            text, self._pending = "".join(self._pending), []
            return text

    def finish_log(self) -> str:
        """The rest of the log once the process has ended."""
        self._reader.join(timeout=5)
        rest = self.take_log()
        return f"{rest}… {self._dropped} more characters were printed\n" if self._dropped else rest

    def kill(self) -> None:
        """Ends the process and all that it started, and waits for it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()

    def _read(self, output: IO[str]) -> None:
        for line in output:
            if line.strip() != READY_LINE:
                self._keep(line)
        self._process.wait()
        self._on_exit()

    def _keep(self, line: str) -> None:
        with self._lock:
            room = LOG_LIMIT - self._kept
            kept = line[:room]
            self._kept += len(kept)
            self._dropped += len(line) - len(kept)
            if kept:
                self._pending.append(kept)
