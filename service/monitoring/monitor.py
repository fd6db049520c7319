"""The watching parts of one process, put together."""

from __future__ import annotations

import time

import structlog
from fastapi.concurrency import run_in_threadpool
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from core.database import Database
from core.repositories.counts import Counts, count_everything
from service.monitoring.control_plane import Meter
from service.monitoring.recorder import Recorder
from service.monitoring.reporting import Reporter
from service.monitoring.snapshot import Snapshot, copied
from service.predictions.catalogue import Catalogue
from service.predictions.engine import Engine

log = structlog.get_logger("kerasd.monitoring")

COUNTS_SECONDS = 2.0
"""for which counts of rows are told again without asking the database"""


class Monitor:
    """Of one process and tenant."""

    def __init__(
        self, database: Database, tenant: str, recorder: Recorder, engine: Engine, catalogue: Catalogue
    ) -> None:
        self.recorder = recorder
        self.reporter = Reporter(database, tenant, recorder)
        self._database = database
        self._tenant = tenant
        self._engine = engine
        self._catalogue = catalogue
        self.control_plane = Meter()
        self._counts: Counts | None = None
        self._counted = float("-inf")

    async def snapshot(self) -> Snapshot:
        """Everything that is counted, at this moment; to be called on the event loop."""
        counts = await run_in_threadpool(self._rows)
        queued = {(predictor.name, predictor.version): count for predictor, count in self._engine.queued().items()}
        loaded = self._catalogue.loaded()
        return copied(self.recorder, self.control_plane, queued, loaded, self.reporter.drifts, counts)

    def _rows(self) -> Counts | None:
        """None while the database is away."""
        if time.monotonic() - self._counted < COUNTS_SECONDS:
            return self._counts
        try:
            with self._database.snapshot() as session:
                self._counts = count_everything(session, self._tenant)
        except (DBAPIError, PoolTimeout) as error:
            log.warning("the rows cannot be counted", error=str(error))
            self._counts = None
        self._counted = time.monotonic()
        return self._counts
