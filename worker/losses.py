"""Losses of integer labels and logits, each fed what it mathematically needs.

The cross-entropies work on logits; the others compare one-hot labels with probabilities, so that none of them sees raw
integers or logits that it cannot learn from.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from core.jobspec import Loss

Tensor = Any

_OF_PROBABILITIES: dict[Loss, Callable[[Tensor, Tensor], Tensor]] = {
    "mean_absolute_error": keras.losses.mean_absolute_error,
    "mean_squared_error": keras.losses.mean_squared_error,
    "poisson": keras.losses.poisson,
    "kl_divergence": keras.losses.kl_divergence,
}


def make_loss(name: Loss, classes: int) -> Callable[[Tensor, Tensor], Tensor]:
    """A function of labels, shape (batch,) or (batch, 1), and logits, shape (batch, classes), to losses, shape (batch,)."""
    if name == "sparse_categorical_crossentropy":
        return _named(
            name, lambda labels, logits: keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)
        )
    if name == "categorical_crossentropy":
        return _named(
            name,
            lambda labels, logits: keras.losses.categorical_crossentropy(
                _one_hot(labels, classes), logits, from_logits=True
            ),
        )
    compare = _OF_PROBABILITIES[name]
    return _named(name, lambda labels, logits: compare(_one_hot(labels, classes), keras.ops.softmax(logits)))


def _one_hot(labels: Tensor, classes: int) -> Tensor:
    return keras.ops.one_hot(keras.ops.cast(keras.ops.reshape(labels, (-1,)), "int32"), classes)


def _named(name: str, function: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    function.__name__ = name
    return function
