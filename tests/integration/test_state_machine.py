"""Jobs, workers and clients in any order, with a crash between any two durable steps, against a model of what should be.

Each rule is one transaction or one file, so a worker that stops after a rule and never goes on is a crash between two
durable steps; one that goes on much later is a worker that hung. `answer_lost` is a commit whose answer does not arrive:
the caller does the same again.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from typing import Any, Literal

import pytest
from clock import DatabaseClock
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from job_model import ExpectedJob
from job_world import JobWorld
from rows import epoch
from simulated_worker import FAILED, SimulatedWorker
from sqlalchemy import event
from sqlalchemy.orm import Session

from core.artifacts import ArtifactStore
from core.database import Database
from core.errors import FencedOut
from core.repositories.attempts import (
    Attempt,
    add_warning,
    end_attempt,
    lose_attempt,
    record_environment,
    renew_lease,
)
from core.repositories.moves import request_cancel, request_pause, request_resume, request_retry
from core.repositories.results import record_epoch
from core.repositories.resumption import begin_training
from core.states import Reason
from core.tables import Table

MOST_JOBS = 4
WRITES: tuple[Callable[[Session, Attempt], Any], ...] = (
    renew_lease,
    lambda session, attempt: record_environment(session, attempt, {}),
    lambda session, attempt: add_warning(session, attempt, {"code": "late", "detail": "too late"}),
    lambda session, attempt: begin_training(session, attempt, 0, None, ()),
    lambda session, attempt: record_epoch(session, attempt, epoch(9), {}, best=True),
    lambda session, attempt: end_attempt(session, attempt, FAILED),
    lambda session, attempt: lose_attempt(session, attempt, Reason.NATIVE_CRASH, "it died"),
)
"""What a worker may still try to write about an attempt that is not its own any more."""

numbers = st.integers(0, MOST_JOBS - 1)
lost = st.booleans()
accuracies = st.sampled_from([0.1, 0.2, 0.3])
specs = st.fixed_dictionaries(
    {"epochs": st.integers(1, 3), "max_attempts": st.integers(1, 3), "priority": st.integers(0, 1)}
)


class Jobs(RuleBasedStateMachine):
    def __init__(self, database: Database, clock: DatabaseClock) -> None:
        super().__init__()
        self.store = ArtifactStore("memory://state-machine")
        self.world = JobWorld(database, clock, self.store)
        self.steps = 0

    def teardown(self) -> None:
        try:
            self.world.drain()
        finally:
            self.store.delete("")
            empty(self.world.database)

    @initialize(specs=st.lists(specs, min_size=1, max_size=2), accuracy=accuracies)
    def a_job_runs(self, specs: list[dict[str, int]], accuracy: float) -> None:
        for spec in specs:
            self.world.submit(None, spec, answer_lost=False)
        self.world.claim(self.world.workers[0], accuracy, answer_lost=False)

    @invariant()
    def every_row_is_as_expected(self) -> None:
        self.world.check_rows()
        self.steps += 1
        if self.steps % 5 == 0:  # it takes four times as long
            self.world.check_history()

    def job(self, number: int) -> ExpectedJob:
        jobs = list(self.world.jobs.values())
        return jobs[number % len(jobs)]

    def worker(self, number: int, fits: Callable[[SimulatedWorker], bool]) -> SimulatedWorker:
        fitting = [worker for worker in self.world.workers if fits(worker)]
        return fitting[number % len(fitting)]

    @precondition(lambda self: len(self.world.jobs) < MOST_JOBS)
    @rule(key=st.sampled_from([None, "a", "b"]), spec=specs, answer_lost=lost)
    def submit(self, key: str | None, spec: dict[str, int], answer_lost: bool) -> None:
        self.world.submit(key, spec, answer_lost=answer_lost)

    @rule(number=numbers, answer_lost=lost)
    def pause(self, number: int, answer_lost: bool) -> None:
        self.world.move(
            self.job(number), request_pause, ExpectedJob.may_pause, ExpectedJob.pause, answer_lost=answer_lost
        )

    @rule(number=numbers, answer_lost=lost)
    def resume(self, number: int, answer_lost: bool) -> None:
        self.world.move(
            self.job(number), request_resume, ExpectedJob.may_resume, ExpectedJob.resume, answer_lost=answer_lost
        )

    @rule(number=numbers, keep_best=st.booleans(), answer_lost=lost)
    def cancel(self, number: int, keep_best: bool, answer_lost: bool) -> None:
        self.world.move(
            self.job(number),
            lambda *job: request_cancel(*job, keep_best=keep_best),
            lambda job: job.may_cancel(keep_best=keep_best),
            lambda job: job.cancel(keep_best=keep_best),
            answer_lost=answer_lost,
        )

    @precondition(lambda self: any(job.state.terminal for job in self.world.jobs.values()))
    @rule(number=numbers, start=st.sampled_from(["checkpoint", "scratch"]), answer_lost=lost)
    def retry(self, number: int, start: Literal["checkpoint", "scratch"], answer_lost: bool) -> None:
        self.world.move(
            self.job(number),
            lambda session, tenant, job_id: request_retry(session, tenant, job_id, start),
            ExpectedJob.may_retry,
            lambda job: job.retry(scratch=start == "scratch"),
            answer_lost=answer_lost,
        )

    @precondition(lambda self: any(worker.attempt is None for worker in self.world.workers))
    @rule(number=numbers, accuracy=accuracies, answer_lost=lost)
    def claim(self, number: int, accuracy: float, answer_lost: bool) -> None:
        worker = self.worker(number, lambda worker: worker.attempt is None)
        self.world.claim(worker, accuracy, answer_lost=answer_lost)

    @precondition(lambda self: any(worker.trainer for worker in self.world.workers))
    @rule(number=numbers, answer_lost=lost)
    def train(self, number: int, answer_lost: bool) -> None:
        self.world.step(self.worker(number, lambda worker: worker.trainer is not None), answer_lost=answer_lost)

    @precondition(lambda self: any(worker.trainer for worker in self.world.workers))
    @rule(number=numbers, steps=st.integers(2, 15))
    def train_on(self, number: int, steps: int) -> None:
        worker = self.worker(number, lambda worker: worker.trainer is not None)
        for _ in range(steps):
            self.world.step(worker)

    @precondition(lambda self: any(worker.trainer for worker in self.world.workers))
    @rule(number=numbers, answer_lost=lost)
    def fail(self, number: int, answer_lost: bool) -> None:
        self.world.fail(self.worker(number, lambda worker: worker.trainer is not None), answer_lost=answer_lost)

    @precondition(lambda self: any(worker.trainer for worker in self.world.workers))
    @rule(number=numbers)
    def kill_trainer(self, number: int) -> None:
        self.worker(number, lambda worker: worker.trainer is not None).trainer = None

    @precondition(lambda self: any(worker.attempt for worker in self.world.workers))
    @rule(number=numbers, answer_lost=lost)
    def watch(self, number: int, answer_lost: bool) -> None:
        self.world.watch(self.worker(number, lambda worker: worker.attempt is not None), answer_lost=answer_lost)

    @precondition(lambda self: any(worker.attempt for worker in self.world.workers))
    @rule(number=numbers, answer_lost=lost)
    def stop_worker(self, number: int, answer_lost: bool) -> None:
        self.world.stop(self.worker(number, lambda worker: worker.attempt is not None), answer_lost=answer_lost)

    @precondition(lambda self: any(worker.attempt for worker in self.world.workers))
    @rule(number=numbers)
    def crash_worker(self, number: int) -> None:
        self.world.crash(self.worker(number, lambda worker: worker.attempt is not None))

    @rule(seconds=st.sampled_from([1.0, 10.0, 29.0, 31.0]))
    def pass_time(self, seconds: float) -> None:
        self.world.clock.advance(seconds)

    @rule()
    def look_for_lost(self) -> None:
        self.world.look_for_lost()

    @rule()
    def take_back(self) -> None:
        self.world.take_back()

    @precondition(lambda self: self.store.entries("checkpoints"))
    @rule(number=numbers)
    def tear_a_checkpoint(self, number: int) -> None:
        files = sorted(self.store.files("checkpoints"))
        if files:
            self.store.put(files[number % len(files)], b"torn")

    @precondition(lambda self: any(not self.owns(attempt) for attempt in self.world.attempts))
    @rule(number=st.integers(0, 20))
    def write_as_one_that_is_fenced_out(self, number: int) -> None:
        stale = [attempt for attempt in self.world.attempts if not self.owns(attempt)]
        for write in WRITES:
            with pytest.raises(FencedOut), self.world.database.transaction() as session:
                write(session, stale[number % len(stale)])

    def owns(self, attempt: Attempt) -> bool:
        return self.world.jobs[attempt.job_id].owned_by(attempt)


def empty(database: Database) -> None:
    with database.transaction() as session:
        for table in reversed(Table.metadata.sorted_tables):
            session.execute(table.delete())


def hurry(connection: Any, record: object) -> None:
    """No test cuts the power."""
    if hasattr(connection, "executescript"):
        connection.execute("PRAGMA synchronous=OFF")


@pytest.fixture
def machine(database: Database) -> Any:
    event.listen(database.engine, "connect", hurry)
    clock = DatabaseClock(database)
    return lambda: Jobs(database, clock)


EXAMPLES = {"sqlite": 25, "postgres": 6}
MANY = {"sqlite": 600, "postgres": 120}
STEPS = 50


def profile(examples: int, *, derandomize: bool) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=STEPS,
        derandomize=derandomize,
        database=None,
        deadline=None,
        print_blob=True,
        # Making a failure smaller takes longer than a test may.
        phases=(Phase.generate,) if derandomize else (Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )


class TestJobs:
    def test_in_any_order(self, machine: Any, engine: str) -> None:
        run_state_machine_as_test(machine, settings=profile(EXAMPLES[engine], derandomize=True))

    @pytest.mark.long
    @pytest.mark.timeout(1800)
    def test_in_many_other_orders(self, machine: Any, engine: str) -> None:
        """STATE_MACHINE_SEED repeats a run that failed."""
        chosen = int(os.environ.get("STATE_MACHINE_SEED") or random.SystemRandom().randrange(10**9))
        print(f"STATE_MACHINE_SEED={chosen}")  # noqa: T201  (shown when it fails)
        run_state_machine_as_test(seed(chosen)(machine), settings=profile(MANY[engine], derandomize=False))
