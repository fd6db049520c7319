"""`python -m worker`: waits for the schema, then claims and trains jobs until it is told to stop."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from typing import get_args

import structlog
from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError

from core.database import Database
from core.logs import configure_logging
from core.repositories.tasks import TaskKind
from core.settings import Settings
from core.tables import SCHEMA_REVISION
from worker.app import listen, worker_app
from worker.child_process import sweep_scratch
from worker.imports.supervisor import ImportSupervisor
from worker.reconciler import Reconciler
from worker.slots import NoGpu, slots_of
from worker.standby import Standby
from worker.studies.keeper import StudyKeeper
from worker.supervisor import Supervisor
from worker.tasks.supervisor import TaskSupervisor
from worker.work_loop import WorkLoop

SCHEMA_POLL_SECONDS = 0.2
JOIN_SECONDS = 10.0
FAILED = 70
"""exit status of a worker that cannot go on (EX_SOFTWARE)"""

log = structlog.get_logger("kerasd.worker")


def main() -> None:
    try:
        settings = Settings()
    except ValidationError as error:
        sys.exit(f"kerasd: the settings have faults:\n{error}")
    try:
        slots = slots_of(settings)
    except NoGpu as error:
        sys.exit(f"kerasd: {error}")
    configure_logging(settings.log_format)
    database = Database(settings.database)
    wait_for_schema(database)
    sweep_scratch(settings.scratch)
    parts: list[WorkLoop] = []

    def wake() -> None:
        for part in parts:
            part.wake()

    standby = Standby(settings.scratch, wake, wanted=settings.standby)
    parts += [Supervisor(settings, database, each, standby, wake) for each in slots for _ in range(each.count)]
    parts.append(Reconciler(settings, database, wake))
    parts.append(StudyKeeper(settings, database, wake))
    # Two, so that a small upload need not wait for a large one.
    parts += [ImportSupervisor(settings, database, wake, keeps_house=first) for first in (True, False)]
    parts += [TaskSupervisor(settings, database, kind) for kind in get_args(TaskKind)]
    # Daemons, so that one stuck in a dead network cannot keep the process from ending.
    threads = [
        threading.Thread(target=run_or_end, args=(part.run,), name=type(part).__name__, daemon=True) for part in parts
    ]
    for thread in threads:
        thread.start()
    queues = sorted({queue for each in slots for queue in each.queues}, key=str)
    log.info("worker ready", slots=sum(each.count for each in slots), queues=queues, standby=settings.standby)
    try:
        listen(worker_app(settings.broker, wake), queues)
    finally:
        for part in parts:
            part.stop()
        for thread in threads:
            thread.join(JOIN_SECONDS)
        standby.close()
        database.close()


def run_or_end(run: Callable[[], None]) -> None:
    """A supervisor that fails ends the whole worker: a process that lives on and does nothing would fool everyone."""
    try:
        run()
    except BaseException:
        log.exception("the worker cannot go on")
        os._exit(FAILED)


def wait_for_schema(database: Database) -> None:
    """Returns once the database is migrated; says what it waits for when that takes long."""
    started, told = time.monotonic(), False
    while True:
        try:
            if database.schema_revision() == SCHEMA_REVISION:
                return
        except DBAPIError as error:
            log.debug("the database does not answer yet", error=str(error.orig))
        if not told and time.monotonic() - started > 5:
            log.warning("waiting for the database to be migrated (kerasd migrate)")
            told = True
        time.sleep(SCHEMA_POLL_SECONDS)


if __name__ == "__main__":
    main()
