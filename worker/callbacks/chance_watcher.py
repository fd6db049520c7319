"""Warns early when a training learns nothing, while there is still time to cancel it."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from core.repositories.attempts import add_warning
from worker.callbacks.epoch_recorder import EpochRecorder
from worker.datasets.reader import Labels
from worker.diagnosis import chance_level
from worker.ledger import JobLedger

FIRST_EPOCHS = 3


class ChanceWatcher(keras.callbacks.Callback):  # type: ignore[misc]
    """Looks once, after the first epochs. Goes after EpochRecorder."""

    def __init__(self, ledger: JobLedger, recorder: EpochRecorder, validation_labels: Labels) -> None:
        super().__init__()
        self._ledger = ledger
        self._recorder = recorder
        self._images = len(validation_labels)
        self._largest_share = float(np.bincount(validation_labels).max() / self._images)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if epoch + 1 != min(FIRST_EPOCHS, self.params["epochs"]):
            return
        detail = chance_level(self._recorder.history, self._largest_share, self._images)
        if detail is not None:
            self._ledger.write(lambda session, attempt: add_warning(session, attempt, "chance_level", detail))
