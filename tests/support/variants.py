"""Every architecture, preset and option, as small as it can be built."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter

from core.bases import BASES
from core.recipes import ArchitectureOptions, ArchitectureSpec

SPEC: TypeAdapter[ArchitectureOptions] = TypeAdapter(ArchitectureSpec)

RGB, GRAY = (32, 32, 3), (28, 28, 1)

DEFAULTS = {
    "lenet": (83_976, 83_976),
    "alexnet": (58_368_788, 58_366_036),
    "vgg": (134_359_380, 134_350_932),
    "mycnn": (21_311_956, 21_294_932),
    "transfer": (37_622_868, 22_891_156),
}
"""parameters and trainable parameters at 32x32x3 with 20 classes, as the notebook counted them"""

NARROW = {"width": 0.05}
SMALL_MYCNN: dict[str, Any] = {"name": "mycnn", "depth": 18, **NARROW}
SMALL_TRANSFER: dict[str, Any] = {"name": "transfer", "depth": 18, **NARROW}

VARIANTS: list[tuple[dict[str, Any], tuple[int, int, int]]] = [
    *(({"name": "lenet", "activation": activation}, RGB) for activation in ("relu", "sigmoid", "tanh")),
    *(({"name": "lenet", "pooling": pooling}, (13, 40, 3)) for pooling in ("average", "max", None)),
    ({"name": "lenet", "dropout": 0.3, "batch_norm": True, "width": 1.7}, GRAY),
    ({"name": "lenet", "preset": "lenet5"}, (32, 32, 1)),
    ({"name": "lenet", "padding": "valid"}, GRAY),
    ({"name": "alexnet", **NARROW, "activation": "tanh", "dropout": None}, RGB),
    ({"name": "alexnet", **NARROW, "batch_norm": False, "initializer": "he_normal"}, GRAY),
    ({"name": "alexnet", **NARROW, "pooling": "average", "padding": "same"}, (80, 64, 3)),
    ({"name": "alexnet", **NARROW, "preset": "alexnet"}, (224, 224, 3)),
    *(({"name": "vgg", **NARROW, "preset": preset}, (64, 48, 3)) for preset in ("vgg11", "vgg13", "vgg16", "vgg19")),
    ({"name": "vgg", **NARROW, "pooling": "average", "dropout": None}, GRAY),
    ({"name": "vgg", **NARROW, "pooling": None, "batch_norm": False, "activation": "sigmoid"}, (9, 9, 1)),
    (SMALL_MYCNN, GRAY),
    ({**SMALL_MYCNN, "skip_activation": True, "dropout": 0.2, "activation": "sigmoid"}, RGB),
    ({**SMALL_MYCNN, "batch_norm": False, "pooling": None}, (33, 65, 3)),
    ({"name": "mycnn", **NARROW, "preset": "resnet34", "pooling": "average"}, RGB),
    *(({**SMALL_TRANSFER, "base": base, "head": "average"}, (40, 70, 3)) for base in BASES),
    *(({**SMALL_TRANSFER, "base": base, "frozen": False, "weights": "none"}, RGB) for base in BASES),
    ({**SMALL_TRANSFER, "unfreeze_from": "block4_conv1", "dropout": None}, RGB),
    ({**SMALL_TRANSFER, "base": "resnet50", "unfreeze_from": "conv5_block1_1_conv"}, RGB),
    ({**SMALL_TRANSFER, "base": "efficientnet_b0", "unfreeze_from": "block7a_dwconv"}, RGB),
]


def options_of(document: dict[str, Any]) -> ArchitectureOptions:
    return SPEC.validate_python(document)
