"""LeNet-5, after LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document recognition",
Proceedings of the IEEE 86(11), 1998; with ReLU and softmax in place of the original's scaled tanh and RBF outputs.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from core.layers import Activation, Conv2D, Dense, Flatten, LayerSpec, Pooling2D, Rescaling
from core.schema import Schema


class LeNetOptions(Schema):
    name: Literal["lenet"] = "lenet"
    activation: Activation = Field("relu", description="after each convolution and hidden dense layer")
    pooling: Literal["average", "max"] = Field("average", description="kind of the two 2x2 poolings")


def lenet(options: LeNetOptions, classes: int) -> list[LayerSpec]:
    """Two convolutions with pooling and three dense layers; ends in `classes` logits."""
    act, pool = options.activation, options.pooling
    return [
        Rescaling("rescaling", scale=1 / 255),
        Conv2D("conv1", filters=6, kernel=5, padding="same", activation=act),
        Pooling2D("pool1", kind=pool, size=2, stride=2),
        Conv2D("conv2", filters=16, kernel=5, activation=act),
        Pooling2D("pool2", kind=pool, size=2, stride=2),
        Flatten("flatten"),
        Dense("dense1", units=120, activation=act),
        Dense("dense2", units=84, activation=act),
        Dense("logits", units=classes),
    ]
