"""One supervised child: its plan, its present process, what it prints, and when to start it again."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping

from cli.processes import Plan, signal_group, start_process
from cli.terminal import Lines

FIRST_DELAY_SECONDS = 0.5
LONGEST_DELAY_SECONDS = 30.0
STEADY_SECONDS = 60.0
"""a child that was up so long starts over with the first delay"""

KILL_SECONDS = 5.0
"""how long the kernel may take to end a killed process (one that waits for a device can be stuck)"""

CHUNK = 65_536


class Child:
    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.process: subprocess.Popen[bytes] | None = None
        self.output: int | None = None
        """file descriptor that its output is read from, until its end"""
        self.start_at: float | None = None
        """when to start it; None while it runs or is not to run"""
        self._started_at = 0.0
        self._delay = FIRST_DELAY_SECONDS
        self._lines = Lines()

    def start(self, environment: Mapping[str, str], now: float) -> int:
        """Returns the descriptor to read from. Raises OSError."""
        self.start_at = None
        self._started_at = now
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        try:
            self.process = start_process(self.plan.command, environment, writer, pass_fds=self.plan.pass_fds)
        except OSError:
            os.close(reader)
            raise
        finally:
            os.close(writer)
        self.output = reader
        return reader

    def put_off(self, now: float) -> float:
        """Plans the next start, after a delay that doubles while the child keeps failing. Returns the delay."""
        if now - self._started_at >= STEADY_SECONDS:
            self._delay = FIRST_DELAY_SECONDS
        delay, self._delay = self._delay, min(self._delay * 2, LONGEST_DELAY_SECONDS)
        self.start_at = now + delay
        return delay

    def read(self) -> list[str] | None:
        """Lines that wait to be read, without blocking; None at the end of the output."""
        if self.output is None:
            return None
        try:
            chunk = os.read(self.output, CHUNK)
        except BlockingIOError:
            return []
        return self._shown(self._lines.feed(chunk)) if chunk else None

    def read_rest(self) -> list[str]:
        """What is left when it has ended. A grandchild may hold the pipe open, so its end is not waited for."""
        lines = []
        while more := self.read():
            lines += more
        return lines + self._shown(self._lines.flush())

    def close_output(self) -> None:
        if self.output is not None:
            os.close(self.output)
            self.output = None

    def kill(self) -> int | None:
        """Kills the process and its group. Returns its exit status, or None when the kernel does not let go of it."""
        if self.process is None:
            return None
        signal_group(self.process, signal.SIGKILL)
        try:
            return self.process.wait(KILL_SECONDS)
        except subprocess.TimeoutExpired:
            return None

    def _shown(self, lines: list[str]) -> list[str]:
        return [line for line in lines if line.strip() and not any(part in line for part in self.plan.hidden)]
