"""Claims jobs and sees each attempt through.

A wake-up only makes it look earlier than every `poll_seconds`. It never imports TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

import structlog

from core.artifacts import open_store
from core.database import Database
from core.errors import FencedOut
from core.repositories.claims import Claim
from core.settings import Settings
from worker.attempt_watch import AttemptWatch
from worker.exits import classify
from worker.host import this_holder
from worker.leftovers import sweep_job
from worker.memory import count_oom_kills
from worker.slots import Share, Slots
from worker.standby import Standby
from worker.trainer import Assignment
from worker.work_loop import WorkLoop

log = structlog.get_logger("kerasd.worker")


class Supervisor(WorkLoop):
    """Runs one attempt at a time: a worker has one for each of its slots. `on_end` is told when an attempt has ended."""

    def __init__(
        self, settings: Settings, database: Database, slots: Slots, standby: Standby, on_end: Callable[[], None]
    ) -> None:
        super().__init__()
        self._settings = settings
        self._database = database
        self._slots = slots
        self._standby = standby
        self._on_end = on_end
        self._store = open_store(settings)
        self._holder = this_holder()

    def work_once(self) -> None:
        self._standby.prepare()
        claimed = self._slots.claim(self._database, self._holder)
        if claimed is None:
            self._woken.wait(self._settings.poll_seconds)
            return
        claim, share = claimed
        try:
            with structlog.contextvars.bound_contextvars(
                job=claim.attempt.job_id, attempt=claim.attempt.number, request_id=claim.request_id
            ):
                self._see_through(claim, share)
                sweep_job(self._database, self._store, claim.attempt)
        finally:
            self._slots.give_back(share)
        self._on_end()

    def _see_through(self, claim: Claim, share: Share) -> None:
        log.info(
            "attempt starts",
            architecture=claim.spec["architecture"]["name"],
            dataset=claim.spec["dataset"]["name"],
            threads=share.threads,
            gpus=list(share.gpus),
        )
        trainer = self._standby.take()
        kills = count_oom_kills()
        trainer.assign(assignment_of(claim, share).to_line())
        self._standby.prepare()
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
        watch.close(verdict, classify(returncode or 0, count_oom_kills() - kills, trainer.last_words()))


def assignment_of(claim: Claim, share: Share) -> Assignment:
    attempt = claim.attempt
    return Assignment(
        attempt.tenant,
        attempt.job_id,
        attempt.number,
        claim.spec,
        claim.dataset.to_json(),
        [asdict(checkpoint) for checkpoint in claim.checkpoints],
        claim.donor.to_json() if claim.donor else None,
        share.threads,
        list(share.gpus),
    )
