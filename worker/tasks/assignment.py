"""What a task runner works with."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from core.artifacts import ArtifactStore
from core.database import Database
from core.repositories.task_attempts import record_task_progress
from core.repositories.tasks import NO_PROGRESS, TaskAttempt
from core.settings import Settings
from worker.ledger import TaskLedger

EVERY_SECONDS = 0.5


class TaskFailed(Exception):
    """The task cannot be done; the message says why and what to do."""


@dataclass(frozen=True)
class Assignment:
    """One try at a task."""

    spec: dict[str, Any]
    uploads: list[dict[str, Any]]
    settings: Settings
    database: Database
    store: ArtifactStore
    ledger: TaskLedger

    @property
    def attempt(self) -> TaskAttempt:
        return self.ledger.attempt


class TaskProgress:
    """Written at most every EVERY_SECONDS, except when a phase begins. Raises FencedOut when the task was taken away."""

    def __init__(self, ledger: TaskLedger) -> None:
        self._ledger = ledger
        self._state = dict(NO_PROGRESS)
        self._began = self._written = time.monotonic()

    def begin(self, phase: str, total: int | None = None) -> None:
        self._state = {**NO_PROGRESS, "phase": phase, "total": total}
        self._began = time.monotonic()
        self._write()

    def advance(self, done: int) -> None:
        """So much of the phase is done: images, or bytes looked through."""
        self._state["done"] = done
        now = time.monotonic()
        if now - self._written < EVERY_SECONDS:
            return
        total, seconds = self._state["total"], max(now - self._began, 1e-3)
        if total and done:
            self._state["images_per_second"] = round(done / seconds, 1)
            self._state["eta_seconds"] = round(seconds / done * (total - done), 1)
        self._write()

    def _write(self) -> None:
        self._written = time.monotonic()
        state = dict(self._state)
        self._ledger.write(lambda session, attempt: record_task_progress(session, attempt, state))
