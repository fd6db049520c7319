"""Training on several devices of one machine at once: tf.distribute's mirrored strategy, made exact.

Each device computes on its part of a batch, and gradients are summed. Keras takes the mean of the parts' mean losses, which
weighs images by the size of their part; here each image counts the same, so the result is that of one device.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import keras
import tensorflow as tf

Tensor = Any
LossFunction = Callable[[Tensor, Tensor], Tensor]

MEAN_LOSS = "mean_loss"


Strategy = Any
"""how several devices share batches; None for one device"""


def strategy_of(devices: Sequence[str]) -> Strategy:
    """Of these devices, named as tf.device takes them: one for a network's whole life."""
    return tf.distribute.MirroredStrategy(devices) if len(devices) > 1 else None


def scope_of(strategy: Strategy) -> AbstractContextManager[Any]:
    """Where a network must be built and compiled to be trained so."""
    return strategy.scope() if strategy is not None else nullcontext()


def build_for_devices(network: Any, input_shape: Sequence[int]) -> None:
    """Creates the state of a compiled ReplicatedNetwork's loss and metrics; to be called in its scope."""
    batch = keras.KerasTensor((None, *input_shape)), keras.KerasTensor((None,), "int32")
    network._symbolic_build(data_batch=batch)  # noqa: SLF001  (see ReplicatedNetwork)


class ReplicatedNetwork(keras.Model):  # type: ignore[misc]
    """A network that takes batches which devices share unequally, such as an epoch's last.

    Keras 3 would average the devices' parts of a first batch to learn its shape, which fails where they differ in size.
    """

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        """`build_for_devices` has done it."""


class GlobalMean(keras.losses.Loss):  # type: ignore[misc]
    """The mean of a loss over the whole batch, of which this device sees a part."""

    def __init__(self, function: LossFunction) -> None:
        super().__init__(name=getattr(function, "__name__", None))
        self._function = function

    def __call__(self, labels: Tensor, logits: Tensor, sample_weight: Tensor = None) -> Tensor:
        losses = self._function(labels, logits)
        images = tf.cast(tf.size(losses), losses.dtype)
        replica = tf.distribute.get_replica_context()
        if replica is not None:  # None while Keras looks at shapes only
            images = replica.all_reduce(tf.distribute.ReduceOp.SUM, images)
        return tf.reduce_sum(losses) / images


class MeanLossReporter(keras.callbacks.Callback):  # type: ignore[misc]
    """Puts the exact mean where Keras reports the parts' mean. Goes before all that read the epoch's losses."""

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        values = logs or {}
        for prefix in ("", "val_"):
            values[f"{prefix}loss"] = values.pop(f"{prefix}{MEAN_LOSS}")


def mean_loss_metric(function: LossFunction) -> Any:
    """What MeanLossReporter reads."""
    return keras.metrics.MeanMetricWrapper(function, name=MEAN_LOSS)
