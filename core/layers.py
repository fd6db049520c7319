"""Layers as plain data, with the arithmetic of their shapes and parameters.

A recipe yields a list of these. The service computes shapes, counts and shape errors from them in microseconds; the
worker turns the same list into Keras layers (worker/network.py), and a test holds both to equality. Shapes leave the
batch dimension out: (height, width, channels) or (units,).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Shape = tuple[int, ...]
Padding = Literal["valid", "same"]
Activation = Literal["relu", "sigmoid", "tanh"]


class ShapeError(ValueError):
    """A layer cannot take its input. Names the layer."""

    def __init__(self, layer: str, detail: str) -> None:
        super().__init__(f"layer {layer!r}: {detail}")
        self.layer = layer


@dataclass(frozen=True)
class LayerSpec:
    """One layer. `name` is unique in its network and becomes the Keras layer's name."""

    name: str

    def output_shape(self, shape: Shape) -> Shape:
        """The output's shape for an input of `shape`. Raises ShapeError."""
        return shape

    def parameters(self, shape: Shape) -> int:
        """How many weights the layer has when its input has `shape`."""
        return 0

    def multiply_adds(self, shape: Shape) -> int:
        """Multiply-adds of one image's forward pass: an estimate of cost."""
        return 0


@dataclass(frozen=True)
class Rescaling(LayerSpec):
    """Multiplies pixels by `scale`."""

    scale: float


@dataclass(frozen=True)
class Conv2D(LayerSpec):
    filters: int
    kernel: int
    stride: int = 1
    padding: Padding = "valid"
    activation: Activation | None = None

    def output_shape(self, shape: Shape) -> Shape:
        height, width, _ = _picture(self.name, shape)
        return (
            _window(self.name, "kernel", height, self.kernel, self.stride, self.padding),
            _window(self.name, "kernel", width, self.kernel, self.stride, self.padding),
            self.filters,
        )

    def parameters(self, shape: Shape) -> int:
        return self.kernel * self.kernel * shape[-1] * self.filters + self.filters

    def multiply_adds(self, shape: Shape) -> int:
        height, width, filters = self.output_shape(shape)
        return height * width * filters * self.kernel * self.kernel * shape[-1]


@dataclass(frozen=True)
class Pooling2D(LayerSpec):
    kind: Literal["average", "max"]
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
class Flatten(LayerSpec):
    def output_shape(self, shape: Shape) -> Shape:
        return (math.prod(shape),)


@dataclass(frozen=True)
class Dense(LayerSpec):
    units: int
    activation: Activation | None = None

    def output_shape(self, shape: Shape) -> Shape:
        if len(shape) != 1:
            raise ShapeError(self.name, f"takes a vector, not shape {shape}")
        return (self.units,)

    def parameters(self, shape: Shape) -> int:
        return shape[0] * self.units + self.units

    def multiply_adds(self, shape: Shape) -> int:
        return shape[0] * self.units


@dataclass(frozen=True)
class LayerRow:
    """One line of a network's layer table."""

    layer: LayerSpec
    output_shape: Shape
    parameters: int


@dataclass(frozen=True)
class NetworkSummary:
    """What is known of a network without building it."""

    rows: tuple[LayerRow, ...]
    output_shape: Shape
    parameters: int
    trainable_parameters: int
    multiply_adds: int


def summarize(layers: Sequence[LayerSpec], input_shape: Shape) -> NetworkSummary:
    """Follows `input_shape` through the layers. Raises ShapeError naming the first that cannot take its input."""
    shape, rows, cost = input_shape, [], 0
    for layer in layers:
        output = layer.output_shape(shape)
        rows.append(LayerRow(layer, output, layer.parameters(shape)))
        cost += layer.multiply_adds(shape)
        shape = output
    total = sum(row.parameters for row in rows)
    return NetworkSummary(tuple(rows), shape, total, total, cost)


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
