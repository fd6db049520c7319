"""One finished epoch, one row with its checkpoint, one commit."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from core.failpoints import failpoint
from core.repositories.epochs import EpochMetrics
from core.repositories.results import record_epoch
from core.states import State
from worker.callbacks.best_epoch import BestEpoch
from worker.callbacks.checkpointer import Checkpointer
from worker.callbacks.progress_reporter import CancelHeard, ProgressReporter
from worker.ledger import JobLedger


class EpochRecorder(keras.callbacks.Callback):  # type: ignore[misc]
    """Goes after BestEpoch, ProgressReporter and Checkpointer.

    `history` holds every recorded epoch; `pause_heard` is set once somebody asked for a pause: then this epoch is the last.
    `phase`, from 1, must be set before each phase.
    """

    def __init__(
        self,
        ledger: JobLedger,
        best: BestEpoch,
        progress: ProgressReporter,
        checkpointer: Checkpointer,
        images: int,
        history: Sequence[EpochMetrics],
    ) -> None:
        super().__init__()
        self._ledger = ledger
        self._best = best
        self._progress = progress
        self._checkpointer = checkpointer
        self._images = images
        self._began = 0.0
        self._trained = 0.0
        self.history = list(history)
        self._rate = 0.0
        self.phase = 1
        self.pause_heard = False

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._began = time.monotonic()
        self._rate = float(np.asarray(self.model.optimizer.learning_rate))

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._trained = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        values = logs or {}
        metrics = EpochMetrics(
            epoch=epoch + 1,
            loss=_finite(values.get("loss")),
            accuracy=_finite(values.get("accuracy")),
            val_loss=_finite(values.get("val_loss")),
            val_accuracy=_finite(values.get("val_accuracy")),
            learning_rate=self._rate,
            seconds=round(time.monotonic() - self._began, 4),
            # The training part alone: validation is not what a learning rate or batch size changes.
            images_per_second=round(self._images / max(self._trained - self._began, 1e-9), 1),
            phase=self.phase,
        )
        progress, best = self._progress.snapshot(), self._best.epoch == epoch + 1
        checkpoint = self._checkpointer.newest
        recorded = self._ledger.write(
            lambda session, attempt: record_epoch(session, attempt, metrics, progress, best=best, checkpoint=checkpoint)
        )
        failpoint("epoch.after_commit")
        self._checkpointer.delete(recorded.obsolete)
        self.history.append(metrics)
        _print(metrics, progress["epochs"])
        if recorded.state is State.CANCELLING:
            raise CancelHeard
        if recorded.state is State.PAUSING:
            self.pause_heard = self.model.stop_training = True


def _finite(value: Any) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None


def _print(metrics: EpochMetrics, epochs: int) -> None:
    shown = {name: getattr(metrics, name) for name in ("loss", "accuracy", "val_loss", "val_accuracy")}
    figures = "  ".join(f"{name} {value:.4f}" for name, value in shown.items() if value is not None)
    print(f"epoch {metrics.epoch}/{epochs}  {figures}  {metrics.images_per_second:.0f} images/s", flush=True)
