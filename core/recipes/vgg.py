"""VGG, after Simonyan and Zisserman, "Very deep convolutional networks for large-scale image recognition", ICLR 2015;
by default their configuration D (16 layers) with batch normalisation, and pooled only twice: for small images.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from core.bases import BaseName, caffe_preprocessing
from core.layers import (
    BatchNormalization,
    Conv2D,
    Dense,
    Flatten,
    LayerSpec,
    Pooling2D,
    PoolingKind,
    Rescaling,
)
from core.recipes.classic import ClassicOptions, hidden_dense
from core.recipes.recipe import Presets, Recipe, wide

CONVOLUTIONS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
"""of each block, by depth: configurations A, B, D and E of the paper"""
FILTERS = (64, 128, 256, 512, 512)

_PUBLISHED = {
    "input_size": 224,
    "pool_after": [1, 2, 3, 4, 5],
    "pool_size": 2,
    "batch_norm": False,
    "preprocessing": "imagenet",
}


class VGGOptions(ClassicOptions):
    PRESETS: ClassVar[Presets] = {f"vgg{depth}": {**_PUBLISHED, "depth": depth} for depth in CONVOLUTIONS}

    name: Literal["vgg"] = "vgg"
    preset: Literal["vgg11", "vgg13", "vgg16", "vgg19"] | None = None
    """the published networks at 224x224; vgg16 has 138,357,544 parameters with 1,000 classes"""
    depth: Literal[11, 13, 16, 19] = 16
    """layers with weights"""
    pooling: PoolingKind | None = "max"
    """kind of the poolings of stride 2; null: none"""
    pool_after: Annotated[list[Annotated[int, Field(ge=1, le=5)]], Field(max_length=5)] = [1, 2]  # noqa: RUF012
    """blocks that are pooled after"""
    pool_size: Annotated[int, Field(ge=2, le=8)] = 3
    preprocessing: Literal["rescale", "imagenet"] = "rescale"
    """rescale: pixels as 0-1; imagenet: BGR with ImageNet's means taken away, as the published network"""


def vgg(options: VGGOptions, classes: int) -> list[LayerSpec]:
    """Five blocks of 3x3 convolutions and three dense layers; ends in `classes` logits."""
    act, start = options.activation, options.initializer

    def block(number: int, convolutions: int, filters: int) -> list[LayerSpec]:
        layers: list[LayerSpec] = []
        for conv in range(1, convolutions + 1):
            # Named as in Keras Applications, so that its layers are found in each other's weights.
            name, count = f"block{number}_conv{conv}", wide(filters, options.width)
            layers.append(Conv2D(name, count, kernel=3, padding="same", activation=act, initializer=start))
            if options.batch_norm:
                layers.append(BatchNormalization(f"block{number}_bn{conv}"))
        if options.pooling is not None and number in options.pool_after:
            layers.append(Pooling2D(f"block{number}_pool", options.pooling, options.pool_size, stride=2))
        return layers

    blocks = enumerate(zip(CONVOLUTIONS[options.depth], FILTERS, strict=True), start=1)
    return [
        *(
            caffe_preprocessing("vgg")
            if options.preprocessing == "imagenet"
            else [Rescaling("rescaling", scale=1 / 255)]
        ),
        *(layer for number, (convolutions, filters) in blocks for layer in block(number, convolutions, filters)),
        Flatten("flatten"),
        *hidden_dense(1, 4096, options),
        *hidden_dense(2, 4096, options),
        Dense("logits", classes, initializer=start),
    ]


def vgg_base(options: VGGOptions) -> BaseName | None:
    """vgg16 where all that lies before the dense layers is as published."""
    published = options.model_copy(update={**VGGOptions.PRESETS["vgg16"], "input_size": options.input_size})
    same = options == published and options.activation == "relu" and options.pooling == "max" and options.width == 1
    return "vgg16" if same else None


RECIPE = Recipe(
    name="vgg",
    options=VGGOptions,
    layers=vgg,
    reference="Simonyan and Zisserman, Very deep convolutional networks for large-scale image recognition, 2015",
    color_of=lambda options: "rgb" if options.preprocessing == "imagenet" else None,
    base_of=vgg_base,
)
