"""Writes to the job's row how far the training is, at most once a second, and hears there of a cancel."""

from __future__ import annotations

import time
from typing import Any

import keras

from core.repositories.attempts import write_job
from core.states import State
from worker.ledger import JobLedger

REPORT_SECONDS = 1.0


class CancelHeard(Exception):
    """Somebody cancels the job; ends `fit` where it is."""


class ProgressReporter(keras.callbacks.Callback):  # type: ignore[misc]
    """`snapshot` is the job's progress as the API shows it: epoch under way, step, seconds left. Raises CancelHeard."""

    def __init__(self, ledger: JobLedger, steps: int) -> None:
        super().__init__()
        self._ledger = ledger
        self._epochs = 0
        self._steps = steps
        self._first = 0
        self._epoch = 0
        self._step = 0
        self._started = 0.0
        self._reported = 0.0

    def plan(self, epochs: int) -> None:
        """The training is to end with this epoch, unless early stopping ends it before."""
        self._epochs = epochs

    def snapshot(self) -> dict[str, Any]:
        return {
            "epoch": self._epoch,
            "epochs": self._epochs,
            "step": self._step,
            "steps": self._steps,
            "eta_seconds": self._eta(),
        }

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._started = self._started or time.monotonic()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._first = self._first or epoch + 1
        self._epoch, self._step = epoch + 1, 0

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        # A chunk of steps_per_execution may reach past the epoch's last step.
        self._step = min(batch + 1, self._steps)
        now = time.monotonic()
        if now - self._reported >= REPORT_SECONDS:
            self._reported = now
            progress = self.snapshot()
            state = self._ledger.write(lambda session, attempt: write_job(session, attempt, progress=progress))
            if state is State.CANCELLING:
                raise CancelHeard

    def _eta(self) -> float | None:
        done = (self._epoch - self._first) * self._steps + self._step
        if done <= 0:
            return None
        left = (self._epochs - self._first + 1) * self._steps - done
        return round((time.monotonic() - self._started) / done * left, 1)
