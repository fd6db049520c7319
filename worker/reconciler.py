"""Takes jobs back from workers that are gone: a lease that ran out, or a holder known dead on this host."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from core.database import Database
from core.repositories.attempts import Attempt
from core.repositories.claims import Holder, attempts_on_host, expired_attempts, release_lost
from core.settings import Settings
from worker.host import lives, this_holder
from worker.work_loop import WorkLoop

log = structlog.get_logger("kerasd.worker")


class Reconciler(WorkLoop):
    """Looks every `poll_seconds`, also while all slots are busy: no job may say RUNNING for long when nobody runs it."""

    def __init__(self, settings: Settings, database: Database, on_release: Callable[[], None]) -> None:
        super().__init__()
        self._database = database
        self._poll_seconds = settings.poll_seconds
        self._on_release = on_release
        self._holder = this_holder()

    def work_once(self) -> None:
        if release_lost_attempts(self._database, self._holder):
            self._on_release()
        self._woken.wait(self._poll_seconds)


def release_lost_attempts(database: Database, own: Holder) -> int:
    """Queues (or ends, after the last try) every such job. Returns how many. Any number of workers may do so at once."""
    with database.snapshot() as session:
        dead = [attempt for attempt, holder in attempts_on_host(session, own.boot_id) if not lives(holder)]
        expired = expired_attempts(session)
    for attempt in dead:
        _take_back(database, attempt, "its worker died", if_expired=False)
    for attempt in expired:
        _take_back(database, attempt, "its worker's lease ran out", if_expired=True)
    return len({*dead, *expired})


def _take_back(database: Database, attempt: Attempt, detail: str, *, if_expired: bool) -> None:
    log.warning("taking a job back", job=attempt.job_id, attempt=attempt.number, detail=detail)
    with database.transaction() as session:
        release_lost(session, attempt, detail, if_expired=if_expired)
