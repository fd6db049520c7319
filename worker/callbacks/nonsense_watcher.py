"""Warns early when a training learns nothing, while there is still time to cancel it."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from core.repositories.attempts import add_warning
from worker import diagnosis
from worker.callbacks.epoch_recorder import EpochRecorder
from worker.datasets.images import Images, spread
from worker.distribution import ReplicatedNetwork
from worker.ledger import JobLedger

FIRST_EPOCHS = 3
LOOKED_AT = 256
"""validation images"""


class NonsenseWatcher(keras.callbacks.Callback):  # type: ignore[misc]
    """Looks once, after the first epochs of the job; in each attempt, for one may be killed before it warns. Goes after EpochRecorder."""

    def __init__(self, ledger: JobLedger, recorder: EpochRecorder, validation: Images, batch_size: int) -> None:
        super().__init__()
        self._ledger = ledger
        self._recorder = recorder
        self._validation = validation
        self._batch_size = batch_size
        self._looked = False

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if epoch + 1 >= FIRST_EPOCHS:
            self.look(self.model)

    def look(self, network: Any) -> None:
        """To be called when the training is over, too, which may be sooner."""
        if self._looked:
            return
        self._looked = True
        labels = self._validation.labels
        warning = diagnosis.chance_level(self._recorder.history, diagnosis.Guessing.of(labels))
        if warning is None:
            return
        self._warn(warning)
        share = self._largest_prediction(network)
        if share >= diagnosis.COLLAPSED:
            self._warn(diagnosis.collapsed_early(self._recorder.history, share))

    def _warn(self, warning: diagnosis.Warned) -> None:
        print(f"warning: {warning.detail}", flush=True)
        self._ledger.write(lambda session, attempt: add_warning(session, attempt, warning.as_json()))

    def _largest_prediction(self, network: Any) -> float:
        """The share of validation images that get the most frequent of the network's answers.

        As it predicts, or as it trains, whichever is larger: at first, batch normalisation hides in one what the other shows.
        """
        pixels = spread(self._validation, LOOKED_AT).pixels.astype(np.float32)
        batches = [pixels[first : first + self._batch_size] for first in range(0, len(pixels), self._batch_size)]
        predicting = _largest_share([network(batch, training=False) for batch in batches])
        if isinstance(network, ReplicatedNetwork):  # whose statistics live on several devices
            return predicting
        # A look in training mode must leave no trace in running statistics and dropout seeds.
        held = [variable for variable in network.variables if not variable.trainable]
        values = [variable.numpy() for variable in held]
        training = _largest_share([network(batch, training=True) for batch in batches])
        for variable, value in zip(held, values, strict=True):
            variable.assign(value)
        return max(predicting, training)


def _largest_share(logits: list[Any]) -> float:
    """Of batches' logits, each of shape (images, classes)."""
    answers = np.concatenate([np.argmax(keras.ops.convert_to_numpy(batch), axis=1) for batch in logits])
    return float(np.bincount(answers).max() / len(answers))
