"""Lowers the learning rate when the monitored metric improves no more."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from core.objective import objective_of_metric
from core.training_options import ReduceOnPlateau


class PlateauReducer(keras.callbacks.Callback):  # type: ignore[misc]
    """Keras's ReduceLROnPlateau, with a state that a checkpoint can hold. Goes before Checkpointer."""

    key = "reduce_on_plateau"

    def __init__(self, spec: ReduceOnPlateau) -> None:
        super().__init__()
        self._spec = spec
        self._objective = objective_of_metric(spec.monitor)
        self._best: float | None = None
        self._waited = 0
        self._cooling = 0

    def state(self) -> dict[str, Any]:
        return {"best": self._best, "waited": self._waited, "cooling": self._cooling}

    def restore_state(self, state: dict[str, Any]) -> None:
        self._best, self._waited, self._cooling = state["best"], state["waited"], state["cooling"]

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        value = float((logs or {})[self._spec.monitor])
        if self._cooling > 0:
            self._cooling -= 1
            self._waited = 0
        if self._objective.improves(value, self._best, by=self._spec.min_delta):
            self._best, self._waited = value, 0
        elif self._cooling == 0:
            self._waited += 1
            if self._waited >= self._spec.patience:
                self._lower()

    def _lower(self) -> None:
        rate = float(np.asarray(self.model.optimizer.learning_rate))
        lower = max(rate * self._spec.factor, self._spec.min_learning_rate)
        if lower < rate:
            self.model.optimizer.learning_rate = lower
            self._cooling, self._waited = self._spec.cooldown, 0
            print(f"learning rate lowered from {rate:g} to {lower:g}", flush=True)
