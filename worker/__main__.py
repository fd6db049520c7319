"""`python -m worker`: waits for the schema, then claims and trains jobs until it is told to stop."""

from __future__ import annotations

import sys
import threading
import time

import structlog
from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError

from core.database import Database
from core.logs import configure_logging
from core.settings import Settings
from core.tables import SCHEMA_REVISION
from worker.app import listen, worker_app
from worker.supervisor import Supervisor

SCHEMA_POLL_SECONDS = 0.2
JOIN_SECONDS = 10.0

log = structlog.get_logger("kerasd.worker")


def main() -> None:
    try:
        settings = Settings()
    except ValidationError as error:
        sys.exit(f"kerasd: the settings have faults:\n{error}")
    configure_logging(settings.log_format)
    database = Database(settings.database)
    wait_for_schema(database)
    supervisor = Supervisor(settings, database)
    # A daemon, so that a supervisor stuck in a dead network cannot keep the process from ending.
    thread = threading.Thread(target=supervisor.run, name="supervisor", daemon=True)
    thread.start()
    log.info("worker ready", standby=settings.standby)
    try:
        listen(worker_app(settings.broker, supervisor.wake))
    finally:
        supervisor.stop()
        thread.join(JOIN_SECONDS)
        database.close()


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
