"""A trainer or importer seen from its supervisor: started, assigned, listened to, killed."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO

import psutil

from worker.host import READY_LINE

LOG_LIMIT = 64 * 1024
"""Characters kept of what one attempt prints; the rest is counted."""

LAST_LINES = 200
"""kept beside the log, which a long training may have filled: TensorFlow prints a stack after its last words"""
LONGEST_LAST_LINE = 1000

_NOISE = re.compile(r"I\d{4} \d\d:|WARNING: All log messages before absl::InitializeLog")
"""TensorFlow's remarks on the processor, which it prints whatever TF_CPP_MIN_LOG_LEVEL says."""


class ChildProcess:
    """`python -m MODULE` in a session of its own. Start it early to have it warm; it waits for its assignment.

    It gets a folder below `scratch` for its temporary files, which goes with it: TensorFlow, for one, leaves some.
    """

    def __init__(
        self, module: str, on_exit: Callable[[], None], scratch: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        scratch.mkdir(parents=True, exist_ok=True)
        self.scratch = Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=scratch))
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, str(os.getpid())],
            env={**os.environ, "TMPDIR": str(self.scratch), **(environment or {})},
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
        self._last_lines: deque[str] = deque(maxlen=LAST_LINES)
        self._on_exit = on_exit
        self._reader = threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def assign(self, line: str) -> None:
        """Hands over what to do. A child that has died already is found by `returncode`."""
        stdin = self._process.stdin
        if stdin is None:
            raise RuntimeError("the child was started without a pipe")
        with contextlib.suppress(BrokenPipeError):
            stdin.write(line)
            stdin.flush()

    def returncode(self) -> int | None:
        """None while it runs; minus the signal's number when one ended it."""
        return self._process.poll()

    def take_log(self) -> str:
        """What was printed since the last call, within the limit."""
        with self._lock:
            text, self._pending = "".join(self._pending), []
            return text

    def return_log(self, text: str) -> None:
        """Puts back what was taken but could not be stored."""
        with self._lock:
            self._pending.insert(0, text)

    def finish_log(self) -> str:
        """The rest of the log once the process has ended."""
        self._reader.join(timeout=5)
        rest = self.take_log()
        return f"{rest}… {self._dropped} more characters were printed\n" if self._dropped else rest

    def last_words(self) -> str:
        """The end of what an ended process printed, whether it is in the log or not."""
        self._reader.join(timeout=5)
        with self._lock:
            return "".join(self._last_lines)

    def kill(self) -> None:
        """Ends the process and all that it started, and waits for it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        self._reader.join(timeout=5)
        shutil.rmtree(self.scratch, ignore_errors=True)

    def _read(self, output: IO[str]) -> None:
        with output:
            for line in output:
                if line.strip() != READY_LINE and not _NOISE.match(line):
                    self._keep(line)
        self._process.wait()
        self._on_exit()

    def _keep(self, line: str) -> None:
        with self._lock:
            self._last_lines.append(line[:LONGEST_LAST_LINE])
            room = LOG_LIMIT - self._kept
            kept = line[:room]
            self._kept += len(kept)
            self._dropped += len(line) - len(kept)
            if kept:
                self._pending.append(kept)


def sweep_scratch(scratch: Path) -> None:
    """Removes the temporary files of workers that were killed: their folders carry the worker's process id."""
    for folder in scratch.glob("*-*"):
        owner = folder.name.partition("-")[0]
        if owner.isdecimal() and int(owner) != os.getpid() and not psutil.pid_exists(int(owner)):
            shutil.rmtree(folder, ignore_errors=True)
