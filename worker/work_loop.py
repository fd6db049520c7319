"""A loop that looks for work until it is told to stop, whatever becomes of the database and the store."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod

import structlog
from sqlalchemy.exc import DBAPIError

from core.errors import ArtifactStoreFailed

log = structlog.get_logger("kerasd.worker")

TROUBLE_SECONDS = 1.0


class WorkLoop(ABC):
    """`run` blocks its thread until `stop`; `wake` and `stop` come from others."""

    def __init__(self) -> None:
        self._woken = threading.Event()
        self._stopping = threading.Event()

    def wake(self) -> None:
        """Something may have changed: new work, a cancel, a child's end."""
        self._woken.set()

    def stop(self) -> None:
        """Ends `run` soon; work under way is given back."""
        self._stopping.set()
        self._woken.set()

    def run(self) -> None:
        while not self._stopping.is_set():
            self._woken.clear()
            try:
                self.work_once()
            except DBAPIError as error:
                log.warning("the database does not answer; trying again", error=str(error.orig))
                self._stopping.wait(TROUBLE_SECONDS)
            except ArtifactStoreFailed as error:
                log.warning("the artifact store is of no use; trying again", error=error.detail)
                self._stopping.wait(TROUBLE_SECONDS)

    @abstractmethod
    def work_once(self) -> None:
        """Finds work and sees it through, or waits a moment for some."""
