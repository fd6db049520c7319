"""Layers as plain data, with the arithmetic of their shapes, parameters and cost.

A recipe yields a list of these. The service computes shapes, counts and shape errors from them in microseconds; the
worker turns the same list into Keras layers (worker/network.py), and a test holds both to equality. Shapes leave the
batch dimension out: (height, width, channels) or (units,).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

Shape = tuple[int, ...]
Padding = Literal["valid", "same"]
ActivationName = Literal["relu", "sigmoid", "tanh"]
PoolingKind = Literal["average", "max"]
Initializer = Literal["glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "lecun_normal"]


class ShapeError(ValueError):
    """A layer cannot take its input. Names the layer."""

    def __init__(self, layer: str, detail: str) -> None:
        super().__init__(f"layer {layer!r}: {detail}")
        self.layer = layer


@dataclass(frozen=True)
class LayerRow:
    """One line of a network's layer table."""

    layer: LayerSpec
    output_shape: Shape
    parameters: int
    trainable_parameters: int
    multiply_adds: int
    activations: int
    """numbers of one image that training keeps for its way back"""


@dataclass(frozen=True)
class LayerSpec:
    """One layer. `name` is unique in its network and becomes the Keras layer's name."""

    name: str

    @property
    def type(self) -> str:
        """What layer tables call it."""
        return type(self).__name__

    @property
    def settings(self) -> dict[str, Any]:
        """Everything but the name, as layer tables show it."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name != "name"}

    def output_shape(self, shape: Shape) -> Shape:
        """The output's shape for an input of `shape`. Raises ShapeError."""
        return shape

    def parameters(self, shape: Shape) -> int:
        """How many weights the layer has when its input has `shape`."""
        return 0

    def trainable_parameters(self, shape: Shape) -> int:
        """How many of them the optimizer changes."""
        return self.parameters(shape)

    def multiply_adds(self, shape: Shape) -> int:
        """Multiply-adds of one image's forward pass: an estimate of cost."""
        return 0

    def activations(self, shape: Shape) -> int:
        """Numbers that one image's forward pass yields, the layer's own steps counted one by one."""
        return math.prod(self.output_shape(shape))

    def rows(self, shape: Shape) -> Iterator[LayerRow]:
        """The lines of the layer table: one, unless the layer is made of others. Raises ShapeError."""
        yield LayerRow(
            self,
            self.output_shape(shape),
            self.parameters(shape),
            self.trainable_parameters(shape),
            self.multiply_adds(shape),
            self.activations(shape),
        )


@dataclass(frozen=True)
class Rescaling(LayerSpec):
    """Multiplies pixels by `scale`, then adds `offset`: one number, or one for each channel."""

    scale: float
    offset: float | tuple[float, ...] = 0.0


@dataclass(frozen=True)
class FlipChannels(LayerSpec):
    """From RGB to BGR."""


@dataclass(frozen=True)
class Conv2D(LayerSpec):
    filters: int
    kernel: int
    stride: int = 1
    padding: Padding = "valid"
    activation: ActivationName | None = None
    use_bias: bool = True
    initializer: Initializer = "glorot_uniform"

    def output_shape(self, shape: Shape) -> Shape:
        height, width, _ = _picture(self.name, shape)
        return (
            _window(self.name, "kernel", height, self.kernel, self.stride, self.padding),
            _window(self.name, "kernel", width, self.kernel, self.stride, self.padding),
            self.filters,
        )

    def parameters(self, shape: Shape) -> int:
        return self.kernel * self.kernel * shape[-1] * self.filters + (self.filters if self.use_bias else 0)

    def multiply_adds(self, shape: Shape) -> int:
        height, width, filters = self.output_shape(shape)
        return height * width * filters * self.kernel * self.kernel * shape[-1]


@dataclass(frozen=True)
class BatchNormalization(LayerSpec):
    """Two trained weights a channel, and two running statistics."""

    def parameters(self, shape: Shape) -> int:
        return 4 * shape[-1]

    def trainable_parameters(self, shape: Shape) -> int:
        return 2 * shape[-1]


@dataclass(frozen=True)
class Activation(LayerSpec):
    activation: ActivationName


@dataclass(frozen=True)
class Pooling2D(LayerSpec):
    kind: PoolingKind
    size: int
    stride: int
    padding: Padding = "valid"

    def output_shape(self, shape: Shape) -> Shape:
        height, width, channels = _picture(self.name, shape)
        return (
            _window(self.name, "window", height, self.size, self.stride, self.padding),
            _window(self.name, "window", width, self.size, self.stride, self.padding),
            channels,
        )


@dataclass(frozen=True)
class GlobalAveragePooling2D(LayerSpec):
    def output_shape(self, shape: Shape) -> Shape:
        return (_picture(self.name, shape)[2],)


@dataclass(frozen=True)
class Flatten(LayerSpec):
    def output_shape(self, shape: Shape) -> Shape:
        return (math.prod(shape),)


@dataclass(frozen=True)
class Dropout(LayerSpec):
    rate: float


@dataclass(frozen=True)
class Dense(LayerSpec):
    units: int
    activation: ActivationName | None = None
    initializer: Initializer = "glorot_uniform"

    def output_shape(self, shape: Shape) -> Shape:
        if len(shape) != 1:
            raise ShapeError(self.name, f"takes a vector, not shape {shape}")
        return (self.units,)

    def parameters(self, shape: Shape) -> int:
        return shape[0] * self.units + self.units

    def multiply_adds(self, shape: Shape) -> int:
        return shape[0] * self.units


@dataclass(frozen=True)
class Residual(LayerSpec):
    """Sends one input along two paths and adds what comes out; an empty shortcut hands the input on as it is."""

    main: tuple[LayerSpec, ...]
    shortcut: tuple[LayerSpec, ...] = ()

    @property
    def type(self) -> str:
        return "Add"

    @property
    def settings(self) -> dict[str, Any]:
        return {}

    def output_shape(self, shape: Shape) -> Shape:
        main, shortcut = follow(self.main, shape), follow(self.shortcut, shape)
        if main != shortcut:
            raise ShapeError(self.name, f"cannot add shapes {main} and {shortcut}")
        return main

    def rows(self, shape: Shape) -> Iterator[LayerRow]:
        yield from _rows(self.main, shape)
        yield from _rows(self.shortcut, shape)
        yield LayerRow(self, self.output_shape(shape), 0, 0, 0, math.prod(self.output_shape(shape)))


EVALUATION_BATCH = 256
EVALUATION_ACTIVATIONS = 1 << 29
"""2 GiB in float32, if all were kept: more than twice of what is needed at once"""


@dataclass(frozen=True)
class NetworkSummary:
    """What is known of a network without building it."""

    rows: tuple[LayerRow, ...]
    output_shape: Shape
    parameters: int
    trainable_parameters: int
    multiply_adds: int
    activations: int

    @property
    def evaluation_batch(self) -> int:
        """How many images run through it at once where nothing is trained: whatever the batches that it is trained on."""
        return max(1, min(EVALUATION_BATCH, EVALUATION_ACTIVATIONS // self.activations))

    @property
    def size(self) -> dict[str, Any]:
        """As JSON, for those who have no use for the rows."""
        return {
            "parameters": self.parameters,
            "trainable_parameters": self.trainable_parameters,
            "output_shape": list(self.output_shape),
        }


def follow(layers: Sequence[LayerSpec], shape: Shape) -> Shape:
    """The shape behind all of the layers. Raises ShapeError."""
    for layer in layers:
        shape = layer.output_shape(shape)
    return shape


def summarize(layers: Sequence[LayerSpec], input_shape: Shape) -> NetworkSummary:
    """Follows `input_shape` through the layers. Raises ShapeError naming the first that cannot take its input."""
    rows = tuple(_rows(layers, input_shape))
    return NetworkSummary(
        rows,
        rows[-1].output_shape,
        sum(row.parameters for row in rows),
        sum(row.trainable_parameters for row in rows),
        sum(row.multiply_adds for row in rows),
        sum(row.activations for row in rows),
    )


def _rows(layers: Sequence[LayerSpec], shape: Shape) -> Iterator[LayerRow]:
    for layer in layers:
        yield from layer.rows(shape)
        shape = layer.output_shape(shape)


def _picture(layer: str, shape: Shape) -> tuple[int, int, int]:
    if len(shape) != 3:
        raise ShapeError(layer, f"takes height x width x channels, not shape {shape}")
    return shape[0], shape[1], shape[2]


def _window(layer: str, what: str, length: int, size: int, stride: int, padding: Padding) -> int:
    """Positions of a sliding window along one side, as TensorFlow counts them."""
    if padding == "same":
        return -(-length // stride)
    if size > length:
        raise ShapeError(layer, f"its {what} of {size} is larger than its input of {length}; use larger images")
    return (length - size) // stride + 1
