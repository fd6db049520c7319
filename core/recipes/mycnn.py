"""MyCNN: a residual network of 34 layers, after He, Zhang, Ren and Sun, "Deep residual learning for image recognition",
CVPR 2016 (ResNet-34, with projections where the shape changes: their option B).
"""

from __future__ import annotations

from typing import ClassVar, Literal

from core.layers import (
    Activation,
    ActivationName,
    BatchNormalization,
    Conv2D,
    Dense,
    Dropout,
    GlobalAveragePooling2D,
    Initializer,
    LayerSpec,
    Pooling2D,
    PoolingKind,
    Rescaling,
    Residual,
)
from core.recipes.recipe import ArchitectureOptions, DropoutRate, Presets, Recipe, Width, wide

UNITS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}
"""residual units of each stage, by depth"""
FILTERS = (64, 128, 256, 512)

Depth = Literal[18, 34]


class ResidualOptions(ArchitectureOptions):
    """Options of a stack of residual units."""

    depth: Depth = 34
    """layers with weights"""
    activation: ActivationName = "relu"
    skip_activation: bool = False
    """an activation on the projections too, as the notebook had it"""
    batch_norm: bool = True
    """after each convolution; without it, convolutions have biases"""
    width: Width = 1.0
    """multiplies the filters of all convolutions"""


class MyCNNOptions(ResidualOptions):
    PRESETS: ClassVar[Presets] = {
        "resnet18": {"input_size": 224, "depth": 18, "initializer": "he_normal"},
        "resnet34": {"input_size": 224, "initializer": "he_normal"},
    }

    name: Literal["mycnn"] = "mycnn"
    preset: Literal["resnet18", "resnet34"] | None = None
    """the published networks at 224x224; resnet34 has 21,814,696 parameters with 1,000 classes"""
    pooling: PoolingKind | None = "max"
    """the 3x3 pooling of stride 2 behind the first convolution; null: none"""
    dropout: DropoutRate | None = None
    """before the last layer"""


def mycnn(options: MyCNNOptions, classes: int) -> list[LayerSpec]:
    """A first convolution with pooling, residual units and a global average; ends in `classes` logits."""
    layers: list[LayerSpec] = [Rescaling("rescaling", scale=1 / 255), *stem(options)]
    if options.pooling is not None:
        layers.append(Pooling2D("stem_pool", options.pooling, size=3, stride=2, padding="same"))
    layers += [*residual_units(options), GlobalAveragePooling2D("average")]
    if options.dropout:
        layers.append(Dropout("dropout", options.dropout))
    return [*layers, Dense("logits", classes, initializer=options.initializer)]


def stem(options: ResidualOptions) -> list[LayerSpec]:
    """The first convolution, 7x7 of stride 2."""
    return _Unit("stem", options).convolution("conv", wide(64, options.width), 7, 2, activated=True)


def residual_units(options: ResidualOptions) -> list[LayerSpec]:
    """Four stages of units; the first unit of all stages but the first halves the image."""
    layers: list[LayerSpec] = []
    for stage, (units, filters) in enumerate(zip(UNITS[options.depth], FILTERS, strict=True), start=1):
        for unit in range(1, units + 1):
            halves = stage > 1 and unit == 1
            layers += _Unit(f"stage{stage}_unit{unit}", options).layers(wide(filters, options.width), halves=halves)
    return layers


class _Unit:
    """Names and makes the layers of one residual unit."""

    def __init__(self, name: str, options: ResidualOptions) -> None:
        self._name = name
        self._options = options

    def layers(self, filters: int, *, halves: bool) -> list[LayerSpec]:
        stride = 2 if halves else 1
        main = [
            *self.convolution("conv1", filters, 3, stride, activated=True),
            *self.convolution("conv2", filters, 3, 1, activated=False),
        ]
        skip = self._options.skip_activation
        shortcut = self.convolution("projection", filters, 1, stride, activated=skip) if halves else []
        return [Residual(f"{self._name}_add", tuple(main), tuple(shortcut)), self._activation("out")]

    def convolution(self, name: str, filters: int, kernel: int, stride: int, *, activated: bool) -> list[LayerSpec]:
        """A convolution, its batch normalisation and, where `activated`, its activation."""
        normed, start = self._options.batch_norm, self._options.initializer
        made: list[LayerSpec] = [self._conv(name, filters, kernel, stride, start, biased=not normed)]
        if normed:
            made.append(BatchNormalization(f"{self._name}_{name}_bn"))
        if activated:
            made.append(self._activation(name))
        return made

    def _conv(
        self, name: str, filters: int, kernel: int, stride: int, start: Initializer, *, biased: bool
    ) -> LayerSpec:
        return Conv2D(f"{self._name}_{name}", filters, kernel, stride, "same", use_bias=biased, initializer=start)

    def _activation(self, name: str) -> LayerSpec:
        return Activation(f"{self._name}_{name}_{self._options.activation}", self._options.activation)


RECIPE = Recipe(
    name="mycnn",
    options=MyCNNOptions,
    layers=mycnn,
    reference="He et al., Deep residual learning for image recognition, 2016",
)
