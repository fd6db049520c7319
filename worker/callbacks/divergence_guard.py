"""Ends a training whose loss is no longer a number."""

from __future__ import annotations

import math
from typing import Any

import keras

from core.errors import TrainingFailure
from core.states import Reason


class DivergenceGuard(keras.callbacks.Callback):  # type: ignore[misc]
    """Raises, where Keras's TerminateOnNaN would end gracefully and look like a success. Goes before BestEpoch.

    What an epoch's last step does to the weights, only validation shows.
    """

    def __init__(self) -> None:
        super().__init__()
        self._epoch = 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._epoch = epoch + 1

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._check("loss", logs)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._check("loss", logs)
        self._check("val_loss", logs, "validation ")

    def _check(self, name: str, logs: dict[str, Any] | None, of: str = "") -> None:
        loss = float((logs or {})[name])
        if not math.isfinite(loss):
            detail = (
                f"the {of}loss became {loss} in epoch {self._epoch}; use a lower learning rate or another optimizer"
            )
            raise TrainingFailure(Reason.DIVERGED, detail)
