"""Claims jobs and sees each attempt through: lease, cancel, time limit, log, exit.

The loop is its own reconciler: a wake-up only makes it look earlier than every `poll_seconds`, and each look also takes
jobs back from workers that are gone. It never imports TensorFlow.
"""

from __future__ import annotations

import threading
import time

import structlog
from sqlalchemy.exc import DBAPIError

from core.database import Database
from core.errors import FencedOut
from core.repositories.attempts import (
    LEASE_SECONDS,
    Attempt,
    Claim,
    Ending,
    append_log,
    claim_next,
    current_state,
    end_attempt,
    lose_attempt,
    renew_lease,
)
from core.settings import Settings
from core.states import HELD, Reason, State
from worker.child_process import ChildProcess, sweep_scratch
from worker.exits import Exit, classify
from worker.host import this_holder
from worker.memory import count_oom_kills
from worker.reconciler import release_lost_attempts
from worker.trainer import Assignment

log = structlog.get_logger("kerasd.worker")

RENEW_SECONDS = 5.0
LOOK_SECONDS = 0.5
TROUBLE_SECONDS = 1.0


RELEASED = Ending(
    State.QUEUED, outcome="released", detail="the worker stopped; waiting for another", counts_as_failure=False
)


class Supervisor:
    """Runs one attempt at a time. `run` blocks its thread until `stop`; `wake` and `stop` come from others."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._holder = this_holder()
        self._woken = threading.Event()
        self._stopping = threading.Event()
        self._standby: ChildProcess | None = None

    def wake(self) -> None:
        """Something may have changed: a new job, a cancel, a trainer's end."""
        self._woken.set()

    def stop(self) -> None:
        """Ends `run` soon; a running attempt gives its job back."""
        self._stopping.set()
        self._woken.set()

    def run(self) -> None:
        sweep_scratch(self._settings.scratch)
        self._prepare_standby()
        try:
            while not self._stopping.is_set():
                try:
                    self._work_once()
                except DBAPIError as error:
                    log.warning("the database does not answer; trying again", error=str(error.orig))
                    self._stopping.wait(TROUBLE_SECONDS)
        finally:
            if self._standby is not None:
                self._standby.kill()

    def _work_once(self) -> None:
        self._woken.clear()
        release_lost_attempts(self._database, self._holder)
        with self._database.transaction() as session:
            claim = claim_next(session, self._holder)
        if claim is None:
            self._woken.wait(self._settings.poll_seconds)
            self._replace_dead_standby()
            return
        with structlog.contextvars.bound_contextvars(
            job=claim.attempt.job_id, attempt=claim.attempt.number, request_id=claim.request_id
        ):
            log.info(
                "attempt starts", architecture=claim.spec["architecture"]["name"], dataset=claim.spec["dataset"]["name"]
            )
            self._see_through(claim)

    def _see_through(self, claim: Claim) -> None:
        trainer = self._take_trainer()
        attempt = claim.attempt
        kills = count_oom_kills()
        assignment = Assignment(attempt.tenant, attempt.job_id, attempt.number, claim.spec, claim.dataset.to_json())
        trainer.assign(assignment.to_line())
        self._prepare_standby()
        try:
            ending = self._watch(claim, trainer)
        except FencedOut as fenced:
            log.warning("attempt fenced out", detail=fenced.detail)
            return
        finally:
            returncode = trainer.returncode()
            trainer.kill()
        self._close(attempt, trainer, ending, classify(returncode or 0, count_oom_kills() - kills))

    def _watch(self, claim: Claim, trainer: ChildProcess) -> Ending | None:
        """Waits for the trainer's exit (None), or says why it is to be ended. Raises FencedOut."""
        renewed = time.monotonic()
        deadline = None if claim.seconds_left is None else renewed + claim.seconds_left
        while trainer.returncode() is None:
            self._woken.wait(LOOK_SECONDS)
            self._woken.clear()
            if self._stopping.is_set():
                return RELEASED
            now = time.monotonic()
            if deadline is not None and now > deadline:
                return _timed_out(claim.spec["timeout_seconds"])
            try:
                renew = now - renewed >= RENEW_SECONDS
                state = self._look(claim.attempt, trainer, renew=renew)
                renewed = now if renew else renewed
            except DBAPIError as error:
                log.warning("the database does not answer while an attempt runs", error=str(error.orig))
                if now - renewed > LEASE_SECONDS:
                    raise FencedOut(f"job {claim.attempt.job_id}", claim.attempt.number) from error
                continue
            if state is State.CANCELLING:
                return Ending(State.CANCELLED, outcome="cancelled", reason=Reason.USER_CANCELLED)
        return None

    def _look(self, attempt: Attempt, trainer: ChildProcess, *, renew: bool) -> State:
        """Stores the log, keeps the lease, reads the job's state: terminal once the trainer has ended the job itself."""
        text = trainer.take_log()
        try:
            with self._database.transaction() as session:
                state = current_state(session, attempt)
                if renew and state in HELD:
                    renew_lease(session, attempt)
                if text:
                    append_log(session, attempt, text)
        except DBAPIError:
            trainer.return_log(text)
            raise
        return state

    def _close(self, attempt: Attempt, trainer: ChildProcess, ending: Ending | None, loss: Exit) -> None:
        """Records the end, unless the trainer did so itself; tries for as long as the lease lasts."""
        text = trainer.finish_log()
        deadline = time.monotonic() + LEASE_SECONDS
        while True:
            try:
                self._record_end(attempt, text, ending, loss)
            except FencedOut as fenced:
                log.warning("attempt fenced out", detail=fenced.detail)
            except DBAPIError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(TROUBLE_SECONDS)
                continue
            return

    def _record_end(self, attempt: Attempt, text: str, ending: Ending | None, loss: Exit) -> None:
        with self._database.transaction() as session:
            state = current_state(session, attempt)
            if text:
                append_log(session, attempt, text)
            if state not in HELD:
                log.info("attempt ended", state=state)
            elif ending is not None:
                after = end_attempt(session, attempt, ending)
                log.info("attempt ended", state=after, cause=ending.outcome)
            else:
                after = lose_attempt(session, attempt, loss.reason, loss.detail, loss.most_tries)
                log.warning("attempt lost", reason=loss.reason, detail=loss.detail, state=after)

    def _take_trainer(self) -> ChildProcess:
        standby, self._standby = self._standby, None
        if standby is not None and standby.returncode() is None:
            return standby
        return self._start_trainer()

    def _replace_dead_standby(self) -> None:
        if self._standby is not None and self._standby.returncode() is not None:
            self._standby.kill()
            self._standby = None
            self._prepare_standby()

    def _start_trainer(self) -> ChildProcess:
        return ChildProcess("worker.trainer", self.wake, self._settings.scratch)

    def _prepare_standby(self) -> None:
        if self._settings.standby and self._standby is None:
            self._standby = self._start_trainer()


def _timed_out(limit: float) -> Ending:
    detail = f"not done within timeout_seconds ({limit:g}); raise it or train fewer epochs"
    return Ending(State.FAILED, outcome="timed out", reason=Reason.TIMEOUT, detail=detail)
