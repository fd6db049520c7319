"""The supervisor with small real children: restarts, order of stopping, and nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from cli.children import FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS, STEADY_SECONDS, Child
from cli.processes import Plan

DEADLINE_SECONDS = 20.0

HARNESS = """
import os, sys
from cli.processes import Plan
from cli.supervisor import Supervisor
from cli.terminal import Terminal
plans = {plans!r}
terminal = Terminal(sys.stdout, ["kerasd", *(plan.name for plan in plans)])
sys.exit(Supervisor(plans, dict(os.environ), terminal).run())
"""

SLEEPS = "import time; print('up', flush=True); time.sleep(600)"
IGNORES_TERM = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
)
SAYS_BYE = """
import signal, sys, time
def bye(*_):
    print('bye', flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, bye)
print('up', flush=True)
time.sleep(600)
"""
HAS_CHILD_IN_ANOTHER_SESSION = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True)
print('grandchild', child.pid, flush=True)
time.sleep(600)
"""


def script(name: str, code: str, **options: object) -> Plan:
    return Plan(name, (sys.executable, "-c", code), **options)  # type: ignore[arg-type]


class Running:
    """A supervisor in a process of its own, and what it has printed."""

    def __init__(self, plans: list[Plan], log: Path) -> None:
        self._log = log
        with log.open("wb") as stream:
            self.process = subprocess.Popen(
                [sys.executable, "-c", HARNESS.format(plans=plans)],
                stdout=stream,
                stderr=stream,
                env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            )
        self._family: dict[int, psutil.Process] = {}

    def lines(self) -> list[str]:
        return self._log.read_text(encoding="utf-8").splitlines()

    def wait_for(self, condition: Callable[[list[str]], bool]) -> list[str]:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not condition(lines := self.lines()):
            assert time.monotonic() < deadline, f"never came true; the log is {lines}"
            assert self.process.poll() is None or condition(self.lines()), f"it ended; the log is {self.lines()}"
            time.sleep(0.02)
        return lines

    def remember_family(self) -> None:
        """Notes every process below, to ask later whether it still lives."""
        for process in psutil.Process(self.process.pid).children(recursive=True):
            self._family[process.pid] = process

    def ends(self) -> int:
        return self.process.wait(DEADLINE_SECONDS)

    def survivors(self) -> list[psutil.Process]:
        _, alive = psutil.wait_procs(list(self._family.values()), timeout=5)
        return [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


Start = Callable[..., Running]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[Running] = []

    def run(*plans: Plan) -> Running:
        running = Running(list(plans), tmp_path / f"log-{len(started)}")
        started.append(running)
        return running

    yield run
    for running in started:
        running.process.kill()
        running.process.wait()


def shows(text: str, times: int = 1) -> Callable[[list[str]], bool]:
    return lambda lines: sum(text in line for line in lines) >= times


class TestRunning:
    def test_what_a_child_prints_comes_with_its_name(self, start: Start) -> None:
        running = start(script("one", SLEEPS), script("two", SLEEPS))
        lines = running.wait_for(shows("up", times=2))
        assert sorted(lines) == ["one    | up", "two    | up"]

    def test_a_child_that_dies_is_started_again_with_growing_delays(self, start: Start) -> None:
        running = start(script("short", "print('hello'); raise SystemExit(3)"))
        lines = running.wait_for(shows("ended (exit code 3)", times=2))
        delays = [line.rpartition(" in ")[2] for line in lines if "ended" in line]
        assert delays[:2] == ["0.5 s", "1 s"]

    def test_a_killed_child_is_named_by_its_signal(self, start: Start) -> None:
        running = start(script("victim", "import os; print(os.getpid(), flush=True); import time; time.sleep(600)"))
        first = running.wait_for(shows("victim | "))[0]
        os.kill(int(first.partition("| ")[2]), signal.SIGKILL)
        running.wait_for(shows("ended (killed by SIGKILL)"))
        running.wait_for(shows("victim | ", times=2))

    def test_the_last_words_of_a_child_are_shown(self, start: Start) -> None:
        running = start(script("short", "print('no newline at the end', end='')"))
        running.wait_for(shows("short  | no newline at the end"))

    def test_a_command_that_cannot_be_started_is_tried_again(self, start: Start) -> None:
        running = start(Plan("missing", ("/nonexistent/program",)))
        running.wait_for(shows("missing cannot be started", times=2))

    def test_hidden_lines_are_not_shown(self, start: Start) -> None:
        running = start(
            script("noisy", "print('a WARNING of no use'); print('useful', flush=True)", hidden=("WARNING",))
        )
        assert not any("WARNING" in line for line in running.wait_for(shows("useful")))


class TestOnce:
    def test_one_that_succeeds_is_done(self, start: Start) -> None:
        running = start(script("task", "print('done')", once=True), script("stays", SLEEPS))
        running.wait_for(lambda lines: shows("done")(lines) and shows("up")(lines))
        running.process.send_signal(signal.SIGTERM)
        assert running.ends() == 0
        assert not any("ended" in line for line in running.lines())

    def test_one_that_fails_ends_everything_with_its_output(self, start: Start) -> None:
        failing = "import sys; print('the disk is full', file=sys.stderr); raise SystemExit(4)"
        running = start(script("stays", SLEEPS), script("task", failing, once=True))
        assert running.ends() == 1
        assert any("the disk is full" in line for line in running.lines())
        assert any("task failed (exit code 4)" in line for line in running.lines())


class TestStopping:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    def test_it_stops_cleanly_and_leaves_no_process(self, start: Start, number: signal.Signals) -> None:
        running = start(script("one", SAYS_BYE), script("two", SLEEPS))
        running.wait_for(shows("up", times=2))
        running.remember_family()
        running.process.send_signal(number)
        assert running.ends() == 0
        assert "one    | bye" in running.lines()
        assert running.survivors() == []

    def test_children_stop_in_their_order(self, start: Start) -> None:
        running = start(script("last", SAYS_BYE, stop_order=2), script("first", SAYS_BYE, stop_order=0))
        running.wait_for(shows("up", times=2))
        running.process.send_signal(signal.SIGINT)
        assert running.ends() == 0
        assert [line.partition(" ")[0] for line in running.lines() if "bye" in line] == ["first", "last"]

    def test_a_child_that_does_not_stop_is_killed_after_its_grace(self, start: Start) -> None:
        running = start(script("stubborn", IGNORES_TERM, grace_seconds=0.3))
        running.wait_for(shows("up"))
        running.remember_family()
        running.process.send_signal(signal.SIGTERM)
        assert running.ends() == 0
        assert any("stubborn did not stop in time" in line for line in running.lines())
        assert running.survivors() == []

    def test_a_second_request_kills_at_once(self, start: Start) -> None:
        running = start(script("stubborn", IGNORES_TERM, grace_seconds=600))
        running.wait_for(shows("up"))
        running.remember_family()
        running.process.send_signal(signal.SIGINT)
        running.wait_for(shows("stopping"))
        running.process.send_signal(signal.SIGINT)
        assert running.ends() == 130
        assert running.survivors() == []

    def test_grandchildren_in_sessions_of_their_own_are_found(self, start: Start) -> None:
        running = start(script("parent", HAS_CHILD_IN_ANOTHER_SESSION))
        running.wait_for(shows("grandchild"))
        running.remember_family()
        running.process.send_signal(signal.SIGTERM)
        assert running.ends() == 0
        assert running.survivors() == []

    @pytest.mark.skipif(sys.platform != "linux", reason="needs PR_SET_CHILD_SUBREAPER of Linux")
    def test_orphans_of_a_killed_child_are_found(self, start: Start) -> None:
        running = start(script("parent", HAS_CHILD_IN_ANOTHER_SESSION))
        running.wait_for(shows("grandchild"))
        running.remember_family()
        psutil.Process(running.process.pid).children()[0].kill()
        running.wait_for(shows("grandchild", times=2))
        running.process.send_signal(signal.SIGTERM)
        assert running.ends() == 0
        assert running.survivors() == []

    @pytest.mark.skipif(sys.platform != "linux", reason="needs PR_SET_PDEATHSIG of Linux")
    def test_children_die_with_a_killed_supervisor(self, start: Start) -> None:
        running = start(script("stubborn", IGNORES_TERM), script("other", SLEEPS))
        running.wait_for(shows("up", times=2))
        running.remember_family()
        running.process.kill()
        running.ends()
        assert running.survivors() == []


class TestDelays:
    def test_they_double_up_to_the_longest(self) -> None:
        child = Child(script("any", SLEEPS))
        delays = [child.put_off(now=0.0) for _ in range(8)]
        assert delays == [0.5, 1, 2, 4, 8, 16, LONGEST_DELAY_SECONDS, LONGEST_DELAY_SECONDS]

    def test_a_child_that_was_up_for_a_minute_starts_over(self) -> None:
        child = Child(script("any", SLEEPS))
        for _ in range(5):
            child.put_off(now=0.0)
        assert child.put_off(now=STEADY_SECONDS) == FIRST_DELAY_SECONDS
        assert child.start_at == STEADY_SECONDS + FIRST_DELAY_SECONDS
