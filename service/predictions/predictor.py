"""One loaded model version: float32 pixels in, probabilities out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.inference import Floats, Network, softmax
from core.objective import Objective
from service.predictions.gpu import GpuNetwork

SLOW_SECONDS = 0.00025
"""for one image on one core: a network slower than this is kept off the event loop, and gets more threads and runs side by side"""

TURN_SECONDS = 0.002
"""of faster ones' runs on the event loop at a time"""

BATCH_BYTES = 8 << 20
"""of the images in a network's runs, as float32"""

MOST_IN_BATCH = 64


class Scores(NamedTuple):
    """What a network says of n images, each (n, classes); classes are in the dataset's order."""

    logits: Floats
    probabilities: Floats
    ranking: NDArray[np.intp]
    """for each image the classes' indices, the likeliest first; of equally likely ones, the first in the order"""


def scores_of(logits: Floats) -> Scores:
    """With all that answers need of them: for a whole batch at once it costs little more than for one image."""
    probabilities = softmax(logits)
    return Scores(logits, probabilities, np.argsort(-probabilities, axis=1, kind="stable"))


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
    network: Network | GpuNetwork
    single: Network | None
    """the same with one thread a run, for runs side by side; None where there is nothing to gain from them"""
    seconds: float
    """what one image took, warm; on a GPU its part of a full batch"""
    bytes: int
    """about what it takes of memory"""

    @property
    def batch(self) -> int:
        """How many images to run at once."""
        return images_in_batch(self.input_shape)

    @property
    def at_once(self) -> int:
        """How many images may be in all its runs together: what they take of memory grows with them."""
        return images_at_once(self.input_shape)

    @property
    def on_gpu(self) -> bool:
        """Whether its runs occupy no core."""
        return isinstance(self.network, GpuNetwork) and self.network.on_gpu

    @property
    def slow(self) -> bool:
        """Whether even one image is kept off the event loop. Several threads may have made it fast."""
        on_threads = isinstance(self.network, GpuNetwork) or self.single is not None
        return on_threads or self.seconds > SLOW_SECONDS

    @property
    def device(self) -> str:
        """As logs and metrics name it."""
        return "gpu" if self.on_gpu else "cpu"

    def score(self, pixels: NDArray[Any]) -> Scores:
        """Of pixels 0-255, (n, height, width, channels)."""
        return _scores(self.network, pixels)

    def score_single(self, pixels: NDArray[Any]) -> Scores:
        """The same on the thread that asks and no other, for a predictor that has `single`."""
        return _scores(self.single or self.network, pixels)


def images_at_once(input_shape: tuple[int, int, int]) -> int:
    """How many of (height, width, channels) keep within the memory that runs may take."""
    height, width, channels = input_shape
    return max(1, BATCH_BYTES // (height * width * channels * 4))


def images_in_batch(input_shape: tuple[int, int, int]) -> int:
    """How many to run at once: enough to be efficient, few enough to bound memory."""
    return min(MOST_IN_BATCH, images_at_once(input_shape))


def _scores(network: Network | GpuNetwork, pixels: NDArray[Any]) -> Scores:
    return scores_of(network.logits(pixels.astype(np.float32, copy=False)))
