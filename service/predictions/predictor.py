"""One loaded model version: float32 pixels in, probabilities out."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as engine

from core.artifacts import ArtifactStore
from core.errors import ArtifactCorrupt
from core.objective import Objective
from core.repositories.models import ServableVersion
from core.repositories.results import objective_of

Floats = NDArray[np.float32]

SLOW_SECONDS = 0.002
"""for one image: a network slower than this gets more threads, and is kept off the event loop."""

MOST_THREADS = 4
BATCH_BYTES = 8 << 20
MOST_IN_BATCH = 32
WARM_RUNS = 5
_ENGINE_ERRORS = tuple(kind for kind in vars(engine).values() if isinstance(kind, type) and issubclass(kind, Exception))
"""Each of ONNX Runtime's errors derives from Exception by itself."""


class Network:
    """An ONNX graph in ONNX Runtime, on the CPU. Raises the engine's own errors."""

    def __init__(self, content: bytes, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Waiting threads sleep: spinning would take the cores that decode, train and answer.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if len(inputs) != 1 or len(outputs) != 1 or inputs[0].type != "tensor(float)":
            raise UnfitError("it must have one float32 input and one output")
        self._input = inputs[0].name
        self._outputs = [outputs[0].name]

    def logits(self, pixels: Floats) -> Floats:
        """(n, classes) of pixels (n, height, width, channels)."""
        result: Floats = self._session.run(self._outputs, {self._input: pixels})[0]
        return result


class UnfitError(Exception):
    """The graph does not take the recorded input or give one logit for each label."""


class Ranking(NamedTuple):
    """For each image the classes' indices and probabilities, (n, classes), the likeliest first.

    Of equally likely classes, the first in the dataset's order comes first.
    """

    order: NDArray[np.intp]
    probabilities: Floats


@dataclass(frozen=True, eq=False)
class Predictor:
    """The inference engine holding one loaded model. Safe to call from several threads."""

    name: str
    view: str
    architecture: str
    version: int
    job: str
    sha256: str
    labels: tuple[str, ...]
    input_shape: tuple[int, int, int]
    """height, width, channels"""
    reduced_to: int | None
    """longest side of the pictures that it was trained on; larger ones were reduced first"""
    objective: Objective
    metrics: dict[str, Any]
    network: Network
    seconds: float
    """what one image took, warm"""

    @property
    def batch(self) -> int:
        """How many images to run at once: enough to be efficient, few enough to bound memory."""
        height, width, channels = self.input_shape
        return max(1, min(MOST_IN_BATCH, BATCH_BYTES // (height * width * channels * 4)))

    def rank(self, pixels: NDArray[Any]) -> Ranking:
        """Of pixels 0-255, (n, height, width, channels)."""
        probabilities = softmax(self.network.logits(pixels.astype(np.float32, copy=False)))
        order = np.argsort(-probabilities, axis=1, kind="stable")
        return Ranking(order, np.take_along_axis(probabilities, order, axis=1))


def softmax(logits: Floats) -> Floats:
    """Along the last axis; exact for logits of any size, because the largest is taken out first."""
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    result: Floats = exponentials / exponentials.sum(axis=1, keepdims=True)
    return result


def load_predictor(servable: ServableVersion, store: ArtifactStore) -> Predictor:
    """Reads, verifies, loads and warms a version. Raises ArtifactCorrupt when its bytes are not what was published."""
    row, artifact = servable.row, servable.artifact
    shape = row.input_shape
    input_shape = (int(shape["height"]), int(shape["width"]), int(shape["channels"]))
    content = store.get(artifact.path, artifact.sha256)
    try:
        network, seconds = _warm_network(content, input_shape, len(row.labels))
    except _ENGINE_ERRORS as error:
        raise ArtifactCorrupt(f"artifact {artifact.path} cannot be loaded: {error}") from error
    except UnfitError as error:
        raise ArtifactCorrupt(f"artifact {artifact.path} is not the published network: {error}") from error
    return Predictor(
        name=row.name,
        view=row.view,
        architecture=row.architecture,
        version=row.version,
        job=row.job_id,
        sha256=artifact.sha256,
        labels=tuple(row.labels),
        input_shape=input_shape,
        reduced_to=shape.get("reduced_to"),
        objective=objective_of(row.objective),
        metrics=row.metrics,
        network=network,
        seconds=seconds,
    )


def _warm_network(content: bytes, input_shape: tuple[int, int, int], classes: int) -> tuple[Network, float]:
    """A network that has run, and what one image took. Threads only pay where a run outlasts waking them."""
    network = Network(content, threads=1)
    logits = network.logits(np.zeros((2, *input_shape), np.float32))
    if logits.shape != (2, classes):
        raise UnfitError(f"two images give an output of shape {logits.shape}, not {(2, classes)}")
    seconds = _time(network, input_shape)
    threads = min(MOST_THREADS, os.cpu_count() or 1)
    if seconds > SLOW_SECONDS and threads > 1:
        network = Network(content, threads)
        seconds = _time(network, input_shape)
    return network, seconds


def _time(network: Network, input_shape: tuple[int, int, int]) -> float:
    """Seconds for one image, the fastest of a few runs."""
    image = np.zeros((1, *input_shape), np.float32)
    fastest = float("inf")
    for _ in range(WARM_RUNS):
        started = time.perf_counter()
        network.logits(image)
        fastest = min(fastest, time.perf_counter() - started)
    return fastest
