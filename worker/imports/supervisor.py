"""Claims imports and sees each through: lease, watchdog, exit. It runs beside the supervisor of jobs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import structlog
from sqlalchemy.orm import Session

from core.artifacts import open_store
from core.database import Database
from core.errors import ArtifactStoreFailed, DatasetExists, FencedOut
from core.repositories.datasets import is_importing, need_dataset, path_in_use
from core.repositories.imports import (
    ImportAttempt,
    ImportClaim,
    Rejection,
    claim_import,
    lost_imports,
    reject_import,
    release_import,
    renew_import,
)
from core.settings import Settings
from core.tables import LOCAL_TENANT
from worker.child_process import ChildProcess
from worker.child_watch import AWAY, WORKER_GONE, WORKER_STOPPED, ChildWatch, Interruption
from worker.exits import classify
from worker.host import lives, this_holder
from worker.imports.builtin import BUNDLED
from worker.imports.sweeper import sweep_caches, sweep_store
from worker.ledger import Ledger
from worker.leftovers import sweep_jobs
from worker.memory import count_oom_kills
from worker.work_loop import WorkLoop

log = structlog.get_logger("kerasd.worker")

STALL_SECONDS = 60.0
"""An import that shows no progress for so long is ended: one picture should never take that long."""
SWEEP_SECONDS = 3600.0


class ImportSupervisor(WorkLoop):
    """Runs one import at a time."""

    def __init__(
        self, settings: Settings, database: Database, on_end: Callable[[], None], *, keeps_house: bool
    ) -> None:
        """`on_end` is told when an import has ended; one of a worker's import supervisors `keeps_house`."""
        super().__init__()
        self._settings = settings
        self._database = database
        self._store = open_store(settings)
        self._holder = this_holder()
        self._swept = float("-inf")
        self._keeps_house = keeps_house
        self._on_end = on_end

    def work_once(self) -> None:
        self._keep_house()
        self._take_back_lost()
        with self._database.transaction() as session:
            claim = claim_import(session, self._holder)
        if claim is None:
            self._woken.wait(self._settings.poll_seconds)
            return
        with structlog.contextvars.bound_contextvars(dataset=claim.name, request_id=claim.request_id):
            log.info("import starts", attempt=claim.attempt.number)
            try:
                self._see_through(claim)
            finally:
                self._clean_up(claim.attempt)
        self._on_end()

    def _keep_house(self) -> None:
        if not self._keeps_house or time.monotonic() - self._swept < SWEEP_SECONDS:
            return
        self._swept = time.monotonic()
        try:
            sweep_store(self._database, self._store)
            sweep_jobs(self._database, self._store, LOCAL_TENANT)
        except ArtifactStoreFailed as error:
            log.warning("the artifact store cannot be swept", error=error.detail)
        sweep_caches(self._database, self._settings.cache)
        try:
            with self._database.transaction() as session:
                need_dataset(session, LOCAL_TENANT, BUNDLED, None)
        except DatasetExists as error:  # another worker, at the same moment
            log.debug("the bundled dataset is registered", detail=error.detail)

    def _take_back_lost(self) -> None:
        with self._database.snapshot() as session:
            found = lost_imports(session, self._holder.boot_id)
        for attempt, holder, expired in found:
            if expired or not lives(holder):
                log.warning("taking an import back", dataset=attempt.dataset_id, attempt=attempt.number)
                with self._database.transaction() as session:
                    release_import(session, attempt, WORKER_GONE, lost=False)

    def _see_through(self, claim: ImportClaim) -> None:
        kills = count_oom_kills()
        importer = ChildProcess(
            "worker.importer",
            self.wake,
            self._settings.scratch,
            # Each thread of a linear algebra library costs address space, which is limited there.
            {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        )
        importer.assign(json.dumps(assignment_of(claim)) + "\n")
        try:
            verdict = self._watch(claim.attempt, importer)
        except FencedOut as fenced:
            log.info("import ended", detail=fenced.detail)
            return
        finally:
            returncode = importer.returncode()
            importer.kill()
            self._log_output(importer)
        loss = classify(returncode or 0, count_oom_kills() - kills)

        def record(session: Session, attempt: ImportAttempt) -> None:
            """Nothing happens where the importer has recorded an end itself."""
            if isinstance(verdict, Rejection):
                reject_import(session, attempt, verdict)
            elif verdict is not None or returncode in AWAY:
                release_import(session, attempt, verdict or AWAY[returncode or 0], lost=False)
            else:
                release_import(session, attempt, loss.detail.replace("trainer", "importer"), lost=True)

        try:
            Ledger(self._database, claim.attempt).write(record)
        except FencedOut as fenced:
            log.info("import ended", detail=fenced.detail)

    def _clean_up(self, attempt: ImportAttempt) -> None:
        """Removes what this and earlier tries left, and the uploaded files once nobody will read them again."""
        tries = [replace(attempt, number=number) for number in range(1, attempt.number + 1)]
        with self._database.snapshot() as session:
            unused = [each.folder for each in tries if not path_in_use(session, each.folder)]
            wanted = is_importing(session, attempt.dataset_id)
        for folder in unused:
            self._store.discard(folder)
        if not wanted:
            self._store.discard(f"uploads/{attempt.dataset_id}")

    def _watch(self, attempt: ImportAttempt, importer: ChildProcess) -> str | Rejection | None:
        """Waits for the exit (None), or says why it is to be ended. Raises FencedOut."""

        def renew() -> dict[str, Any]:
            with self._database.transaction() as session:
                return renew_import(session, attempt)

        fenced = FencedOut(f"the import of dataset {attempt.dataset_id}", attempt.number)
        watch = ChildWatch(
            importer, renew, fenced, woken=self._woken, stopping=self._stopping, stall_seconds=STALL_SECONDS
        )
        match watch.until_end():
            case Interruption.STOPPED:
                return WORKER_STOPPED
            case Interruption.STALLED:
                files = watch.progress["files_done"]
                return Rejection(f"no progress for {STALL_SECONDS:.0f} s after {files} files", [], 0)
        return None

    def _log_output(self, importer: ChildProcess) -> None:
        for line in importer.finish_log().splitlines():
            log.info("importer", line=line)


def assignment_of(claim: ImportClaim) -> dict[str, Any]:
    attempt = claim.attempt
    return {
        "tenant": attempt.tenant,
        "dataset_id": attempt.dataset_id,
        "number": attempt.number,
        "name": claim.name,
        "source": claim.source,
        "options": claim.options,
        "uploads": claim.uploads,
    }
