"""One loaded model version: float32 pixels in, probabilities out."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.artifacts import ArtifactStore
from core.errors import ArtifactCorrupt
from core.inference import ENGINE_ERRORS, Floats, Network, UnfitError, softmax
from core.objective import Objective
from core.repositories.models import ServableVersion
from core.repositories.results import objective_of

SLOW_SECONDS = 0.002
"""for one image: a network slower than this gets more threads, and is kept off the event loop."""

MOST_THREADS = 4
BATCH_BYTES = 8 << 20
MOST_IN_BATCH = 32
WARM_RUNS = 5


class Scores(NamedTuple):
    """What a network says of n images, each (n, classes); classes are in the dataset's order."""

    logits: Floats
    probabilities: Floats

    def ranking(self) -> NDArray[np.intp]:
        """For each image the classes' indices, the likeliest first; of equally likely ones, the first in the order."""
        result: NDArray[np.intp] = np.argsort(-self.probabilities, axis=1, kind="stable")
        return result


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

    def score(self, pixels: NDArray[Any]) -> Scores:
        """Of pixels 0-255, (n, height, width, channels)."""
        logits = self.network.logits(pixels.astype(np.float32, copy=False))
        return Scores(logits, softmax(logits))


def load_predictor(servable: ServableVersion, store: ArtifactStore) -> Predictor:
    """Reads, verifies, loads and warms a version. Raises ArtifactCorrupt when its bytes are not what was published."""
    row, artifact = servable.row, servable.artifact
    shape = row.input_shape
    input_shape = (int(shape["height"]), int(shape["width"]), int(shape["channels"]))
    content = store.get(artifact.path, artifact.sha256)
    try:
        network, seconds = _warm_network(content, input_shape, len(row.labels))
    except ENGINE_ERRORS as error:
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
