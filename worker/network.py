"""From layer specs to a built Keras network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras

from core import layers as specs
from core.bases import Base
from core.layers import LayerSpec, Shape
from worker.bases import build_base, set_trainable

Tensor = Any


def build_network(layers: Sequence[LayerSpec], input_shape: Shape, kind: type[Any] = keras.Model) -> Any:
    """A `kind` of keras.Model from float32 pixels 0-255, shape (batch, *input_shape), to logits, shape (batch, classes).

    Kernels start as their spec says, biases at zero, gains at one; keras.utils.set_random_seed decides them. Under a mixed
    policy, pixels are prepared and logits computed in float32 all the same.
    """
    inputs = keras.Input(input_shape, name="pixels", dtype="float32")
    outputs = _stacked(layers, inputs)
    if outputs.dtype != "float32":
        outputs = keras.ops.cast(outputs, "float32")
    return kind(inputs, outputs)


def _stacked(layers: Sequence[LayerSpec], tensor: Tensor) -> Tensor:
    for spec in layers:
        tensor = _built(spec, tensor)
    return tensor


def _built(spec: LayerSpec, tensor: Tensor) -> Tensor:
    match spec:
        case specs.Residual():
            added = [_stacked(spec.main, tensor), _stacked(spec.shortcut, tensor)]
            return keras.layers.Add(name=spec.name)(added)
        case specs.FlipChannels():
            return keras.ops.flip(tensor, axis=-1)
        case Base():
            base = build_base(spec.base, tensor.shape[1:], spec.name)
            set_trainable(base, spec)
            return base(tensor)
    return _BUILDERS[type(spec)](spec)(tensor)


def _pooling(spec: specs.Pooling2D) -> Any:
    kind = keras.layers.AveragePooling2D if spec.kind == "average" else keras.layers.MaxPooling2D
    return kind(pool_size=spec.size, strides=spec.stride, padding=spec.padding, name=spec.name)


def _convolution(spec: specs.Conv2D) -> Any:
    return keras.layers.Conv2D(
        spec.filters,
        spec.kernel,
        spec.stride,
        spec.padding,
        activation=spec.activation,
        use_bias=spec.use_bias,
        kernel_initializer=spec.initializer,
        name=spec.name,
    )


def _dense(spec: specs.Dense) -> Any:
    last = spec.activation is None  # logits, which losses must not see rounded
    return keras.layers.Dense(
        spec.units,
        activation=spec.activation,
        kernel_initializer=spec.initializer,
        name=spec.name,
        dtype="float32" if last else None,
    )


def _rescaling(spec: specs.Rescaling) -> Any:
    offset = list(spec.offset) if isinstance(spec.offset, tuple) else spec.offset
    return keras.layers.Rescaling(spec.scale, offset, name=spec.name, dtype="float32")


_BUILDERS: dict[type[LayerSpec], Callable[[Any], Any]] = {
    specs.Rescaling: _rescaling,
    specs.Conv2D: _convolution,
    specs.BatchNormalization: lambda spec: keras.layers.BatchNormalization(name=spec.name),
    specs.Activation: lambda spec: keras.layers.Activation(spec.activation, name=spec.name),
    specs.Pooling2D: _pooling,
    specs.GlobalAveragePooling2D: lambda spec: keras.layers.GlobalAveragePooling2D(name=spec.name),
    specs.Flatten: lambda spec: keras.layers.Flatten(name=spec.name),
    specs.Dropout: lambda spec: keras.layers.Dropout(spec.rate, name=spec.name),
    specs.Dense: _dense,
}
