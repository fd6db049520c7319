"""Ends a phase whose monitored metric improves no more, and remembers its best weights."""

from __future__ import annotations

from typing import Any

import keras

from core.objective import objective_of_metric
from core.training_options import EarlyStopping


class EarlyStopper(keras.callbacks.Callback):  # type: ignore[misc]
    """One for each phase. Goes before Checkpointer, which stores `state()` and `weights`.

    `stopped`: the phase is over. `weights`: of the best epoch so far, where the spec wants to go back to them.
    """

    key = "early_stopping"

    def __init__(self, spec: EarlyStopping) -> None:
        super().__init__()
        self._spec = spec
        self._objective = objective_of_metric(spec.monitor)
        self._best: float | None = None
        self._waited = 0
        self.epoch: int | None = None
        self.stopped = False
        self.weights: list[Any] = []

    @property
    def restores(self) -> bool:
        return self._spec.restore_best

    def state(self) -> dict[str, Any]:
        return {"best": self._best, "waited": self._waited, "epoch": self.epoch, "stopped": self.stopped}

    def restore_state(self, state: dict[str, Any]) -> None:
        self._best, self._waited = state["best"], state["waited"]
        self.epoch, self.stopped = state["epoch"], state["stopped"]

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        value = float((logs or {})[self._spec.monitor])
        if self._objective.improves(value, self._best, by=self._spec.min_delta):
            self._best, self._waited, self.epoch = value, 0, epoch + 1
            if self.restores:
                self.weights = self.model.get_weights()
            return
        self._waited += 1
        if self._waited >= self._spec.patience:
            self.stopped = self.model.stop_training = True
            print(
                f"stopped early: {self._spec.monitor} has not improved for {self._waited} epochs, "
                f"best in epoch {self.epoch}",
                flush=True,
            )
