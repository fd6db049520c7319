"""Telling how far an import is: for people, and for the watchdog that ends one which stands still."""

from __future__ import annotations

import time
from typing import Any, Literal

from core.repositories.imports import record_import_progress
from worker.ledger import ImportLedger

Phase = Literal["checking", "importing", "comparing"]

EVERY_SECONDS = 0.5


class ImportProgress:
    """Writes at most every EVERY_SECONDS, except when a phase begins. Raises FencedOut when the import was taken away."""

    def __init__(self, ledger: ImportLedger, bytes_total: int) -> None:
        self._ledger = ledger
        self._state: dict[str, Any] = {
            "phase": "checking",
            "files_done": 0,
            "files_total": None,
            "bytes_done": 0,
            "bytes_total": bytes_total or None,
            "eta_seconds": None,
        }
        self._began = time.monotonic()
        self._share = 0.0
        self._written = float("-inf")

    def begin(self, phase: Phase, files_total: int | None = None) -> None:
        self._began = time.monotonic()
        self._state |= {"phase": phase, "files_done": 0, "bytes_done": 0, "eta_seconds": None}
        if files_total is not None:
            self._state["files_total"] = files_total
        self._write()

    def checked(self, done: int) -> None:
        """So many bytes were looked through: of the upload, or of a stored copy of the same images."""
        self._state["bytes_done"] = done
        self._tick()

    def imported(self, files: int, stored: int) -> None:
        """So many images are in, `stored` bytes of pixels."""
        self._state |= {"files_done": files, "bytes_done": stored, "bytes_total": None}
        self._tick()

    def compared(self, share: float) -> None:
        """So much of the search for duplicates is done, from 0 to 1."""
        self._share = share
        if share >= 1:
            self._written = float("-inf")  # the last word is always written
        self._tick()

    def _tick(self) -> None:
        now = time.monotonic()
        if now - self._written < EVERY_SECONDS:
            return
        done, total = self._state["files_done"], self._state["files_total"]
        if self._state["phase"] == "comparing":
            done, total = self._share, 1.0
            self._state["files_done"] = round(self._share * (self._state["files_total"] or 0))
        if self._state["phase"] != "checking" and done and total:
            self._state["eta_seconds"] = round((now - self._began) / done * (total - done), 1)
        self._write()

    def _write(self) -> None:
        self._written = time.monotonic()
        state = dict(self._state)
        self._ledger.write(lambda session, attempt: record_import_progress(session, attempt, state))
