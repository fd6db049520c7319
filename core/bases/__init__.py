"""Pre-trained bases of Keras Applications, as tables: what is known of each without TensorFlow.

The tables beside this file are written by `python -m worker.bases`, and a test holds them to Keras. They name the layers
that have weights, in the order in which Keras computes them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from core.layers import FlipChannels, LayerSpec, Rescaling, Shape, ShapeError

BaseName = Literal["vgg16", "resnet50", "mobilenet_v2", "efficientnet_b0"]

IMAGENET_MEANS_BGR = (103.939, 116.779, 123.68)
"""of ImageNet's training images; Simonyan and Zisserman subtract them, and so does K. He's ResNet (as Caffe had it)"""


@dataclass(frozen=True)
class BaseLayer:
    """A layer that has weights. `stride`: input pixels for one of its output, a side; 0 where it sees the whole image at once."""

    name: str
    parameters: int
    statistics: int
    """parameters that no optimizer changes: running means and variances"""
    stride: int
    channels: int


@dataclass(frozen=True)
class BaseTable:
    name: BaseName
    keras_name: str
    """in keras.applications"""
    reference: str
    rounds_up: bool
    """whether odd sides are halved up (as "same" padding does) or down"""
    preprocessing: tuple[LayerSpec, ...]
    """from RGB pixels 0-255 to what the base was trained on; empty where it brings that itself"""
    smallest_side: int = 32
    stride: int = 32

    @property
    def layers(self) -> tuple[BaseLayer, ...]:
        return _layers(self.name)

    @property
    def parameters(self) -> int:
        return sum(layer.parameters for layer in self.layers)

    def side(self, length: int, stride: int) -> int:
        """How long a side of `length` pixels is at a layer of that stride."""
        if stride == 0:
            return 1
        return -(-length // stride) if self.rounds_up else length // stride


def caffe_preprocessing(prefix: str) -> tuple[LayerSpec, ...]:
    """BGR order with ImageNet's means taken away, as VGG and ResNet were trained."""
    means = tuple(-mean for mean in IMAGENET_MEANS_BGR)
    return FlipChannels(f"{prefix}_flip_channels"), Rescaling(f"{prefix}_subtract_means", scale=1.0, offset=means)


BASES: dict[str, BaseTable] = {
    base.name: base
    for base in (
        BaseTable(
            name="vgg16",
            keras_name="VGG16",
            reference="Simonyan and Zisserman, Very deep convolutional networks for large-scale image recognition, 2015",
            rounds_up=False,
            preprocessing=caffe_preprocessing("vgg16"),
        ),
        BaseTable(
            name="resnet50",
            keras_name="ResNet50",
            reference="He et al., Deep residual learning for image recognition, 2016",
            rounds_up=True,
            preprocessing=caffe_preprocessing("resnet50"),
        ),
        BaseTable(
            name="mobilenet_v2",
            keras_name="MobileNetV2",
            reference="Sandler et al., MobileNetV2: inverted residuals and linear bottlenecks, 2018",
            rounds_up=True,
            preprocessing=(Rescaling("mobilenet_v2_rescaling", scale=1 / 127.5, offset=-1.0),),
        ),
        BaseTable(
            name="efficientnet_b0",
            keras_name="EfficientNetB0",
            reference="Tan and Le, EfficientNet: rethinking model scaling for convolutional neural networks, 2019",
            rounds_up=True,
            preprocessing=(),
        ),
    )
}


@dataclass(frozen=True)
class Base(LayerSpec):
    """The convolutional part of a published network, with how much of it the optimizer may change.

    Frozen whole, unless `trainable`; with `unfreeze_from`, that layer and all behind it are trained, their batch
    normalisations excepted, whose statistics fine-tuning would spoil (Keras's guide "Transfer learning & fine-tuning").
    """

    base: BaseName
    trainable: bool = False
    unfreeze_from: str | None = None

    @property
    def type(self) -> str:
        return BASES[self.base].keras_name

    @property
    def trained_layers(self) -> tuple[BaseLayer, ...]:
        """Those that the optimizer changes. Raises ValueError for an `unfreeze_from` that is not there."""
        layers = BASES[self.base].layers
        if self.trainable:
            return layers
        if self.unfreeze_from is None:
            return ()
        names = [layer.name for layer in layers]
        return tuple(layer for layer in layers[names.index(self.unfreeze_from) :] if not layer.statistics)

    def output_shape(self, shape: Shape) -> Shape:
        table = BASES[self.base]
        if len(shape) != 3 or shape[2] != 3:
            raise ShapeError(self.name, f"takes colour images, not shape {shape}")
        if min(shape[:2]) < table.smallest_side:
            least = table.smallest_side
            raise ShapeError(self.name, f"takes images from {least}x{least}, not {shape[0]}x{shape[1]}")
        height, width = (table.side(length, table.stride) for length in shape[:2])
        return height, width, table.layers[-1].channels

    def parameters(self, shape: Shape) -> int:
        return BASES[self.base].parameters

    def trainable_parameters(self, shape: Shape) -> int:
        return sum(layer.parameters - layer.statistics for layer in self.trained_layers)

    def multiply_adds(self, shape: Shape) -> int:
        return sum(layer.parameters * pixels for layer, pixels in self._pixels(shape) if not layer.statistics)

    def activations(self, shape: Shape) -> int:
        return sum(layer.channels * pixels for layer, pixels in self._pixels(shape))

    def _pixels(self, shape: Shape) -> list[tuple[BaseLayer, int]]:
        table = BASES[self.base]
        return [
            (layer, table.side(shape[0], layer.stride) * table.side(shape[1], layer.stride)) for layer in table.layers
        ]


@cache
def _layers(base: str) -> tuple[BaseLayer, ...]:
    rows: list[list[Any]] = json.loads((files("core.bases") / f"{base}.json").read_text(encoding="utf-8"))
    return tuple(BaseLayer(*row) for row in rows)
