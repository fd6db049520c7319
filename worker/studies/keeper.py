"""Looks at every study that is not over, whenever something may have changed. Studies are rows: any worker can go on with any."""

from __future__ import annotations

from collections.abc import Callable

import structlog
from sqlalchemy.exc import DBAPIError

from core.database import Database
from core.repositories.study_steps import going_studies, move_study, take_study
from core.settings import Settings
from core.states import StudyState
from core.wakeups import WakeUps
from worker.studies.advance import advance, stands_still
from worker.work_loop import WorkLoop

log = structlog.get_logger("kerasd.worker")

PRUNING_SECONDS = 0.25
"""between looks while trials may be ended early: each epoch that is trained in vain costs more"""


class StudyKeeper(WorkLoop):
    """`on_start` wakes this worker's own slots; those of others are sent a message."""

    def __init__(self, settings: Settings, database: Database, on_start: Callable[[], None]) -> None:
        super().__init__()
        self._settings = settings
        self._database = database
        self._wakeups = WakeUps(settings.broker)
        self._on_start = on_start

    def work_once(self) -> None:
        with self._database.snapshot() as session:
            studies = going_studies(session)
            wanted = [study for study in studies if not stands_still(session, study)]
        more = False
        for study in wanted:
            try:
                more |= self._look(study.tenant_id, study.id)
            except DBAPIError:
                raise
            except Exception as error:  # one study must not keep all others, and every job, from going on
                log.exception("a study cannot be moved on", study=study.id)
                self._give_up(study.tenant_id, study.id, error)
        if more:
            return
        pruning = any(study.spec["pruning"] for study in studies)
        self._woken.wait(min(PRUNING_SECONDS, self._settings.poll_seconds) if pruning else self._settings.poll_seconds)

    def _look(self, tenant: str, study_id: str) -> bool:
        """Whether there is more to start."""
        with self._database.transaction() as session:
            look = advance(session, tenant, study_id, self._settings)
        if look.started:
            log.info("a study goes on", study=study_id, started=len(look.started))
            for job in look.started:
                self._wakeups.send(job.job_id, job.queue)
            self._on_start()
        return look.more

    def _give_up(self, tenant: str, study_id: str, error: Exception) -> None:
        detail = (
            f"it could not be moved on ({type(error).__name__}: {error}); the worker's log says where. Its jobs go on"
        )
        with self._database.transaction() as session:
            study = take_study(session, tenant, study_id)
            if study is not None:
                move_study(session, study, StudyState.FAILED, detail, "gave up")
