"""The pen of a trainer, importer or task runner: every write of an attempt, fenced, and tried again while the database is away."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Generic, TypeVar

from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from core.database import Database, is_away
from core.repositories.attempts import LEASE_SECONDS, Attempt
from core.repositories.imports import ImportAttempt
from core.repositories.tasks import TaskAttempt

Result = TypeVar("Result")
Owner = TypeVar("Owner", Attempt, ImportAttempt, TaskAttempt)

RETRY_SECONDS = 0.5


class Ledger(Generic[Owner]):
    """Writes as one attempt. Each call is one transaction."""

    def __init__(self, database: Database, attempt: Owner) -> None:
        self._database = database
        self.attempt: Owner = attempt

    def write(self, work: Callable[[Session, Owner], Result]) -> Result:
        """Runs `work` in a transaction. Raises FencedOut, and DBAPIError once a lease's time was tried in vain."""
        deadline = time.monotonic() + LEASE_SECONDS
        while True:
            try:
                with self._database.transaction() as session:
                    return work(session, self.attempt)
            except DBAPIError as error:
                if not is_away(error) or time.monotonic() > deadline:
                    raise
            time.sleep(RETRY_SECONDS)


JobLedger = Ledger[Attempt]
ImportLedger = Ledger[ImportAttempt]
TaskLedger = Ledger[TaskAttempt]
