"""One loaded model version: float32 pixels in, probabilities out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.inference import Floats, Network, softmax
from core.objective import Objective

SLOW_SECONDS = 0.002
"""for one image: a network slower than this is kept off the event loop, and gets more threads and runs side by side"""

BATCH_BYTES = 8 << 20
"""of the images in a network's runs, as float32"""

MOST_IN_BATCH = 64


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
    single: Network | None
    """the same with one thread a run, for runs side by side; None where there is nothing to gain from them"""
    seconds: float
    """what one image took, warm"""
    bytes: int
    """about what it takes of memory"""

    @property
    def batch(self) -> int:
        """How many images to run at once: enough to be efficient, few enough to bound memory."""
        return min(MOST_IN_BATCH, self.at_once)

    @property
    def at_once(self) -> int:
        """How many images may be in all its runs together: what they take of memory grows with them."""
        height, width, channels = self.input_shape
        return max(1, BATCH_BYTES // (height * width * channels * 4))

    def score(self, pixels: NDArray[Any]) -> Scores:
        """Of pixels 0-255, (n, height, width, channels)."""
        return _scores(self.network, pixels)

    def score_single(self, pixels: NDArray[Any]) -> Scores:
        """The same on the thread that asks and no other, for a predictor that has `single`."""
        return _scores(self.single or self.network, pixels)


def _scores(network: Network, pixels: NDArray[Any]) -> Scores:
    logits = network.logits(pixels.astype(np.float32, copy=False))
    return Scores(logits, softmax(logits))
