"""AlexNet, after Krizhevsky, Sutskever and Hinton, "ImageNet classification with deep convolutional neural networks",
NIPS 2012; with batch normalisation in place of local response normalisation and on one device.

Small images leave no room for its poolings; its preset at 224x224 has them.
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
from core.recipes.recipe import Presets, Recipe, wide

POOLED = (1, 2, 5)
"""convolutions that the published network pools after"""


class AlexNetOptions(ClassicOptions):
    PRESETS: ClassVar[Presets] = {
        "alexnet": {"input_size": 224, "padding": "same", "pooling": "max", "batch_norm": False}
    }

    name: Literal["alexnet"] = "alexnet"
    preset: Literal["alexnet"] | None = None
    """alexnet: the published network at 224x224, 62,378,344 parameters with 1,000 classes"""
    pooling: PoolingKind | None = None
    """3x3 poolings of stride 2 after convolutions 1, 2 and 5; null: none, for small images"""
    padding: Padding = "valid"
    """of the first convolution"""


def alexnet(options: AlexNetOptions, classes: int) -> list[LayerSpec]:
    """Five convolutions and three dense layers; ends in `classes` logits."""
    act, start = options.activation, options.initializer

    def conv(number: int, filters: int, kernel: int, stride: int = 1, padding: Padding = "same") -> list[LayerSpec]:
        layers: list[LayerSpec] = [
            Conv2D(
                f"conv{number}",
                wide(filters, options.width),
                kernel,
                stride,
                padding,
                activation=act,
                initializer=start,
            )
        ]
        if options.batch_norm:
            layers.append(BatchNormalization(f"bn{number}"))
        if options.pooling is not None and number in POOLED:
            layers.append(Pooling2D(f"pool{number}", options.pooling, size=3, stride=2))
        return layers

    return [
        Rescaling("rescaling", scale=1 / 255),
        *conv(1, 96, kernel=11, stride=4, padding=options.padding),
        *conv(2, 256, kernel=5),
        *conv(3, 384, kernel=3),
        *conv(4, 384, kernel=3),
        *conv(5, 256, kernel=3),
        Flatten("flatten"),
        *hidden_dense(1, 4096, options),
        *hidden_dense(2, 4096, options),
        Dense("logits", classes, initializer=start),
    ]


RECIPE = Recipe(
    name="alexnet",
    options=AlexNetOptions,
    layers=alexnet,
    reference="Krizhevsky et al., ImageNet classification with deep convolutional neural networks, 2012",
)
