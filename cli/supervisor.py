"""Keeps children running: shows what they say, starts again what dies, stops all of them in order.

One thread, one selector: output, signals and deadlines wake the same loop. A thread that started children and ended
would take them with it (PR_SET_PDEATHSIG follows the thread).
"""

from __future__ import annotations

import selectors
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from cli.children import Child
from cli.failures import FAILED, INTERRUPTED
from cli.processes import Plan, adopt_orphans, kill_descendants, reap_orphans
from cli.signals import Signals
from cli.terminal import Terminal

OWN_NAME = "kerasd"
LONGEST_SLEEP_SECONDS = 5.0


class Ticker(Protocol):
    """Something that wants a turn of the loop from time to time."""

    def tick(self, selector: selectors.BaseSelector, now: float) -> float | None: ...
    def close(self, selector: selectors.BaseSelector) -> None: ...


class Supervisor:
    """Runs the plans until it is told to stop (Ctrl-C, TERM, HUP) or one that must succeed fails."""

    def __init__(
        self,
        plans: Sequence[Plan],
        environment: Mapping[str, str],
        terminal: Terminal,
        ticker: Ticker | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._children = [Child(plan) for plan in plans]
        self._environment = environment
        self._terminal = terminal
        self._ticker = ticker
        self._clock = clock
        self._selector = selectors.DefaultSelector()
        self._stopping = False
        self._exit_code: int | None = None

    def run(self) -> int:
        """Returns the exit code: 0 after a request to stop, 1 when a plan that runs once failed, 130 when hurried."""
        adopt_orphans()
        for child in self._children:
            child.start_at = self._clock() + child.plan.delay_seconds
        with Signals() as signals, self._selector:
            self._selector.register(signals, selectors.EVENT_READ, signals.drain)
            try:
                while self._exit_code is None and not signals.stop_requests and not self._terminal.closed:
                    self._start_due()
                    self._turn()
                self._stop(signals)
            finally:
                self._kill_all()
        return self._exit_code or 0

    def hasten(self) -> None:
        """Starts now what waits for its delay to pass."""
        for child in self._children:
            if child.start_at is not None and child.plan.delay_seconds:
                child.start_at = self._clock()

    def _start_due(self) -> None:
        now = self._clock()
        for child in self._children:
            if child.start_at is None or child.start_at > now:
                continue
            try:
                output = child.start(self._environment, now)
            except OSError as error:
                self._say(f"{child.plan.name} cannot be started ({error}); trying again in {child.put_off(now):g} s")
            else:
                self._selector.register(output, selectors.EVENT_READ, lambda child=child: self._show(child))

    def _turn(self, until: float | None = None) -> None:
        """Waits for whatever comes first, and deals with it."""
        now = self._clock()
        moments = [now + LONGEST_SLEEP_SECONDS, until]
        if not self._stopping:
            moments += [child.start_at for child in self._children]
            if self._ticker is not None:
                moments.append(self._ticker.tick(self._selector, now))
        wake_at = min(moment for moment in moments if moment is not None)
        for key, _ in self._selector.select(max(0.0, wake_at - now)):
            key.data()
        self._reap()

    def _show(self, child: Child) -> None:
        lines = child.read()
        if lines is None:
            self._end_output(child)
        for line in lines or ():
            self._terminal.line(child.plan.name, line)

    def _end_output(self, child: Child) -> None:
        for line in child.read_rest():
            self._terminal.line(child.plan.name, line)
        if child.output is not None:
            self._selector.unregister(child.output)
            child.close_output()

    def _reap(self) -> None:
        for child in self._children:
            if child.process is not None and child.process.poll() is not None:
                self._ended(child, child.process.returncode)
        reap_orphans(child.process.pid for child in self._children if child.process is not None)

    def _ended(self, child: Child, status: int) -> None:
        self._end_output(child)
        child.process = None
        if self._stopping or (child.plan.once and status == 0):
            return
        if child.plan.once:
            self._say(f"{child.plan.name} failed ({_describe(status)}): nothing can run without it")
            self._exit_code = FAILED
            return
        delay = child.put_off(self._clock())
        self._say(f"{child.plan.name} ended ({_describe(status)}); starting it again in {delay:g} s")

    def _stop(self, signals: Signals) -> None:
        """Stage by stage; one more request to stop ends the patience."""
        self._stopping = True
        asked = signals.stop_requests
        if self._ticker is not None:
            self._ticker.close(self._selector)
        self._say("stopping; Ctrl-C again to kill")
        for order in sorted({child.plan.stop_order for child in self._children}):
            stage = [child for child in self._children if child.plan.stop_order == order]
            self._stop_stage(stage, lambda: signals.stop_requests > asked)
            if signals.stop_requests > asked:
                self._exit_code = self._exit_code or INTERRUPTED
                return

    def _stop_stage(self, stage: Sequence[Child], hurried: Callable[[], bool]) -> None:
        began = self._clock()
        for child in stage:
            if child.process is not None:
                child.process.send_signal(signal.SIGTERM)
        while (alive := [child for child in stage if child.process is not None]) and not hurried():
            deadline = began + max(child.plan.grace_seconds for child in alive)
            if self._clock() >= deadline:
                self._say(f"{', '.join(child.plan.name for child in alive)} did not stop in time: killed")
                break
            self._turn(until=deadline)
        for child in stage:
            self._kill(child)

    def _kill(self, child: Child) -> None:
        status = child.kill()
        if status is not None:
            self._ended(child, status)

    def _kill_all(self) -> None:
        self._stopping = True
        for child in self._children:
            self._kill(child)
        if kill_descendants():
            self._say("killed what the children had left behind")

    def _say(self, text: str) -> None:
        self._terminal.line(OWN_NAME, text)


def _describe(status: int) -> str:
    if status >= 0:
        return f"exit code {status}"
    names = {number.value: number.name for number in signal.Signals}
    return f"killed by {names.get(-status, f'signal {-status}')}"
