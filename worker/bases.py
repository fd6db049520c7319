"""The bases of Keras Applications as Keras models; `python -m worker.bases` writes the tables of core/bases."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import keras
import numpy as np

import core.bases
from core.bases import BASES, Base, BaseName
from core.layers import Shape

TABLE_SIDE = 224

IMAGENET_MEANS = (0.485, 0.456, 0.406)
IMAGENET_DEVIATIONS = (0.229, 0.224, 0.225)
"""of ImageNet's pixels as 0-1, in RGB order"""


def build_base(base: BaseName, input_shape: Shape, name: str | None = None) -> Any:
    """The base without its classifier and with first weights, from (batch, *input_shape) to a stack of feature maps."""
    build = getattr(keras.applications, BASES[base].keras_name)
    arguments = {} if name is None else {"name": name}
    network = build(include_top=False, weights=None, input_shape=input_shape, **arguments)
    normalise(network)
    return network


def normalise(network: Any) -> None:
    """Makes a base that brings its own normalisation (EfficientNet) normalise as its publication does.

    Keras has that in two layers, the second of which it adds for its own weights alone; and Keras takes the values as they
    are when it builds the layer or loads a file, not when its weights are set.
    """
    for layer in network.layers:
        if isinstance(layer, keras.layers.Normalization):
            count = layer.get_weights()[2]
            layer.set_weights([np.array(IMAGENET_MEANS), np.array(IMAGENET_DEVIATIONS) ** 2, count])
            layer.finalize_state()


def set_trainable(network: Any, spec: Base) -> None:
    """Freezes all of a built base but what its spec lets the optimizer change."""
    trained = {layer.name for layer in spec.trained_layers}
    network.trainable = True
    for layer in network.layers:
        layer.trainable = not layer.weights or stable_name(layer) in trained


def stable_name(layer: Any) -> str:
    """Its name without the number that Keras gives to layers that have no name of their own."""
    return re.sub(r"^(normalization|rescaling)_\d+$", r"\1", str(layer.name))


def describe(base: BaseName) -> list[list[Any]]:
    """The rows of the base's table, each with the fields of core.bases.BaseLayer."""
    network = build_base(base, (TABLE_SIDE, TABLE_SIDE, 3))
    rows = []
    for layer in network.layers:
        if layer.weights:
            side = layer.output.shape[1]
            rows.append(
                [
                    stable_name(layer),
                    layer.count_params(),
                    sum(weight.shape.num_elements() for weight in layer.non_trainable_weights),
                    TABLE_SIDE // side if side > 1 else 0,
                    layer.output.shape[-1],
                ]
            )
    return rows


if __name__ == "__main__":
    for _name in BASES:
        _rows = ",\n".join(json.dumps(row) for row in describe(_name))  # type: ignore[arg-type]
        (Path(core.bases.__file__).parent / f"{_name}.json").write_text(f"[\n{_rows}\n]\n", encoding="utf-8")
