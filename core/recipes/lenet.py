"""LeNet-5, after LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document recognition",
Proceedings of the IEEE 86(11), 1998; with ReLU and softmax in place of the original's scaled tanh and RBF outputs, and
without its table of connections between the two convolutions.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from core.layers import (
    BatchNormalization,
    Conv2D,
    Dense,
    Flatten,
    LayerSpec,
    Padding,
    Pooling2D,
    PoolingKind,
    Rescaling,
)
from core.recipes.classic import ClassicOptions, hidden_dense
from core.recipes.recipe import DropoutRate, Presets, Recipe, wide


class LeNetOptions(ClassicOptions):
    PRESETS: ClassVar[Presets] = {"lenet5": {"input_size": 32, "activation": "tanh", "padding": "valid"}}

    name: Literal["lenet"] = "lenet"
    preset: Literal["lenet5"] | None = None
    """lenet5: the published network, 61,706 parameters with 10 classes at 32x32x1"""
    pooling: PoolingKind | None = "average"
    """kind of the two 2x2 poolings; null: none"""
    padding: Padding = "same"
    """of the first convolution"""
    batch_norm: bool = False
    dropout: DropoutRate | None = None


def lenet(options: LeNetOptions, classes: int) -> list[LayerSpec]:
    """Two convolutions with pooling and three dense layers; ends in `classes` logits."""
    act, start = options.activation, options.initializer

    def conv(number: int, filters: int, padding: Padding) -> list[LayerSpec]:
        layers: list[LayerSpec] = [
            Conv2D(
                f"conv{number}",
                wide(filters, options.width),
                kernel=5,
                padding=padding,
                activation=act,
                initializer=start,
            )
        ]
        if options.batch_norm:
            layers.append(BatchNormalization(f"bn{number}"))
        if options.pooling is not None:
            layers.append(Pooling2D(f"pool{number}", options.pooling, size=2, stride=2))
        return layers

    return [
        Rescaling("rescaling", scale=1 / 255),
        *conv(1, 6, options.padding),
        *conv(2, 16, "valid"),
        Flatten("flatten"),
        *hidden_dense(1, 120, options),
        *hidden_dense(2, 84, options),
        Dense("logits", classes, initializer=start),
    ]


RECIPE = Recipe(
    name="lenet",
    options=LeNetOptions,
    layers=lenet,
    reference="LeCun et al., Gradient-based learning applied to document recognition, 1998",
)
