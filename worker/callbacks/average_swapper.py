"""Puts the averages of the weights in place of the weights where an optimizer keeps them (`use_ema`)."""

from __future__ import annotations

from typing import Any

import keras


class AverageSwapper(keras.callbacks.Callback):  # type: ignore[misc]
    """From validation to the end of each epoch, so that averages are what is measured, kept, stored and published. Goes last.

    Keras's SwapEMAWeights adds and subtracts, which rounds, and ends with other weights than were validated. Checkpoints
    hold the swapped state: averages as the network's weights, and the optimizer's averages the weights to go on with.
    """

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._swap()  # back, after a checkpoint was restored; there is nothing to swap at the beginning of a phase

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._swap()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._swap()  # back; after the last epoch, Keras itself ends with the averages

    def _swap(self) -> None:
        optimizer = self.model.optimizer
        optimizer = getattr(optimizer, "inner_optimizer", optimizer)  # within float16's loss scale
        if optimizer.iterations.numpy() == 0:
            return
        averages = optimizer._model_variables_moving_average  # noqa: SLF001  (Keras has no public way to them)
        for weight, average in zip(self.model.trainable_variables, averages, strict=True):
            value = weight.numpy()
            weight.assign(average.numpy())
            average.assign(value)
