"""Claims tasks of one kind and sees each through: lease, watchdog, exit. It runs beside the supervisor of jobs."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

import structlog
from sqlalchemy.orm import Session

from core.artifacts import open_store
from core.database import Database
from core.errors import FencedOut
from core.repositories.task_attempts import (
    TaskClaim,
    claim_task,
    fail_task,
    fenced,
    lost_tasks,
    release_task,
    renew_task,
)
from core.repositories.tasks import TaskAttempt, TaskKind, needed_folders, upload_folder
from core.settings import Settings
from worker.child_process import ChildProcess
from worker.child_watch import AWAY, WORKER_GONE, WORKER_STOPPED, ChildWatch, Interruption
from worker.exits import classify
from worker.host import lives, this_holder
from worker.ledger import Ledger
from worker.memory import count_oom_kills
from worker.work_loop import WorkLoop

log = structlog.get_logger("kerasd.worker")

ENVIRONMENT = {
    # Each thread of a linear algebra library costs address space, which is limited where files of strangers are read.
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    # GPUs are the trainers'; and exports are compared in full float32, which GPUs do not always compute in.
    "CUDA_VISIBLE_DEVICES": "-1",
}


class TaskSupervisor(WorkLoop):
    """Runs one task at a time. There is one for each kind: an export need not wait behind a long batch prediction."""

    def __init__(self, settings: Settings, database: Database, kind: TaskKind) -> None:
        super().__init__()
        self._settings = settings
        self._database = database
        self._kind = kind
        self._store = open_store(settings)
        self._holder = this_holder()

    def work_once(self) -> None:
        self._take_back_lost()
        with self._database.transaction() as session:
            claim = claim_task(session, self._holder, self._kind)
        if claim is None:
            self._woken.wait(self._settings.poll_seconds)
            return
        with structlog.contextvars.bound_contextvars(task=claim.attempt.task_id, request_id=claim.request_id):
            log.info("task starts", kind=claim.kind, attempt=claim.attempt.number)
            try:
                self._see_through(claim)
            finally:
                self._clean_up(claim.attempt)

    def _take_back_lost(self) -> None:
        with self._database.snapshot() as session:
            found = lost_tasks(session, self._holder.boot_id)
        for attempt, holder, expired in found:
            if expired or not lives(holder):
                log.warning("taking a task back", task=attempt.task_id, attempt=attempt.number)
                with self._database.transaction() as session:
                    release_task(session, attempt, WORKER_GONE, lost=False)

    def _see_through(self, claim: TaskClaim) -> None:
        kills = count_oom_kills()
        runner = ChildProcess("worker.task_runner", self.wake, self._settings.scratch, ENVIRONMENT)
        runner.assign(assignment_of(claim))
        try:
            interruption = self._watch(claim.attempt, runner)
        except FencedOut as error:
            log.info("task ended", detail=error.detail)
            return
        finally:
            returncode = runner.returncode()
            runner.kill()
            for line in runner.finish_log().splitlines():
                log.info("task runner", line=line)
        loss = classify(returncode or 0, count_oom_kills() - kills, runner.last_words())

        def record(session: Session, attempt: TaskAttempt) -> None:
            """Nothing happens where the runner has recorded an end itself."""
            if interruption is Interruption.STALLED:
                fail_task(
                    session, attempt, f"no progress for {self._settings.stall_seconds:g} s (KERASD_STALL_SECONDS)"
                )
            elif interruption is Interruption.STOPPED:
                release_task(session, attempt, WORKER_STOPPED, lost=False)
            elif returncode in AWAY:
                release_task(session, attempt, AWAY[returncode], lost=False)
            else:
                release_task(session, attempt, loss.detail.replace("trainer", "task runner"), lost=True)

        try:
            Ledger(self._database, claim.attempt).write(record)
        except FencedOut as error:
            log.info("task ended", detail=error.detail)

    def _watch(self, attempt: TaskAttempt, runner: ChildProcess) -> Interruption | None:
        def renew() -> dict[str, Any]:
            with self._database.transaction() as session:
                return renew_task(session, attempt)

        stall_seconds = self._settings.stall_seconds
        watch = ChildWatch(
            runner,
            renew,
            fenced(attempt),
            woken=self._woken,
            stopping=self._stopping,
            stall_seconds=stall_seconds,
        )
        return watch.until_end()

    def _clean_up(self, attempt: TaskAttempt) -> None:
        """Removes what this and earlier tries left, and the uploaded files once nobody will read them again."""
        folders = [replace(attempt, number=number).folder for number in range(1, attempt.number + 1)]
        with self._database.snapshot() as session:
            needed = needed_folders(session, attempt.task_id)
        for folder in (upload_folder(attempt.task_id), *folders):
            if folder.rsplit("/", 1)[-1] not in needed:
                self._store.discard(folder)


def assignment_of(claim: TaskClaim) -> str:
    """The line that a task runner is handed."""
    document = {"kind": claim.kind, "spec": claim.spec, "uploads": claim.uploads, "attempt": asdict(claim.attempt)}
    return json.dumps(document) + "\n"
