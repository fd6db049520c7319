"""Small networks, published without training."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from rows import finish, publication, start

from core.artifacts import ArtifactStore
from core.database import Database
from core.repositories.results import Publication, StoredArtifact

SIDE = 8
LABELS = ["dark", "bright"]


def brightness_network(
    name: str = "brightness", threshold: float = 127.5, seen: NDArray[np.float32] | None = None
) -> bytes:
    """ONNX of a network that tells bright grayscale pictures of SIDE x SIDE from dark ones, by their mean.

    Its bytes differ from those of one with another name. Logits: threshold - mean and mean - threshold. It looks at the
    pixels that are not 0 in `seen`, (SIDE, SIDE); None: at all.
    """
    seen = np.ones((SIDE, SIDE), np.float32) if seen is None else seen
    weights = np.array([[-1.0, 1.0]], np.float32) * (seen / seen.sum()).reshape(-1, 1)
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["pixels"], ["flat"]),
            helper.make_node("Gemm", ["flat", "weights", "bias"], ["logits"]),
        ],
        name,
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", SIDE, SIDE, 1])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 2])],
        [
            numpy_helper.from_array(weights, "weights"),
            numpy_helper.from_array(np.array([threshold, -threshold], np.float32), "bias"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(model.SerializeToString())


WEIGHTS = b"what another job might start with"


def publish(
    database: Database,
    store: ArtifactStore,
    name: str = "model.onnx",
    *,
    view: str = "digits",
    architecture: str = "lenet",
    threshold: float = 127.5,
    content: bytes | None = None,
    **metrics: float,
) -> int:
    """Publishes a version of <view>.<architecture> whose bytes lie at local/`name`. Returns its number."""
    content = content or brightness_network(name, threshold)
    store.put(f"local/{name}", content)
    store.put(f"local/{name}.weights", WEIGHTS)
    made = replace(published_at(f"local/{name}", content, **metrics), view=view, architecture=architecture)
    return finish(database, start(database), made)


def published_at(path: str, content: bytes, **metrics: Any) -> Publication:
    made = publication(**metrics)
    artifact = StoredArtifact("onnx", path, sha256(content).hexdigest(), len(content))
    weights = StoredArtifact("weights", f"{path}.weights", sha256(WEIGHTS).hexdigest(), len(WEIGHTS))
    size = {"height": SIDE, "width": SIDE, "channels": 1}
    return Publication(
        **{**vars(made), "artifact": artifact, "weights": weights, "labels": LABELS, "input_shape": size}
    )


def random_network(shape: tuple[int, int, int], classes: int) -> bytes:
    """ONNX of a network to whose logits every pixel of a (height, width, channels) picture matters, each in its own way."""
    inputs = int(np.prod(shape))
    weights = np.random.default_rng(0).normal(size=(inputs, classes)).astype(np.float32) / inputs
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["pixels"], ["flat"]),
            helper.make_node("MatMul", ["flat", "weights"], ["logits"]),
        ],
        "random",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", *shape])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", classes])],
        [numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(model.SerializeToString())


def convolutions(shape: tuple[int, int, int], classes: int, *, seed: int = 0, filters: int = 128) -> bytes:
    """ONNX of a random network of four convolutions, which takes a core more than 2 ms for 32 x 32 pixels."""
    noise = np.random.default_rng(seed)
    nodes = [
        helper.make_node("Transpose", ["pixels"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Mul", ["planes", "scale"], ["scaled"]),
    ]
    weights = [numpy_helper.from_array(np.array(1 / 255, np.float32), "scale")]
    last, channels = "scaled", shape[2]
    for number in range(4):
        kernel = noise.normal(0, (2 / (9 * channels)) ** 0.5, (filters, channels, 3, 3)).astype(np.float32)
        weights.append(numpy_helper.from_array(kernel, f"kernel{number}"))
        nodes.append(helper.make_node("Conv", [last, f"kernel{number}"], [f"map{number}"], pads=[1] * 4))
        nodes.append(helper.make_node("Relu", [f"map{number}"], [f"active{number}"]))
        last, channels = f"active{number}", filters
    weights.append(numpy_helper.from_array(noise.normal(0, 0.3, (filters, classes)).astype(np.float32), "dense"))
    nodes += [
        helper.make_node("GlobalAveragePool", [last], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "dense"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "convolutions",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", *shape])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", classes])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(model.SerializeToString())


def publish_random(
    database: Database,
    store: ArtifactStore,
    shape: tuple[int, int, int],
    labels: list[str],
    *,
    view: str,
    architecture: str,
    reduced_to: int | None = None,
    content: bytes | None = None,
    **metrics: float,
) -> int:
    """Publishes a random network, or `content`, as a version of <view>.<architecture>. Returns its number."""
    content = content or random_network(shape, len(labels))
    path = f"local/{view}.{architecture}.{sha256(content).hexdigest()}.onnx"
    store.put(path, content)
    store.put(f"{path}.weights", WEIGHTS)
    height, width, channels = shape
    size = {"height": height, "width": width, "channels": channels, "reduced_to": reduced_to}
    made = replace(
        published_at(path, content, **metrics), labels=labels, input_shape=size, view=view, architecture=architecture
    )
    return finish(database, start(database), made)
