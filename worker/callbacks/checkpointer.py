"""Stores the training's state after each epoch. EpochRecorder makes it visible, together with the epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras

from core.artifacts import ArtifactStore
from core.failpoints import failpoint
from core.repositories.attempts import Attempt
from core.repositories.checkpoints import Checkpoint
from worker.callbacks.best_epoch import BestEpoch
from worker.callbacks.early_stopper import EarlyStopper
from worker.callbacks.remembering import Remembering
from worker.checkpoints import RandomState, TrainingState, write_state


@dataclass(frozen=True)
class PhaseState:
    """Where in the plan a training is, and who remembers what there."""

    phase: int
    began: int
    """finished epochs before the phase"""
    stopper: EarlyStopper | None
    remembering: Sequence[Remembering]
    """the stopper among them"""


class Checkpointer(keras.callbacks.Callback):  # type: ignore[misc]
    """Goes after all that have a state and before EpochRecorder. `newest` is the file of the epoch that has just ended.

    `phase` must be set before each phase.
    """

    def __init__(self, store: ArtifactStore, attempt: Attempt, best: BestEpoch, threads: int, precision: str) -> None:
        super().__init__()
        self._store = store
        self._attempt = attempt
        self._best = best
        self._threads = threads
        self._precision = precision
        self.phase = PhaseState(0, 0, None, ())
        self.newest: Checkpoint | None = None

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        number = epoch + 1
        path = f"checkpoints/{self._attempt.job_id}/{self._attempt.number}-{number}"
        with self._store.writing(path) as file:
            write_state(self._state(number), file)
        failpoint("checkpoint.after_file")
        self.newest = Checkpoint(number, path, file.sha256, file.bytes)

    def delete(self, paths: list[str]) -> None:
        """Removes files that no row names any more."""
        for path in paths:
            self._store.discard(path)

    def _state(self, epoch: int) -> TrainingState:
        best, phase = self._best, self.phase
        stopper = phase.stopper
        return TrainingState(
            epoch=epoch,
            best_epoch=best.epoch,
            best_value=best.value,
            random_state=RandomState.current(),
            threads=self._threads,
            variables=[variable.numpy() for variable in self.model.variables],
            optimizer=[variable.numpy() for variable in self.model.optimizer.variables],
            best_weights=None if best.epoch in (None, epoch) else best.weights,
            phase=phase.phase,
            phase_began=phase.began,
            callbacks={callback.key: callback.state() for callback in phase.remembering},
            stopper_weights=None
            if stopper is None or stopper.epoch in (None, epoch) or not stopper.weights
            else stopper.weights,
            precision=self._precision,
        )


def restore(state: TrainingState, network: Any, best: BestEpoch) -> None:
    """Puts a network and the memory of the best epoch where `state` says."""
    _assign(network.variables, state.variables)
    state.random_state.restore()
    best.epoch, best.value = state.best_epoch, state.best_value
    if state.best_weights is not None:
        best.weights = state.best_weights
    elif state.best_epoch is not None:
        best.weights = network.get_weights()


def restore_phase(state: TrainingState, network: Any, phase: PhaseState) -> None:
    """Puts the optimizer of a compiled network, and what callbacks remember, where `state` says: in the midst of its phase."""
    network.optimizer.build(network.trainable_variables)
    _assign(network.optimizer.variables, state.optimizer)
    for callback in phase.remembering:
        callback.restore_state(state.callbacks[callback.key])
    stopper = phase.stopper
    if stopper is not None and stopper.epoch is not None and stopper.restores:
        stopper.weights = state.stopper_weights or network.get_weights()


def _assign(variables: list[Any], values: list[Any]) -> None:
    if len(variables) != len(values):
        raise ValueError(f"the checkpoint has {len(values)} arrays where the network has {len(variables)}")
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
