"""Claims jobs and sees each attempt through.

The loop is its own reconciler: a wake-up only makes it look earlier than every `poll_seconds`, and each look also takes
jobs back from workers that are gone. It never imports TensorFlow.
"""

from __future__ import annotations

from dataclasses import asdict

import structlog

from core.database import Database
from core.errors import FencedOut
from core.repositories.claims import Claim, claim_next
from core.settings import Settings
from worker.attempt_watch import AttemptWatch
from worker.child_process import ChildProcess, sweep_scratch
from worker.exits import classify
from worker.host import this_holder
from worker.memory import count_oom_kills
from worker.reconciler import release_lost_attempts
from worker.trainer import Assignment
from worker.work_loop import WorkLoop

log = structlog.get_logger("kerasd.worker")


class Supervisor(WorkLoop):
    """Runs one attempt at a time."""

    def __init__(self, settings: Settings, database: Database) -> None:
        super().__init__()
        self._settings = settings
        self._database = database
        self._holder = this_holder()
        self._standby: ChildProcess | None = None

    def run(self) -> None:
        sweep_scratch(self._settings.scratch)
        self._prepare_standby()
        try:
            super().run()
        finally:
            if self._standby is not None:
                self._standby.kill()

    def work_once(self) -> None:
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
        assignment = Assignment(
            attempt.tenant,
            attempt.job_id,
            attempt.number,
            claim.spec,
            claim.dataset.to_json(),
            [asdict(checkpoint) for checkpoint in claim.checkpoints],
        )
        trainer.assign(assignment.to_line())
        self._prepare_standby()
        watch = AttemptWatch(
            self._database,
            claim,
            trainer,
            woken=self._woken,
            stopping=self._stopping,
            stall_seconds=self._settings.stall_seconds,
        )
        try:
            verdict = watch.until_end()
        except FencedOut as fenced:
            log.warning("attempt fenced out", detail=fenced.detail)
            return
        finally:
            returncode = trainer.returncode()
            trainer.kill()
        watch.close(verdict, classify(returncode or 0, count_oom_kills() - kills))

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
