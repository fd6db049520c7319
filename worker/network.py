"""From layer specs to a built Keras network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import keras

from core import layers as specs
from core.layers import LayerSpec, Shape


def _pooling(spec: specs.Pooling2D) -> Any:
    kind = keras.layers.AveragePooling2D if spec.kind == "average" else keras.layers.MaxPooling2D
    return kind(pool_size=spec.size, strides=spec.stride, padding=spec.padding, name=spec.name)


_BUILDERS: dict[type[LayerSpec], Callable[[Any], Any]] = {
    specs.Rescaling: lambda spec: keras.layers.Rescaling(**asdict(spec)),
    specs.Conv2D: lambda spec: keras.layers.Conv2D(
        spec.filters, spec.kernel, spec.stride, spec.padding, activation=spec.activation, name=spec.name
    ),
    specs.Pooling2D: _pooling,
    specs.Flatten: lambda spec: keras.layers.Flatten(name=spec.name),
    specs.Dense: lambda spec: keras.layers.Dense(**asdict(spec)),
}


def build_network(layers: Sequence[LayerSpec], input_shape: Shape, kind: type[Any] = keras.Model) -> Any:
    """A `kind` of keras.Model from float32 pixels 0-255, shape (batch, *input_shape), to logits, shape (batch, classes).

    Weights start as Keras's defaults: Glorot uniform kernels, zero biases; keras.utils.set_random_seed decides them.
    """
    inputs = keras.Input(input_shape, name="pixels")
    outputs = inputs
    for spec in layers:
        outputs = _BUILDERS[type(spec)](spec)(outputs)
    return kind(inputs, outputs)
