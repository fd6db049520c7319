"""Losses of labels and logits, each fed what it mathematically needs.

The cross-entropies work on logits; the others compare one-hot labels with probabilities, so that none of them sees raw
integers or logits that it cannot learn from.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from core.training_options import CrossEntropy, FocalCrossEntropy, Loss

Tensor = Any
LossFunction = Callable[[Tensor, Tensor], Tensor]

_OF_PROBABILITIES: dict[str, LossFunction] = {
    "mean_absolute_error": keras.losses.mean_absolute_error,
    "mean_squared_error": keras.losses.mean_squared_error,
    "poisson": keras.losses.poisson,
    "kl_divergence": keras.losses.kl_divergence,
}


def make_loss(spec: Loss, classes: int) -> LossFunction:
    """A function of labels and logits, shape (batch, classes), to losses, shape (batch,).

    Labels are integers, shape (batch,) or (batch, 1), or shares of each class, shape (batch, classes), as mixed images
    have them.
    """

    def loss(labels: Tensor, logits: Tensor) -> Tensor:
        return _compared(spec, labels, logits, classes)

    loss.__name__ = spec.name
    return loss


def shares(labels: Tensor, classes: int) -> Tensor:
    """Labels as float32 shares of each class, shape (batch, classes)."""
    if _are_shares(labels, classes):
        return keras.ops.cast(labels, "float32")
    return keras.ops.one_hot(keras.ops.cast(keras.ops.reshape(labels, (-1,)), "int32"), classes)


def _are_shares(labels: Tensor, classes: int) -> bool:
    return len(labels.shape) == 2 and labels.shape[-1] == classes


def _compared(spec: Loss, labels: Tensor, logits: Tensor, classes: int) -> Tensor:
    match spec:
        case CrossEntropy(label_smoothing=0.0) if not _are_shares(labels, classes):
            return keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)
        case CrossEntropy():
            return keras.losses.categorical_crossentropy(
                shares(labels, classes), logits, from_logits=True, label_smoothing=spec.label_smoothing
            )
        case FocalCrossEntropy():
            return keras.losses.categorical_focal_crossentropy(
                shares(labels, classes),
                logits,
                alpha=spec.alpha,
                gamma=spec.gamma,
                from_logits=True,
                label_smoothing=spec.label_smoothing,
            )
    return _OF_PROBABILITIES[spec.name](shares(labels, classes), keras.ops.softmax(logits))


class Accuracy(keras.metrics.MeanMetricWrapper):  # type: ignore[misc]
    """The share of images whose largest logit is at their label; of mixed images, at the label with the largest share."""

    def __init__(self, classes: int) -> None:
        def matches(labels: Tensor, logits: Tensor) -> Tensor:
            if _are_shares(labels, classes):
                return keras.metrics.categorical_accuracy(labels, logits)
            return keras.metrics.sparse_categorical_accuracy(labels, logits)

        super().__init__(matches, name="accuracy")
