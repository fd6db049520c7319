"""Keeps the best epoch by the job's objective, with its weights."""

from __future__ import annotations

import math
from typing import Any

import keras

from core.objective import Objective


class BestEpoch(keras.callbacks.Callback):  # type: ignore[misc]
    """`epoch` (from 1, or None), `value` of the objective and `weights` of the best so far. Goes before EpochRecorder, which asks it."""

    def __init__(self, objective: Objective) -> None:
        super().__init__()
        self._objective = objective
        self.value: float | None = None
        self.epoch: int | None = None
        self.weights: list[Any] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        value = float((logs or {})[self._objective.metric])
        first = self.epoch is None and not math.isnan(value)
        if first or self._objective.improves(value, self.value):
            self.value, self.epoch = value, epoch + 1
            self.weights = self.model.get_weights()
