"""Weights of a network by layer, as one file: what a job publishes beside its ONNX model, and lends to other jobs.

The file is a sequence of .npy arrays: first, as UTF-8 JSON, the layers' names with how many arrays each has; then those
arrays. It holds no code and no pickle. Layers of a base are named base/<layer>.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.bases import Base
from core.layers import LayerSpec
from worker.bases import stable_name

Weights = Mapping[str, list[NDArray[Any]]]
"""arrays of each layer, in Keras's order"""


def layers_of(network: Any) -> Iterator[tuple[str, Any]]:
    """All layers that have weights, by name; those of a base one by one."""
    for layer in network.layers:
        if hasattr(layer, "layers"):
            yield from ((f"{layer.name}/{stable_name(inner)}", inner) for inner in layer.layers if inner.weights)
        elif layer.weights:
            yield layer.name, layer


def write_weights(network: Any, file: Any) -> None:
    """Writes to a file, of which nothing but `write` is asked."""
    layers = [(name, layer.get_weights()) for name, layer in layers_of(network)]
    text = json.dumps([[name, len(arrays)] for name, arrays in layers])
    for array in (np.frombuffer(text.encode(), np.uint8), *(array for _, arrays in layers for array in arrays)):
        np.lib.format.write_array(file, np.asarray(array), allow_pickle=False)


def read_weights(content: bytes) -> Weights:
    file = BytesIO(content)

    def array() -> NDArray[Any]:
        return np.lib.format.read_array(file, allow_pickle=False)

    names = json.loads(array().tobytes())
    return {name: [array() for _ in range(count)] for name, count in names}


def restore(weights: Weights, network: Any) -> None:
    """Sets the weights of a network that is made of the same layers. Raises KeyError naming a layer that has none."""
    for name, layer in layers_of(network):
        layer.set_weights(weights[name])


def lend(weights: Weights, network: Any, layers: list[LayerSpec], part: str) -> None:
    """Sets the weights of the network's base, or of all its layers. Raises KeyError naming a layer that is not lent.

    A base's layers are found under their own names too: there a network has them that is made of the same layers.
    """
    base = next(layer.name for layer in layers if isinstance(layer, Base))
    for name, layer in layers_of(network):
        if name.startswith(f"{base}/"):
            lent = weights.get(name) or weights[name.removeprefix(f"{base}/")]
        elif part == "network":
            lent = weights[name]
        else:
            continue
        layer.set_weights(lent)
