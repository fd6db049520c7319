"""A kerasd without processes: a real database and store, workers that take a step when told, and what is expected."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any

from clock import DatabaseClock
from history import violations
from job_model import ExpectedJob, next_in_line
from rows import make_ready
from simulated_worker import FAILED, SimulatedWorker, train
from sqlalchemy import select
from sqlalchemy.orm import Session

from core.artifacts import ArtifactStore
from core.database import Database
from core.errors import FencedOut, InvalidTransition
from core.repositories.attempts import (
    LEASE_SECONDS,
    Attempt,
    Ending,
    current_standing,
    end_attempt,
    lose_attempt,
    renew_lease,
)
from core.repositories.claims import Holder, attempts_on_host, claim_next, expired_attempts, release_lost
from core.repositories.datasets import need_dataset
from core.repositories.moves import request_resume
from core.settings import Settings
from core.states import Reason, State
from core.tables import LOCAL_TENANT, EpochRow, JobRow
from core.wakeups import WakeUps
from service.context import Context, JsonBody
from service.jobs.submission import submit_job
from worker.attempt_watch import CANCELLED, RELEASED
from worker.leftovers import sweep_job, sweep_jobs

BOOT = "boot-1"
WORKERS = 3

Work = Callable[[Session, Attempt], Any]
Effect = Callable[[ExpectedJob], None]
Request = Callable[[Session, str, str], JobRow]


class NoWakeUps(WakeUps):
    """Every message is lost, which is harmless."""

    def __init__(self) -> None:
        pass

    def send(self, job_id: str, queue: str | None = None) -> bool:
        return False


class JobWorld:
    """Each method asserts that the product did what the model says."""

    def __init__(self, database: Database, clock: DatabaseClock, store: ArtifactStore) -> None:
        """`database` has tables and no rows; `clock` is its own."""
        self.database, self.clock, self.store = database, clock, store
        self.jobs: dict[str, ExpectedJob] = {}
        self.attempts: list[Attempt] = []
        self._context = Context(Settings(), database, NoWakeUps(), store)
        self._keys: dict[str, tuple[bytes, str]] = {}
        self._pids = itertools.count(1)
        self._dead: set[int] = set()
        self._lost: list[tuple[Attempt, bool]] = []
        self._answer_lost = False
        self.workers = [self._new_worker() for _ in range(WORKERS)]
        with database.transaction() as session:
            dataset = need_dataset(session, LOCAL_TENANT, "digits", None)
            make_ready(dataset)
            store.put(f"{dataset.path}/none", b"")

    # Clients.

    def submit(self, key: str | None, spec: dict[str, Any], *, answer_lost: bool) -> None:
        body = json.dumps({"dataset": "digits", "architecture": "lenet", **spec}).encode()
        if key in self._keys:
            body, job_id = self._keys[key]
            assert self._post(body, key) == (job_id, True)
            return
        job_id, replayed = self._post(body, key)
        assert not replayed
        assert job_id not in self.jobs
        self.jobs[job_id] = ExpectedJob(job_id, len(self.jobs), **spec)
        if key is not None:
            self._keys[key] = (body, job_id)
            assert not answer_lost or self._post(body, key) == (job_id, True)

    def _post(self, body: bytes, key: str | None) -> tuple[str, bool]:
        submission = submit_job(self._context, LOCAL_TENANT, JsonBody(body, json.loads(body)), key, "request-1")
        return submission.id, submission.replayed

    def move(
        self,
        job: ExpectedJob,
        request: Request,
        allowed: Callable[[ExpectedJob], bool],
        effect: Effect,
        *,
        answer_lost: bool,
    ) -> None:
        """A pause, resume, cancel or retry: done, or refused where the state does not allow it."""
        for _ in range(1 + answer_lost):
            legal = allowed(job)
            try:
                with self.database.transaction() as session:
                    request(session, LOCAL_TENANT, job.id)
            except InvalidTransition:
                assert not legal
                return
            assert legal
            effect(job)

    # Workers.

    def claim(self, worker: SimulatedWorker, accuracy: float, *, answer_lost: bool) -> bool:
        """Whether there was a job. With `answer_lost` nobody knows of it, until its lease runs out."""
        expected = next_in_line(self.jobs.values())
        with self.database.transaction() as session:
            claim = claim_next(session, worker.holder)
        assert (claim and claim.attempt.job_id) == (expected and expected.id)
        if claim is None or expected is None:
            return False
        expected.claim(self.clock.seconds)
        assert claim.attempt.number == expected.attempt
        self.attempts.append(claim.attempt)
        if not answer_lost:
            worker.attempt, worker.trainer = claim.attempt, train(claim, self.store, self.commit, accuracy)
        return True

    def step(self, worker: SimulatedWorker, *, answer_lost: bool = False) -> None:
        """The trainer's next durable step; nothing when it has ended."""
        if worker.trainer is None:
            return
        self._answer_lost = answer_lost
        try:
            next(worker.trainer)
        except (StopIteration, FencedOut):
            worker.trainer = None

    def fail(self, worker: SimulatedWorker, *, answer_lost: bool) -> None:
        """The trainer meets an error of the job's own."""
        worker.trainer = None
        self._end(worker, FAILED, lambda job: job.end(State.FAILED, FAILED.reason, fruitless=True), answer_lost)

    def watch(self, worker: SimulatedWorker, *, answer_lost: bool) -> None:
        """The supervisor looks: it finds its trainer ended, or renews the lease and hears a cancel."""
        attempt = worker.attempt
        assert attempt is not None
        if worker.trainer is None:
            self._close(worker, answer_lost)
            return
        self._answer_lost = answer_lost
        try:
            state = self.commit(attempt, renew_lease, lambda job: job.renew(self.clock.seconds))
        except FencedOut:
            self._let_go(worker)
            return
        if state is State.CANCELLING and not self.jobs[attempt.job_id].keep_best:
            worker.trainer = None
            self._end(worker, CANCELLED, lambda job: job.end(State.CANCELLED, Reason.USER_CANCELLED), answer_lost)

    def stop(self, worker: SimulatedWorker, *, answer_lost: bool) -> None:
        """It is told to stop, gives its job back, and is started again."""
        self._end(worker, RELEASED, lambda job: job.end_as_wanted(State.QUEUED), answer_lost)
        self._let_go(worker)
        self.workers[self.workers.index(worker)] = self._new_worker()

    def crash(self, worker: SimulatedWorker) -> None:
        """It ends here and now, with its trainer, and is started again."""
        self._dead.add(worker.holder.pid)
        self.workers[self.workers.index(worker)] = self._new_worker()

    def _close(self, worker: SimulatedWorker, answer_lost: bool) -> None:
        assert worker.attempt is not None
        if self.jobs[worker.attempt.job_id].owned_by(worker.attempt):
            self._commit_end(
                worker.attempt,
                lambda session, own: lose_attempt(session, own, Reason.WORKER_LOST, "the trainer was killed"),
                ExpectedJob.lose,
                answer_lost,
            )
        self._let_go(worker)

    def _end(self, worker: SimulatedWorker, ending: Ending, effect: Effect, answer_lost: bool) -> None:
        assert worker.attempt is not None
        self._commit_end(worker.attempt, lambda session, own: end_attempt(session, own, ending), effect, answer_lost)

    def _commit_end(self, attempt: Attempt, work: Work, effect: Effect, answer_lost: bool) -> None:
        self._answer_lost = answer_lost
        try:
            self.commit(attempt, work, effect)
        except FencedOut:
            return  # rightly: somebody else ended it, or it did so itself and was not told

    def _let_go(self, worker: SimulatedWorker) -> None:
        assert worker.attempt is not None
        sweep_job(self.database, self.store, worker.attempt)
        worker.attempt = worker.trainer = None

    def commit(self, attempt: Attempt, work: Work, effect: Effect) -> Any:
        """A transaction of an attempt: refused exactly when the attempt does not own the job."""
        job = self.jobs[attempt.job_id]
        again, self._answer_lost = self._answer_lost, False
        answer = None
        for _ in range(1 + again):
            owned = job.stands_for(attempt) if work is current_standing else job.owned_by(attempt)
            try:
                with self.database.transaction() as session:
                    answer = work(session, attempt)
            except FencedOut:
                assert not owned
                raise
            assert owned
            effect(job)
        return answer

    def _new_worker(self) -> SimulatedWorker:
        pid = next(self._pids)
        return SimulatedWorker(Holder(f"host/{pid}", BOOT, pid, float(pid)))

    # Reconcilers.

    def look_for_lost(self) -> None:
        """What one finds, to be acted upon later."""
        with self.database.snapshot() as session:
            expired = expired_attempts(session)
            dead = [attempt for attempt, holder in attempts_on_host(session, BOOT) if holder.pid in self._dead]
        held = {job.id for job in self.jobs.values() if job.expired(self.clock.seconds)}
        assert {attempt.job_id for attempt in expired} == held
        self._lost += [(attempt, False) for attempt in dead] + [(attempt, True) for attempt in expired]

    def take_back(self) -> None:
        """Acts upon the oldest finding, whatever has happened since."""
        if not self._lost:
            return
        attempt, if_expired = self._lost.pop(0)
        with self.database.transaction() as session:
            release_lost(session, attempt, "its worker is gone", if_expired=if_expired)
        job = self.jobs[attempt.job_id]
        if job.owned_by(attempt) and (job.expired(self.clock.seconds) or not if_expired):
            job.lose()

    # What must be true.

    def check_history(self) -> None:
        assert violations(self.database, acknowledged=self.jobs) == []

    def check_rows(self) -> None:
        with self.database.snapshot() as session:
            rows = {row.id: row for row in session.scalars(select(JobRow))}
            makers = session.execute(select(EpochRow.job_id, EpochRow.attempt).order_by(EpochRow.epoch)).all()
        assert rows.keys() == self.jobs.keys()
        for job in self.jobs.values():
            row = rows[job.id]
            found = (row.state, row.reason, row.attempt, row.fruitless_attempts, row.model_version is not None)
            assert found == (job.state, job.reason, job.attempt, job.fruitless, job.published), job
            assert [attempt for owner, attempt in makers if owner == job.id] == job.makers, job

    def drain(self) -> None:
        """Every worker is gone; a healthy one finds all that is left, and afterwards nothing is wrong."""
        for worker in list(self.workers):
            self.crash(worker)
        self.clock.advance(LEASE_SECONDS + 1)
        self.look_for_lost()
        while self._lost:
            self.take_back()
        for job in self.jobs.values():
            if job.may_resume():
                self.move(job, request_resume, ExpectedJob.may_resume, ExpectedJob.resume, answer_lost=False)
        worker = self.workers[0]
        while self.claim(worker, 0.5, answer_lost=False):
            while worker.trainer is not None:
                self.step(worker)
            self._close(worker, answer_lost=False)
        self.check_rows()
        sweep_jobs(self.database, self.store, LOCAL_TENANT, grace_seconds=0.0)
        assert violations(self.database, acknowledged=self.jobs, drained=True, store=self.store) == []
